"""How much a measurement was disturbed, in numbers: steal, others' work, a late generator. Pure; `validity` judges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from stacklab.errors import ResultsError
from stacklab.runs.results import OF_REQUESTS, Run

UNEVEN = {
    "steal_share": (0.10, "the share of CPU time that went to other virtual machines"),
    "others_cores": (0.30, "the cores that other work took"),
}
TIMES_USUAL = 3


def numbers_of(run: Run) -> dict[str, float]:
    """How much each possible disturbance of the measurement came to; what was not measured is left out.

    `steal_share` of the CPU time that the computer wanted; `others_cores`, `sampler_cores`, `generator_cores` (its
    busiest process) in use under load; `generator_lag_s`, one time in twenty; `clock_error_s`.
    """
    numbers = {"clock_error_s": run.clock_error_s if run.clock_error_s is not None else np.nan}
    try:
        numbers |= {"generator_cores": generator_share(run, "generator_cpu_busiest")}
        numbers |= {"generator_lag_s": float(generator_gauge(run, "generator_lag_s").quantile(0.95))}
        numbers |= _machine_numbers(run)
    except ResultsError:
        pass  # said by whoever needs the table
    return {name: float(value) for name, value in numbers.items() if np.isfinite(value)}


Block = Sequence[Mapping[str, float]]
"""The `numbers` of its slices."""


def uneven(block: Block, before: Sequence[Block] = (), calibrated: Mapping[str, float] | None = None) -> list[str]:
    """Why the slices of a `block` cannot be compared: it was much harder for one than for another.

    The limits are for quiet computers; where this computer's blocks usually differ as much within themselves (those
    `before`, or by its calibration), they grow with that: a computer that is always a little disturbed gets wider
    intervals, never none.
    """
    reasons = []
    usual = usually_uneven(before)
    for name, (limit, words) in UNEVEN.items():
        spread = _spread(block, name)
        limit = max(limit, TIMES_USUAL * max(usual[name], (calibrated or {}).get(name, 0.0)))
        if spread > limit:
            reasons.append(f"Within the block {words} differed by {spread:.2f}, more than {limit:.2f}.")
    return reasons


def usually_uneven(blocks: Sequence[Block]) -> dict[str, float]:
    """How much the slices of one of `blocks` differ in each disturbance, in the median block."""
    return {name: float(np.median([_spread(one, name) for one in blocks] or [0.0])) for name in UNEVEN}


def _spread(block: Block, name: str) -> float:
    values = [numbers[name] for numbers in block if name in numbers]
    return max(values) - min(values) if values else 0.0


def load_window(run: Run) -> tuple[float, float]:
    """Start and end of the counted load on the desk's clock.

    From the first counted request's start to the last one's end; for chat from the first counted message
    to the last arrival. Where there is a burst, all the time that was asked for, though nobody says anything else;
    where nobody says anything at all, from when the last client was connected to the end of the run. Where nothing was
    counted: the run's own start and end. A slice is what it was cut to. Where a tool tells no samples, what nginx logged, or
    else the time in which the tool ran.
    """
    if run.whole:
        return run.start_s, run.end_s
    return run.once("load window", lambda: _load_window(run))


def _load_window(run: Run) -> tuple[float, float]:
    name = "requests" if run.kind in OF_REQUESTS else "messages"
    if run.kind == "plan" and not run.has(name) and run.has("server") and len(logged := run.table("server")):
        ends = logged["end_s"] - (run.clock_offset_s or 0.0)  # of a tool that tells no samples nginx's log is what is left
        return float((ends - logged["duration_s"]).min()), float(ends.max())
    if run.kind == "plan" and not run.has(name) and run.has("generator") and len(ran := run.table("generator")["time_s"]):
        return float(ran.min()), float(ran.max())  # of static files nginx logs nothing: while the tool ran
    table = run.table(name) if run.has(name) else pd.DataFrame({"warmup": []})
    counted = table[~table["warmup"].astype(bool)]
    if counted.empty:
        return (_all_connected_s(run) if run.has("connections") else run.started_s), run.ended_s
    if name == "requests":
        starts, ends = counted["start_s"], counted["start_s"] + counted["duration_s"]
    else:
        starts, ends = counted["sent_s"], counted["received_s"].fillna(counted["sent_s"])
        if counted["burst"].any():
            began_s = float(starts[counted["burst"]].min()) - run.workload.burst_at_s
            return min(began_s, float(starts.min())), max(began_s + run.workload.duration_s, float(ends.max()))
    return float(starts.min()), float(ends.max())


def _all_connected_s(run: Run) -> float:
    connections = run.table("connections")
    connections = connections[came_with_the_load(run, connections)]
    last = (connections["connect_start_s"] + connections["connect_s"]).groupby(connections["client"]).min().max()
    return run.started_s if np.isnan(last) else float(last)


def came_with_the_load(run: Run, connections: pd.DataFrame) -> pd.Series:
    """Whether each row is of a client that was there from the start; others came in the place of one that left."""
    return connections["client"].str[1:].astype(int) < run.workload.clients


def generator_share(run: Run, name: str) -> float:
    """The mean of a gauge of the load generator's CPU; NaN if it was not read."""
    return float(generator_gauge(run, name).mean())


def generator_gauge(run: Run, name: str) -> pd.Series:
    """The values of a gauge of the load generator under load, or of the whole run if none was read in that time."""
    if not run.has("generator"):
        return pd.Series(dtype=float)
    samples = run.table("generator")
    rows = samples[samples["name"] == name]
    under_load = rows[rows["time_s"].between(*load_window(run))]
    return (under_load if len(under_load) else rows)["value"]


def on_one_computer(run: Run) -> bool:
    """Does the load come from the web host's own computer? (Of a container lab it does, whatever was noted: nspawn gives
    each container a boot id of its own.)"""
    return run.environment.get("kind") == "container" or bool(run.environment.get("one_computer"))


def _machine_numbers(run: Run) -> dict[str, float]:
    if not run.has("gauges"):
        return {}
    gauges = run.table("gauges")
    start, end = load_window(run)
    steal, busy, machine, sampler = (
        _cores(run, gauges, name, start, end) for name in ("host_steal_s", "host_cpu_s", "machine_cpu_s", "sampler_cpu_s")
    )
    others = busy - machine
    if on_one_computer(run):
        others -= generator_share(run, "generator_cpu")
    steal_share = steal / (steal + busy) if steal + busy else np.nan
    return {"steal_share": steal_share, "others_cores": others, "sampler_cores": sampler}


def _cores(run: Run, gauges: pd.DataFrame, name: str, start: float, end: float) -> float:
    """The cores that a gauge of cumulative CPU seconds says were busy under load; NaN if it was not read twice."""
    rows = gauges[gauges["name"] == name].sort_values("time_s")
    times = rows["time_s"] - (run.clock_offset_s or 0.0)
    if len(times) and times.iloc[0] <= start < end <= times.iloc[-1]:
        began, ended = np.interp([start, end], times, rows["value"])
        return float((ended - began) / (end - start))
    under_load = rows.loc[times.between(start - 1, end + 1), ["value", "time_s"]]
    if len(under_load) < 2:
        return float("nan")
    grown, seconds = under_load.iloc[-1] - under_load.iloc[0]
    return float(grown / seconds)
