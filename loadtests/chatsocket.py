"""`ChatSocket`: one WebSocket, as lean as it can be.

websocket-client was measured first: over TLS under gevent it needs two and a half times the CPU for each
message received (150 against 60 µs) and twice that for each one sent. In a large room receiving is all
there is, and the generator must not be the bottleneck. The chat's server sends whole text frames, pings
and a close, and that is all that is understood here (RFC 6455).
"""

from __future__ import annotations

import base64
import os
import random
import re
import struct
from collections.abc import Iterator

import gevent.socket
from target import Target

TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA
FINAL, MASKED = 0x80, 0x80
BLOCK_BYTES = 16_384
NO_STATUS = 1005  # RFC 6455: what a close frame without a code stands for
ABNORMAL = 1006  # RFC 6455: what an end without a close frame stands for
INSTANCE = re.compile(rb"^X-StackLab-Instance: (\S+)\r?$", re.MULTILINE)  # as nginx says it, of somebody's own site


class HandshakeRefused(ConnectionError):
    """The answer to the handshake was something else than 101. Its text is "HTTP <status>"."""


class Closed(Exception):
    """The connection has ended. `code` is the close frame's, or ABNORMAL where there was none."""

    def __init__(self, code: int):
        super().__init__(f"closed with code {code}")
        self.code = code


class ChatSocket:
    """An open WebSocket. Frames are read by one greenlet and may be sent by another.

    `instance`: which one took it, by nginx's word; None where nginx does not say.
    """

    _close_code: int | None = None  # the peer's, once its close frame is here

    def __init__(self, target: Target, path: str, source_address: str | None):
        """Connect: TCP, TLS, handshake. OSError (HandshakeRefused, timeouts, TLS errors) if that fails."""
        self._socket = target.connect(source_address)
        try:
            self._unread = self._handshake(target, path)
        except BaseException:
            self._socket.close()
            raise
        self._socket.settimeout(None)  # an idle room is quiet, and a browser waits too

    def _handshake(self, target: Target, path: str) -> bytes:
        self._socket.sendall(
            f"GET {path} HTTP/1.1\r\nHost: {target.authority}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nOrigin: {target.origin}\r\n"
            f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}\r\n\r\n".encode()
        )
        answer = b""
        while b"\r\n\r\n" not in answer:
            data = self._socket.recv(BLOCK_BYTES)
            if not data:
                raise HandshakeRefused("closed before an answer")
            answer += data
        head, _, rest = answer.partition(b"\r\n\r\n")
        told = INSTANCE.search(head)
        self.instance = told[1].decode() if told else None
        status = head.split(None, 2)[1].decode()
        if status != "101":
            raise HandshakeRefused(f"HTTP {status}")
        return rest

    def blocks(self) -> Iterator[list[bytes]]:
        """The texts that have arrived, a list for each time some did. Answers pings. Closed at the end."""
        while True:
            texts, self._unread = self._take_frames(self._unread)
            if texts:
                yield texts
            if self._close_code is not None:
                raise Closed(self._close_code)
            try:
                data = self._socket.recv(BLOCK_BYTES)
            except ConnectionError as error:
                raise Closed(ABNORMAL) from error
            if not data:
                raise Closed(ABNORMAL)
            self._unread += data

    def _take_frames(self, data: bytes) -> tuple[list[bytes], bytes]:
        """Split `data` into the texts of its whole frames and the rest."""
        texts, start = [], 0
        while len(data) - start >= 2 and self._close_code is None:
            first, length = data[start], data[start + 1]
            body = start + 2
            if length == 126:
                body += 2
                length = int.from_bytes(data[start + 2 : body], "big")
            elif length == 127:
                body += 8
                length = int.from_bytes(data[start + 2 : body], "big")
            end = body + length
            if len(data) < end:
                break
            if first == FINAL | TEXT:
                texts.append(data[body:end])
            else:
                self._control(first & 0x0F, data[body:end])
            start = end
        return texts, data[start:]

    def _control(self, kind: int, body: bytes) -> None:
        if kind == PING:
            self._send_frame(PONG, body)
        elif kind == CLOSE:
            self._close_code = struct.unpack("!H", body[:2])[0] if len(body) >= 2 else NO_STATUS
        elif kind != PONG:
            raise ConnectionError(f"a frame of kind {kind} that the chat never sends")

    def send(self, text: str) -> None:
        """Send one text frame. OSError if the connection has ended."""
        self._send_frame(TEXT, text.encode())

    def say_goodbye(self, code: int) -> None:
        """Send the close frame; the peer's own then ends `blocks`."""
        self._send_frame(CLOSE, struct.pack("!H", code))

    def cut(self) -> None:
        """End the connection without a word, as if the network had; the reader finds that out."""
        try:
            gevent.socket.socket.shutdown(self._socket, gevent.socket.SHUT_RDWR)  # of TCP: TLS's own says goodbye first
        except OSError:
            pass  # it has just ended

    def close(self) -> None:
        """Drop the connection."""
        self._socket.close()

    def _send_frame(self, kind: int, body: bytes) -> None:
        size = len(body)
        if size < 126:
            head = bytes((FINAL | kind, MASKED | size))
        elif size < 65_536:
            head = struct.pack("!BBH", FINAL | kind, MASKED | 126, size)
        else:
            head = struct.pack("!BBQ", FINAL | kind, MASKED | 127, size)
        mask = random.randbytes(4)
        self._socket.sendall(head + mask + masked(body, mask))


def masked(body: bytes, mask: bytes) -> bytes:
    """`body` XOR the repeated four bytes of `mask`, by way of one large number: the quickest there is in Python."""
    repeated = (mask * (len(body) // 4 + 1))[: len(body)]
    return (int.from_bytes(body, "big") ^ int.from_bytes(repeated, "big")).to_bytes(len(body), "big")
