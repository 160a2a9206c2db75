"""`Room`: a few chat clients at the desk's own pace, one after the other, for what is looked at. (Load is Locust's.)"""

from __future__ import annotations

import select
import socket
import ssl
from pathlib import Path
from urllib.parse import urlsplit

import websocket

from stacklab.site import LAB, Site

TIMEOUT_S = 5.0
ENDED_WITHIN_S = 1.0


class Room:
    """Sockets that stay open while the block runs, over TLS verified with the lab's CA in the file `ca`."""

    def __init__(self, url: str, ca: Path, site: Site = LAB):
        self._url, self._site, self._tls = url, site, ssl.create_default_context(cafile=ca)
        self._sockets: list[websocket.WebSocket] = []

    def __enter__(self) -> Room:
        return self

    def __exit__(self, *_: object) -> None:
        for client in self._sockets:
            client.shutdown()

    def enter(self, room: str) -> str | None:
        """One more client comes into `room`. None once it is welcomed, or what went wrong, in words."""
        client, room = websocket.WebSocket(), room.replace("-", "_")
        try:
            # A connection of our own: the library's would go by a person's proxy, and trust whom they trust.
            path = self._site.chat_path(room)
            origin = f"https://{self._site.host}" if self._site.host else self._url
            client.connect(f"wss{self._url.removeprefix('https')}{path}", origin=origin, socket=self._connected())
            if self._site.is_labs:
                client.recv()  # the welcome
            elif self._site.chat and self._site.chat.join:
                client.send(self._site.chat.join.replace("{room}", room))
        except (OSError, websocket.WebSocketException) as error:
            client.shutdown()
            return f"{type(error).__name__}: {error}"
        self._sockets.append(client)
        return None

    def _connected(self) -> ssl.SSLSocket:
        url = urlsplit(self._url)
        plain = socket.create_connection((url.hostname, url.port or 443), timeout=TIMEOUT_S)
        try:
            return self._tls.wrap_socket(plain, server_hostname=url.hostname)
        except OSError:
            plain.close()
            raise

    def say_something(self) -> None:
        """Each client sends one message, where it is known how."""
        own = '{"type": "message", "text": "{text}", "n": 1, "sent_s": 0.0}'
        send = own if self._site.is_labs else self._site.chat and self._site.chat.send
        for client in self._sockets if send else ():
            client.send(send.replace("{text}", "look"))

    def held(self) -> int:
        """How many of the clients are still there: an end that has come is noticed, whatever came before it."""
        return sum(self._is_open(client) for client in self._sockets)

    @staticmethod
    def _is_open(client: websocket.WebSocket) -> bool:
        try:
            while client.connected and (client.sock.pending() or select.select([client.sock], [], [], 0)[0]):
                opcode, _ = client.recv_data(control_frame=True)
                if opcode == websocket.ABNF.OPCODE_CLOSE:
                    return False
        except (OSError, websocket.WebSocketException):
            return False
        return client.connected

    def ends(self) -> list[int | None]:
        """The code with which each client's socket was closed: 1006 where it ended without one, None where it is open."""
        return [self._end(client) for client in self._sockets]

    @staticmethod
    def _end(client: websocket.WebSocket) -> int | None:
        client.settimeout(ENDED_WITHIN_S)
        try:
            while True:
                opcode, data = client.recv_data(control_frame=True)
                if opcode == websocket.ABNF.OPCODE_CLOSE:
                    return int.from_bytes(data[:2], "big") if len(data) >= 2 else 1005
        except websocket.WebSocketTimeoutException:
            return None
        except (OSError, websocket.WebSocketException):
            return 1006
