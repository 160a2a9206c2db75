"""Progress bars and summaries of measurements, in a terminal or a notebook."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from math import isnan
from typing import TextIO

from tqdm.auto import tqdm
from tqdm.notebook import tqdm as notebook_tqdm

from stacklab import show
from stacklab.bench.experiment import Estimate, estimate, run_experiment
from stacklab.bench.load import Progress
from stacklab.bench.plan import Experiment, Planned
from stacklab.labs import Lab
from stacklab.runs.results import OF_REQUESTS, Run
from stacklab.study.summary import PERCENTILES, summarize
from stacklab.study.words import NOTHING
from stacklab.workload import Look

# In a notebook the bar is a widget, and takes the width that it finds.
BAR = "{bar} " if issubclass(tqdm, notebook_tqdm) else "|{bar:20}| "


class Bar:
    """A live line for each run: phase, count, rate, errors, time left. Call it with a Progress."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stdout
        self._bar: tqdm | None = None
        self._last: Progress | None = None
        self._name = ""

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._end(whole=kind is None)

    def _end(self, whole: bool) -> None:
        """Close the line; of a run that came to its end it is full, though its last report came a little earlier."""
        if self._bar is None:
            return
        if whole:
            self(replace(self._last, done=self._last.total, left_s=None))
        self._bar.close()
        self._bar = None

    def say(self, line: str) -> None:
        """A line of its own, above the live one."""
        tqdm.write(line, file=self._out)

    def on_run(self, planned: Planned, number: int, total: int) -> None:
        """Begin the line of the next run of an experiment."""
        self._end(whole=True)
        self._name = f"{number}/{total} {planned.point.label}, repeat {planned.repeat}: "
        if isinstance(planned.point.workload, Look):  # which reports nothing until it has seen all
            self.say(self._name.removesuffix(": "))

    def __call__(self, progress: Progress) -> None:
        self._last = progress
        if self._bar is None:
            bar_format = f"{{desc}} {{percentage:3.0f}}%{BAR}{{n_fmt}}/{{total_fmt}}{{postfix}}"
            self._bar = tqdm(total=progress.total, bar_format=bar_format, leave=True)
        # What is counted changes with the phase: clients that connect, then seconds or requests.
        self._bar.total, self._bar.n = round(progress.total), round(progress.done)
        self._bar.set_description_str(f"{self._name}{progress.phase}", refresh=False)
        left = f", {progress.left_s:.0f} s left" if progress.left_s else ""
        self._bar.set_postfix_str(f"{progress.rate_per_s:.0f}/s, {progress.errors} errors{left}", refresh=True)


def estimate_text(experiment: Experiment, estimate: Estimate) -> str:
    """What will be done, how long it will take, and how much disk."""
    if experiment.slice_s:
        total, what = experiment.repeats, f"blocks of {len(experiment.points)} slices"
    else:
        total, what = len(experiment.points) * experiment.repeats, "runs"
    if not estimate.runs:
        return f"{experiment.name}: all {total} {what} are measured already (--fresh starts over)"
    done = f", {total - estimate.runs} of {total} are done already" if estimate.runs < total else ""
    return (
        f"{experiment.name}: {estimate.runs} {what} to measure{done}; about {show.duration(estimate.duration_s)} "
        f"and {max(1, estimate.disk_bytes >> 20)} MiB of disk"
    )


def measure_plan(
    plan: Experiment, lab: Lab, fresh: bool, on_block: Callable[[Experiment, Bar, int], None] = lambda plan, bar, repeat: None
) -> list[Run]:
    """What is left of an experiment, with a bar; first, how long that takes, and, where it is stopped, how it goes on."""
    if fresh:
        print(f"starting over; runs there are already are kept as {plan.name}.1 and so on")
    print(estimate_text(plan, estimate(plan, fresh=fresh)))
    try:
        with Bar() as bar:
            return run_experiment(
                plan, lab, fresh=fresh, on_run=bar.on_run, on_block=partial(on_block, plan, bar), progress=bar
            )
    except KeyboardInterrupt:
        print("\nstopped; without --fresh, the same command goes on from here")
        raise


def run_text(run: Run) -> str:
    """A run in four lines: what it showed, whether it may decide, how the service did, where it is; and what to know of it."""
    row = summarize([run]).iloc[0]
    if run.kind in OF_REQUESTS:
        ms = {q: row[f"p{q}_s"] * 1000 for q in PERCENTILES}  # NaN: wrk does not tell it
        times = [f"p{q} {NOTHING if isnan(value) else f'{value:.0f}'} ms" for q, value in ms.items()]
        seen = " · ".join([f"{row.throughput_per_s:.0f} requests/s", *times, f"{row.errors:.0f} errors"])
    else:
        messages = (
            f"{row.delivered_share:.2%} of {row.deliveries:.0f} deliveries · "
            f"p50 {row.latency_p50_s * 1000:.0f} ms · p95 {row.latency_p95_s * 1000:.0f} ms · "
            f"{row.lost:.0f} lost in flight, {row.lost_while_away:.0f} while away"
        )
        sockets = f"{row.clients_connected:.0f} clients · {row.disconnects:.0f} disconnects"
        seen = f"{sockets} · {messages}" if row.deliveries else sockets
    said = {"measurement": run.validity.reasons, "service": run.validity.failures}
    trust = [": ".join(filter(None, [f"{what} {getattr(run.validity, what)}", " ".join(why)])) for what, why in said.items()]
    notes = [f"note: {note}" for note in run.environment.get("notes", ())]
    return "\n".join([seen, *trust, *notes, str(run.path)])
