"""`daphne_drain_s` above 0: an instance that is told to stop takes no new sockets, gives those that are open so many
seconds, and then closes them with 1012 ("service restart").

Daphne's own command drops every socket at once, and its clients see 1006 as after a crash; 1012 it refuses to send.

On your own site: start Daphne by a command like `improvements.server`. Upstream: an option of Daphne's,
docs/upstream/daphne-drain.md.
"""

import asyncio
import logging
import os
import signal
import time
from typing import Any

log = logging.getLogger("stacklab.drain")

CLOSE_ANSWER_S = 5
RESTARTING = 1012


class RestartingSocket:
    """For Daphne's socket: closed because the instance restarts, it still takes what its client said before it heard of that."""

    restarting = False

    def close_for_restart(self) -> None:
        """Send a close frame with 1012: autobahn's sendClose takes 1000 and 3000–4999 alone."""
        if self.state == self.STATE_OPEN:
            self.restarting = True
            self.sendCloseFrame(code=RESTARTING)


class DrainingServer:
    """For Daphne's server. SIGTERM or SIGINT drains; a second signal ends the waiting."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options, signal_handlers=False)
        self.drain_s = float(os.environ["STACKLAB_DAPHNE_DRAIN_S"])
        self._ports: list[Any] = []
        self._draining: asyncio.Task | None = None
        self._waited_enough = asyncio.Event()

    def set_up(self) -> None:
        """Hear the signals."""
        from daphne.server import twisted_loop

        for number in (signal.SIGTERM, signal.SIGINT):
            twisted_loop.add_signal_handler(number, self.drain)

    def listen_success(self, port: Any) -> None:
        """The port listens."""
        self._ports.append(port)
        super().listen_success(port)

    def drain(self) -> None:
        """Begin to stop, or, when told twice, stop waiting."""
        if self._draining is None:
            self._draining = asyncio.ensure_future(self._drain())
        else:
            self._waited_enough.set()

    async def _drain(self) -> None:
        try:
            for port in self._ports:
                port.stopListening()
            await self._wait_for_sockets(self.drain_s)
            for socket in self._open_sockets():
                socket.close_for_restart()
            self._waited_enough.clear()
            await self._wait_for_sockets(CLOSE_ANSWER_S)
            await self._end_applications()
        except Exception:
            log.exception("the drain did not end well")
        finally:
            self.stop()

    def _open_sockets(self) -> list[Any]:
        return [
            protocol
            for protocol, details in self.connections.items()
            if isinstance(protocol, RestartingSocket) and "disconnected" not in details
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
