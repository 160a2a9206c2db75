"""A small chat server over TLS, with faults on request, to test the load generator against."""

from __future__ import annotations

import itertools
import json
import secrets
import socket
import ssl
import threading
import time
from pathlib import Path

from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Ping, Pong, RejectConnection, Request, TextMessage

PAGE = 3  # messages of the history at once


class ChatSite:
    """Rooms as the site under test has them, served by a thread a socket."""

    def __init__(self, certificate: Path, key: Path):
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(certificate, key)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.url = f"https://127.0.0.1:{self._listener.getsockname()[1]}"
        self.reset()

    def reset(self) -> None:
        """Forget everything; no faults."""
        self.lock = threading.RLock()
        self.members: dict[str, set[Member]] = {}
        self.arrivals = itertools.count(1)
        self.deliveries = itertools.count(1)
        self.heard: list[dict] = []
        self.origins: set[str] = set()
        self.told: list[tuple[bytes, bytes]] = []  # headers of the answer to a handshake
        self.pongs = 0
        self.arrived_s = 0.0  # the last arrival; deliveries are counted, and faulty, so long after it:
        self.settle_s = 1.0
        self.lose_every = self.double_every = None
        self.close_after: dict[int, int] = {}  # {number of the arrival: close code after its first message}
        self.refuse: set[int] = set()  # numbers of arrivals answered with 503
        self.handshake_s = 0.0  # before one is answered
        self.delay_s = 0.0  # from a message's arrival to its delivery
        self.ping_after_s: float | None = None  # from a client's welcome; it is pinged before that too
        self.history: list[dict] | None = None  # a list: keep history, and let clients resume

    def __enter__(self) -> ChatSite:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=Member, args=(self, connection, self._tls), daemon=True).start()

    def deliver(self, frame: dict, room: str) -> None:
        """Hand a frame to everyone in the room, subject to the faults asked for."""
        with self.lock:
            if self.history is not None and frame["type"] == "message":
                frame["id"] = f"{len(self.history) + 1}-0"
                self.history.append(frame)
            for member in self.members[room]:
                settled = time.monotonic() > self.arrived_s + self.settle_s
                number = next(self.deliveries) if frame["type"] == "message" and settled else 0
                if self.lose_every and number and number % self.lose_every == 0:
                    continue
                copies = 2 if self.double_every and number and number % self.double_every == 0 else 1
                for _ in range(copies):
                    member.say({**frame, "instance": "daphne@1"})


class Member:
    """One socket, served by one thread."""

    def __init__(self, site: ChatSite, connection: socket.socket, tls: ssl.SSLContext):
        self.site, self.name, self.number = site, secrets.token_hex(4), 0
        self.protocol = WSConnection(ConnectionType.SERVER)
        self.room, self.closing = "", False
        try:
            self.socket = tls.wrap_socket(connection, server_side=True)
            self._serve()
        except OSError:
            pass
        finally:
            with site.lock:
                site.members.get(self.room, set()).discard(self)
            connection.close()

    def _serve(self) -> None:
        while data := self.socket.recv(65536):
            self.protocol.receive_data(data)
            for event in self.protocol.events():
                if not self._handle(event):
                    self.socket.close()
                    return

    def _send(self, event) -> None:
        with self.site.lock:
            self.socket.sendall(self.protocol.send(event))

    def say(self, frame: dict) -> None:
        try:
            self._send(TextMessage(json.dumps(frame)))
        except Exception:
            pass  # this one has gone; its own thread sees it

    def _handle(self, event) -> bool:
        site = self.site
        if isinstance(event, Request):
            self.number, site.arrived_s = next(site.arrivals), time.monotonic()
            site.origins |= {value.decode() for name, value in event.extra_headers if name == b"origin"}
            if self.number in site.refuse:
                self._send(RejectConnection(status_code=503))
                return False
            time.sleep(site.handshake_s)
            self.room = event.target.split("/")[-2]
            self._send(AcceptConnection(extra_headers=site.told))
            self._send(Ping(b"still there?"))
            with site.lock:
                site.members.setdefault(self.room, set()).add(self)
                self.joined = len(site.history or [])
                last_id = None if site.history is None else f"{self.joined}-0"
                self.say({"type": "welcome", "client": self.name, "instance": "daphne@1", "room": self.room,
                          "present": len(site.members[self.room]), "last_id": last_id})  # fmt: skip
            site.deliver({"type": "presence", "present": len(site.members[self.room])}, self.room)
            if site.ping_after_s:
                threading.Timer(site.ping_after_s, self._send, (Ping(b"and now?"),)).start()
        elif self.closing:
            # what was under way is read to the end: a socket closed before that resets, and the close code is lost
            return not isinstance(event, CloseConnection)
        elif isinstance(event, TextMessage):
            self._take(json.loads(event.data))
        elif isinstance(event, Pong):
            site.pongs += 1
        elif isinstance(event, CloseConnection):
            self._send(event.response())
            return False
        return True

    def _take(self, frame: dict) -> None:
        site = self.site
        if frame["type"] == "resume":
            with site.lock:
                start = int(frame["last_id"].split("-")[0])
                end = min(start + PAGE, self.joined)
                for missed in site.history[start:end]:
                    self.say({**missed, "instance": "daphne@1"})
                self.say({"type": "resumed", "last_id": f"{end}-0", "more": end < self.joined})
            return
        with site.lock:
            site.heard.append(frame)
        if self.number in site.close_after:
            with site.lock:
                site.members[self.room].discard(self)
            self._send(CloseConnection(code=site.close_after.pop(self.number)))
            self.closing = True
            return
        message = {"type": "message", "id": secrets.token_hex(4), "client": self.name, "text": frame["text"],
                   "n": frame["n"], "sent_s": frame["sent_s"], "via": "daphne@1"}  # fmt: skip
        if site.delay_s:
            threading.Timer(site.delay_s, site.deliver, (message, self.room)).start()
        else:
            site.deliver(message, self.room)
