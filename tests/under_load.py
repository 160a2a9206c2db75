"""Change settings while requests come on a schedule, and count what was dropped."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet

from stacklab import stack
from stacklab.bench.load import run_load
from stacklab.labs import Lab
from stacklab.labs.host import Host
from stacklab.settings import StackSettings
from stacklab.workload import HttpLoad

# One after the other, each on top of those before it.
CHANGES = (
    {"nginx_worker_connections": 4000},
    {"uwsgi_processes": 8},
    {"uwsgi_listen": 2048, "uwsgi_threads": 2},
    {"daphne_instances": 4, "balance": "hash"},
    {"nginx_worker_processes": 2},
    {"daphne_instances": 2},
)
REQUESTS_PER_S = 300
USERS = 50


@dataclass(frozen=True)
class Seen:
    """What the clients saw. `requests_during`: how many requests were under way in each of the changes.

    `connections`: how many there were at most; the schedule opens more than USERS where answers are slow.
    """

    counted: int
    errors: Counter[str]
    retried: int
    connections: int
    requests_during: list[int]


def enough_s(host: Host, changes: tuple, at_least_s: int) -> int:
    """For how long load must go on so that the changes fall into it, as long as changes take on this computer just now."""
    began_s = time.monotonic()
    for settings in (StackSettings(uwsgi_processes=8), StackSettings()):
        stack.apply(host, settings)
    return max(at_least_s, round((time.monotonic() - began_s) / 2 * len(changes)))


def changes_under_load(
    host: Host, lab: Lab, out: Path, seconds: int, requests_per_s: int = REQUESTS_PER_S, changes: tuple = CHANGES
) -> Seen:
    """`seconds` of load on `/`, starting requests on a schedule, while changes are applied; the defaults are back at the end."""
    ca = out / "ca.crt"
    ca.write_text(stack.ca_certificate(host))
    load = HttpLoad(requests=requests_per_s * seconds, users=USERS, requests_per_s=float(requests_per_s), ramp_s=1, warmup_s=1)
    counting = threading.Event()
    windows: list[tuple[float, float]] = []
    failed: list[BaseException] = []

    def change() -> None:
        counting.wait()
        settings = StackSettings()
        try:
            for each in changes:
                settings = settings.replace(**each)
                began_s = time.time()
                stack.apply(host, settings)
                windows.append((began_s, time.time()))
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        run_load(
            load, host.url, out, ca, cpus=lab.status()["generator_cpus"],
            progress=lambda progress: counting.set() if progress.phase == "load" else None,
        )  # fmt: skip
    finally:
        counting.set()
        thread.join()
        stack.apply(host, StackSettings())
    if failed:
        raise failed[0]
    rows = pyarrow.parquet.read_table(out / "requests.parquet").to_pandas()
    ends = rows.start_s + rows.duration_s
    under_way = [(start_s, 1) for start_s in rows.start_s] + [(end_s, -1) for end_s in ends]
    return Seen(
        connections=max(USERS, *itertools.accumulate(step for _, step in sorted(under_way))),
        counted=int((~rows.warmup).sum()),
        errors=Counter(rows.error.dropna()),
        retried=int(rows.retried.sum()),
        requests_during=[int(((rows.start_s < end) & (ends > begin)).sum()) for begin, end in windows],
    )
