"""`HttpLoad` and `ChatLoad`: what load is put on the stack; `Look`: what is looked at without one. Pure: no I/O."""

from __future__ import annotations

from dataclasses import dataclass

from stacklab.errors import SettingsError
from stacklab.settings import Checked, choice, decimal, number, switch, text

ARRIVALS = ("even", "poisson")
SIGHTS = ("clients_held", "daphne_processes", "sync_threads", "starts", "socket_shares")


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


@dataclass(frozen=True, kw_only=True)
class ChatLoad(Checked):
    """`clients` sockets in `rooms` rooms, each sending `messages_per_s` on average, with random waits."""

    clients: int = number(300, 1, 60_000, "open sockets")
    rooms: int = number(30, 1, 60_000, "rooms, filled evenly")
    messages_per_s: float = decimal(0.2, 0, 15, "messages a second that each client sends; the chat closes at 20")
    size_bytes: int = number(100, 1, 4096, "length of a message's text; the chat refuses longer ones")
    duration_s: float = decimal(30.0, 1, 86_400, "seconds that are counted; ramp-up comes on top")
    ramp_s: float = decimal(10.0, 0, 3600, "seconds over which the clients connect")
    networks: int = number(16, 1, 16, "/24 networks that the clients come from (as many as the lab has)")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rooms > self.clients:
            raise SettingsError(f"rooms={self.rooms} is not allowed: there are only {self.clients} clients to fill them")


@dataclass(frozen=True, kw_only=True)
class Look(Checked):
    """No load: the `sight` is looked at, `rounds` times; what each of them is stands in `stacklab.bench.looks`."""

    sight: str = choice("starts", SIGHTS, "what is looked at")
    rounds: int = number(1, 1, 1000, "how many times")
    verbosity: int = number(1, 0, 3, "daphne_processes: the N of daphne -v N")
    ready: bool = switch(True, "starts: whether a unit counts as started only once it listens")


Workload = HttpLoad | ChatLoad | Look
