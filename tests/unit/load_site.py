"""A small HTTPS site with faults on request, to test the load generator against."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Handler(BaseHTTPRequestHandler):
    """`/` answers; the other paths misbehave."""

    protocol_version = "HTTP/1.1"
    timeout = 30

    def do_GET(self) -> None:
        site: Site = self.server.site
        with site.lock:
            site.asked[self.path] += 1
            number = site.asked[self.path]
        self.requests = getattr(self, "requests", 0) + 1
        if self.path == "/reset":
            self._reset()
        elif self.path == "/reset-some" and number % 5 == 0:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly")
            self._reset()
        elif self.path == "/bad":
            self._answer(502, b"bad gateway")
        elif self.path == "/bad-some":
            self._answer(502 if number % 4 == 0 else 200, b"perhaps")
        elif self.path == "/moved":
            self._answer(302, b"", ("Location", "/"))
        elif self.path == "/slow":
            time.sleep(0.5)
            self._answer(200, b"late")
        elif self.path == "/two-a-connection" and self.requests == 3:
            self.close_connection = True  # a keep-alive connection that is closed without a word
        else:
            self._answer(200, b"hello")

    def _answer(self, status: int, body: bytes, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in (("Content-Length", str(len(body))), *headers):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        socket.socket(fileno=self.connection.detach()).close()
        self.wfile = self.rfile = open("/dev/null", "r+b")
        self.close_connection = True

    def log_message(self, *_) -> None:
        pass


class Site(ThreadingHTTPServer):
    """The site on a free port of 127.0.0.1, while used as a context manager."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, certificate: Path, key: Path):
        super().__init__(("127.0.0.1", 0), Handler)
        self.site, self.lock, self.asked = self, threading.Lock(), Counter()
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(certificate, key)
        self.url = f"https://127.0.0.1:{self.server_port}"

    def get_request(self):
        connection, address = super().get_request()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), address

    def handle_error(self, *_) -> None:
        pass

    def __enter__(self):
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self.shutdown()
        self.server_close()
