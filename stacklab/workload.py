"""`HttpLoad` and `ChatLoad`: what load is put on the stack. Pure: no I/O."""

from __future__ import annotations

from dataclasses import dataclass

from stacklab.errors import SettingsError
from stacklab.settings import Checked, decimal, number, text


@dataclass(frozen=True, kw_only=True)
class HttpLoad(Checked):
    """`requests` counted requests to `path` from one pool shared by `users`; warm-up comes on top.

    A closed loop (each user waits for its answer, then `wait_s`) unless `requests_per_s` is given:
    then requests start on a schedule, however slow the answers are, which shows queueing delay.
    """

    path: str = text("/", "the path to ask for, with its query")
    requests: int = number(10_000, 1, 10_000_000, "requests that are counted; warm-up comes on top")
    users: int = number(100, 1, 10_000, "users at once")
    ramp_s: float = decimal(3.0, 0, 600, "seconds over which the users start")
    warmup_s: float = decimal(2.0, 0, 600, "seconds under full load before counting starts")
    wait_s: float = decimal(0.0, 0, 3600, "seconds a user waits after each answer")
    requests_per_s: float | None = decimal(None, 0.01, 100_000, "start requests on this schedule instead of a closed loop")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.path.startswith("/") or any(c.isspace() for c in self.path):
            raise SettingsError(f"path={self.path!r} is not allowed: path starts with / and holds no white space")
        if self.requests_per_s and self.wait_s:
            raise SettingsError(
                f"wait_s={self.wait_s} and requests_per_s={self.requests_per_s} exclude each other: give one"
            )


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


Workload = HttpLoad | ChatLoad
