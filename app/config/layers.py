"""Which channel layer Channels gets: {alias: {BACKEND, CONFIG}} for Django's CHANNEL_LAYERS."""

from typing import Any


def channel_layers(kind: str, redis_url: str, *, capacity: int) -> dict[str, dict[str, Any]]:
    """`kind` is "core", "pubsub" or "memory"; ValueError for any other.

    `capacity` is how many messages a channel holds before new ones are dropped; pubsub has no such limit.
    """
    if kind == "memory":
        # Wrong on purpose with more than one instance: each process only reaches its own clients.
        layer = {"BACKEND": "channels.layers.InMemoryChannelLayer", "CONFIG": {"capacity": capacity}}
    elif kind == "core":
        layer = {"BACKEND": "chat.layers.CoreLayer", "CONFIG": {"hosts": [redis_url], "capacity": capacity}}
    elif kind == "pubsub":
        layer = {"BACKEND": "chat.layers.PubSubLayer"}
    else:
        raise ValueError(f"STACKLAB_CHANNEL_LAYER={kind!r} is not a channel layer: take core, pubsub or memory")
    return {"default": layer}
