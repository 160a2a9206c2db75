"""The report's sentences and table cells."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from stacklab.runs.results import Run
from stacklab.settings import StackSettings
from stacklab.study import analysis
from stacklab.study.summary import METRIC_NAMES, PERCENTILES
from stacklab.study.verdicts import NOT_TESTED, Judgement
from stacklab.workload import ChatLoad

KIB, MIB = 1 << 10, 1 << 20
MOST_FILES = 16  # of which a report repeats what they say of themselves
NOTHING = "–"
GENERATORS = ("jmeter", "wrk")  # with which the name ends of an experiment whose load another than Locust put on
SEEN = ("clients_held", "first_refused", "held_of_limit", "daphne_processes", "daphne_threads", "sync_threads", "sync_per_s",
        "pool_per_s", "starts", "left_not_running", "active_not_listening", "busiest_share", "instances_met_share",
        "lines_per_socket", "clients_borne", "first_not_borne", "requests_borne_per_s", "first_not_borne_per_s",
        "stop_s", "told_share")
"""What looks add to a summary, as far as a table shows it."""


def when(runs: Sequence[Run]) -> str:
    begun = [run.started_s for run in runs if run.started_s is not None]
    ended = [run.ended_s for run in runs if run.ended_s is not None]
    if not begun:
        return "at a time that no file tells"
    ends = min(begun), max(ended or begun)
    first, last = (time.strftime("%Y-%m-%d %H:%M", time.localtime(end)) for end in ends)
    return f"{first} to {last}" if first != last else first


def setup(runs: Sequence[Run], points: Sequence[str]) -> list[str]:
    """What was asked, in two or three sentences."""
    if runs[0].kind == "foreign":
        return _foreign_setup(runs)
    size = {"http": "users", "chat": "clients", "plan": "users", "look": "rounds"}
    by_size = sorted(runs, key=lambda run: getattr(run.workload, size[run.kind]) or 0)
    loads = "; ".join(dict.fromkeys(_load_words(run) for run in by_size))
    repeats = len({(run.experiment, run.repeat) for run in runs})
    times = "once" if repeats == 1 else f"{repeats} times, in random order within each repeat"
    cases = f"{len(points)} cases, each run {times}" if len(points) > 1 else f"One case, run {times}"
    varying = [name for name in analysis.factors(runs) if name in StackSettings.rules()]
    fields = [run.settings.to_dict() for run in runs]
    differ = "; ".join(f"{name} ({', '.join(_distinct(row[name] for row in fields))})" for name in varying)
    settings = f"The cases differ in {differ}." if varying else "The settings were the same in all runs."
    sentences = [f"{cases}: {loads}.", settings]
    if repeats == 1:
        sentences.append("One repeat cannot tell luck from effect: verdicts need two repeats, better three or more.")
    return sentences


def _foreign_setup(runs: Sequence[Run]) -> list[str]:
    """What other tools' files say of themselves, and what they cannot tell."""
    tools = ", ".join(dict.fromkeys(run.workload.tool for run in runs))
    sentences = [
        f"Result files of {tools}: what was measured with them, on what, and what disturbed it, they do not tell.",
        "Throughput and times are of the successes, where a file tells them apart. Percentiles of samples are linear, "
        "others as the file states them.",
    ]
    for run in runs[:MOST_FILES]:
        said = [f"cannot tell {', '.join(lacks)}"] if (lacks := run.environment.get("cannot_tell")) else []
        said += run.environment.get("notes", ())
        if said:
            sentences.append(f"{run.run}: {'; '.join(said)}.")
    return sentences


def _load_words(run: Run) -> str:
    if run.whole:
        return f"slices of {run.end_s - run.start_s:.0f} s of {run.workload.path} by {run.workload.users} users"
    load = run.workload
    if run.kind == "http":
        pace = f" on a schedule of {load.requests_per_s:g} requests/s, {load.arrivals}" if load.requests_per_s else ""
        return f"{load.requests:,} requests for {load.path} by {load.users:,} users{pace}"
    if run.kind == "plan":
        return f"the plan {load.file} by {load.tool}" + (f" with {load.parameters}" if load.parameters else "")
    if run.kind == "look":
        return f"a look at {load.sight.replace('_', ' ')}" + (f", {load.rounds} times" if load.rounds > 1 else "")
    return (
        f"{load.clients:,} clients in {load.rooms:,} rooms, each sending {load.messages_per_s:g} messages/s "
        f"of {load.size_bytes} characters for {load.duration_s:g} s"
    ) + _crowd_words(load)


def _crowd_words(load: ChatLoad) -> str:
    """What of a chat load is not as with everybody alike, and there all the time."""
    burst = f"{load.burst_messages} said at once to the largest room after {load.burst_at_s} s"
    said = {
        f"{load.largest_room} of them in one room": load.largest_room,
        f"{load.listeners} only listen": load.listeners,
        f"{load.slow_readers} do not read": load.slow_readers,
        f"{load.churn_per_s:g} leave and come each second": load.churn_per_s,
        burst: load.burst_at_s is not None,
        f"all cut off after {load.storm_at_s} s": load.storm_at_s is not None,
    }
    return "".join(f", {words}" for words, so in said.items() if so)


def _distinct(values: Any) -> list[str]:
    return [str(value) for value in sorted(set(values), key=lambda value: (value is None, isinstance(value, str), value))]


def http_row(point: str, rows: pd.DataFrame) -> dict[str, str]:
    return {
        "case": point,
        "runs": _counted_runs(rows),
        "requests/s": _median(rows, "throughput_per_s", 1, with_range=True),
        "median, ms": _median(rows, "p50_s", 1000),
        "p95, ms": _median(rows, "p95_s", 1000),
        "p99, ms": _median(rows, "p99_s", 1000),
        "failed": _sum(rows, "errors"),
        "CPU s per 1000": _median(rows, "cpu_s_per_1000_requests", 1),
        "peak PSS, MiB": _median(rows, "pss_peak_bytes", 1 / MIB),
    }


def foreign_row(point: str, rows: pd.DataFrame) -> dict[str, str]:
    tools, of = (", ".join(dict.fromkeys(rows[name].dropna().astype(str))) or NOTHING for name in ("of_tool", "times_of"))
    return {
        "case": point, "tool": tools, "runs": f"{len(rows)}", "samples": _sum(rows, "counted"),
        "requests/s": _median(rows, "throughput_per_s", 1, with_range=True), "mean, ms": _median(rows, "mean_s", 1000),
        "median, ms": _median(rows, "p50_s", 1000), "p95, ms": _median(rows, "p95_s", 1000),
        "p99, ms": _median(rows, "p99_s", 1000), "times of": of, "failed": _sum(rows, "errors"),
    }  # fmt: skip


def chat_row(point: str, rows: pd.DataFrame) -> dict[str, str]:
    return {
        "case": point,
        "runs": _counted_runs(rows),
        "came and left": _sum(rows, "left"),
        "delivered": _share(rows, "delivered_share"),
        "lost": _sum(rows, "lost"),
        "lost while away": _sum(rows, "lost_while_away"),
        "twice": _sum(rows, "duplicated"),
        "out of order": _sum(rows, "out_of_order"),
        "latency p50 / p95 / p99, ms": " / ".join(_median(rows, f"latency_p{q}_s", 1000) for q in PERCENTILES),
        "burst p50 / last, ms": _burst(rows),
        "slow readers cut off": _sum(rows, "slow_readers_cut"),
        "connect p95, ms": _median(rows, "connect_p95_s", 1000),
        "dropped": _sum(rows, "disconnects"),
        "back after, s": _median(rows, "away_max_s", 1),
        "longest silence, s": _median(rows, "silence_max_s", 1),
        "instances' CPU s per 1000": _median(rows, "cpu_s_daphne_per_1000_deliveries", 1),
        "instances' PSS, MiB": _median(rows, "pss_peak_bytes_daphne", 1 / MIB),
    }


def _burst(rows: pd.DataFrame) -> str:
    return NOTHING if "burst_last_s" not in rows or rows["burst_last_s"].isna().all() else " / ".join(
        _median(rows, name, 1000) for name in ("burst_p50_s", "burst_last_s")
    )  # fmt: skip


def look_row(point: str, rows: pd.DataFrame) -> dict[str, str]:
    seen = {METRIC_NAMES.get(name, name.replace("_", " ")): _median(rows, name, 1, with_range=True)
            for name in SEEN if name in rows and rows[name].notna().any()}  # fmt: skip
    return {"case": point, "looks": _counted_runs(rows)} | seen


def _counted_runs(rows: pd.DataFrame) -> str:
    disturbed = int((~rows["valid"].astype(bool)).sum())
    return f"{len(rows)}" + (f" ({disturbed} disturbed)" if disturbed else "")


def _median(rows: pd.DataFrame, column: str, unit: float, with_range: bool = False) -> str:
    if column not in rows or rows[column].isna().all():
        return NOTHING
    values = rows[column].dropna() * unit
    words = number(values.median())
    return f"{words} ({number(values.min())}–{number(values.max())})" if with_range and len(values) > 1 else words


def _sum(rows: pd.DataFrame, column: str) -> str:
    return NOTHING if column not in rows or rows[column].isna().all() else f"{int(rows[column].sum()):,}"


def _share(rows: pd.DataFrame, column: str) -> str:
    return NOTHING if column not in rows or rows[column].isna().all() else f"{rows[column].median():.2%}"


def number(value: float) -> str:
    """Three figures that count, thousands set apart."""
    if np.isnan(value):
        return NOTHING
    size = abs(value)
    return f"{value:,.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"


def judgement_words(judgement: Judgement) -> dict[str, Any]:
    """A judgement as text: id, sentence, verdict, `of` (what was compared), and `tests`, one dict of text a test."""
    rows = judgement.tests.to_dict("records")
    return {
        "id": judgement.claim.id,
        "sentence": judgement.claim.sentence,
        "verdict": judgement.verdict,
        "note": judgement.claim.note,
        "of": "; ".join(dict.fromkeys(row["of"] for row in rows if row["of"])),
        "tests": [_test_words(row) for row in rows],
    }


def _test_words(row: dict[str, Any]) -> dict[str, str]:
    what = METRIC_NAMES.get(row["metric"], row["metric"])
    formats = {"ratio": "× {:.3g}", "difference": "{:+.3g}", "value": "{:.3g}"}
    figure = NOTHING if np.isnan(row["estimate"]) else formats[row["scale"]].format(row["estimate"])
    interval = "none" if np.isnan(row["low"]) else f"{row['low']:.3g} to {row['high']:.3g}"
    return {
        "what": what + (f", {row['each']}" if row["each"] else ""),
        "than": f"{row['expect']} than {row['than']}" if np.isnan(row["limit"]) else f"{row['expect']} {row['than']}",
        "figure": figure,
        "interval": interval,
        "n": counted(row),
        "verdict": said(row),
    }


def counted(row: Mapping[str, Any]) -> str:
    """How many pairs or runs a test had, and how many more of them were left out."""
    return f"{row['n']}" + (f" ({row['disturbed']} of {row['n'] + row['disturbed']} disturbed)" if row["disturbed"] else "")


def said(row: Mapping[str, Any]) -> str:
    """The verdict of a test; what would decide it, or measure it, where there is none."""
    if row["verdict"] == NOT_TESTED:
        return f"{NOT_TESTED} ({row['command']})"
    if np.isnan(row["more_blocks"]):
        return row["verdict"]
    minutes = "" if np.isnan(row["more_minutes"]) else f", {max(1, row['more_minutes']):.0f} min"
    blocks = f"{row['more_blocks']:.0f} {'more' if row['n'] else 'sound'} block{'s' if row['more_blocks'] > 1 else ''}"
    return f"{row['verdict']} ({'' if row['n'] else 'all were disturbed; '}about {blocks}{minutes})"


def environment(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """What the runs say of machines and versions, one row a fact; where runs differ, each value is given."""
    facts: dict[str, dict[str, None]] = {}
    for run in runs:
        for name, value in _flat(run.environment):
            facts.setdefault(name, {})[value] = None
        if run.clock_offset_s is not None:
            offset = f"{run.clock_offset_s * 1000:.1f} ± {(run.clock_error_s or 0) * 1000:.1f} ms"
            facts.setdefault("clock offset, web − desk", {})[offset] = None
    return [(name, _shortened(list(values))) for name, values in facts.items()]


def _shortened(values: list[str], most: int = 4) -> str:
    return "; ".join(values[:most]) + (f"; and {len(values) - most} more" if len(values) > most else "")


def _flat(values: Any, prefix: str = "") -> list[tuple[str, str]]:
    rows = []
    for name, value in values.items():
        if isinstance(value, dict):
            rows += _flat(value, f"{prefix}{name}: ")
        elif name == "memory_bytes":
            rows.append((f"{prefix}memory", f"{value / MIB:,.0f} MiB"))
        elif isinstance(value, (list, tuple)):
            rows.append((f"{prefix}{name}", ", ".join(map(str, value))))
        elif value not in (None, ""):
            rows.append((f"{prefix}{name}", str(value)))
    return rows


def commands(runs: Sequence[Run]) -> list[str]:
    """What to type to measure these runs again."""
    commands: list[str] = []
    for name in dict.fromkeys(run.experiment for run in runs):
        mine = [run for run in runs if run.experiment == name]
        if files := list(dict.fromkeys(run.environment["file"] for run in mine if run.kind == "foreign")):
            commands.append(f"fab import {shlex.join(files)} --as {name}")
        mine = [run for run in mine if run.kind != "foreign"]
        if any(run.point for run in mine):
            plan = name.partition("@")[0]  # what follows is the site that was under test
            quick = " --quick" if plan.endswith("-quick") else ""
            plan = plan.removesuffix("-quick")
            generator = next((f"-{of}" for of in GENERATORS if plan.endswith(f"-{of}")), "")
            by = generator and f" --generator {generator[1:]}"
            repeats = max(run.repeat for run in mine)
            commands.append(f"fab experiment {plan.removesuffix(generator)}{by}{quick} --repeats {repeats}")
        else:
            commands += [line for run in mine for line in _adhoc_commands(run)]
    return list(dict.fromkeys(commands))


def _adhoc_commands(run: Run) -> list[str]:
    settings = f"fab reset && fab set{_flags(run.settings)}" if _flags(run.settings) else "fab reset"
    if run.kind == "plan":
        given = f" --parameters {shlex.quote(run.workload.parameters)}" if run.workload.parameters else ""
        given += f" --warmup-s {run.workload.warmup_s:g}" if run.workload.warmup_s != type(run.workload)().warmup_s else ""
        return [settings, f"fab load --file {shlex.quote(run.workload.file)}{given}"]
    return [settings, f"fab {run.kind}{_flags(run.workload)}"]


def _flags(fields: Any) -> str:
    """The flags for those fields that are not at their default."""
    default = type(fields)().to_dict()
    changed = {name: value for name, value in fields.to_dict().items() if value != default[name]}
    return "".join(f" --{name.replace('_', '-')} {value}" for name, value in changed.items())
