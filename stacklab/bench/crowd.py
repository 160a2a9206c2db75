"""`crowd`: an HTTP load that goes on while settings change, to be cut into slices."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from stacklab.bench.load import Generator
from stacklab.errors import LoadError
from stacklab.workload import HttpLoad

CUT_WITHIN_S = 160.0  # a request and its one repetition give up after 75 s each (loadtests/target.py)
CONNECTS_PER_S = 200  # of visitors that come in (loadtests/pool.py)
ROWS = "requests-0.csv"  # of the one process


class Crowd:
    """A load under way. Made by `crowd`."""

    def __init__(self, generator: Generator, rows: Path):
        self._generator = generator
        self._rows = rows
        self._read_bytes = 0
        self._cuts = -1
        self.failure: LoadError | None = None

    def now(self) -> float:
        """Seconds since the epoch on the load's own clock, which never steps."""
        return self._generator.clock_offset_s + time.monotonic()

    def ask(self, workload: HttpLoad) -> None:
        """From now on `workload.users` users ask for `workload.path`, and wait `workload.wait_s` after each answer."""
        self._say({"users": workload.users, "path": workload.path, "wait_s": workload.wait_s})

    def cut(self) -> bytes:
        """The raw rows (CSV) since the last cut, every request that began until now among them."""
        self._say({"cut": self._cuts + 1})
        self.wait()
        with open(self._rows, "rb") as rows:
            rows.seek(self._read_bytes)
            read = rows.read()
        whole = read[: read.rfind(b"\n") + 1]  # it goes on writing
        self._read_bytes += len(whole)
        return whole

    def wait(self) -> None:
        """Until it has heard the last `cut`; the first time, until it hears at all."""
        try:
            self._cuts = self._generator.cuts.get(timeout=CUT_WITHIN_S)
        except queue.Empty:
            raise LoadError("the load generator does not answer", log=self._generator.log_tail()) from None
        if self.failure:
            raise self.failure

    def gauges(self, start_s: float, end_s: float) -> list[tuple[float, str, float]]:
        """The generator's own readings (time_s, name, value) between two times."""
        return [sample for sample in list(self._generator.samples) if start_s <= sample[0] <= end_s]

    def _say(self, message: dict) -> None:
        if self.failure:
            raise self.failure
        self._generator.say(json.dumps(message))


@contextmanager
def crowd(most: HttpLoad, url: str, out: Path, ca: Path, cpus: Sequence[int] | None, addresses: Sequence[str]) -> Iterator[Crowd]:
    """Up to `most.users` users, none of whom asks for anything before `ask`; nothing of it runs when the block has ended.

    Raw rows and Locust's log go to the folder `out`. LoadError, from the next call, where the generator ends early.
    """
    (out / "raw").mkdir(parents=True, exist_ok=True)
    generator = Generator(most, url, out, ca, cpus, addresses, crowd=True)
    under_way = Crowd(generator, out / "raw" / ROWS)

    def follow() -> None:
        try:
            generator.follow(None, None)
            raise LoadError("Locust ended in the middle of the load", log=generator.log_tail())
        except LoadError as error:
            under_way.failure = error
            generator.cuts.put(-1)

    watcher = threading.Thread(target=follow, daemon=True)
    try:
        generator.start()
        watcher.start()
        under_way.wait()
        yield under_way
    finally:
        generator.stop()
        watcher.join()
