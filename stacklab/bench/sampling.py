"""`sampling`: the web host's resources while something runs, streamed over SSH and kept as tables.

The readings are taken by `provision/files/sampler.py` on the host, which prints JSON lines; here they are
written down as they come and made into tables at the end. Pings over the same stream measure how far the
two machines' clocks are apart, and tell the sampler that somebody still listens.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TextIO

from stacklab.errors import HostError, LabError
from stacklab.labs.host import Host, Stream
from stacklab.stack.services import SERVICES

SAMPLER = "/opt/stacklab/provision/files/sampler.py"
FORMAT = 1
READY_WITHIN_S = 20.0
STOP_WITHIN_S = 10.0
PINGS = 8  # in a row, at the start and at the end; the quickest counts
PING_INTERVAL_S = 5.0
RECONNECT_AFTER_S = 1.0
GAP = 3  # a pause of so many intervals between two samples is a gap
CLOCK_DRIFT_S = 0.05


@contextmanager
def sampling(
    host: Host, out: Path, interval_s: float = 0.5, memory_interval_s: float = 2.0
) -> Iterator[Sampling]:
    """Sample `host` while the block runs; write out/resources.parquet and out/gauges.parquet at its end.

    resources: time_s, service, cpu_s (cumulative), pss_bytes, rss_bytes, threads, open_files (null between
    readings of the memory). gauges: time_s, name, value. Times are the host's clock.

    The value has `clock_offset_s` (host minus desk), `clock_error_s` and `problems`, complete once the block
    has ended. A stream that breaks is opened again; what was missed is a problem, not an error.
    Errors: HostError if the sampler does not start. It never outlives the block, nor a broken connection for long.
    """
    watch = Sampling(host, Path(out), interval_s, memory_interval_s)
    watch.start()
    try:
        yield watch
    finally:
        watch.stop()


class Sampling:
    """One sampling of one host, from `start` to `stop`."""

    def __init__(self, host: Host, out: Path, interval_s: float, memory_interval_s: float):
        self.problems: list[str] = []
        self.clock_offset_s: float | None = None
        self.clock_error_s: float | None = None
        self._host, self._out = host, out
        self._interval_s = interval_s
        services = " ".join(f"{name}='{service.unit}'" for name, service in SERVICES.items())
        self._command = f"exec python3 -I {SAMPLER} --interval {interval_s:g} --memory-interval {memory_interval_s:g} {services}"
        self._raw = out / "samples.jsonl"
        self._failure: LabError | None = None
        self._started, self._stopping = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._pings_left, self._pinged_s = PINGS, 0.0
        self._closed = False  # we ended it, as opposed to: it broke
        self._clocks: list[tuple[float, float]] = []  # (round trip, host minus desk), in order of time

    def start(self) -> None:
        """Start the sampler; returns once the first sample is here."""
        self._thread.start()
        if not self._started.wait(READY_WITHIN_S):
            self._failure = HostError(f"{self._host.name}: the sampler gave no sample within {READY_WITHIN_S:.0f} s")
        if self._failure:
            self._stopping.set()
            raise self._failure

    def stop(self) -> None:
        """Stop the sampler, compare the clocks again, write the tables."""
        self._stopping.set()
        self._thread.join(STOP_WITHIN_S)
        if self._thread.is_alive():
            self.problems.append("the connection to the sampler hung at the end; its last samples may be missing")
        if self._clocks:
            self._compare_clocks()
        self._write_tables()

    def between(self, start_s: float, end_s: float) -> list[dict]:
        """What was sampled so far between two times of the host's clock, as the sampler printed it."""
        samples = (json.loads(line) for line in self._raw.read_text().splitlines() if line.endswith("}"))
        return [sample for sample in samples if start_s <= sample["time_s"] <= end_s]

    def clock(self) -> tuple[float | None, float | None]:
        """The host's clock minus the desk's as far as is known by now, and how well: the quickest ping tells."""
        round_trip_s, offset_s = min(self._clocks, default=(None, None))
        return offset_s, None if round_trip_s is None else round_trip_s / 2

    # -- in the thread --------------------------------------------------------------------------

    def _follow(self) -> None:
        """Read the stream until we end it; open it again when it breaks."""
        while not self._stopping.is_set():
            try:
                with self._host.stream(self._command, sudo=True) as stream, open(self._raw, "a") as raw:
                    self._read(stream, raw)
                    words = stream.stderr.strip() or "the SSH connection broke"
            except (LabError, OSError) as error:
                words = str(error)
            if self._closed:
                return
            if not self._started.is_set():
                self._failure = HostError(f"{self._host.name}: the sampler did not start: {words}", stderr=words)
                self._started.set()
                return
            self.problems.append(f"sampling was interrupted at {time.time():.1f}: {words}")
            self._stopping.wait(RECONNECT_AFTER_S)

    def _read(self, stream: Stream, raw: TextIO) -> None:
        for line in stream:
            message = json.loads(line)
            if "pong" in message:
                self._pong(float(message["pong"]), message["time_s"])
            elif "ready" in message:
                if message["ready"] != FORMAT:
                    raise HostError(f"{self._host.name} has another version's sampler; run 'fab provision'")
            elif "dropped" in message:
                self.problems.append(f"the link was too slow: {message['dropped']} readings were dropped")
            else:
                raw.write(line + "\n")
                raw.flush()
                self._started.set()
                if self._stopping.is_set() and not self._closed:
                    self._closed = True
                    self._pings_left = PINGS
            self._ping(stream)

    def _ping(self, stream: Stream) -> None:
        """Send the next ping of a series, one when the last was long ago, and after the closing series the end."""
        if self._pings_left:
            self._pings_left -= 1
        elif self._closed:
            stream.close()
            return
        elif time.monotonic() - self._pinged_s < PING_INTERVAL_S:
            return
        self._pinged_s = time.monotonic()
        stream.send(f"ping {time.time()!r}\n")

    def _pong(self, sent_s: float, host_s: float) -> None:
        received_s = time.time()
        self._clocks.append((received_s - sent_s, host_s - (sent_s + received_s) / 2))

    # -- at the end -----------------------------------------------------------------------------

    def _compare_clocks(self) -> None:
        """The quickest ping tells the offset, to half its round trip. Clocks that ran apart are a problem."""
        self.clock_offset_s, self.clock_error_s = self.clock()
        (first_trip_s, first_s), (last_trip_s, last_s) = min(self._clocks[:PINGS]), min(self._clocks[-PINGS:])
        if abs(last_s - first_s) > CLOCK_DRIFT_S + (first_trip_s + last_trip_s) / 2:
            self.problems.append(f"the clocks of desk and web moved apart by {last_s - first_s:+.3f} s during the run")

    def _write_tables(self) -> None:
        from stacklab.runs import rows  # it loads pyarrow, which those who only import this module need not wait for

        samples = [json.loads(line) for line in self._raw.read_text().splitlines() if line.endswith("}")]
        times = rows.write_samples(samples, self._out)
        self.problems += gaps(times, self._interval_s)
        self._raw.unlink()


def gaps(times: Sequence[float], interval_s: float) -> list[str]:
    """One line for each pause of more than GAP intervals in the sorted `times` of samples."""
    pauses = [(after - before, before) for before, after in pairwise(times) if after - before > GAP * interval_s]
    return [f"no samples for {pause_s:.1f} s from {at_s:.1f}" for pause_s, at_s in pauses]
