"""What a channel layer keeps for clients that left in the bad moment: consumers run here, on a real Redis."""

import asyncio
import gc
import subprocess
import sys

import pytest
from site_under_test import APP, site_environment

VISITS = 150
SCOPE = {"type": "websocket", "url_route": {"kwargs": {"room": "room"}}}


class Person:
    """Somebody in the room, whose consumer runs as `task`. What is said to them they have taken in when `gate` is open."""

    def __init__(self, consumer, gate: asyncio.Event) -> None:
        self.events, self.welcome, self.hears, self.gate = asyncio.Queue(), asyncio.Event(), asyncio.Event(), gate
        self.events.put_nowait({"type": "websocket.connect"})
        self.task = asyncio.create_task(consumer.as_asgi()(SCOPE, self.events.get, self.send))

    async def send(self, message: dict) -> None:
        text = message.get("text", "")
        if '"welcome"' in text:
            self.welcome.set()
        elif '"x"' in text:
            self.hears.set()
            await self.gate.wait()

    def leave(self) -> asyncio.Task:
        self.events.put_nowait({"type": "websocket.disconnect", "code": 1000})
        return self.task


async def say(layer) -> None:
    from chat.rooms import group_name

    await layer.group_send(group_name("room"), {"type": "chat.message", "text": "x"})


async def come(consumer, gate: asyncio.Event, number: int) -> list[Person]:
    """One after the other: redis-py's pool has a hundred connections, and raises beyond them."""
    people = []
    for _ in range(number):
        people.append(Person(consumer, gate))
        await people[-1].welcome.wait()
    return people


async def left_on_core(layer, consumer) -> int:
    """All but one leave when something was said to them and has not come yet: to core, nobody's messages are their own."""
    gate, receive = asyncio.Event(), layer.receive_single

    async def late(channel: str) -> tuple:
        received = await receive(channel)
        await gate.wait()
        return received

    layer.receive_single = late
    [first] = await come(consumer, gate, 1)
    others = await come(consumer, gate, VISITS)
    await say(layer)
    for person in others:
        await person.leave()
    gate.set()
    await first.hears.wait()
    await first.leave()
    return len(layer.receive_buffer)


async def left_on_pubsub(layer, consumer) -> int:
    """All leave while they take in what was said to them, and the next message has come already."""
    gate, here = asyncio.Event(), layer._get_layer()
    people = await come(consumer, gate, VISITS)
    await say(layer)
    for person in people:
        await person.hears.wait()
    await say(layer)
    while any(queue.empty() for queue in here.channels.values()):
        await asyncio.sleep(0.01)
    gone = [person.leave() for person in people]
    gate.set()
    await asyncio.gather(*gone)
    return len(here.channels)


@pytest.fixture
def kept(redis, monkeypatch):
    """`kept(layer, *parts)`: for how many of VISITS the layer still keeps a queue when all have gone."""

    async def visits(name: str, parts: tuple) -> int:
        from channels import consumer as channels_consumer
        from chat.consumers import ChatConsumer

        here = layer(name)([redis.host])
        monkeypatch.setattr(channels_consumer, "get_channel_layer", lambda alias: here)
        leave = {"core": left_on_core, "pubsub": left_on_pubsub}[name]
        return await leave(here, type("Visitor", (*parts, ChatConsumer), {}))

    return lambda name, *parts: asyncio.run(visits(name, parts))


def layer(name: str):
    from channels_redis.core import RedisChannelLayer
    from channels_redis.pubsub import RedisPubSubChannelLayer

    return {"core": RedisChannelLayer, "pubsub": RedisPubSubChannelLayer}[name]


@pytest.mark.parametrize("name", ["core", "pubsub"])
def test_stock_layers_keep_a_queue_for_those_who_left_in_the_bad_moment(kept, name):
    """Visible: for ever, on pubsub some 3 KB each."""
    assert kept(name) >= VISITS


@pytest.mark.parametrize("name", ["core", "pubsub"])
def test_with_tidy_channels_they_keep_none_beyond_a_bound(kept, name):
    from improvements.tidy_channels import LEFTOVERS, TidyChannels

    assert kept(name, TidyChannels) <= (LEFTOVERS if name == "core" else 0)


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
        here = layer(name)([redis.host])
        monkeypatch.setattr(here if name == "core" else here._get_layer(), "group_discard", record(groups))
        monkeypatch.setattr(channels_consumer, "get_channel_layer", lambda alias: here)
        events: asyncio.Queue = asyncio.Queue()
        events.put_nowait({"type": "websocket.connect"})

        async def send(message: dict) -> None:
            pass

        with pytest.raises(KeyError):
            await Failing.as_asgi()(SCOPE, events.get, send)
        return groups

    def record(groups: list):
        async def group_discard(group: str, channel: str) -> None:
            groups.append(group)

        return group_discard

    assert len(asyncio.run(left())) == 1


def test_with_tidy_channels_the_collector_looks_often_and_not_at_the_site_itself(tmp_path):
    def collector(**changes: str) -> list[int]:
        code = "import gc, improvements.asgi; print(gc.get_freeze_count() > 10_000, *gc.get_threshold())"
        environment = site_environment(tmp_path, DJANGO_SETTINGS_MODULE="improvements.settings", **changes)
        done = subprocess.run([sys.executable, "-c", code], cwd=APP, env=environment, capture_output=True, text=True, check=True)
        return done.stdout.split()

    assert collector(STACKLAB_TIDY_CHANNELS="1") == ["True", "700", "5", "2"]
    assert collector() == ["False", *map(str, gc.get_threshold())]
