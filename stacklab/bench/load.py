"""`run_load`: put a workload on the site with Locust, in processes of its own, and keep every row.

Locust patches the process that imports it, so it never runs in this one. Each process gets its share
of the load as JSON (see `loadtests/share.py`), prints how far it is, and writes raw rows; once all
have ended, `stacklab.runs.rows` makes the tables of them.
"""

from __future__ import annotations

import json
import math
import os
import queue
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from stacklab.errors import LoadError
from stacklab.files import ROOT
from stacklab.labs.cpus import allowed
from stacklab.site import LAB, Site
from stacklab.surroundings import own
from stacklab.workload import HttpLoad, Workload

LOADTESTS = ROOT / "loadtests"
SAMPLE_INTERVAL_S = 0.5
RATE_OVER_S = 3.0
SILENT_S = 60.0  # a generator reports twice a second; one this silent is stuck
GRACE_S = 60.0  # for starting Python, stopping Locust, writing rows
STOP_S = 5.0
ANSWER_TIMEOUT_S = 150.0  # a request and its one repetition give up after 75 s each (loadtests/target.py)
CLIENTS_PER_S = 20  # chat clients that connect more slowly than this are not waited for
DRAIN_S = 15.0  # the longest wait for late messages (loadtests/chatters.py)
LOG_TAIL_LINES = 30
OTHER_FILES = 100  # that a generator opens besides its sockets
PHASES = ("ramp", "warmup", "load")  # of a load, in their order


@dataclass(frozen=True)
class Progress:
    """How far a load has come.

    `done` of `total` are counted requests; for chat, clients while they connect and seconds after that.
    `rate_per_s` is requests (for chat: messages received) a second of late. `left_s` is None while unknown.
    `phase` is one of PHASES.
    """

    done: float
    total: float
    rate_per_s: float
    errors: int
    left_s: float | None
    phase: str


def from_networks(addresses: Sequence[str], workload: Workload) -> list[str]:
    """Those of the desk's addresses that lie in the first `workload.networks` /24s; all of them for HTTP."""
    if isinstance(workload, HttpLoad):
        return list(addresses)
    networks = list(dict.fromkeys(address.rpartition(".")[0] for address in addresses))[: workload.networks]
    return [address for address in addresses if address.rpartition(".")[0] in networks]


def run_load(
    workload: Workload,
    url: str,
    out: Path,
    ca: Path,
    *,
    cpus: Sequence[int] | None = None,
    client_addresses: Sequence[str] = (),
    progress: Callable[[Progress], None] | None = None,
    timeout_s: float | None = None,
    site: Site = LAB,
) -> None:
    """Put `workload` on `url` and write the tables of raw rows into the existing folder `out`.

    HttpLoad: requests.parquet. ChatLoad: messages.parquet and connections.parquet. Both: locust.log and
    generator.parquet (time_s, name, value) with generator_cpu (share of one core, summed over processes),
    generator_cpu_busiest (that of the busiest process, which cannot pass 1), generator_lag_s (how late the
    generator itself was, twice a second: response times are too long by up to as much) and generator_rss_bytes.

    TLS is verified with the CA in the file `ca`. `cpus` pins the generator; chat load uses one process a CPU.
    `client_addresses` are source addresses to spread connections over, `site` is how one talks there. `timeout_s` is how
    long it may take (for chat, from the client that came last); by default what the workload needs and a minute, or, where
    that depends on the answers, any time. However this ends (an error, Ctrl-C, the death of this process), no generator is
    left running.
    Errors: LoadError, with the end of Locust's log, when Locust fails, hangs, or answers are missing.
    """
    from stacklab.runs import rows  # it loads pyarrow, which those who only import this module need not wait for

    out = Path(out)
    raw = out / "raw"
    shutil.rmtree(raw, ignore_errors=True)
    raw.mkdir()
    generator = Generator(workload, url, out, Path(ca), cpus, client_addresses, site=site)
    try:
        generator.start()
        generator.follow(progress, timeout_s or _longest_s(workload))
    finally:
        generator.stop()
        rows.write_gauges(generator.samples, out / "generator.parquet")
    log = generator.log_tail()
    if isinstance(workload, HttpLoad):
        _check_answers(rows.write_requests(raw, out, workload.path), workload.requests, log)
    else:
        _check_connections(rows.write_chat(raw, out))
    shutil.rmtree(raw)


def _check_answers(outcomes: dict[str, int], expected: int, log: str) -> None:
    """Raise LoadError unless `outcomes` ({error or "": counted requests}) add up, and something answered."""
    counted = sum(outcomes.values())
    unanswered = {error: count for error, count in outcomes.items() if error and not error.startswith("HTTP ")}
    if sum(unanswered.values()) == counted:
        error = max(unanswered, key=unanswered.get, default="nothing was sent")
        raise LoadError(f"not one request was answered: {error}. Is the stack up, and is the CA this lab's?")
    if counted != expected:
        raise LoadError(f"{counted} of {expected} counted requests came back from Locust", log=log)


def _check_connections(outcomes: dict[str, int]) -> None:
    """Raise LoadError unless somebody connected. `outcomes`: {error, "" for none: attempts to connect}."""
    failed = {error: count for error, count in outcomes.items() if error}
    if not outcomes[""]:
        error = max(failed, key=failed.get, default="nobody tried")
        raise LoadError(f"not one client came into its room: {error}. Is the stack up, and is the CA this lab's?")


def _longest_s(workload: Workload) -> float | None:
    """How long this load can take at most; None where that depends on the answers (a closed loop).

    Chat clients that connect slowly have time, as on an emulated machine: this counts from the one that came last.
    """
    if not isinstance(workload, HttpLoad):
        connecting_s = max(workload.ramp_s, workload.clients / CLIENTS_PER_S)
        return connecting_s + workload.duration_s + DRAIN_S + GRACE_S
    if workload.requests_per_s is None:
        return None
    schedule_s = workload.ramp_s + workload.warmup_s + workload.requests / workload.requests_per_s
    return schedule_s + ANSWER_TIMEOUT_S + GRACE_S


class Generator:
    """The Locust processes of one load: started, told when to count, followed, and always stopped."""

    def __init__(
        self,
        workload: Workload,
        url: str,
        out: Path,
        ca: Path,
        cpus: Sequence[int] | None,
        client_addresses: Sequence[str],
        crowd: bool = False,
        site: Site = LAB,
    ):
        self.workload = workload
        self.crowd = crowd
        self.cuts: queue.Queue[int] = queue.Queue()  # what a crowd has answered to {"cut": …}
        self.http = isinstance(workload, HttpLoad)
        self.out = out
        self.cpus = cpus
        self.samples: list[tuple[float, str, float]] = []
        count = 1 if self.http else min(workload.clients, max(1, len(cpus) if cpus else len(allowed()) - 1))
        self.clock_offset_s = time.time() - time.monotonic()
        self._spec = {
            "url": url,
            "ca": str(ca.resolve()),
            "out": str((out / "raw").resolve()),
            "workload": workload.to_dict(),
            "site": site.to_dict(),
            "client_addresses": list(client_addresses),
            "processes": count,
            "clock_offset_s": self.clock_offset_s,
        }
        self._check_open_files(count)
        self._processes: list[subprocess.Popen] = []
        self._lines: queue.Queue[tuple[int, dict | None]] = queue.Queue()
        self._reports: list[dict] = [{"phase": "start"} for _ in range(count)]
        self._heard_s = [time.monotonic()] * count
        self._running = set(range(count))
        self._recent: deque[tuple[float, float]] = deque()
        self._cpu_before: dict[int, tuple[float, float]] = {}

    def _check_open_files(self, processes: int) -> None:
        who = "users" if self.http else "clients"
        count = getattr(self.workload, who)
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        needed = math.ceil(count / processes) + OTHER_FILES
        if most != resource.RLIM_INFINITY and needed > most:
            raise LoadError(
                f"{who}={count} in {processes} process(es) needs {needed} open files in each, "
                f"and this machine allows {most}; raise its hard limit (ulimit -Hn), or ask for fewer {who}"
            )

    # -- life -----------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the processes, pinned, each with its share."""
        # Locust reads ~/.locust.conf: its home is where nothing is.
        environment = own(HOME=str((self.out / "raw").resolve()))
        places = [] if self.http else self.workload.places()
        with open(self.out / "locust.log", "ab") as log:
            for number in range(len(self._reports)):
                share = self.out / "raw" / f"share-{number}.json"
                share.write_text(
                    json.dumps({**self._spec, "number": number, "places": places[number :: len(self._reports)]}), encoding="utf-8"
                )
                process = subprocess.Popen(
                    self._command(number),
                    cwd=LOADTESTS,
                    env={**environment, "STACKLAB_LOAD": str(share.resolve())},
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    start_new_session=True,
                    text=True,
                    encoding="utf-8",
                )
                self._processes.append(process)
                if self.cpus and hasattr(os, "sched_setaffinity"):
                    os.sched_setaffinity(process.pid, self.cpus if self.http else {self.cpus[number]})
                threading.Thread(target=self._read, args=(number, process.stdout), daemon=True).start()

    def _command(self, number: int) -> list[str]:
        if not self.http:
            file, user = "chatters.py", "Member"
            users = len(range(number, self.workload.clients, len(self._reports)))
        elif self.crowd:
            file, user, users = "pool.py", "Crowd", self.workload.users
        elif self.workload.requests_per_s is None:
            file, user, users = "pool.py", "Visitor", self.workload.users
        else:
            file, user, users = "pool.py", "Timetable", 1
        # All users start at once and space themselves out: Locust's own ramp goes in bursts, one a second.
        # `--json` makes its closing tables, of requests that it did not see, one short line.
        options = ["--headless", "--only-summary", "--json", "--users", str(users), "--spawn-rate", str(users)]
        return [sys.executable, "-m", "locust", "-f", str(LOADTESTS / file), *options, user]

    def _read(self, number: int, stdout) -> None:
        with stdout, open(self.out / "locust.log", "a", encoding="utf-8") as log:
            for line in stdout:
                if line.startswith("{"):
                    self._lines.put((number, json.loads(line)))
                else:
                    log.write(line)
        self._lines.put((number, None))

    def stop(self) -> None:
        """End what still runs, gently, then not; nothing is left when this returns."""
        for process in self._processes:
            with suppress(BrokenPipeError):  # it has ended with a word unread
                process.stdin.close()
            self._signal(process, signal.SIGTERM)
        deadline_s = time.monotonic() + STOP_S
        for process in self._processes:
            try:
                process.wait(max(0.0, deadline_s - time.monotonic()))
            except subprocess.TimeoutExpired:
                self._signal(process, signal.SIGKILL)
                process.wait()

    @staticmethod
    def _signal(process: subprocess.Popen, number: int) -> None:
        if process.poll() is None:
            os.killpg(process.pid, number)

    def log_tail(self) -> str:
        """The last lines of Locust's log."""
        lines = (self.out / "locust.log").read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(lines[-LOG_TAIL_LINES:])

    # -- following ------------------------------------------------------------------------------

    def follow(self, progress: Callable[[Progress], None] | None, timeout_s: float | None) -> None:
        """Until all have ended: sample their CPU, pass on how far they are, coordinate, watch the clock."""
        began_s = sampled_s = time.monotonic()
        arrived = 0
        self._sample()
        while self._running:
            if (wait_s := sampled_s + SAMPLE_INTERVAL_S - time.monotonic()) > 0:
                self._take_line(wait_s)
                continue
            sampled_s = time.monotonic()
            self._sample()
            self._coordinate()
            if progress and all("done" in report for report in self._reports):
                progress(self._progress())
            if (now_there := self._arrived()) > arrived:
                arrived, began_s = now_there, sampled_s
            self._watch(began_s, timeout_s)
        failed = [process.wait() for process in self._processes]
        if any(failed):
            raise LoadError(f"Locust ended with exit code {max(failed, key=abs)}", log=self.log_tail())

    def _take_line(self, wait_s: float) -> None:
        try:
            number, report = self._lines.get(timeout=wait_s)
        except queue.Empty:
            return
        if report is None:
            self._running.discard(number)
        else:
            self._reports[number] = report
            self._heard_s[number] = time.monotonic()
            if "cut" in report:
                self.cuts.put(report["cut"])
            if "lag_s" in report:
                self.samples.append((time.time(), "generator_lag_s", report["lag_s"]))

    def _coordinate(self) -> None:
        """Chat processes start connecting together, and count once all clients of all of them are settled."""
        phases = {self._reports[number]["phase"] for number in self._running}
        for phase, word in (("ready", "go"), ("settled", "count")):
            if phases == {phase}:
                self.say(word)

    def say(self, word: str) -> None:
        """A word to all processes that still run."""
        for number in list(self._running):
            self._say(self._processes[number], word)

    @staticmethod
    def _say(process: subprocess.Popen, word: str) -> None:
        try:
            process.stdin.write(word + "\n")
            process.stdin.flush()
        except BrokenPipeError:
            pass  # it has just ended; its exit code tells why

    def _arrived(self) -> int:
        """Chat processes that are ready and clients that are there, while they connect; later they come and go."""
        connecting = [report for report in self._reports if not self.http and report["phase"] in ("ready", "ramp")]
        return sum(1 + report["done"] for report in connecting)

    def _watch(self, began_s: float, timeout_s: float | None) -> None:
        now = time.monotonic()
        if timeout_s and now - began_s > timeout_s:
            raise LoadError(f"the load did not end within {timeout_s:.0f} s; it was stopped", log=self.log_tail())
        if any(now - self._heard_s[number] > SILENT_S for number in self._running):
            raise LoadError(f"the load generator was silent for {SILENT_S:.0f} s; it was stopped", log=self.log_tail())

    def _progress(self) -> Progress:
        now = time.monotonic()
        reports = self._reports
        total = sum(report["total"] for report in reports)
        done = sum(report["done"] for report in reports)
        moved = sum(report.get("received", report["done"]) for report in reports)
        phase = min((_PHASE_OF[report["phase"]] for report in reports), key=PHASES.index)
        self._recent.append((now, moved))
        while len(self._recent) > 2 and now - self._recent[0][0] > RATE_OVER_S:
            self._recent.popleft()
        then, before = self._recent[0]
        rate_per_s = (moved - before) / (now - then) if now > then else 0.0
        if not self.http and phase == "load":  # seconds, the same in all processes
            done, total = done / len(reports), total / len(reports)
        left_s = (total - done) / (rate_per_s if self.http else 1) if phase == "load" and rate_per_s else None
        return Progress(done, total, rate_per_s, sum(report["errors"] for report in reports), left_s, phase)

    # -- the generator's own cost ---------------------------------------------------------------

    def _sample(self) -> None:
        """CPU (share of one core since the last sample) and memory of the processes, summed, and of the busiest."""
        now, shares, rss_bytes = time.time(), [], 0
        for process in self._processes:
            try:
                seen = psutil.Process(process.pid)
                used_s, used_bytes = sum(seen.cpu_times()[:2]), seen.memory_info().rss
            except psutil.NoSuchProcess:
                continue
            if not used_bytes:  # it has just ended
                continue
            rss_bytes += used_bytes
            then, before_s = self._cpu_before.get(process.pid, (now, used_s))
            self._cpu_before[process.pid] = (now, used_s)
            if now > then:
                shares.append((used_s - before_s) / (now - then))
        if shares:
            self.samples += [
                (now, "generator_cpu", sum(shares)),
                (now, "generator_cpu_busiest", max(shares)),
                (now, "generator_rss_bytes", float(rss_bytes)),
            ]


# What a process reports → what people are told, from the first to the last.
_PHASE_OF = {
    "start": "ramp", "ready": "ramp", "ramp": "ramp", "settled": "ramp",
    "warmup": "warmup", "load": "load", "drain": "load", "over": "load",
}  # fmt: skip
