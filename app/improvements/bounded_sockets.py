"""`bounded_sockets`: a client that does not read, or that floods, costs little, whatever kind of frame it sends.

Daphne keeps what a client does not read, without bound, pongs to its pings included, and what it sends until the
application has taken it. Here a client whose buffer is full is not read from either; beyond a megabyte its socket is closed
with 4408. More than a hundred frames that wait for the application, or two hundred frames a second of whatever kind (pings
and empty pieces of a message too), close it with 4429.

On your own site: start Daphne by a command like `improvements.server`. Upstream: docs/upstream/daphne-buffers.md and
docs/upstream/autobahn-control-frames.md.
"""

import logging
import time
from typing import Any

log = logging.getLogger("stacklab.socket")

# What may wait for a client that does not read, on top of what the kernel and nginx hold for it.
WAITING_LIMIT_BYTES = 1024 * 1024
# Frames from one client that may wait for the application, which takes them one at a time.
WAITING_LIMIT_FRAMES = 100
# Frames of any kind: so many at once, and so many a second in the long run.
FRAMES_AT_ONCE, FRAMES_PER_S = 1000, 200
# More than the longest message that is allowed needs as JSON, with every character escaped.
FRAME_LIMIT_BYTES = 64 * 1024

TOO_SLOW = 4408
TOO_LONG = 4413
TOO_MANY = 4429


class BoundedServer:
    """For Daphne's server: no frame, and no message, is longer than the chat needs."""

    def set_up(self) -> None:
        self.ws_factory.setProtocolOptions(maxFramePayloadSize=FRAME_LIMIT_BYTES, maxMessagePayloadSize=FRAME_LIMIT_BYTES)


class BoundedSocket:
    """For Daphne's socket, which by itself would buffer without end."""

    # Bytes handed over since the transport said that its buffer is full; None while it keeps up.
    waiting_bytes: int | None = None
    restarting = flooding = False
    allowance, allowance_s = float(FRAMES_AT_ONCE), 0.0

    def onOpen(self) -> None:
        """The handshake is done: from here on this object, not Daphne's HTTP channel, hears of a full buffer."""
        self.transport.unregisterProducer()
        self.transport.registerProducer(self, True)
        super().onOpen()

    def pauseProducing(self) -> None:
        """The transport's buffer is full: the client reads too slowly, or not at all. It is not heard meanwhile either."""
        if self.waiting_bytes is None:
            self.waiting_bytes = 0
            self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """The buffer is empty again."""
        self.waiting_bytes = None
        if not self.flooding:
            self.transport.resumeProducing()

    def stopProducing(self) -> None:
        """The connection is gone; `onClose` sees to that."""

    def sendMessage(self, payload: bytes, isBinary: bool = False, **options: Any) -> None:
        """Send one message, or close the socket with 4408 when too much waits already.

        A client that reads again finds the close frame behind what waited; one that does not is cut off
        after the time for the closing handshake. What the room says to a socket that is closing is dropped.
        """
        if self.state != self.STATE_OPEN:
            return
        if self.waiting_bytes is not None:
            self.waiting_bytes += len(payload)
            if self.waiting_bytes > WAITING_LIMIT_BYTES:
                log.warning("closed a socket whose client does not read")
                self.refuse(TOO_SLOW)
                return
        super().sendMessage(payload, isBinary, **options)

    def onFrameBegin(self) -> Any:
        """A frame of whatever kind begins. Once there were too many, nothing more is read."""
        now_s = time.monotonic()
        grown = self.allowance + (now_s - self.allowance_s) * FRAMES_PER_S
        self.allowance, self.allowance_s = min(FRAMES_AT_ONCE, grown) - 1, now_s
        if self.allowance < 0 and self.state == self.STATE_OPEN:
            self.refuse(TOO_MANY)
            self.flooding = True
            self.transport.pauseProducing()
        return super().onFrameBegin()

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """One message from the client, for the application; too many at once close the socket."""
        if self.state != self.STATE_OPEN and not self.restarting:
            return
        if self.application_queue.qsize() >= WAITING_LIMIT_FRAMES:
            self.refuse(TOO_MANY)
            return
        super().onMessage(payload, isBinary)

    def refuse(self, code: int) -> None:
        """Close the socket, once."""
        if self.state == self.STATE_OPEN:
            self.sendCloseFrame(code=code)

    def _max_message_size_exceeded(self, msg_size: int, max_msg_size: int, reason: str) -> None:
        """Autobahn's hook for a frame that is too long, called when its header has come: close with our code."""
        self._fail_connection(TOO_LONG, reason)
