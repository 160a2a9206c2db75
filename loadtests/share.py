"""One generator process's share of a load: what to do, where to write rows, how to talk to the desk.

`stacklab.bench.load` starts each process with `STACKLAB_LOAD` naming a JSON file:

    url, ca, out        the site, the lab's CA (a file), the folder for raw rows
    workload            the fields of `HttpLoad` or `ChatLoad`
    client_addresses    source addresses to spread connections over; may be empty
    site                which site that is, and how one talks there (`stacklab.site.Site`)
    places              of chat: the room and the part of each of this process's clients (`ChatLoad.places`)
    number, processes   this is process `number` of `processes`
    clock_offset_s      epoch time minus the monotonic clock, so that all processes share one steady clock

The process prints one JSON object a line on standard output and reads words, or JSON objects, from standard input.
The end of its input means that the desk is gone: it stops, so that no generator is ever left behind.
"""

from __future__ import annotations

import csv
import json
import os
import resource
import socket
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TextIO
from urllib.parse import urlsplit

import gevent
import gevent.os
import gevent.ssl
from gevent.event import Event

REPORT_INTERVAL_S = 0.5
MOST_FILES = 65_536
CONNECT_TIMEOUT_S = 15
ANSWER_TIMEOUT_S = 75  # longer than nginx's own 60 s, so that its 504 is seen and not our impatience


class Share:
    """The load this process has to make, and its line to the desk."""

    def __init__(self):
        with open(os.environ["STACKLAB_LOAD"], encoding="utf-8") as file:
            spec = json.load(file)
        self.workload: dict = spec["workload"]
        self.site: dict = spec["site"]
        self.number: int = spec["number"]
        self.processes: int = spec["processes"]
        self.places: list[tuple[int, str, bool]] = spec["places"]
        self.client_addresses: list[str] = spec["client_addresses"]
        self.out = Path(spec["out"])
        self.words = {word: Event() for word in ("go", "count")}
        self.told: Callable[[dict], None] = lambda message: None  # what to do with a JSON object from the desk
        self._clock_offset_s: float = spec["clock_offset_s"]
        self._files = []

        url = urlsplit(spec["url"])
        self.host = url.hostname
        self.authority = url.netloc
        self.origin = f"https://{self.site['host'] or url.netloc}"  # of the pages from which a browser would connect
        self.port = url.port or 443
        self.tls = gevent.ssl.create_default_context(cafile=spec["ca"])
        self._resolved: tuple | None = None
        raise_open_files()

    def now(self) -> float:
        """Seconds since the epoch on a clock that never steps, the same in all processes of the load."""
        return self._clock_offset_s + time.monotonic()

    def source_address(self, index: int) -> str | None:
        """The address that connection number `index` comes from (None: whatever the system picks)."""
        return self.client_addresses[index % len(self.client_addresses)] if self.client_addresses else None

    def connect(self, source_address: str | None) -> gevent.ssl.SSLSocket:
        """A new TLS connection to the site, verified against the lab's CA. OSError if there is none."""
        if self._resolved is None:
            self._resolved = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)[0]
        family, kind, protocol, _, address = self._resolved
        plain = socket.socket(family, kind, protocol)
        try:
            plain.settimeout(CONNECT_TIMEOUT_S)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if source_address:
                plain.bind((source_address, 0))
            plain.connect(address)
            return self.tls.wrap_socket(plain, server_hostname=self.host)
        except BaseException:
            plain.close()
            raise

    def rows(self, name: str) -> Rows:
        """Where raw rows go, buffered: a file of this process's own."""
        file = open(self.out / f"{name}-{self.number}.csv", "w", newline="", encoding="utf-8", buffering=1 << 18)
        self._files.append(file)
        return Rows(file)

    def flush(self) -> None:
        """Everything written is in the files when this returns."""
        for file in self._files:
            file.flush()

    def close(self) -> None:
        """The same, and nothing more will be written."""
        for file in self._files:
            file.close()

    def keep_reporting(self, status: Callable[[], dict]) -> None:
        """Tell the desk `status()` now and then, and how late that was: this process's own slowness."""
        while True:
            due_s = time.monotonic() + REPORT_INTERVAL_S
            gevent.sleep(REPORT_INTERVAL_S)
            self.report(**status(), lag_s=time.monotonic() - due_s)

    def report(self, **fields) -> None:
        """Tell the desk something: one JSON object on a line."""
        sys.stdout.write(json.dumps(fields) + "\n")
        sys.stdout.flush()

    def listen(self, environment) -> None:
        """Follow the desk's words in the background; stop Locust when the desk is gone."""
        gevent.spawn(self._listen, environment)

    def _listen(self, environment) -> None:
        gevent.os.make_nonblocking(0)
        heard = b""
        while chunk := gevent.os.nb_read(0, 4096):
            *lines, heard = (heard + chunk).split(b"\n")
            for line in lines:
                if line.startswith(b"{"):
                    gevent.spawn(self.told, json.loads(line))
                else:
                    self.words[line.decode()].set()
        environment.runner.quit()


class Rows:
    """A CSV file that is written row by row. A disk without room ends the process at once: rows would be missing."""

    def __init__(self, file: TextIO):
        self._write = csv.writer(file).writerow

    def writerow(self, row: Sequence[object]) -> None:
        try:
            self._write(row)
        except OSError as error:
            sys.stderr.write(f"cannot write rows: {error}\n")
            sys.stderr.flush()
            os._exit(os.EX_IOERR)


def raise_open_files() -> None:
    """Let this process open as many files as the machine allows, as far as that makes sense."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def error_text(error: BaseException) -> str:
    """The class and the text of an exception, as the rows record it."""
    return f"{type(error).__name__}: {error}"
