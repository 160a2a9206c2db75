"""What all sockets of one process share: its presence and the rooms' history. Made at first use."""

from functools import cache

from channels.layers import get_channel_layer
from django.conf import settings
from redis.asyncio import Redis

from chat.history import History
from chat.connections import blocking_pool
from chat.presence import LocalCounts, Presence, RedisCounts

CONNECTIONS = 8


@cache
def redis() -> Redis:
    """The connections for presence and history, apart from those of the channel layer."""
    return Redis(connection_pool=blocking_pool(settings.REDIS_URL, CONNECTIONS))


@cache
def presence() -> Presence:
    """Who is in which room."""
    counts = LocalCounts() if settings.CHANNEL_LAYER == "memory" else RedisCounts(redis())
    return Presence(counts, get_channel_layer())


@cache
def history() -> History:
    """What was said in each room."""
    return History(redis())
