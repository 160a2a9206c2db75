"""Runs as tidy DataFrames.

Tidy: one row an observation, with `experiment`, `run`, `point`, `repeat`, `valid` and every setting and
workload field that differs between the runs given. Times `t_s` are seconds since the start of the
counted load, on the desk's clock: the web host's clock is brought to it by the run's clock offset.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from stacklab.runs.disturbance import load_window
from stacklab.runs.results import Run
from stacklab.runs.tables import TABLES, WEB_CLOCK_TABLES
from stacklab.settings import ASGI_SERVERS, StackSettings
from stacklab.stack.services import family
from stacklab.workload import ChatLoad, Foreign, HttpLoad, Look, PlanLoad

RULES = HttpLoad.rules() | ChatLoad.rules() | PlanLoad.rules() | Look.rules() | Foreign.rules() | StackSettings.rules()
FACTORS = tuple(RULES)
"""Every field of workloads and settings: what can differ between the points of an experiment."""
FEWEST_READINGS = 4  # that make a slope


def factors(runs: Sequence[Run]) -> list[str]:
    """The settings and workload fields in which `runs` differ."""
    table = fields(runs)
    return [name for name in table.columns if len({repr(value) for value in table[name]}) > 1]


def requests(runs: Sequence[Run]) -> pd.DataFrame:
    """Every request as the client saw it, warm-up included.

    Columns of the table, `t_s` of its start, and `response_s`: how long a person would have waited. It
    is the duration; on a schedule, counted from when the request should have started.
    """
    table = _tidy(runs, "requests", "start_s")
    table["response_s"] = response_s(table)
    return table


def server(runs: Sequence[Run]) -> pd.DataFrame:
    """Every request as nginx logged it; `t_s` is its end."""
    return _tidy(runs, "server", "end_s")


def resources(runs: Sequence[Run]) -> pd.DataFrame:
    """Every sample of every service, and `cpu_share`: CPU seconds a second since the sample before (1.0 = one core)."""
    table = _tidy(runs, "resources", "time_s").sort_values(["experiment", "run", "service", "time_s"], ignore_index=True)
    grouped = table.groupby(["experiment", "run", "service"], sort=False, observed=True)
    grown = grouped["cpu_s"].diff()
    # After a restart the count begins at 0 again: what it shows then is all new.
    grown = grown.where(~(grown < 0), table["cpu_s"])
    table["cpu_share"] = grown / grouped["time_s"].diff()
    return table


def gauges(runs: Sequence[Run]) -> pd.DataFrame:
    """Every reading of the machine's gauges and of the load generator's."""
    parts = [_tidy(runs, name, "time_s") for name in ("gauges", "generator")]
    return pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)


def messages(runs: Sequence[Run]) -> pd.DataFrame:
    """One row a message and expected receiver; `t_s` is when it was sent."""
    return _tidy(runs, "messages", "sent_s")


def crossings(runs: Sequence[Run]) -> pd.DataFrame:
    """One row a point, the least first: how far its rooms are spread, how many deliveries went from one instance to another.

    Columns `point`, `instances_per_room` (instances that delivered in a room, mean over rooms) and
    `crossed_share` (of the deliveries that arrived; the others went out by the instance they came in by).
    """
    arrived = messages(runs).dropna(subset=["via", "instance"])
    crossed = arrived.assign(crossed_share=arrived["via"] != arrived["instance"])
    rooms = crossed.groupby(["experiment", "run", "point", "room"]).agg(
        instances_per_room=("instance", "nunique"), crossed_share=("crossed_share", "mean")
    )
    return rooms.groupby("point").mean().sort_values("crossed_share").reset_index()


def connections(runs: Sequence[Run]) -> pd.DataFrame:
    """One row an attempt to connect; `t_s` is its start, `t_end_s` the end of the socket."""
    table = _tidy(runs, "connections", "connect_start_s")
    table["t_end_s"] = table["t_s"] + (table["end_s"] - table["connect_start_s"])
    return table


def events(runs: Sequence[Run]) -> pd.DataFrame:
    """What was done while a run was measured, to the stack or by its clients: `what`, `t_s` when it began, `t_end_s`."""
    rows = [
        {"experiment": run.experiment, "run": run.run, "point": run.point or run.run, "what": event["what"]}
        | {"t_s": event["began_s"] - load_window(run)[0], "t_end_s": event["ended_s"] - load_window(run)[0]}
        for run in runs
        for event in run.events
    ]
    rows += [
        {"experiment": run.experiment, "run": run.run, "point": run.point or run.run, "what": what, "t_s": at_s, "t_end_s": at_s}
        for run in runs if isinstance(run.workload, ChatLoad)
        for what, at_s in (("burst", run.workload.burst_at_s), ("all cut off", run.workload.storm_at_s)) if at_s is not None
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["experiment", "run", "point", "what", "t_s", "t_end_s"])


def sockets(runs: Sequence[Run], families: Sequence[str] = ASGI_SERVERS) -> pd.DataFrame:
    """A service's memory (the ASGI server's, or of `families`) against the open sockets, one row a reading: `t_s`, `sockets`,
    `pss_bytes` (all instances).
    """
    runs = [run for run in runs if run.has("connections")]
    labels = list(labels_of(runs, FACTORS).columns)
    samples = resources(runs)
    samples = samples[samples["service"].map(family).isin(families)].dropna(subset=["pss_bytes"])
    memory = samples.groupby([*labels, "t_s"], as_index=False, observed=True, dropna=False)["pss_bytes"].sum()
    memory["sockets"] = 0
    opened = connections(runs).dropna(subset=["connect_s"])
    for (experiment, run), at in memory.groupby(["experiment", "run"], observed=True):
        mine = opened[(opened["experiment"] == experiment) & (opened["run"] == run)]
        memory.loc[at.index, "sockets"] = open_at(mine["t_s"] + mine["connect_s"], mine["t_end_s"], at["t_s"].to_numpy())
    return memory


def while_opening(memory: pd.DataFrame) -> pd.DataFrame:
    """Of one run's rows of `sockets` those up to the reading at which all were open first: what a process has once had it
    keeps, so afterwards its memory says nothing of the sockets.
    """
    memory = memory.sort_values("t_s")
    return memory[: int((memory["sockets"] >= 0.98 * memory["sockets"].max()).to_numpy().argmax()) + 1]


def bytes_per_socket(memory: pd.DataFrame) -> float:
    """What one more socket takes, of one run's rows of `sockets`: the slope while they open; NaN of too few readings.

    Not of the first fifth of the sockets, with which comes what a server loads once.
    """
    opening = while_opening(memory) if len(memory) else memory
    opening = opening[opening["sockets"] >= memory["sockets"].max() / 5]
    if opening["sockets"].nunique() < FEWEST_READINGS:
        return np.nan
    return float(np.polyfit(opening["sockets"], opening["pss_bytes"].astype(float), 1)[0])


def open_at(begun: pd.Series, ended: pd.Series, times: np.ndarray) -> np.ndarray:
    """How many sockets are open at each of `times`; those without an end (NaN) stay open."""
    opened = np.searchsorted(np.sort(begun.to_numpy(dtype=float)), times, "right")
    return opened - np.searchsorted(np.sort(ended.dropna().to_numpy(dtype=float)), times, "right")


def point_order(table: pd.DataFrame) -> list[str]:
    """The points of a tidy table or summary, by the factors that differ (workload first), then as they come."""
    firsts = table.drop_duplicates("point")
    keys = [name for name in FACTORS if name in table.columns and name not in UNORDERED]
    ranks = [tuple(rank(key, row[key]) for key in keys) for row in firsts.to_dict("records")]
    return [point for _, point in sorted(zip(ranks, firsts["point"], strict=True), key=lambda pair: pair[0])]


def in_order(summary: pd.DataFrame) -> pd.DataFrame:
    """The rows of a summary in the order in which plots show their points; repeats in their own."""
    places = {point: place for place, point in enumerate(point_order(summary))}
    ranked = summary.assign(place=summary["point"].map(places))
    return ranked.sort_values(["place", "repeat"], ignore_index=True).drop(columns="place")


UNORDERED = ("duration_s",)  # also a column of `requests`, where it is no factor


def rank(name: str, value: Any) -> tuple[int, float, str]:
    """Any factor's value as something that sorts: none first, choices in their own order, numbers, words."""
    choices = RULES[name].choices
    if value in choices:
        return (1, choices.index(value), "")
    if value is None or value != value:  # NaN is unequal to itself
        return (0, 0.0, "")
    return (1, float(value), "") if isinstance(value, (int, float, np.number)) else (2, 0.0, str(value))


def fields(runs: Sequence[Run]) -> pd.DataFrame:
    """One row a run: every field of its settings and workload; another tool's has no settings."""
    rows = [(run.settings.to_dict() if run.settings else {}) | run.workload.to_dict() for run in runs]
    used = [name for name in FACTORS if any(name in row for row in rows)]
    return pd.DataFrame(rows, columns=used, dtype=object).infer_objects()


def labels_of(runs: Sequence[Run], allowed: Sequence[str]) -> pd.DataFrame:
    """One row a run: its place in the experiment, whether it is valid, and the `allowed` factors that differ."""
    place = pd.DataFrame(
        {
            "experiment": [run.experiment for run in runs],
            "run": [run.run for run in runs],
            "point": [run.point or run.run for run in runs],  # a run outside an experiment stands for itself
            "repeat": [run.repeat for run in runs],
            "valid": [run.validity.valid for run in runs],
        }
    )
    return pd.concat([place, fields(runs)[[name for name in factors(runs) if name in allowed]]], axis=1)


def _tidy(runs: Sequence[Run], name: str, time: str) -> pd.DataFrame:
    """The table `name` of those `runs` that have it, labelled, with `t_s` made from the column `time`."""
    allowed = [factor for factor in FACTORS if factor not in TABLES[name]]
    labels = labels_of(runs, allowed)
    holders = [position for position, run in enumerate(runs) if run.has(name)]
    tables = []
    for position in holders:
        run = runs[position]
        table = run.table(name)[list(TABLES[name])]
        offset = (run.clock_offset_s or 0.0) if name in WEB_CLOCK_TABLES else 0.0
        table["t_s"] = table[time] - offset - load_window(run)[0]
        tables.append(table)
    if not tables:
        return pd.DataFrame(columns=[*labels.columns, *TABLES[name], "t_s"])
    repeated = labels.loc[np.repeat(holders, [len(table) for table in tables])].reset_index(drop=True)
    filled = [table for table in tables if len(table)] or tables[:1]
    return pd.concat([repeated, pd.concat(filled, ignore_index=True)], axis=1)


def response_s(table: pd.DataFrame) -> pd.Series:
    late = (table["start_s"] - table["scheduled_s"].astype(float)).clip(lower=0).fillna(0.0)
    return table["duration_s"] + late


