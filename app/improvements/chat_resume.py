"""`chat_resume`: nothing that was said is lost for who was away.

The history of a room is a capped Redis stream. A message is appended before it is sent, and knows the id of the one before
it: a receiver whose last id is not that one has missed something, whatever the reason, and reads it from the stream. Who
comes back asks for it page by page, as fast as it can read.

On your own site: these methods in your consumer, and clients that come back with the last id they saw, as the chat's page
does (chat.js). Nothing to propose upstream: a channel layer delivers at most once by design, and says so.
"""

import json
import re
from functools import cache
from typing import Any

from chat.frames import TRY_AGAIN_LATER, FrameError
from django.conf import settings
from redis.asyncio import BlockingConnectionPool, Redis

from improvements.layer_reconnects import POOL_WAIT_S, REDIS_AWAY, connection_options

ENTRIES_KEPT = 1000
KEPT_S = 3600
PAGE = 40  # messages at once: of the longest, all of it escaped, a megabyte
BEGINNING = "0-0"
# Redis counts to 2**64; a day of the year 30,000,000 fits, and no number that it refuses.
STREAM_ID = re.compile(r"\d{1,18}-\d{1,18}", re.ASCII)
# Read and append in one step: otherwise another sender's message could come between the two.
APPEND = """
local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
local before = newest[1] and newest[1][1] or '0-0'
local id = redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], '*', 'body', ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[3])
return {id, before}
"""


class Resuming:
    """For the chat's consumer: delivers in order, and what was missed before what is new."""

    last_id = joined_id = BEGINNING
    resumed_to: str | None = None  # where the next page begins; "" after the last

    async def send_json(self, content: Any, close: bool = False) -> None:
        """The welcome also says which message is the newest."""
        if content["type"] == "welcome":
            content["last_id"] = self.last_id = self.joined_id = await history().last_id(self.group)
        await super().send_json(content, close)

    async def receive_json(self, content: Any, **kwargs: Any) -> None:
        """{"type": "resume", "last_id": …}: send what was said between that message and the moment of joining, a page of it,
        and how far that is: resumed, with whether there is `more`, to be asked for from there. A socket does so once.
        """
        if not (isinstance(content, dict) and content.get("type") == "resume"):
            await super().receive_json(content, **kwargs)
            return
        last_id = content.get("last_id")
        if not (isinstance(last_id, str) and STREAM_ID.fullmatch(last_id)):
            raise FrameError("last_id is the id of a message")
        if self.resumed_to not in (None, last_id):
            raise FrameError("a socket resumes once, page by page")
        page = await history().between(self.group, last_id, self.joined_id)
        for message in page:
            await super().chat_message(message)
        more = len(page) == PAGE
        self.resumed_to = page[-1]["id"] if more else ""
        await self.send_json({"type": "resumed", "last_id": self.resumed_to or self.joined_id, "more": more})

    async def pass_on(self, message: dict[str, Any]) -> None:
        """Write the message down, then send it. What is written down is said: the next message brings it along."""
        message["id"], message["before"] = await history().append(self.group, message)
        try:
            await super().pass_on(message)
        except REDIS_AWAY:
            pass

    async def chat_message(self, event: dict[str, Any]) -> None:
        """Deliver the message, after any that this socket missed before it, and none of them twice."""
        event = dict(event)  # which may be another socket's too
        before = event.pop("before", None)
        if before is None:  # said by an instance that does not write down, while the setting changes: it has no place
            await super().chat_message(event)
        elif before == self.last_id:
            self.last_id = event["id"]
            await super().chat_message(event)
        elif order(event["id"]) > order(self.last_id):
            try:
                missed = await history().between(self.group, self.last_id, event["id"])
            except REDIS_AWAY:
                return  # the next message brings this one along
            if len(missed) == PAGE:  # and there may be more: who comes back asks for it as fast as it can read
                await self.close(TRY_AGAIN_LATER)
                return
            self.last_id = event["id"]
            for message in [*(one for one in missed if one["id"] != event["id"]), event]:  # a Redis that is empty knows neither
                await super().chat_message(message)


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

    async def append(self, group: str, message: dict[str, Any]) -> tuple[str, str]:
        """Add a message. Returns its id and the id of the message before it."""
        new, before = await self._append(keys=[self._key(group)], args=[json.dumps(message), ENTRIES_KEPT, KEPT_S])
        return new.decode(), before.decode()

    async def last_id(self, group: str) -> str:
        """The id of the newest message; `BEGINNING` where there is none."""
        newest = await self._redis.xrevrange(self._key(group), count=1)
        return newest[0][0].decode() if newest else BEGINNING

    async def between(self, group: str, after: str, last: str) -> list[dict[str, Any]]:
        """The messages after id `after` up to id `last`, oldest first, a page at most, as far as they are still kept."""
        found = await self._redis.xrange(self._key(group), min=f"({after}", max=last, count=PAGE)
        return [json.loads(fields[b"body"]) | {"id": entry_id.decode()} for entry_id, fields in found]


@cache
def history() -> History:
    """The streams, on connections of this process's own."""
    pool = BlockingConnectionPool.from_url(settings.REDIS_URL, timeout=POOL_WAIT_S, **connection_options())
    return History(Redis(connection_pool=pool))
