"""The history of rooms, a capped Redis stream each: what `chat_resume` pays so that nothing is lost.

A message is appended before it is sent. Each entry knows the id of the one before it, so a receiver whose
last id is not that one has missed something, whatever the reason, and reads it from the stream.
"""

from dataclasses import dataclass

from redis.asyncio import Redis

ENTRIES_KEPT = 1000
KEPT_S = 3600
BEGINNING = "0-0"
# Read and append in one step: otherwise another sender's message could come between the two.
APPEND = """
local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
local before = newest[1] and newest[1][1] or '0-0'
local id = redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], '*', 'body', ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[3])
return {id, before}
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """One message in the stream: `body` as in `frames.message_body`."""

    id: str
    body: str


def order(entry_id: str) -> tuple[int, int]:
    """The place of an entry's id ("milliseconds-number") among others."""
    milliseconds, _, number = entry_id.partition("-")
    return int(milliseconds), int(number)


class History:
    """The streams of all rooms."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._append = redis.register_script(APPEND)

    @staticmethod
    def _key(group: str) -> str:
        return f"stacklab:history:{group}"

    async def append(self, group: str, body: str) -> tuple[str, str]:
        """Add a message. Returns its id and the id of the message before it."""
        new, before = await self._append(keys=[self._key(group)], args=[body, ENTRIES_KEPT, KEPT_S])
        return new.decode(), before.decode()

    async def last_id(self, group: str) -> str:
        """The id of the newest message; `BEGINNING` where there is none."""
        newest = await self._redis.xrevrange(self._key(group), count=1)
        return newest[0][0].decode() if newest else BEGINNING

    async def between(self, group: str, after: str, last: str) -> list[Entry]:
        """The messages after id `after` up to id `last`, oldest first, as far as they are still kept."""
        found = await self._redis.xrange(self._key(group), min=f"({after}", max=last)
        return [Entry(entry_id.decode(), fields[b"body"].decode()) for entry_id, fields in found]
