"""A log filter: the same complaint is written once a minute, however many messages cause it."""

import logging
import time

QUIET_S = 60.0
KINDS = 1000


class Calm(logging.Filter):
    """Lets one record of a kind through every `QUIET_S` seconds and says how many it held back.

    A kind is the logger, the place in the code, and the type of the exception: nothing that a client wrote, as a message
    may hold that too. The KINDS + 1st and later are one. Under load, one fault (Redis away, say) would otherwise write
    a stack trace for every socket and message.
    """

    def __init__(self) -> None:
        super().__init__()
        self._next_s: dict[tuple, float] = {}
        self._held_back: dict[tuple, int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether `record` is written. Records below WARNING always are."""
        if record.levelno < logging.WARNING:
            return True
        kind = (record.name, record.pathname, record.lineno, record.exc_info[0] if record.exc_info else None)
        if len(self._next_s) >= KINDS and kind not in self._next_s:
            kind = ("all the rest",)
        now_s = time.monotonic()
        if now_s < self._next_s.get(kind, 0.0):
            self._held_back[kind] = self._held_back.get(kind, 0) + 1
            return False
        self._next_s[kind] = now_s + QUIET_S
        held_back = self._held_back.pop(kind, 0)
        if held_back:
            record.msg = f"{record.msg} ({held_back} more like this since the last)"
        if record.exc_info and _is_away(record.exc_info[1]):
            # a service that is away says so in one line; where in the code that was noticed helps nobody
            record.msg, record.args = "%s: %s", (record.getMessage(), record.exc_info[1])
            record.exc_info = None
        return True


def _is_away(error: BaseException | None) -> bool:
    """Whether the error is of a service that cannot be reached."""
    from redis.exceptions import RedisError  # uWSGI, which never talks to Redis, starts without it

    return isinstance(error, (OSError, RedisError))
