"""`make benchmark`: how long the lab itself takes, each figure beside its target. Uses a lab of its own.

    python -m tests.benchmark

A ratio above 1.00 misses the target. Figures are of this machine as busy as it is now: run it on a quiet one.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from stacklab import stack
from stacklab.bench.experiment import run_experiment
from stacklab.bench.plan import Experiment, Point
from stacklab.errors import LabError
from stacklab.files import ROOT
from stacklab.labs.container import ContainerLab
from stacklab.runs.results import Run
from stacklab.settings import StackSettings
from stacklab.workload import HttpLoad
from tests.by_hand import against_by_hand
from tests.peers import against_wrk, apart, runs_of_both
from tests.under_load import changes_under_load

LAB = "stacklab-benchmark"
FAB = (sys.executable, "-m", "stacklab.command")
REPEATS = 3


class Table:
    """The figures, printed as they come."""

    def __init__(self) -> None:
        self.missed = 0
        print(f"{'what':<52} {'measured':>10} {'target':>8} {'ratio':>6}", flush=True)

    def add(self, what: str, measured: float, target: float | None = None, unit: str = "s") -> None:
        """One line. A target of 0 is met by 0 alone."""
        ratio = "" if target is None else f"{measured / target:.2f}" if target else ("0.00" if measured == 0 else "missed")
        self.missed += target is not None and measured > target
        goal = "" if target is None else f"{target:g} {unit}"
        print(f"{what:<52} {f'{measured:.2f} {unit}':>10} {goal:>8} {ratio:>6}", flush=True)


def seconds(work: Callable[[], object]) -> float:
    """How long `work` takes."""
    began = time.monotonic()
    work()
    return time.monotonic() - began


def command(*words: str | Path, results: Path) -> None:
    """Run a command on the benchmark's lab, as a person types it; SystemExit, with its words, if it fails."""
    environment = os.environ | {"STACKLAB_LAB": LAB, "STACKLAB_RESULTS": str(results)}
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, words))} failed:\n{done.stdout}{done.stderr}")


def boots(table: Table, lab: ContainerLab, results: Path) -> None:
    table.add("fab up, a new machine (base image there)", seconds(lambda: command(*FAB, "up", results=results)))
    lab.halt()
    table.add("boot to SSH", seconds(lab.up), 5)
    table.add("fab provision", seconds(lambda: command(*FAB, "provision", results=results)))
    table.add("fab provision again", seconds(lambda: command(*FAB, "provision", results=results)))


def changes(table: Table, lab: ContainerLab, results: Path) -> None:
    """Each setting back and forth: the command as the user sees it, and the change alone."""
    change_of(table, lab, results, "nginx_worker_connections", (4000, 1024), 0.4)
    change_of(table, lab, results, "uwsgi_processes", (10, 5), 1.0)


def change_of(table: Table, lab: ContainerLab, results: Path, name: str, values: tuple[int, int], target_s: float) -> None:
    flag = f"--{name.replace('_', '-')}"
    host = lab.web()
    whole_s, alone_s = [], []
    for _ in range(REPEATS):
        for value in values:
            words = (*FAB, "set", flag, str(value))
            whole_s.append(seconds(lambda words=words: command(*words, results=results)))
        before = stack.current(host)
        for value in values:
            settings = before.replace(**{name: value})
            alone_s.append(seconds(lambda settings=settings, before=before: stack.apply(host, settings, expect=before)))
            before = settings
    host.close()
    table.add(f"fab set {flag} (median of {len(whole_s)})", statistics.median(whole_s), 1.2)
    table.add(f"the change of {name} within an experiment", statistics.median(alone_s), target_s)


def dropped(table: Table, lab: ContainerLab, results: Path) -> None:
    out = results / "under-load"
    out.mkdir()
    seen = changes_under_load(lab.web(), lab, out, seconds=30)
    table.add("requests dropped by changes under 300 requests/s", sum(seen.errors.values()), 0, "")
    for error, count in seen.errors.most_common(3):
        print(f"    {count} × {error}")
    table.add("of them retried on a reused connection", seen.retried, unit="")


def measured(table: Table, lab: ContainerLab, results: Path) -> None:
    """An experiment of full-size runs at one of the eight cases' loads: its wall time, the sampler's cost."""
    load = HttpLoad(requests=10_000, users=100)
    points = tuple(Point(f"{n} processes", StackSettings(uwsgi_processes=n), load) for n in (5, 10))
    runs: list[Run] = []
    wall_s = seconds(lambda: runs.extend(run_experiment(Experiment(name="bench", points=points, repeats=2), lab, results)))
    table.add("wall time of an experiment / time under load", wall_s / sum(run.under_load_s for run in runs), 1.3, "")
    table.add("the sampler's CPU, share of one core", statistics.median(map(sampler_share, runs)), 0.05, "")


def sampler_share(run: Run) -> float:
    """CPU seconds that the sampler used in a second."""
    gauges = run.table("gauges")
    rows = gauges[gauges.name == "sampler_cpu_s"]
    return (rows.value.iloc[-1] - rows.value.iloc[0]) / (rows.time_s.iloc[-1] - rows.time_s.iloc[0])


def true(table: Table, lab: ContainerLab, results: Path) -> None:
    """The client's times beside nginx's own, and beside wrk's."""
    for load, run in runs_of_both(lab, results).items():
        for percentile in (50, 99):
            distance_s, allowed_s = apart(run, percentile)
            table.add(f"client's p{percentile} off nginx's, {load}", 1000 * distance_s, 1000 * allowed_s, "ms")
    for metric, (ratio, low, high) in (against_wrk(lab, results) or {}).items():
        table.add(f"{metric} to wrk's, in turn: between {low:.3f} and {high:.3f}", ratio, unit="")


def by_hand(table: Table, lab: ContainerLab, results: Path) -> None:
    ratio, low, high = against_by_hand(lab, results)
    table.add(f"Daphnes' CPU to those started by hand: {low:.3f} to {high:.3f}", ratio, unit="")


def make_lab(table: Table, results: Path) -> None:
    table.add("make lab (environment and base image there)", seconds(lambda: command("make", "lab", results=results)))
    table.add("make lab again", seconds(lambda: command("make", "lab", results=results)), 60)


def main() -> int:
    """Measure everything; 1 if a target was missed or the lab cannot be had."""
    lab = ContainerLab(LAB)
    table = Table()
    try:
        lab.destroy()
        with tempfile.TemporaryDirectory(prefix="stacklab-benchmark-") as folder:
            results = Path(folder)
            boots(table, lab, results)
            changes(table, lab, results)
            dropped(table, lab, results)
            measured(table, lab, results)
            true(table, lab, results)
            by_hand(table, lab, results)
            make_lab(table, results)
    except LabError as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return 1
    finally:
        lab.destroy()
    print(f"{table.missed} missed" if table.missed else "every target was met")
    return int(bool(table.missed))


if __name__ == "__main__":
    sys.exit(main())
