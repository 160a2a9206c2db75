"""One WebSocket, on Daphne's own protocol class, with bounds to what it buffers either way."""

import logging

from daphne.ws_protocol import WebSocketProtocol

log = logging.getLogger("stacklab.socket")

# What may wait for a client that does not read, on top of what the kernel and nginx hold for it.
WAITING_LIMIT_BYTES = 1024 * 1024
# Frames from one client that may wait for the application, which takes them one at a time.
WAITING_LIMIT_FRAMES = 100
# More than the longest message that is allowed needs as JSON, with every character escaped.
FRAME_LIMIT_BYTES = 64 * 1024

RESTARTING = 1012
TOO_SLOW = 4408
TOO_LONG = 4413
TOO_MANY = 4429


class ChatSocket(WebSocketProtocol):
    """Daphne's socket, which by itself would buffer without end and refuse close codes such as 1012."""

    # Bytes handed over since the transport said that its buffer is full; None while it keeps up.
    waiting_bytes: int | None = None
    # Closed because the instance restarts: what the client said before it heard of that is taken all the same.
    restarting = False

    def onOpen(self) -> None:
        """The handshake is done: from here on this object, not Daphne's HTTP channel, hears of a full buffer."""
        self.transport.unregisterProducer()
        self.transport.registerProducer(self, True)
        super().onOpen()

    def dataReceived(self, data: bytes) -> None:
        """Bytes from the client. Autobahn's own method first writes a debug message about them, which nobody
        reads and which costs more than the bytes do.
        """
        self._dataReceived(data)

    def pauseProducing(self) -> None:
        """The transport's buffer is full: the client reads too slowly, or not at all."""
        if self.waiting_bytes is None:
            self.waiting_bytes = 0

    def resumeProducing(self) -> None:
        """The buffer is empty again."""
        self.waiting_bytes = None

    def stopProducing(self) -> None:
        """The connection is gone; `onClose` sees to that."""

    def sendMessage(self, payload: bytes, isBinary: bool = False) -> None:
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
                self.close(TOO_SLOW)
                return
        super().sendMessage(payload, isBinary)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """One frame from the client, for the application; too many at once close the socket."""
        if self.state != self.STATE_OPEN and not self.restarting:
            return
        if self.application_queue.qsize() >= WAITING_LIMIT_FRAMES:
            self.close(TOO_MANY)
            return
        super().onMessage(payload, isBinary)

    def serverClose(self, code: int | None = None) -> None:
        """The application closes the socket."""
        self.close(code or 1000)

    def close(self, code: int) -> None:
        """Send a close frame with any code: autobahn's sendClose takes 1000 and 3000–4999 alone, not 1012."""
        if self.state == self.STATE_OPEN:
            self.restarting = code == RESTARTING
            self.sendCloseFrame(code=code)

    def _max_message_size_exceeded(self, msg_size: int, max_msg_size: int, reason: str) -> None:
        """Autobahn's hook for a frame that is too long, called when its header has come: close with our code."""
        self._fail_connection(TOO_LONG, reason)
