"""What all sockets of one process share: its presence and the rooms' history. Made at first use."""

from functools import cache

from channels.layers import get_channel_layer
from django.conf import settings

from chat.connections import redis
from chat.history import History
from chat.presence import LocalCounts, Presence, RedisCounts


@cache
def presence() -> Presence:
    """Who is in which room."""
    counts = LocalCounts() if settings.CHANNEL_LAYER == "memory" else RedisCounts(redis())
    return Presence(counts, get_channel_layer())


@cache
def history() -> History:
    """What was said in each room."""
    return History(redis())
