"""`layer_reconnects`: the chat outlives a Redis that stops and starts again.

With the core layer, a Redis that restarts ends every socket (1011) and, where it comes back empty, every group; with
pubsub, whoever speaks meanwhile is cut off. Here the layers connect again by themselves, and the consumer tells its client:
`undelivered` to who speaks meanwhile, 4503 to who comes. A pool of connections that is all in use is waited for, where
redis-py's own raises.

On your own site: the layers as your BACKEND, and what `Patient` does in your consumer's words. Upstream: the layers belong
into channels_redis, docs/upstream/channels_redis-restart.md.
"""

import asyncio
import logging
from typing import Any

from channels_redis.core import RedisChannelLayer
from channels_redis.pubsub import RedisSingleShardConnection
from chat.frames import TRY_AGAIN_LATER
from redis.asyncio import BlockingConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError, TimeoutError

log = logging.getLogger("stacklab.layers")

# What a command raises while Redis is stopped, starting, or not answering. (One that Redis refuses is another matter.)
REDIS_AWAY = (ConnectionError, TimeoutError, OSError)
TRY_AGAIN_S = 0.1
# Shorter than the time that Daphne gives a consumer to end (10 s): who leaves may have to wait for a connection too.
POOL_WAIT_S = 5.0
# Longer than the blocking pop of the core layer (5 s), so that an idle pop is not taken for a dead Redis.
ANSWER_WAIT_S = 10.0


def connection_options() -> dict[str, Any]:
    """How every connection to Redis behaves: one retry at once, for a connection that Redis had closed
    meanwhile; after that the caller is told, and decides. Waiting here would hold up a whole instance.
    """
    return {"socket_timeout": ANSWER_WAIT_S, "retry": Retry(NoBackoff(), 1)}


class CoreLayer(RedisChannelLayer):
    """channels_redis' core layer: a pool that waits, a receive that goes on when Redis is back, groups that are filled again."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._members: set[tuple[str, str]] = set()
        self._answers = asyncio.Event()
        self._answers.set()
        self._joining: asyncio.Task | None = None

    def create_pool(self, index: int) -> BlockingConnectionPool:
        """The connections to one Redis. The core layer always holds one, waiting for messages, and sends on another."""
        host = {**self.hosts[index], **connection_options()}
        return BlockingConnectionPool.from_url(host.pop("address"), timeout=POOL_WAIT_S, **host)

    async def receive(self, channel: str) -> dict[str, Any]:
        """The next message on `channel`. The library raises in every waiting consumer when Redis goes away.

        Here each hears of it once, and all wait for one task that asks for Redis: a thousand who ask keep an instance busy.
        """
        while True:
            await self._answers.wait()
            try:
                return await super().receive(channel)
            except REDIS_AWAY as error:
                log.warning("Redis is away, so this instance hears nothing until it is back: %s", error)
                self._answers.clear()
                if self._joining is None or self._joining.done():
                    self._joining = asyncio.create_task(self._join_again())

    async def group_add(self, group: str, channel: str) -> None:
        self._members.add((group, channel))  # first: a Redis that restarts meanwhile is told again
        try:
            await super().group_add(group, channel)
        except BaseException:
            self._members.discard((group, channel))
            raise

    async def group_discard(self, group: str, channel: str) -> None:
        self._members.discard((group, channel))
        await super().group_discard(group, channel)

    async def _join_again(self) -> None:
        """As soon as Redis answers, have it know again who is in which group: it may have come back empty."""
        while not self._answers.is_set():
            try:
                for index in range(self.ring_size):
                    await self.connection(index).ping()
                self._answers.set()
                for member in list(self._members):
                    await super().group_add(*member)
                    if member not in self._members:  # it left meanwhile, maybe before Redis was told that it is there
                        await super().group_discard(*member)
            except REDIS_AWAY:
                self._answers.clear()
                await asyncio.sleep(TRY_AGAIN_S)
        log.info("Redis is back; the sockets of this instance joined their rooms again")


class ReconnectingPubSub:
    """For channels_redis' pubsub layer: its connections mend themselves."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._shards = [ReconnectingShard(shard.host, self) for shard in self._shards]


class ReconnectingShard(RedisSingleShardConnection):
    """What the library calls a shard: one connection that listens, and others to publish on."""

    def __init__(self, host: dict[str, Any], channel_layer: Any) -> None:
        super().__init__(host, channel_layer)
        from improvements.subscriptions import Subscriptions  # which needs what stands above

        self._subscriptions = Subscriptions(host["address"], self._hand_on)
        self.subscribe, self.unsubscribe = self._subscriptions.subscribe, self._subscriptions.unsubscribe

    def _hand_on(self, channel: str, data: bytes) -> None:
        self._receive_message({"channel": channel, "data": data})

    async def publish(self, channel: str, message: bytes) -> None:
        """Send `message` to whoever listens to `channel` now."""
        if self._redis is None:
            from redis.asyncio import Redis

            pool = BlockingConnectionPool.from_url(self.host["address"], timeout=POOL_WAIT_S, **connection_options())
            self._redis = Redis(connection_pool=pool)
        await self._redis.publish(channel, message)


class Patient:
    """For a consumer: tells its client that Redis is away, where Channels would end it with an error."""

    accepted = False

    async def __call__(self, scope: dict, receive: Any, send: Any) -> None:
        try:
            await super().__call__(scope, receive, send)
        except REDIS_AWAY:
            if not self.accepted:  # not even a channel of its own could be had
                await receive()
                await send({"type": "websocket.accept"})
            await send({"type": "websocket.close", "code": TRY_AGAIN_LATER})
            await self.disconnect(TRY_AGAIN_LATER)

    async def accept(self, *args: Any, **options: Any) -> None:
        self.accepted = True
        await super().accept(*args, **options)

    async def pass_on(self, message: dict[str, Any]) -> None:
        try:
            await super().pass_on(message)
        except REDIS_AWAY:
            await self.send_json({"type": "undelivered", "n": message["n"]})

    async def disconnect(self, code: int) -> None:
        try:
            await super().disconnect(code)
        except REDIS_AWAY:
            pass  # a Redis that comes back empty has forgotten the group; one that kept it lets it expire
