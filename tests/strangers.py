"""What strangers send to the site: raw bytes over TLS, made by lot from a seed; and an honest client who must never notice."""

from __future__ import annotations

import http.client
import json
import random
import socket
import ssl
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Self

import websocket

ANSWER_S = 5  # an honest client's patience: well below the ten seconds for which nginx passes over an instance
HANDSHAKE = {
    "Host": "localhost", "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Key": "c3RhY2tsYWItc3RyYW5nZQ==",
    "Sec-WebSocket-Version": "13", "Origin": "https://localhost",
}  # fmt: skip


def head(path: str = "/ws/chat/strangers/", method: str = "GET", version: str = "HTTP/1.1", **headers: str | None) -> bytes:
    """A handshake with some headers changed, or left out (None); `_` stands for `-` in their names."""
    changed = HANDSHAKE | {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"{method} {path} {version}", *(f"{name}: {value}" for name, value in changed.items() if value is not None)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin1")


@dataclass(frozen=True)
class Site:
    """The site as strangers reach it: an address, and what is trusted there."""

    address: str
    tls: ssl.SSLContext

    def send(self, data: bytes, wait_s: float = ANSWER_S, reset: bool = False) -> bytes:
        """Send `data` over a connection of its own; the answer's head and what came with it. With wait_s=0 none is read.

        `reset`: end it by a reset, not by a close.
        """
        with self.connect() as connection:
            answer = b""
            with suppress(OSError):  # it may be answered, and closed, before all is sent
                connection.sendall(data)
            try:
                connection.settimeout(wait_s or None)
                while wait_s and b"\r\n\r\n" not in answer and (more := connection.recv(65536)):
                    answer += more
            except OSError:
                pass  # closed in the middle: as much an answer as any
            if reset:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return answer

    def connect(self) -> ssl.SSLSocket:
        plain = socket.create_connection((self.address, 443), timeout=ANSWER_S)
        return self.tls.wrap_socket(plain, server_hostname=self.address)

    def status(self, data: bytes) -> int:
        """The status of the answer; 0 if there was none."""
        words = self.send(data).split(None, 2)
        return int(words[1]) if len(words) > 1 else 0

    def handshake(self, room: str) -> websocket.WebSocket:
        """A chat socket that is open; its room's welcome is yet to come."""
        url, origin = f"wss://{self.address}/ws/chat/{room}/", f"https://{self.address}"
        return websocket.create_connection(url, socket=self.connect(), origin=origin, timeout=ANSWER_S)

    def chat(self, room: str = "honest") -> websocket.WebSocket:
        """A chat socket whose room has welcomed it."""
        chat = self.handshake(room)
        chat.recv()
        return chat


# ---------------------------------------------------------------- by lot


def handshakes(count: int, seed: int) -> Iterator[tuple[bytes, bool]]:
    """`count` handshakes, each with something wrong with it or nothing; and whether its sender waits for an answer."""
    lot = random.Random(seed)
    for _ in range(count):
        if lot.random() < 0.2:
            yield _but_one(lot), True
            continue
        data = _handshake(lot)
        if lot.random() < 0.3:
            yield data[: lot.randrange(len(data))], False
        else:
            yield data, lot.random() < 0.9


def _but_one(lot: random.Random) -> bytes:
    """A handshake with which all is well but for one thing, which is looked at closely, and perhaps repeated in the answer."""
    name = lot.choice([*HANDSHAKE, "Sec-WebSocket-Protocol", "path", "fragment", "method"])
    words = lot.choice(["7", "a", "a,", "x="]) * lot.choice([1, 100, 2_000, 3_000, 3_900])
    if name == "method":
        return head(method=words.upper().replace(",", "").replace("=", "")[:3_900])
    if name in ("path", "fragment"):
        return head(f"/ws/chat/strangers/{'?#'[name == 'fragment']}{words[:7_000]}")
    return head(**{name.replace("-", "_"): {"Host": "localhost:", "Upgrade": "websocket, "}.get(name, "") + words[:7_000]})


def _handshake(lot: random.Random) -> bytes:
    method = lot.choice(["GET"] * 12 + ["POST", "HEAD", "OPTIONS", "PUT", "TRACE", "CONNECT", "get", "G" * 300, "G\xc3T", ""])
    path = lot.choice(["/ws/chat/strangers/"] * 6 + ["/ws/", "/ws", "/ws/chat/", "/ws/chat/a/b/", "/", "//ws/chat/x/", "*", ""])
    path += lot.choice([""] * 8 + ["?", "#", "%", "%00", "%ff%fe", "/../../", "\xed\x95\x9c", "?q=", "#f=", "\x01"])
    path += lot.choice([""] * 8 + [_value(lot).replace(" ", "")])
    version = lot.choice(["HTTP/1.1"] * 12 + ["HTTP/1.0", "HTTP/2.0", "HTTP/0.9", "HTTP/1.10", "FTP/1.1", ""])
    headers = [(name, value) for name, value in HANDSHAKE.items() if lot.random() > 0.03]
    for _ in range(lot.choice([0, 1, 1, 1, 2, 3])):
        name = lot.choice([*HANDSHAKE, "Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions", "Cookie", "X-Forwarded-For",
                           "X-Forwarded-Port", "X-Forwarded-Proto", "Daphne-Root-Path", "Content-Length", "Transfer-Encoding",
                           "Expect", "Content-Type", "User-Agent", "Accept-Encoding", "X-\xff", "Bad Name", ""])  # fmt: skip
        if lot.random() < 0.7:
            headers = [(other, value) for other, value in headers if other != name]
        headers.insert(lot.randint(0, len(headers)), (name, _value(lot)))
    if lot.random() < 0.03:
        headers += [(f"X-{number}", "1") for number in range(lot.choice([90, 600, 3000]))]
    end = lot.choice(["\r\n"] * 12 + ["\n", "\r"])
    lines = [f"{method} {path} {version}", *(f"{name}: {value}" for name, value in headers)]
    body = lot.choice([b""] * 6 + [b"x" * 20_000, lot.randbytes(200), b"\x81\xfe\x7f\xff", b"0\r\n\r\n", head()])
    return (end.join(lines) + end + end).encode("latin1") + body


def _value(lot: random.Random) -> str:
    """What somebody may write after a header's name, or in a path."""
    size = lot.choice([1, 24, 300, 3_000, 5_000, 7_900, 12_000, 40_000])
    letter = lot.choice(["a", "7", ",", "=", "%", '"', "\xff", "\u0080", "\t", "a, "])
    return lot.choice(["", " ", "0", "-1", "13", "13, 13", "websocket, h2c", "permessage-deflate; x=" + "7" * 300, "chunked",
                       "100-continue", "null", "https://" + letter * size, "localhost:" + letter * size,
                       letter * size])  # fmt: skip


# ---------------------------------------------------------------- the honest client


class AllTheWhile:
    """Does several things at once, each in a thread, again and again while a block is at work."""

    def ways(self) -> list[Callable[[], None]]:
        """What is done; each ends once `_leave` is set."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        self._leave = threading.Event()
        self._threads = [threading.Thread(target=way) for way in self.ways()]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._leave.set()
        for thread in self._threads:
            thread.join()


@dataclass
class Honest(AllTheWhile):
    """Somebody who talks in a room, comes anew again and again, and looks at a page; what went wrong for them."""

    site: Site
    done: Counter = field(default_factory=Counter)
    noticed: list[str] = field(default_factory=list)

    def ways(self) -> list[Callable[[], None]]:
        return [partial(self._again_and_again, what) for what in (self.talk, self.come, self.look)]

    def _again_and_again(self, what) -> None:
        while not self._leave.is_set():
            began_s = time.monotonic()
            try:
                what()
            except (OSError, http.client.HTTPException, websocket.WebSocketException, AssertionError, ValueError) as error:
                self.noticed.append(f"{what.__name__} after {time.monotonic() - began_s:.1f} s: {error!r}"[:500])
                time.sleep(0.2)

    def talk(self) -> None:
        """One socket, held to the end: each word comes back."""
        chat = self.site.chat()
        try:
            while not self._leave.wait(0.05):
                word = f"{self.done['talk']}"
                chat.send(json.dumps({"type": "message", "text": word}))
                while json.loads(chat.recv()).get("text") != word:
                    pass
                self.done["talk"] += 1
        finally:
            chat.close()

    def come(self) -> None:
        """A new socket, which is welcomed."""
        self.site.chat("newcomers").close()
        self.done["come"] += 1
        self._leave.wait(0.1)

    def look(self) -> None:
        """A page."""
        status = self.site.status(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert status == 200, status
        self.done["look"] += 1
        self._leave.wait(0.1)


def send_all(site: Site, count: int, seed: int, at_once: int = 8) -> Counter:
    """Send `count` handshakes by lot, some at once; how often each status came ("": none)."""
    ways = random.Random(seed + 1)

    def send(made: tuple[bytes, bool, bool]) -> str:
        data, waits, reset = made
        try:
            answer = site.send(data, wait_s=0.5 if waits else 0, reset=reset)
        except OSError as error:  # no connection at all: the site, or this computer, is full
            return type(error).__name__
        return answer[9:12].decode("latin1") if answer.startswith(b"HTTP/1.1 ") else ""

    made = [(data, waits, ways.random() < 0.3) for data, waits in handshakes(count, seed)]
    with ThreadPoolExecutor(at_once) as senders:
        return Counter(senders.map(send, made))
