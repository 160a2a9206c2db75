"""`one_subscription`: an instance subscribes once to a room in which it has clients, and not once more for each client.

channels_redis' pubsub layer subscribes each socket's own channel at Redis, so that others may send to it by its name:
a round trip, a lock and a subscription for each socket that opens or closes. Who sends to groups alone needs none of it.

On your own site: this method on the layer (see `improvements.layers`), if nothing calls `channel_layer.send()`.
Upstream: subscribe when the name is first given away, docs/upstream/channels_redis-subscriptions.md.
"""

import asyncio
import uuid


class OneSubscription:
    """For channels_redis' pubsub layer, of one event loop."""

    async def new_channel(self, prefix: str = "specific.") -> str:
        """A channel for one socket, known to this process alone."""
        channel = f"{self.prefix}{prefix}{uuid.uuid4().hex}"
        self.channels[channel] = asyncio.Queue()
        return channel
