"""How this site connects to Redis, and what it takes for "Redis is away"."""

from functools import cache
from typing import Any

from django.conf import settings
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

__all__ = ["REDIS_AWAY", "TRY_AGAIN_S", "RedisConnectionError", "connection_options", "redis", "shared_pool"]

# What a command raises while Redis is stopped, starting, or not answering.
REDIS_AWAY = (RedisError, OSError)
TRY_AGAIN_S = 0.5
POOL_WAIT_S = 20.0
# Longer than the blocking pop of the core layer (5 s), so that an idle pop is not taken for a dead Redis.
ANSWER_WAIT_S = 10.0


def connection_options() -> dict[str, Any]:
    """How every connection to Redis behaves: one retry at once, for a connection that Redis had closed
    meanwhile; after that the caller is told, and decides. Waiting here would hold up a whole instance.
    """
    return {"socket_timeout": ANSWER_WAIT_S, "retry": Retry(NoBackoff(), 1)}


@cache
def shared_pool() -> BlockingConnectionPool:
    """The connections of this process, for the channel layer, presence and history alike. At most as many as
    the setting says; who finds them all in use waits for one, where redis-py's default pool raises.
    """
    return BlockingConnectionPool.from_url(
        settings.REDIS_URL, max_connections=settings.REDIS_POOL, timeout=POOL_WAIT_S, **connection_options()
    )


def redis() -> Redis:
    """A client on the shared connections."""
    return Redis(connection_pool=shared_pool())
