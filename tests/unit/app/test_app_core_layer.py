"""The core layer with `layer_reconnects`, and stock in the site's own configuration, against a real Redis."""

import asyncio

import pytest
from redis import Redis
from site_under_test import ANSWER_S

GROUP_KEY = "asgi:group:room"


@pytest.fixture
def layer(redis):
    from improvements.layer_reconnects import CoreLayer

    return CoreLayer([redis.url])


async def until(condition) -> None:
    async with asyncio.timeout(ANSWER_S):
        while not condition():
            await asyncio.sleep(0.01)


def waits(redis) -> bool:
    """Whether somebody waits for a message at Redis itself: who only wants to has not noticed yet that it stops."""
    return Redis.from_url(redis.url).info("clients")["blocked_clients"] > 0


def test_core_outlasts_a_silence_longer_than_its_own_wait(redis):
    """redis-py gives up after 5 s from version 8 on, which is as long as core waits."""
    from channels_redis.core import RedisChannelLayer
    from django.conf import settings

    async def silence() -> None:
        here = RedisChannelLayer([settings.REDIS_HOST | {"address": redis.url}])
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(here.receive(await here.new_channel()), here.brpop_timeout + 1.5)

    asyncio.run(silence())


def test_who_leaves_while_the_rooms_are_joined_again_has_left(redis, layer, monkeypatch):
    from channels_redis.core import RedisChannelLayer

    add, at_it, gate = RedisChannelLayer.group_add, asyncio.Event(), asyncio.Event()

    async def slow(self, group, channel):
        at_it.set()
        await gate.wait()
        await add(self, group, channel)

    async def outage() -> None:
        channel = await layer.new_channel()
        await layer.group_add("room", channel)
        waiting = asyncio.create_task(layer.receive(channel))
        await until(lambda: waits(redis))
        redis.stop()
        monkeypatch.setattr(RedisChannelLayer, "group_add", slow)
        await asyncio.to_thread(redis.start)
        await asyncio.wait_for(at_it.wait(), ANSWER_S)
        await layer.group_discard("room", channel)
        gate.set()
        await until(lambda: layer._joining.done())
        while not waiting.done():  # Python 3.11 may lose a cancel() beside a time limit (asyncio.wait_for), and it connects now
            waiting.cancel()
            await asyncio.wait([waiting], timeout=0.1)

    asyncio.run(outage())
    assert Redis.from_url(redis.url).zcard(GROUP_KEY) == 0


def test_while_redis_is_away_everybody_tries_once_and_one_asks_on(redis, layer, monkeypatch):
    people, tries = 30, []
    receive_single = layer.receive_single

    async def counted(channel):
        tries.append(channel)
        return await receive_single(channel)

    monkeypatch.setattr(layer, "receive_single", counted)

    async def outage() -> list[dict]:
        channels = [await layer.new_channel() for _ in range(people)]
        for channel in channels:
            await layer.group_add("room", channel)
        waiting = [asyncio.create_task(layer.receive(channel)) for channel in channels]
        await until(lambda: waits(redis))
        tries.clear()
        redis.stop()
        await asyncio.sleep(2)
        assert len(tries) <= people
        await asyncio.to_thread(redis.start)
        await until(lambda: layer._joining.done())
        await layer.group_send("room", {"type": "back"})
        return await asyncio.wait_for(asyncio.gather(*waiting), ANSWER_S)

    assert asyncio.run(outage()) == [{"type": "back"}] * people


def test_few_connections_are_waited_for(redis, monkeypatch):
    from improvements import layer_reconnects

    monkeypatch.setattr(layer_reconnects, "POOL_WAIT_S", ANSWER_S)

    async def come_speak_and_leave(layer, channel: str) -> None:
        await layer.group_add("room", channel)
        await layer.group_send("room", {"type": "x"})
        await layer.group_discard("room", channel)

    async def crowd() -> None:
        layer = layer_reconnects.CoreLayer([{"address": redis.url, "max_connections": 2}])
        channels = [await layer.new_channel() for _ in range(60)]
        await asyncio.gather(*(come_speak_and_leave(layer, channel) for channel in channels))

    asyncio.run(crowd())
    assert Redis.from_url(redis.url).zcard(GROUP_KEY) == 0
