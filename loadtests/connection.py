"""`Connection`: one keep-alive HTTP/1.1 connection that hides nothing.

Locust's FastHttpUser is not used for the requests themselves: the client below it repeats a request
silently (up to pool size + 1 times, also on a new connection), loses keep-alive above file
descriptor 1023, and costs about twice the CPU of these lines. The parser is the same.
"""

from __future__ import annotations

import ssl
from http.client import HTTPException
from typing import NamedTuple

from geventhttpclient.response import HTTPResponseParser
from target import ANSWER_TIMEOUT_S, Target, error_text

BLOCK_BYTES = 65_536


class Outcome(NamedTuple):
    """What became of one request. `status` is 0 where no HTTP answer came; `error` is None on success."""

    status: int
    bytes: int
    error: str | None
    retried: bool


class ServerClosed(ConnectionError):
    """The server had closed the connection: not one byte of an answer came."""


class Answer(HTTPResponseParser):
    """Parses one answer; keeps its size, not its body, and no headers."""

    def __init__(self):
        super().__init__()
        self.size = 0
        self.complete = False

    def _on_body(self, data: bytearray) -> None:
        self.size += len(data)

    def _on_message_complete(self) -> None:
        self.complete = self.get_code() >= 200  # an interim 1xx is followed by the answer proper

    def _ignore(self, *_) -> None:
        pass

    _on_message_begin = _on_status = _on_header_field = _on_header_value = _on_headers_complete = _ignore


class Connection:
    """GETs of `path`, which may change, over one connection at a time, opened when needed. Redirects are not followed."""

    def __init__(self, target: Target, path: str, source_address: str | None):
        self._target = target
        self._source_address = source_address
        self._socket = None
        self._requests: dict[str, bytes] = {}
        self.path = path

    @property
    def _request(self) -> bytes:
        if self.path not in self._requests:
            self._requests[self.path] = (
                f"GET {self.path} HTTP/1.1\r\nHost: {self._target.authority}\r\nUser-Agent: StackLab\r\n"
                "Accept: text/html,*/*\r\nAccept-Encoding: gzip\r\n\r\n"
            ).encode()
        return self._requests[self.path]

    def get(self) -> Outcome:
        """One GET. A reused connection that met the server's close is replaced once, as a browser does."""
        reused, retried = self._socket is not None, False
        try:
            try:
                answer = self._exchange()
            except ServerClosed:
                if not reused:
                    raise
                self.close()
                retried = True
                answer = self._exchange()
        except (OSError, HTTPException) as error:
            self.close()
            return Outcome(0, 0, error_text(error), retried)
        if not answer.should_keep_alive():
            self.close()
        status = answer.get_code()
        return Outcome(status, answer.size, None if 200 <= status < 300 else f"HTTP {status}", retried)

    def _exchange(self) -> Answer:
        if self._socket is None:
            self._socket = self._target.connect(self._source_address)
            self._socket.settimeout(ANSWER_TIMEOUT_S)
        answer = Answer()
        try:
            self._socket.sendall(self._request)
            data = self._socket.recv(BLOCK_BYTES)
        except (ConnectionResetError, BrokenPipeError, ssl.SSLEOFError, ssl.SSLZeroReturnError) as error:
            raise ServerClosed(f"closed before an answer ({error_text(error)})") from error
        if not data:
            raise ServerClosed("closed before an answer")
        answer.feed(data)
        while not answer.complete:
            answer.feed(self._socket.recv(BLOCK_BYTES))  # no data: the parser knows whether the answer ends there
        return answer

    def close(self) -> None:
        """Drop the connection; the next GET opens a new one."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
