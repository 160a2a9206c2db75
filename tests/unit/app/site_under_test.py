"""The site's own processes, started for real on this machine: Redis on a unix socket, Daphne instances, clients."""

import json
import os
import random
import re
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import websocket
from here import wait_until

from stacklab.settings import StackSettings
from stacklab.stack.render import render

PEM = "/etc/stacklab/tls/daphne.pem"
APP = Path(__file__).resolve().parents[3] / "app"
ORIGIN = "https://localhost"
# How long a test waits before it gives up: for a busy computer, not for this one.
START_S = ANSWER_S = 60


def redis_url(folder: Path) -> str:
    """Where the Redis of `folder` is, for whoever speaks to it."""
    return f"unix://{folder}/redis.sock"


def site_environment(folder: Path, **changes: str) -> dict[str, str]:
    """The environment that provisioning would give the site, with everything inside `folder`."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("STACKLAB_", "DJANGO_"))}
    return own | {
        "STACKLAB_SECRET_KEY": "only-for-tests-" + "0123456789abcdef" * 4,
        "STACKLAB_ALLOWED_HOSTS": "localhost,127.0.0.1,[::1],web.example",
        "STACKLAB_DATABASE": str(folder / "site.sqlite3"),
        "STACKLAB_STATIC": str(folder / "static"),
        "STACKLAB_REDIS": redis_url(folder),
        "DJANGO_SETTINGS_MODULE": "config.settings",
        **changes,
    }


def manage(folder: Path, *arguments: str) -> str:
    """Run manage.py; its output. Fails the test when manage.py fails."""
    command = [sys.executable, "manage.py", *arguments]
    done = subprocess.run(command, cwd=APP, env=site_environment(folder), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


class RedisServer:
    """A Redis of the test's own, without persistence, as on the web host."""

    def __init__(self, folder: Path) -> None:
        self.socket_path, self.url = folder / "redis.sock", redis_url(folder)
        self.host = {"address": self.url, "socket_timeout": None}  # as the site's own settings have it
        self._process: subprocess.Popen | None = None

    def start(self) -> None:
        command = ["redis-server", "--port", "0", "--unixsocket", str(self.socket_path), "--save", ""]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        wait_until(self._answers, "Redis answers")

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(ANSWER_S)
            self._process = None

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as trying:
            try:
                trying.connect(str(self.socket_path))
            except OSError:
                return False
        return True


class Daphne:
    """One real instance, started by the command and with the environment of its unit, on a port of the test's own.

    `called`: what it is told that it is an instance of.
    """

    def __init__(
        self, folder: Path, base_port: int, number: int, tls: tuple = (), called: str = "daphne", **settings: Any
    ) -> None:
        self.port = base_port + number
        self.access_log = folder / f"daphne{number}.log"
        self.errors = folder / f"daphne{number}.err"
        self.ca, *files = tls or (None,)
        rendered = {Path(file.path).name: file.text for file in render(StackSettings(daphne_tls=bool(tls), **settings))}
        lines = (line.partition("=") for line in rendered["daphne.env"].splitlines() if not line.startswith("#"))
        own = {name: value for name, _, value in lines} | {"STACKLAB_INSTANCE": f"{called}@{number}"}
        self._environment = site_environment(folder, **own)
        command = re.search(r"ExecStart=/bin/sh -c 'exec (.*?)'\n", rendered["daphne@.service"], re.DOTALL)[1]
        pair = [f"{name}={file}" for name, file in zip(("certKey", "privateKey"), files, strict=False)]
        for there, here in (
            ("\\\n", " "), ("/opt/stacklab/site/venv/bin/daphne ", f"{sys.executable} -m daphne "),
            ("/opt/stacklab/site/venv/bin/python", sys.executable), ("$$((8442 + %i))", str(self.port)), ("%i", str(number)),
            ("/var/log/daphne", str(folder)), *zip((f"certKey={PEM}", f"privateKey={PEM}"), pair, strict=False),
        ):  # fmt: skip
            command = command.replace(there, here)
        self._command = shlex.split(command)
        self.process: subprocess.Popen | None = None

    def start(self) -> "Daphne":
        """Start it and wait until it listens, as systemd does."""
        with self.errors.open("ab") as errors:
            self.process = subprocess.Popen(self._command, cwd=APP, env=self._environment, stderr=errors)
        wait_until(self._listens, "the instance listens")
        return self

    def _listens(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"the instance ended:\n{self.errors.read_text()}")
        try:
            mine = psutil.Process(self.process.pid).net_connections("tcp")
        except psutil.Error:  # it ended in this moment: the next look tells
            return False
        return any(each.status == psutil.CONN_LISTEN and each.laddr.port == self.port for each in mine)

    def signal(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    def wait(self, seconds: float = START_S) -> int:
        """Its exit code, once it has ended."""
        return self.process.wait(seconds)

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(ANSWER_S)

    def client(self, room: str = "lobby", **options: Any) -> "Client":
        return Client(self, room, **options)


class Client:
    """One WebSocket, as a browser of this site would open it."""

    def __init__(self, daphne: Daphne, room: str, origin: str = ORIGIN, **options: Any) -> None:
        scheme, trust = "ws", {}
        if daphne.ca is not None:
            scheme, trust = "wss", {"sslopt": {"ca_certs": str(daphne.ca)}}
        self.socket = websocket.create_connection(
            f"{scheme}://localhost:{daphne.port}/ws/chat/{quote(room, safe='')}/",
            origin=origin,
            timeout=ANSWER_S,
            **trust,
            **options,
        )

    def welcome(self) -> dict:
        """The first frame."""
        return self.next("welcome")

    def send(self, **frame: Any) -> None:
        self.socket.send(json.dumps(frame))

    def say(self, text: str, n: int | None = None) -> None:
        self.send(type="message", text=text, n=n)

    def next(self, kind: str) -> dict:
        """The next frame of this kind; others are passed over."""
        while True:
            frame = json.loads(self.socket.recv() or "null")
            assert frame is not None, f"the socket was closed before a {kind!r} came"
            if frame["type"] == kind:
                return frame

    def heard(self, seconds: float = 1.0) -> list[dict]:
        """Every message that comes until nothing has come for `seconds`."""
        messages = []
        self.socket.settimeout(seconds)
        try:
            while True:
                messages.append(self.next("message"))
        except websocket.WebSocketTimeoutException:
            return messages
        finally:
            self.socket.settimeout(ANSWER_S)

    def wait_for_presence(self, present: int) -> None:
        while self.next("presence")["present"] != present:
            pass

    def close_code(self) -> int:
        """The code with which the server closes the socket; 1006 if it just goes away."""
        try:
            while True:
                opcode, data = self.socket.recv_data()
                if opcode == websocket.ABNF.OPCODE_CLOSE:
                    return int.from_bytes(data[:2], "big")
        except (websocket.WebSocketConnectionClosedException, ConnectionError):
            return 1006

    def close(self) -> None:
        self.socket.close()


def free_base_port() -> int:
    """A port below twenty free ones, and below those that clients' ends of connections are given."""
    while True:
        base = random.randrange(20_000, 32_000)
        if all(_free(port) for port in range(base, base + 20)):
            return base


def _free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
