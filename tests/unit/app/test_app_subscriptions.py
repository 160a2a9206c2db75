"""The connection on which an instance listens, against a real Redis."""

import asyncio

import pytest
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from site_under_test import ANSWER_S


@pytest.fixture
def url(redis):
    """Where Subscriptions finds Redis."""
    return redis.url


@pytest.fixture
def slow_first_command(monkeypatch):
    """The first SUBSCRIBE of every connection returns a little late, as on a busy machine. Yields those connections."""
    send, under_way = AbstractConnection.send_command, set()

    async def slow(connection, *words, **options):
        await send(connection, *words, **options)
        if words[0] == "SUBSCRIBE" and connection not in under_way:
            under_way.add(connection)
            await asyncio.sleep(0.2)

    monkeypatch.setattr(AbstractConnection, "send_command", slow)
    return under_way


def test_a_room_joined_while_the_first_subscription_is_on_its_way_is_heard_too(url, slow_first_command):
    from improvements.subscriptions import Subscriptions

    async def join_two_rooms():
        heard = asyncio.Queue()
        subscriptions = Subscriptions(url, lambda channel, data: heard.put_nowait((channel, data)))
        first = asyncio.create_task(subscriptions.subscribe("one"))
        while not slow_first_command:
            await asyncio.sleep(0.01)
        await asyncio.wait_for(asyncio.gather(first, subscriptions.subscribe("two")), ANSWER_S)
        async with Redis.from_url(url) as redis:
            await redis.publish("one", "1")
            await redis.publish("two", "2")
        return [await asyncio.wait_for(heard.get(), ANSWER_S) for _ in range(2)]

    assert asyncio.run(join_two_rooms()) == [("one", b"1"), ("two", b"2")]
