"""The two Redis channel layers of channels-redis, made to outlive a Redis that stops and starts again.

`core` keeps messages in a sorted set per process and takes them out with a blocking pop; `pubsub` uses
Redis's own PUBLISH. Their delivery is theirs; only the handling of connections differs from the library.
"""

import asyncio
import logging
from typing import Any

from channels_redis.core import RedisChannelLayer
from channels_redis.pubsub import RedisPubSubChannelLayer
from redis.asyncio import BlockingConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

log = logging.getLogger(__name__)

# What a command raises while Redis is stopped, starting, or not answering.
REDIS_AWAY = (RedisError, OSError)
POOL_WAIT_S = 10.0
# Longer than the blocking pop of the core layer (5 s), so that an idle pop is not taken for a dead Redis.
ANSWER_WAIT_S = 10.0
TRY_AGAIN_S = 0.5


def connection_options() -> dict[str, Any]:
    """How every connection to Redis behaves: one retry at once, for a connection that Redis had closed
    meanwhile; after that the caller is told, and decides. Waiting here would hold up a whole instance.
    """
    return {"socket_timeout": ANSWER_WAIT_S, "retry": Retry(NoBackoff(), 1)}


def blocking_pool(redis_url: str, connections: int) -> BlockingConnectionPool:
    """At most `connections`; who finds them all in use waits for one, where the default pool raises."""
    return BlockingConnectionPool.from_url(
        redis_url, max_connections=connections, timeout=POOL_WAIT_S, **connection_options()
    )


class CoreLayer(RedisChannelLayer):
    """channels-redis' core layer with a pool that waits, and a receive that goes on when Redis is back."""

    def __init__(self, redis_url: str, pool: int, **options: Any) -> None:
        super().__init__(hosts=[redis_url], **options)
        self._redis_url = redis_url
        # one connection is always taken by the blocking pop, so there must be another to send on
        self._pool_size = max(2, pool)

    def create_pool(self, index: int) -> BlockingConnectionPool:
        """The pool for the one Redis of the lab (channels-redis asks for it by its index)."""
        return blocking_pool(self._redis_url, self._pool_size)

    async def receive(self, channel: str) -> dict[str, Any]:
        """The next message on `channel`. The library raises in every waiting consumer when Redis goes away."""
        while True:
            try:
                return await super().receive(channel)
            except REDIS_AWAY as error:
                log.warning("Redis is away, so this instance hears nothing until it is back: %s", error)
                await asyncio.sleep(TRY_AGAIN_S)


class PubSubLayer(RedisPubSubChannelLayer):
    """channels-redis' pubsub layer. It holds two connections, one to publish and one that listens, and
    subscribes again by itself when Redis is back.
    """

    def __init__(self, redis_url: str) -> None:
        super().__init__(hosts=[{"address": redis_url, **connection_options()}])
