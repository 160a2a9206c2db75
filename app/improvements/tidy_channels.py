"""`tidy_channels`: what a layer keeps for a socket goes when the socket goes.

channels_redis cleans up where its `receive()` is cancelled. One that has just got a message is not cancelled any more, so
pubsub keeps the queue of a client that leaves while somebody speaks (its own last word will do); core makes a new one for
what is still on its way. And `disconnect()`, where consumers leave their groups, is not called after an error. What Daphne
has for a socket refers to itself in circles, which Python finds only when a quarter as many objects as there are have come.

On your own site: this class before your consumer's other bases, with the group it is in as `group`, and `look_often()` at the
end of asgi.py. Upstream: Channels could tell its layer that a consumer has ended, docs/upstream/channels-channel-ended.md.
"""

import gc
from typing import Any
from weakref import WeakSet

# Between two looks for queues that nobody reads, so that not every leaver pays for one.
LEFTOVERS = 100


def look_often() -> None:
    """Have Python look for circles that nobody uses more often, and not at what the site consists of, which stays."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(700, 5, 2)


class TidyChannels:
    """For a consumer: cleans up after itself, however it ends."""

    channel_name = ""

    async def __call__(self, scope: dict, receive: Any, send: Any) -> None:
        living.add(self)  # before it has a channel: nobody takes that for a leftover
        try:
            await super().__call__(scope, receive, send)
        except Exception:
            if self.group:
                await self.channel_layer.group_discard(self.group, self.channel_name)
            raise
        finally:
            living.discard(self)
            if self.channel_name:
                await forget(self.channel_layer, self.channel_name)


living: WeakSet[TidyChannels] = WeakSet()


async def forget(layer: Any, channel: str) -> None:
    """Nobody will ask `layer` for `channel` again."""
    if hasattr(layer, "receive_buffer"):  # core
        layer.receive_buffer.pop(channel, None)
        if len(layer.receive_buffer) > len(living) + LEFTOVERS:
            for gone in layer.receive_buffer.keys() - {consumer.channel_name for consumer in living}:
                del layer.receive_buffer[gone]
    elif hasattr(layer, "_get_layer"):  # pubsub
        here = layer._get_layer()
        if here.channels.pop(channel, None) is not None:
            await here._get_shard(channel).unsubscribe(channel)
