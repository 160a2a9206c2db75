"""`HttpLoad` and `ChatLoad`: what load is put on the stack; `PlanLoad`: by somebody's own file; `Look`: what is looked at
without one; `Foreign`: another tool's. Pure: no I/O."""

from __future__ import annotations

import os
import random
import re
from dataclasses import dataclass
from typing import NamedTuple

from stacklab.errors import SettingsError
from stacklab.settings import Checked, choice, decimal, number, switch, text

ARRIVALS = ("even", "poisson")
P95_S, DELIVERED_SHARE = 0.25, 0.99  # what a load must keep to be borne; a single one that is lost is luck
SIGHTS = (
    "clients_held", "daphne_processes", "sync_threads", "starts", "socket_shares", "most_clients", "most_requests",
    "server_stops",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class HttpLoad(Checked):
    """`requests` counted requests to `path` from one pool shared by `users`; warm-up comes on top.

    A closed loop (each user waits for its answer, then `wait_s`) unless `requests_per_s` is given:
    then requests start on a schedule, however slow the answers are, which shows queueing delay. Its `arrivals` are
    "even", or "poisson": at random, as those of many people who know nothing of each other.
    """

    path: str = text("/", "the path to ask for, with its query")
    requests: int = number(10_000, 1, 10_000_000, "requests that are counted; warm-up comes on top")
    users: int = number(100, 1, 10_000, "users at once")
    ramp_s: float = decimal(3.0, 0, 600, "seconds over which the users start")
    warmup_s: float = decimal(2.0, 0, 600, "seconds under full load before counting starts")
    wait_s: float = decimal(0.0, 0, 3600, "seconds a user waits after each answer")
    requests_per_s: float | None = decimal(None, 0.01, 100_000, "start requests on this schedule instead of a closed loop")
    arrivals: str = choice("even", ARRIVALS, "how a schedule's requests follow each other: evenly, or at random")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.path.startswith("/") or any(c.isspace() for c in self.path):
            raise SettingsError(f"path={self.path!r} is not allowed: path starts with / and holds no white space")
        if self.requests_per_s and self.wait_s:
            raise SettingsError(
                f"wait_s={self.wait_s} and requests_per_s={self.requests_per_s} exclude each other: give one"
            )
        if self.arrivals != "even" and not self.requests_per_s:
            raise SettingsError(f"arrivals={self.arrivals} is not allowed in a closed loop: give requests_per_s too")


TALKER, LISTENER, SLOW_READER = "talker", "listener", "slow_reader"
SHORTEST_STAY_S = 2.0  # a message has a second to arrive in: who stays for less is expected to get next to none
PLACES_SEED = 1  # the same in all loads that are to be compared


class Place(NamedTuple):
    """Where a client is and what it does there. When its client leaves, another takes it."""

    room: int  # 0 is the largest
    role: str
    in_burst: bool


@dataclass(frozen=True, kw_only=True)
class ChatLoad(Checked):
    """`clients` sockets in `rooms` rooms, each sending `messages_per_s` on average, with random waits.

    `listeners` of them send nothing; nor do `slow_readers`, who read nothing either once they are in. Each second
    `churn_per_s` clients leave and as many others come, so that there are always about `clients`. In the middle of it,
    `burst_messages` of the largest room's clients each say one thing at once (`burst_at_s`), or all clients lose their
    connection and come back at once (`storm_at_s`).
    """

    clients: int = number(300, 1, 60_000, "open sockets")
    rooms: int = number(30, 1, 60_000, "rooms, filled evenly")
    largest_room: int | None = number(None, 1, 60_000, "clients in one large room; the others fill the other rooms evenly")
    messages_per_s: float = decimal(0.2, 0, 15, "messages a second that each client sends; the chat closes at 20")
    size_bytes: int = number(100, 1, 4096, "length of a message's text; the chat refuses longer ones")
    listeners: int = number(0, 0, 60_000, "clients that only listen, spread over all rooms")
    slow_readers: int = number(0, 0, 60_000, "clients that stay connected and stop reading, spread over all rooms")
    churn_per_s: float = decimal(0.0, 0, 200, "clients that leave each second, in all; as many others come")
    burst_at_s: float | None = decimal(None, 0, 86_400, "seconds of counting after which there is a burst to the largest room")
    burst_messages: int = number(1, 1, 10_000, "clients that say one thing each in the burst")
    storm_at_s: float | None = decimal(None, 0, 86_400, "seconds of counting after which all are cut off, and come back at once")
    duration_s: float = decimal(30.0, 1, 86_400, "seconds that are counted; ramp-up comes on top")
    ramp_s: float = decimal(10.0, 0, 3600, "seconds over which the clients connect")
    networks: int = number(16, 1, 16, "/24 networks that the clients come from (as many as the lab has)")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rooms > self.clients:
            raise SettingsError(f"rooms={self.rooms} is not allowed: there are only {self.clients} clients to fill them")
        if self.largest_room is not None:
            self._check_largest_room()
        quiet = {name: getattr(self, name) for name in ("listeners", "slow_readers") if getattr(self, name)}
        if self.talkers < 1:
            given = " and ".join(f"{name}={count}" for name, count in quiet.items())
            are = "are" if len(quiet) > 1 else "is"
            raise SettingsError(f"{given} {are} not allowed: of {self.clients} clients one must be left to speak")
        leaving = self.clients - self.slow_readers
        if self.churn_per_s > leaving / SHORTEST_STAY_S:
            raise SettingsError(
                f"churn_per_s={self.churn_per_s:g} is not allowed: each of {leaving} clients would stay for "
                f"{leaving / self.churn_per_s:.2g} s; at most {leaving / SHORTEST_STAY_S:g} can leave and come each second"
            )
        for name in ("burst_at_s", "storm_at_s"):
            if (at_s := getattr(self, name)) is not None and at_s >= self.duration_s:
                raise SettingsError(f"{name}={at_s:g} is not allowed: the load ends after duration_s={self.duration_s:g}")
        if self.burst_at_s is None:
            if self.burst_messages > 1:
                raise SettingsError(f"burst_messages={self.burst_messages} is not allowed without a burst: give burst_at_s too")
        elif self.burst_messages > (able := sum(place.room == 0 and place.role == TALKER for place in self.places())):
            raise SettingsError(
                f"burst_messages={self.burst_messages} is not allowed: each is said by another client of the largest room, "
                f"and {able} of them speak"
            )

    def _check_largest_room(self) -> None:
        others = self.rooms - 1
        low, high = (-(-self.clients // self.rooms), self.clients - others) if others else (self.clients, self.clients)
        if not low <= self.largest_room <= high:
            between = f"{self.rooms} rooms it can hold {low} to {high}" if others else f"1 room it holds {low}"
            raise SettingsError(f"largest_room={self.largest_room} is not allowed: of {self.clients} clients in {between}")

    @property
    def talkers(self) -> int:
        """Clients that send."""
        return self.clients - self.listeners - self.slow_readers

    def room_sizes(self) -> list[int]:
        """How many clients each room holds."""
        largest = -(-self.clients // self.rooms) if self.largest_room is None else self.largest_room
        others, left = self.rooms - 1, self.clients - largest
        return [largest, *(left // others + (room < left % others) for room in range(others))]

    def places(self) -> list[Place]:
        """The place of each client, by its number; the same for the same load.

        In an order of their own: clients that follow each other are given instances in turn by round robin, and must not
        by that alone end up with their room on one instance.
        """
        rooms = [room for room, size in enumerate(self.room_sizes()) for _ in range(size)]
        roles = [TALKER] * self.clients
        for role, count in ((SLOW_READER, self.slow_readers), (LISTENER, self.listeners)):
            free = [place for place in range(self.clients) if roles[place] == TALKER]
            for nth in range(count):
                roles[free[nth * len(free) // count]] = role  # so that each room has its share of them
        bursting = self.burst_messages if self.burst_at_s is not None else 0
        places = []
        for room, role in zip(rooms, roles, strict=True):
            in_burst = room == 0 and role == TALKER and bursting > 0
            bursting -= in_burst
            places.append(Place(room, role, in_burst))
        random.Random(PLACES_SEED).shuffle(places)
        return places


@dataclass(frozen=True, kw_only=True)
class Look(Checked):
    """No load: the `sight` is looked at, `rounds` times; what each of them is stands in `stacklab.bench.looks`."""

    sight: str = choice("starts", SIGHTS, "what is looked at")
    rounds: int = number(1, 1, 1000, "how many times")
    first: int = number(100, 1, 60_000, "most_clients, most_requests: the number that the search begins with")
    verbosity: int = number(1, 0, 3, "daphne_processes: the N of daphne -v N")
    ready: bool = switch(True, "starts: whether a unit counts as started only once it listens")


@dataclass(frozen=True, kw_only=True)
class People(Checked):
    """What people will do on a site, and on what hosts that is."""

    users: int = number(50_000, 1, 1_000_000_000, "people on the site at once")
    page_views_per_min: float = decimal(2.0, 0, 6000, "page views of each of them; one is one request to Django")
    chat_share: float = decimal(0.2, 0, 1, "share of them with an open chat socket")
    messages_per_min: float = decimal(1.0, 0, 6000, "messages of each chatting person")
    room_size: int = number(20, 1, 60_000, "people in a room, each of whom gets its messages")
    host_cpus: int | None = number(None, 1, 1024, "CPUs of each host (none: as many as were measured)")
    host_memory_gib: float | None = decimal(None, 0.25, 65_536, "memory of each host in GiB (none: as much as was measured)")
    host_speed: float = decimal(1.0, 0.02, 50, "times the work of the measured host's core ('fab calibrate --host' tells)")

    @property
    def requests_per_s(self) -> float:
        """Requests to Django."""
        return self.users * self.page_views_per_min / 60

    @property
    def sockets(self) -> float:
        """Open chat sockets."""
        return self.users * self.chat_share

    @property
    def messages_per_s(self) -> float:
        """Messages that are sent."""
        return self.sockets * self.messages_per_min / 60

    @property
    def deliveries_per_s(self) -> float:
        """Messages that arrive: each at everybody in its room."""
        return self.messages_per_s * self.room_size


@dataclass(frozen=True, kw_only=True)
class Demand(People):
    """What people will do, and how well it is to serve them: what `fab size` is asked."""

    p95_ms: float = decimal(P95_S * 1000, 1, 60_000, "milliseconds that 95 of 100 pages, and messages, may take at most")
    spare: float = decimal(0.3, 0, 0.9, "share of each host to be left free")


@dataclass(frozen=True, kw_only=True)
class Fleet(People):
    """What people will do, and how many hosts there are: what `fab fleet` is asked."""

    hosts: int = number(100, 2, 1000, "web hosts")
    redis_servers: int = number(1, 1, 1000, "Redis servers, among which the rooms are shared out")
    patience_s: float = decimal(10.0, 0.5, 600, "seconds that a client waits for its socket before it tries again")
    restart_s: float = decimal(30.0, 1, 3600, "seconds that each host takes, when all are restarted in turn")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sockets < self.hosts:
            raise SettingsError(f"chat_share={self.chat_share:g} is not allowed: it leaves fewer sockets than hosts={self.hosts}")


@dataclass(frozen=True, kw_only=True)
class Foreign(Checked):
    """A load that another tool put on something, as its result file tells: nothing is known of it but the `tool`."""

    tool: str = text("", "the tool that measured")


OF_THE_LAB = ("url", "host", "port", "scheme", "ca")  # parameters that each plan is given
PLAN_TOOLS = {".jmx": "JMeter", ".py": "Locust", ".toml": "Locust", ".js": "k6", ".lua": "wrk"}
"""{how the name of a plan ends: the tool that runs it}."""


@dataclass(frozen=True, kw_only=True)
class PlanLoad(Checked):
    """What the plan in `file` does by its `tool`, with `parameters` of its own: threads=200,loops=100.

    Which file that was, its `sha256` tells. `users` is what of it can be compared with other loads. Samples of the first
    `warmup_s` seconds are not counted, in which tools start, and the site's caches fill.
    """

    file: str = text("", "the plan: of JMeter (.jmx), Locust (.py), k6 (.js) or wrk (.lua); or what visitors do (.toml)")
    sha256: str = text("", "of the plan")
    parameters: str = text("", "what the plan is to know, as in threads=200,loops=100")
    users: int | None = number(None, 1, 60_000, "users at once, where the parameter users or threads says so")
    warmup_s: float = decimal(2.0, 0, 600, "seconds from the first request that are not counted")

    def __post_init__(self) -> None:
        super().__post_init__()
        for part in filter(None, self.parameters.split(",")):
            name, equals, _ = part.partition("=")
            if not equals or not re.fullmatch(r"[A-Za-z_][\w.-]*", name) or name in OF_THE_LAB or not part.isprintable():
                raise SettingsError(
                    f"parameters={self.parameters!r} is not allowed: {part!r} is not NAME=VALUE, or one of "
                    f"{', '.join(OF_THE_LAB)}, which the lab gives"
                )

    @property
    def tool(self) -> str:
        """The tool that runs it, by its file's name."""
        return PLAN_TOOLS.get(os.path.splitext(self.file)[1].lower(), "")

    def named(self) -> dict[str, str]:
        """{name: value} of the parameters."""
        return dict(part.split("=", 1) for part in self.parameters.split(",") if part)


Workload = HttpLoad | ChatLoad | PlanLoad | Look | Foreign
