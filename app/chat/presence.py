"""How many sockets a room has, over all instances.

Each process keeps one Redis hash, {room's group: its sockets}, which expires unless the process renews it:
the clients of an instance that was killed leave the count within `LEASE_S`. One task per process does the
renewing and the announcing, so a socket costs no timer.
"""

import asyncio
import logging
import uuid
from collections import defaultdict
from typing import Any, Protocol

from redis.asyncio import Redis

from chat.connections import REDIS_AWAY

log = logging.getLogger("stacklab.presence")

BEAT_S = 1.0
LEASE_S = 5
JOIN_AT_ONCE = 200

PROCESSES = "stacklab:processes"
# Written by a renewal alone. A hash without it was begun after the old one had gone: by a restart of Redis,
# or because this process was held up for longer than its lease. It also keeps the hash of a process that has
# no clients: Redis has no empty hashes.
RENEWED = "renewed"
COUNT = """
local room, own, lease_s = ARGV[1], tonumber(ARGV[2]), ARGV[3]
if own > 0 then redis.call('HSET', KEYS[1], room, own) else redis.call('HDEL', KEYS[1], room) end
redis.call('EXPIRE', KEYS[1], lease_s)
redis.call('SADD', KEYS[2], KEYS[1])
local present = 0
for _, process in ipairs(redis.call('SMEMBERS', KEYS[2])) do
    present = present + tonumber(redis.call('HGET', process, room) or 0)
end
return present
"""
RENEW = """
local renewed, lease_s = ARGV[1], ARGV[2]
local began = redis.call('HSETNX', KEYS[1], renewed, 0)
redis.call('EXPIRE', KEYS[1], lease_s)
redis.call('SADD', KEYS[2], KEYS[1])
local alive = {}
for _, process in ipairs(redis.call('SMEMBERS', KEYS[2])) do
    if redis.call('EXISTS', process) == 1 then
        table.insert(alive, process)
    else
        redis.call('SREM', KEYS[2], process)
    end
end
return {began, alive}
"""


class Socket(Protocol):
    """What presence needs of a consumer."""

    group: str
    channel_name: str


class Counts(Protocol):
    """Where the counts of all processes meet."""

    async def put(self, group: str, own: int) -> int:
        """Say that this process has `own` sockets in `group`. Returns how many there are in all."""

    async def renew(self) -> tuple[bool, set[bytes]]:
        """Renew the lease. Returns whether it still held, and the processes that are alive."""

    async def leave(self) -> None:
        """Take this process out of all counts."""


class LocalCounts:
    """For the in-memory layer, where a process knows of itself alone."""

    async def put(self, group: str, own: int) -> int:
        return own

    async def renew(self) -> tuple[bool, set[bytes]]:
        return True, set()

    async def leave(self) -> None:
        pass


class RedisCounts:
    """One hash a process. Counts are written whole, never as +1, so that a lost write heals at the next."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._key = f"stacklab:present:{uuid.uuid4().hex}"
        self._count = redis.register_script(COUNT)
        self._renew = redis.register_script(RENEW)

    async def put(self, group: str, own: int) -> int:
        return await self._count(keys=[self._key, PROCESSES], args=[group, own, LEASE_S])

    async def renew(self) -> tuple[bool, set[bytes]]:
        began, alive = await self._renew(keys=[self._key, PROCESSES], args=[RENEWED, LEASE_S])
        return not began, set(alive)

    async def leave(self) -> None:
        await self._redis.delete(self._key)
        await self._redis.srem(PROCESSES, self._key)


class Presence:
    """The sockets of this process by room, and the count that each room is told."""

    def __init__(self, counts: Counts, layer: Any) -> None:
        self._counts = counts
        self._layer = layer
        self._sockets: dict[str, set[Socket]] = defaultdict(set)
        self._changed: set[str] = set()
        self._alive: set[bytes] = set()
        self._forgotten = False
        self._beating: asyncio.Task | None = None

    async def join(self, socket: Socket) -> int:
        """Add `socket` to its room. Returns how many are present, itself included."""
        if self._beating is None:
            self._beating = asyncio.create_task(self._beat())
        self._sockets[socket.group].add(socket)
        self._changed.add(socket.group)
        return await self._counts.put(socket.group, len(self._sockets[socket.group]))

    def leave(self, socket: Socket) -> None:
        """Take `socket` out of its room; the others are told with the next beat."""
        sockets = self._sockets[socket.group]
        sockets.discard(socket)
        if not sockets:
            del self._sockets[socket.group]
        self._changed.add(socket.group)

    async def stop(self) -> None:
        """Take this process out of the counts, now rather than when its lease ends."""
        if self._beating is not None:
            self._beating.cancel()
            await self._counts.leave()

    async def _beat(self) -> None:
        """Renew and announce, every `BEAT_S`, for as long as the process lives."""
        while True:
            try:
                await self._renew()
                await self._announce()
            except REDIS_AWAY as error:
                log.warning("Redis is away, so presence stands still until it is back: %s", error)
            except Exception:
                log.exception("one beat failed")  # the next may not; without beats this instance would vanish
            await asyncio.sleep(BEAT_S)

    async def _renew(self) -> None:
        kept, alive = await self._counts.renew()
        if not kept or self._alive - alive:
            self._changed.update(self._sockets)
        first, self._alive = not self._alive, alive
        self._forgotten = self._forgotten or not (kept or first)
        if self._forgotten:
            await self._join_again()
            self._forgotten = False

    async def _join_again(self) -> None:
        """Redis came back empty, or this process was held up for longer than its lease: join everything again."""
        sockets = [socket for room in self._sockets.values() for socket in room]
        for start in range(0, len(sockets), JOIN_AT_ONCE):
            part = [s for s in sockets[start : start + JOIN_AT_ONCE] if s in self._sockets.get(s.group, ())]
            await self._layer.join_again([(socket.group, socket.channel_name) for socket in part])
            await self._counts.renew()  # with thousands of sockets this takes longer than a lease
        log.info("Redis had forgotten this instance; %d sockets joined their rooms again", len(sockets))

    async def _announce(self) -> None:
        """Tell the rooms that changed since the last beat."""
        while self._changed:
            group = self._changed.pop()
            try:
                present = await self._counts.put(group, len(self._sockets.get(group, ())))
                if present:
                    await self._layer.group_send(group, {"type": "chat.presence", "present": present})
            except REDIS_AWAY:
                self._changed.add(group)
                raise
