"""How this site connects to Redis, and what it takes for "Redis is away"."""

from typing import Any

from redis.asyncio import BlockingConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

__all__ = ["REDIS_AWAY", "TRY_AGAIN_S", "RedisConnectionError", "blocking_pool", "connection_options"]

# What a command raises while Redis is stopped, starting, or not answering.
REDIS_AWAY = (RedisError, OSError)
TRY_AGAIN_S = 0.5
POOL_WAIT_S = 10.0
# Longer than the blocking pop of the core layer (5 s), so that an idle pop is not taken for a dead Redis.
ANSWER_WAIT_S = 10.0


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
