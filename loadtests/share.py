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
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TextIO

import gevent
import gevent.os
from gevent.event import Event
from target import Target

REPORT_INTERVAL_S = 0.5
NOT_BY_HAND = "this is the load of 'fab http' and 'fab chat', which start it; by locust alone take pages.py or chat.py"


class Share(Target):
    """The load this process has to make, and its line to the desk."""

    def __init__(self):
        if "STACKLAB_LOAD" not in os.environ:
            sys.exit(NOT_BY_HAND)
        with open(os.environ["STACKLAB_LOAD"], encoding="utf-8") as file:
            spec = json.load(file)
        super().__init__(spec["url"], spec["ca"], spec["site"]["host"], spec["client_addresses"], spec["clock_offset_s"])
        self.workload: dict = spec["workload"]
        self.site: dict = spec["site"]
        self.number: int = spec["number"]
        self.processes: int = spec["processes"]
        self.places: list[tuple[int, str, bool]] = spec["places"]
        self.out = Path(spec["out"])
        self.words = {word: Event() for word in ("go", "count")}
        self.told: Callable[[dict], None] = lambda message: None  # what to do with a JSON object from the desk
        self._files = []

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
