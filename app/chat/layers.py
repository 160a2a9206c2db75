"""The two Redis channel layers of channels-redis, made to outlive a Redis that stops and starts again.

`core` keeps messages in a sorted set per process and takes them out with a blocking pop; `pubsub` uses
Redis's own PUBLISH. How they deliver is theirs; how they connect is ours.
"""

import asyncio
import logging
import uuid
from collections.abc import Callable, Iterable
from typing import Any

from channels_redis.core import RedisChannelLayer
from channels_redis.pubsub import RedisPubSubLoopLayer
from channels_redis.serializers import registry
from redis.asyncio import BlockingConnectionPool

from chat.connections import REDIS_AWAY, TRY_AGAIN_S, redis, shared_pool
from chat.subscriptions import Subscriptions

log = logging.getLogger("stacklab.layers")


class CoreLayer(RedisChannelLayer):
    """channels-redis' core layer with a pool that waits, and a receive that goes on when Redis is back."""

    def create_pool(self, index: int) -> BlockingConnectionPool:
        """The pool for the one Redis of the lab (channels-redis asks for it by its index)."""
        return shared_pool()

    async def receive(self, channel: str) -> dict[str, Any]:
        """The next message on `channel`. The library raises in every waiting consumer when Redis goes away."""
        while True:
            try:
                return await super().receive(channel)
            except REDIS_AWAY as error:
                log.warning("Redis is away, so this instance hears nothing until it is back: %s", error)
                await asyncio.sleep(TRY_AGAIN_S)

    async def join_again(self, members: Iterable[tuple[str, str]]) -> None:
        """Redis came back empty: add each (group, channel) again. The groups of this layer live in Redis."""
        await asyncio.gather(*(self.group_add(group, channel) for group, channel in members))


class PubSubLayer(RedisPubSubLoopLayer):
    """channels-redis' pubsub layer, for groups alone, on connections that mend themselves.

    Each instance subscribes once to a room in which it has clients, and hands on what arrives to them.
    """

    def __init__(self) -> None:
        super().__init__(channel_layer=registry.get_serializer("msgpack"))
        self._shards = [PubSubConnections(self._deliver)]

    async def new_channel(self, prefix: str = "specific.") -> str:
        """A channel for one socket, known to this process alone.

        The library subscribes each socket's own channel at Redis as well, so that others may send to it by
        name. The chat only ever sends to groups: that would be a round trip and a subscription for nothing.
        """
        channel = f"{prefix}{uuid.uuid4().hex}"
        self.channels[channel] = asyncio.Queue()
        return channel

    def _deliver(self, group_channel: str, data: bytes) -> None:
        for channel in self.groups.get(group_channel, ()):
            if channel in self.channels:
                self.channels[channel].put_nowait(data)

    async def join_again(self, members: Iterable[tuple[str, str]]) -> None:
        """Redis came back empty: nothing to do, `Subscriptions` has subscribed again by itself."""


class PubSubConnections:
    """What the library calls a shard: one connection that listens, and the shared ones to publish on."""

    def __init__(self, deliver: Callable[[str, bytes], None]) -> None:
        subscriptions = Subscriptions(deliver)
        self.subscribe, self.unsubscribe = subscriptions.subscribe, subscriptions.unsubscribe
        self._redis = redis()

    async def publish(self, channel: str, message: bytes) -> None:
        """Send `message` to whoever listens to `channel` now."""
        await self._redis.publish(channel, message)
