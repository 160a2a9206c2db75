"""What a channel layer keeps for a client that came, said one thing and left: consumers run here, on a real Redis."""

import asyncio
import itertools
import json

import pytest

VISITS = 300
# How long after its message a client leaves: whether that is in the bad moment hangs on how quick this computer is.
STAYS_S = (0, 0.0005, 0.001, 0.002, 0.004, 0.008)


@pytest.fixture
def visited(redis, monkeypatch):
    """`visited(layer, *parts)`: for how many of VISITS the layer still keeps a queue when all have gone."""

    stays_s = itertools.cycle(STAYS_S)

    async def visit(consumer, room: str) -> None:
        """Come, say one thing, and leave when it has come back."""
        events: asyncio.Queue = asyncio.Queue()
        stay_s = next(stays_s)
        events.put_nowait({"type": "websocket.connect"})

        async def send(message: dict) -> None:
            if '"welcome"' in message.get("text", ""):
                events.put_nowait({"type": "websocket.receive", "text": json.dumps({"type": "message", "text": "x"})})
                asyncio.get_running_loop().call_later(stay_s, events.put_nowait, {"type": "websocket.disconnect", "code": 1000})

        await consumer({"type": "websocket", "url_route": {"kwargs": {"room": room}}}, events.get, send)

    async def visits(make_layer, parts) -> int:
        from channels import consumer as channels_consumer
        from chat.consumers import ChatConsumer

        layer = make_layer([f"unix://{redis.socket_path}"])
        monkeypatch.setattr(channels_consumer, "get_channel_layer", lambda alias: layer)
        visitor = type("Visitor", (*parts, ChatConsumer), {})
        for _ in range(VISITS // 30):
            await asyncio.gather(*(visit(visitor.as_asgi(), "room") for _ in range(30)))
        await asyncio.sleep(0.5)
        return kept(layer)

    def kept(layer) -> int:
        return len(layer.receive_buffer if hasattr(layer, "receive_buffer") else layer._get_layer().channels)

    return lambda make_layer, *parts: asyncio.run(visits(make_layer, parts))


def layer(name: str):
    from channels_redis.core import RedisChannelLayer
    from channels_redis.pubsub import RedisPubSubChannelLayer

    return {"core": RedisChannelLayer, "pubsub": RedisPubSubChannelLayer}[name]


@pytest.mark.parametrize("name", ["core", "pubsub"])
def test_stock_layers_keep_a_queue_for_many_who_spoke_and_left(visited, name):
    """Visible: for ever, on pubsub some 3 KB each."""
    assert visited(layer(name)) > VISITS / 50


@pytest.mark.parametrize("name", ["core", "pubsub"])
def test_with_tidy_channels_they_keep_none_beyond_a_bound(visited, name):
    from improvements.tidy_channels import LEFTOVERS, TidyChannels

    assert visited(layer(name), TidyChannels) <= (LEFTOVERS if name == "core" else 0)


@pytest.mark.parametrize("name", ["core", "pubsub"])
def test_with_tidy_channels_a_consumer_that_fails_leaves_its_group(redis, monkeypatch, name):
    from channels import consumer as channels_consumer
    from chat.consumers import ChatConsumer
    from improvements.tidy_channels import TidyChannels

    class Failing(TidyChannels, ChatConsumer):
        async def send_json(self, content, close=False):
            raise KeyError("a fault of the site's own")

    async def left() -> list:
        groups = []
        here = layer(name)([f"unix://{redis.socket_path}"])
        monkeypatch.setattr(here if name == "core" else here._get_layer(), "group_discard", record(groups))
        monkeypatch.setattr(channels_consumer, "get_channel_layer", lambda alias: here)
        events: asyncio.Queue = asyncio.Queue()
        events.put_nowait({"type": "websocket.connect"})

        async def send(message: dict) -> None:
            pass

        with pytest.raises(KeyError):
            await Failing.as_asgi()({"type": "websocket", "url_route": {"kwargs": {"room": "room"}}}, events.get, send)
        return groups

    def record(groups: list):
        async def group_discard(group: str, channel: str) -> None:
            groups.append(group)

        return group_discard

    assert len(asyncio.run(left())) == 1
