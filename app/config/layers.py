"""Which channel layer Channels gets: {alias: {BACKEND, CONFIG}} for Django's CHANNEL_LAYERS."""

from typing import Any


def channel_layers(kind: str, redis_url: str, *, capacity: int, pool: int) -> dict[str, dict[str, Any]]:
    """`kind` is "core", "pubsub" or "memory"; ValueError for any other.

    `capacity` is how many messages a channel holds before new ones are dropped (pubsub has no such limit);
    `pool` is how many connections one instance may open to Redis.
    """
    if kind == "memory":
        # Wrong on purpose with more than one instance: each process only reaches its own clients.
        config = {"BACKEND": "channels.layers.InMemoryChannelLayer", "CONFIG": {"capacity": capacity}}
    elif kind == "core":
        config = {
            "BACKEND": "chat.layers.CoreLayer",
            "CONFIG": {"redis_url": redis_url, "pool": pool, "capacity": capacity},
        }
    elif kind == "pubsub":
        config = {"BACKEND": "chat.layers.PubSubLayer", "CONFIG": {"redis_url": redis_url, "pool": pool}}
    else:
        raise ValueError(f"STACKLAB_CHANNEL_LAYER={kind!r} is not a channel layer: take core, pubsub or memory")
    return {"default": config}
