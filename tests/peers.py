"""Does the lab's client see what nginx sees, and what wrk sees? For `make benchmark`."""

from __future__ import annotations

import random
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from stacklab.bench.experiment import Bench, bench, measure
from stacklab.labs import Lab
from stacklab.runs.results import Run
from stacklab.settings import StackSettings
from stacklab.study.paired import ONE_LOOK_ERROR, interval
from stacklab.workload import HttpLoad

CLOSED = HttpLoad(requests=20_000, users=50, ramp_s=1, warmup_s=1)
OPEN = HttpLoad(requests=6_000, users=200, ramp_s=1, warmup_s=1, requests_per_s=300)
PAIRS = 10
UNITS_S = {"us": 1e-6, "ms": 1e-3, "s": 1.0}


def apart(run: Run, percentile: float) -> tuple[float, float]:
    """How far the client's percentile lies from nginx's own, in s; and how far it may: 2 % of it, or nginx's millisecond."""
    ours = run.table("requests").query("~warmup")["duration_s"]
    offset_s = run.clock_offset_s or 0.0
    began, ended = run.table("requests").query("~warmup")["start_s"].agg(["min", "max"]) + offset_s
    theirs = run.table("server")
    theirs = theirs.loc[(theirs["end_s"] - theirs["duration_s"]).between(began - 0.001, ended + 0.001), "duration_s"]
    mine, nginxs = np.percentile(ours, percentile), np.percentile(theirs, percentile)
    return abs(mine - nginxs), max(0.02 * nginxs, 0.001)


def runs_of_both(lab: Lab, folder: Path) -> dict[str, Run]:
    """One run in a closed loop that saturates the site, and one on a schedule of 300 requests a second."""
    with bench(lab, folder, "the benchmark") as on:
        return {
            words: measure(on, StackSettings(), load, folder=folder / "peers", name=f"{number}")
            for number, (words, load) in enumerate({"closed, 50 users": CLOSED, "open, 300/s": OPEN}.items())
        }


def in_turn(
    pairs: int, one: Callable[[], dict[str, float]], other: Callable[[], dict[str, float]]
) -> dict[str, tuple[float, float, float]]:
    """What the one measures to what the other does, in pairs, each in an order drawn by lot: {metric: ratio and its interval}."""
    lot, found = random.Random(1), {one: [], other: []}
    for _ in range(pairs):
        for way in lot.sample([one, other], 2):
            found[way].append(way())
    ratios = np.log(pd.DataFrame(found[one]) / pd.DataFrame(found[other]))
    return {metric: tuple(np.exp(interval(ratios[metric].to_numpy(), ONE_LOOK_ERROR))) for metric in ratios}


def against_wrk(lab: Lab, folder: Path) -> dict[str, tuple[float, float, float]] | None:
    """The lab's client to wrk on the same load, as `in_turn` has it; None where there is no wrk."""
    if shutil.which("wrk") is None:
        return None
    with bench(lab, folder, "the benchmark") as on:
        return in_turn(PAIRS, lambda: _lab(on, folder), lambda: _wrk(on))


def _lab(on: Bench, folder: Path) -> dict[str, float]:
    rows = measure(on, StackSettings(), CLOSED, folder=folder / "peers").table("requests").query("~warmup")
    seconds = (rows["start_s"] + rows["duration_s"]).max() - rows["start_s"].min()
    return {"throughput_per_s": len(rows) / seconds, "p50_s": rows["duration_s"].median()}


def _wrk(on: Bench) -> dict[str, float]:
    """The same load by wrk, on the same CPUs. It does not look at certificates."""
    cpus: Sequence[int] | None = on.generator_cpus
    pinned = ["taskset", "--cpu-list", ",".join(map(str, cpus))] if cpus else []
    said = subprocess.run(
        [*pinned, "wrk", "--threads=1", f"--connections={CLOSED.users}", "--duration=8s", "--latency", f"{on.host.url}/"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    value, unit = re.search(r"50%\s+([\d.]+)(us|ms|s)", said).groups()
    return {"throughput_per_s": float(re.search(r"Requests/sec:\s+([\d.]+)", said)[1]), "p50_s": float(value) * UNITS_S[unit]}
