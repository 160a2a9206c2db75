"""The connection on which one instance listens to the rooms of its clients: part of `layer_reconnects`."""

import asyncio
import logging
import math
from collections.abc import Callable

from redis.asyncio import ConnectionPool
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError

from improvements.layer_reconnects import REDIS_AWAY, TRY_AGAIN_S, connection_options

log = logging.getLogger("stacklab.subscriptions")


class Subscriptions:
    """Subscribes to Redis channels and hands what arrives to `deliver(channel, data)`.

    One task connects and reads; everybody else only writes to the connection that it holds. When Redis goes
    away the connection is thrown away whole, and the next one begins by subscribing to all that is wanted.
    (redis-py's PubSub lets whoever notices first connect again. With clients coming and going while Redis
    restarts, two tasks then read the answers of one connection, and each waits for what the other took.)
    """

    def __init__(self, url: str, deliver: Callable[[str, bytes], None]) -> None:
        # RESP2: in RESP3 redis-py reads messages aside, for its own PubSub
        self._pool = ConnectionPool.from_url(url, protocol=2, **connection_options())
        self._deliver = deliver
        self._wanted: set[str] = set()
        self._confirmations: dict[str, asyncio.Future] = {}
        self._connection: AbstractConnection | None = None
        self._listening: asyncio.Task | None = None

    async def subscribe(self, channel: str) -> None:
        """Listen to `channel`; returns when Redis has confirmed. Raises one of REDIS_AWAY, and then does not listen."""
        if self._listening is None:
            self._listening = asyncio.create_task(self._listen())
        if channel in self._wanted and channel not in self._confirmations:
            return
        confirmed = self._confirmations.get(channel)
        if confirmed is None:
            confirmed = self._confirmations[channel] = asyncio.get_running_loop().create_future()
            self._wanted.add(channel)
            await self._command("SUBSCRIBE", channel)
        try:
            await asyncio.shield(confirmed)
        except REDIS_AWAY:
            self._wanted.discard(channel)
            raise

    async def unsubscribe(self, channel: str) -> None:
        """Listen to `channel` no longer. Does not raise: a connection that is gone has no subscriptions."""
        if channel in self._wanted:
            self._wanted.discard(channel)
            await self._command("UNSUBSCRIBE", channel)

    async def _command(self, command: str, *channels: str) -> None:
        """Send it, if there is a connection: a new one subscribes to all that is wanted anyway."""
        if self._connection is None:
            return
        try:
            await self._connection.send_command(command, *channels)
        except Exception:
            # The connection broke, and redis-py may notice that in its own ways when it is closed while a
            # command waits to be written. The task that reads notices too, and begins anew.
            log.debug("%s was not sent", command, exc_info=True)

    async def _listen(self) -> None:
        while True:
            connection = self._pool.make_connection()
            try:
                await connection.connect()
                self._connection = connection  # before what is wanted is sent: what is wanted meanwhile goes by itself
                if self._wanted:
                    await connection.send_command("SUBSCRIBE", *self._wanted)
                while True:
                    self._take(await connection.read_response(timeout=math.inf, disconnect_on_error=False))
            except Exception as error:  # whatever it is: a task that ends here would leave the instance deaf
                self._connection = None
                self._refuse(RedisConnectionError(f"Redis is away: {error}"))
                log.warning("Redis is away, so this instance hears nothing until it is back: %r", error)
            finally:
                await connection.disconnect(nowait=True)
            await asyncio.sleep(TRY_AGAIN_S)

    def _take(self, answer: list) -> None:
        """A message, or the confirmation of a subscription."""
        kind, channel, data = answer[0], answer[1].decode(), answer[2]
        if kind == b"message":
            self._deliver(channel, data)
        elif kind == b"subscribe" and (confirmed := self._confirmations.pop(channel, None)):
            confirmed.set_result(None)

    def _refuse(self, error: RedisConnectionError) -> None:
        """Tell those who wait for a confirmation that it will not come."""
        waiting, self._confirmations = self._confirmations, {}
        for confirmed in waiting.values():
            confirmed.set_exception(error)
            confirmed.exception()  # seen, even where the one who waited has gone meanwhile
