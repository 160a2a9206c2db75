"""One Daphne instance on Daphne's own Server: ready when it listens, drained when it is told to stop."""

# Daphne's server comes first: importing it installs Twisted's reactor, and reads ASGI_THREADS.
from daphne.server import Server, twisted_loop  # isort: skip

import asyncio
import logging
import signal
import time
from collections.abc import Callable
from typing import Any

from twisted.internet import reactor

from instance.access_log import AccessLog
from instance.sockets import FRAME_LIMIT_BYTES, RESTARTING, ChatSocket
from instance.systemd import notify

log = logging.getLogger("stacklab.instance")

# Often enough that no proxy or firewall on the way takes an idle chat for dead.
PING_EVERY_S = 30
# Shorter than PING_EVERY_S: a second ping while the first is unanswered makes autobahn forget the first
# one's timer, which then cuts off a client that did answer.
PING_ANSWER_S = 25
CLOSE_ANSWER_S = 5
# After a day the core channel layer forgets who is in a group. The page connects again when its socket is closed.
A_DAY_S = 24 * 3600


class Instance(Server):
    """Serves `application` on `endpoint` (a Twisted endpoint description).

    SIGTERM or SIGINT drains: no new sockets, `drain_s` seconds for those that are open, then 1012 for the
    rest; a second signal ends the waiting. SIGHUP opens the access log anew. `on_exit` is awaited last.
    """

    def __init__(
        self, application: Any, endpoint: str, access_log: AccessLog, drain_s: float, on_exit: Callable
    ) -> None:
        super().__init__(
            application,
            endpoints=[endpoint],
            signal_handlers=False,
            action_logger=access_log,
            ping_interval=PING_EVERY_S,
            ping_timeout=PING_ANSWER_S,
            websocket_timeout=A_DAY_S,
            websocket_max_message_size=FRAME_LIMIT_BYTES,
            websocket_max_frame_size=FRAME_LIMIT_BYTES,
            proxy_forwarded_address_header="X-Forwarded-For",
            ready_callable=self._prepare,
        )
        self.access_log = access_log
        self.drain_s = drain_s
        self.on_exit = on_exit
        self.exit_code = 0
        self._port: Any = None
        self._draining: asyncio.Task | None = None
        self._waited_enough = asyncio.Event()

    def _prepare(self) -> None:
        """Daphne has made its factories and opened the port; the reactor is about to run."""
        self.ws_factory.protocol = ChatSocket
        self.ws_factory.setProtocolOptions(
            failByDrop=False,
            closeHandshakeTimeout=CLOSE_ANSWER_S,
            allowNullOrigin=True,  # not allowed at all, but by the application, with 403 like any other
        )
        for number in (signal.SIGTERM, signal.SIGINT):
            twisted_loop.add_signal_handler(number, self.drain)
        twisted_loop.add_signal_handler(signal.SIGHUP, self.access_log.reopen)
        reactor.callWhenRunning(notify, "READY=1")

    def listen_success(self, port: Any) -> None:
        """The port listens."""
        self._port = port
        super().listen_success(port)

    def listen_error(self, failure: Any) -> None:
        """The port cannot be had: say so and give up."""
        log.critical("cannot listen: %s", failure.getErrorMessage())
        self.exit_code = 1
        self.stop()

    def drain(self) -> None:
        """Begin to stop, or, when told twice, stop waiting."""
        if self._draining is None:
            self._draining = twisted_loop.create_task(self._drain())
        else:
            self._waited_enough.set()

    async def _drain(self) -> None:
        notify("STOPPING=1")
        try:
            self._port.stopListening()
            await self._wait_for_sockets(self.drain_s)
            for socket in self._open_sockets():
                socket.close(RESTARTING)
            self._waited_enough.clear()
            await self._wait_for_sockets(CLOSE_ANSWER_S)
            await self._end_applications()
            await self.on_exit()
        except Exception:
            log.exception("the drain did not end well")
            self.exit_code = 1
        finally:
            reactor.stop()

    def _open_sockets(self) -> list[ChatSocket]:
        return [
            protocol
            for protocol, details in self.connections.items()
            if isinstance(protocol, ChatSocket) and "disconnected" not in details
        ]

    async def _wait_for_sockets(self, seconds: float) -> None:
        """Until every socket is closed, but no longer than `seconds`, and no longer than somebody wants."""
        deadline_s = time.monotonic() + seconds
        while self._open_sockets() and time.monotonic() < deadline_s and not self._waited_enough.is_set():
            await asyncio.sleep(0.05)

    async def _end_applications(self) -> None:
        """Let the consumers of closed sockets finish, and cancel what hangs."""
        tasks = [details["application_instance"] for details in self.connections.values()
                 if "application_instance" in details]
        self.connections.clear()
        if tasks:
            _done, hanging = await asyncio.wait(tasks, timeout=CLOSE_ANSWER_S)
            for task in hanging:
                task.cancel()
