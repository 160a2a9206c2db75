"""Locust's CSV files, old and new: statistics with their history, failures and exceptions, and the log of each request.

The files of one run share the beginning of their names: what one of them lacks is looked for in those beside it.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from stacklab.runs.foreign.samples import Gathering, Words
from stacklab.runs.foreign.sheet import Sheet, is_time, shown, statuses, texts
from stacklab.runs.foreign.source import Source
from stacklab.runs.foreign.telling import ROUNDED, sampled_runs, stated_run
from stacklab.runs.results import Run

TOOL = "Locust"
ALL = ("Aggregated", "Total")
# What a column is called in new files and in those before 0.13; times in ms.
COUNTS = {"samples": ("Request Count", "# requests", "Total Request Count"),
          "failures": ("Failure Count", "# failures", "Total Failure Count"),
          "throughput_per_s": ("Requests/s",)}  # fmt: skip
TIMES = {"p50_s": ("50%", "Median Response Time", "Median response time"), "p95_s": ("95%",), "p99_s": ("99%",),
         **{f"p{share}_s": (f"{share}%",) for share in ("66", "75", "80", "90", "98", "99.9", "99.99")},
         "mean_s": ("Average Response Time", "Average response time"), "min_s": ("Min Response Time", "Min response time"),
         "max_s": ("Max Response Time", "Max response time", "100%")}  # fmt: skip
TOTAL_TIMES = {"p50_s": ("Total Median Response Time",), "mean_s": ("Total Average Response Time",),
               "min_s": ("Total Min Response Time",), "max_s": ("Total Max Response Time",)}  # fmt: skip
Rows = list[dict[str, str]]


def knows(source: Source) -> bool:
    """Whether it is one of them, by its header."""
    return _kind(source) is not None


def read(source: Source) -> list[Run]:
    """The run that it is a part of, as this file tells it."""
    kind = _kind(source)
    runs = READERS[kind](source)
    return [replace(run, environment=dict(run.environment) | {"one_run": _stem(source.path)}) for run in runs]


def _kind(source: Source) -> str | None:
    names = set(source.header)
    kinds = {
        "log": {"timestamp", "request_type", "name", "response_time_ms", "exception"},
        "history": {"Timestamp", "User Count", "Name"}, "stats": {"Name", "Request Count"},
        "requests": {"Method", "Name", "# requests", "# failures"},
        "distribution": {"Name", "# requests", "50%"}, "failures": {"Method", "Name", "Error", "Occurrences"},
        "exceptions": {"Count", "Message", "Traceback"},
    }  # fmt: skip
    return next((kind for kind, needs in kinds.items() if needs <= names), None)


ENDINGS = {"stats": "_stats", "history": "_stats_history", "failures": "_failures", "exceptions": "_exceptions",
           "requests": "_requests", "distribution": "_distribution", "log": "_requests"}  # fmt: skip


def _stem(path: Path) -> str:
    """What the names of all files of the run begin with."""
    name = path.name.removesuffix(".gz").removesuffix(".csv")
    for ending in sorted(ENDINGS.values(), key=len, reverse=True):
        if name.endswith(ending):
            return name.removesuffix(ending)
    return name


def _beside(source: Source, kind: str) -> Source | None:
    """The file of that kind of the same run, if it lies there."""
    for path in (source.path.with_name(f"{_stem(source.path)}{ENDINGS[kind]}.csv{packed}") for packed in ("", ".gz")):
        if os.path.isfile(path) and path != source.path and _kind(found := Source(path)) == kind:
            return found
    return None


def _rows(source: Source) -> Rows:
    """Its rows by their columns. Windows' text mode has made CR CR LF of its line ends."""
    text = source.whole().lstrip("\ufeff").replace("\r\n", "\n").replace("\n\n", "\n")
    reader = csv.DictReader(io.StringIO(text), delimiter=source.delimiter, skipinitialspace=True)
    try:
        return list(_whole(source, reader))
    except csv.Error as error:
        source.refuse(f"cannot be read as CSV ({error})", reader.line_num)


def _whole(source: Source, reader: csv.DictReader) -> Iterator[dict[str, str]]:
    cut = None
    for row in reader:
        if cut:
            source.refuse("has too few or too many fields", cut)
        if None in row or None in row.values():
            cut = reader.line_num
        else:
            yield row


def _quantities(source: Source, row: Mapping[str, str], times: Mapping[str, tuple[str, ...]] = TIMES) -> dict[str, float | None]:
    """A row of statistics as quantities; what is N/A, or no column, is None."""
    found = {name: _first(source, row, columns, 1.0) for name, columns in COUNTS.items()}
    return found | {name: _first(source, row, columns, 1000.0) for name, columns in times.items()}


def _first(source: Source, row: Mapping[str, str], columns: tuple[str, ...], per: float) -> float | None:
    for column in columns:
        if (text := row.get(column, "N/A").strip()) != "N/A" and text:
            try:
                if is_time(found := float(text.replace(",", "."))):
                    return found / per
                raise ValueError
            except ValueError:
                source.refuse(f"{column} is {text!r}, and no number (in the line of {row.get('Name', '')!r})")
    return None


def _label(row: Mapping[str, str]) -> str | None:
    """The name of a request, with its method; None for the sum of all."""
    kind = row.get("Type", row.get("Method", ""))
    return None if row["Name"] in ALL and kind in ("", "None") else f"{kind} {row['Name']}".strip()


def _read_stats(source: Source) -> list[Run]:
    stated = {_label(row): _quantities(source, row) for row in _rows(source)}
    if not stated:
        source.refuse("holds no request")
    if None not in stated:  # the sum was cut off
        stated = {None: {name: sum(one[name] or 0 for one in stated.values()) for name in ("samples", "failures")}} | stated
    notes, started_s, ended_s = [], None, None
    if history := _beside(source, "history"):
        seen = _history(history)
        started_s, ended_s, users, last = seen
        notes.append(f"up to {users:,} users, by its history")
        if last.get(None, {}).get("samples") == stated[None]["samples"]:
            stated[None]["duration_s"] = ended_s - started_s
            notes.append("the duration is that of its history, in whole seconds")
        else:
            by_then = f"{last.get(None, {}).get('samples') or 0:,.0f} requests in {ended_s - started_s:,.0f} s"
            notes.append(f"its history ends before the run does ({by_then})")
            ended_s = None
    notes += _mishaps(source)
    if log := _beside(source, "log"):
        notes.append(f"{log.path.name} holds each request of this run, and tells more: statistics end before the run does")
    return [stated_run(source, TOOL, stated, ROUNDED, started_s=started_s, ended_s=ended_s, notes=notes)]


def _mishaps(source: Source) -> list[str]:
    """What the files of failures and exceptions beside it say, in a line each."""
    said = []
    for kind, count, words in (("failures", "Occurrences", "Error"), ("exceptions", "Count", "Message")):
        if beside := _beside(source, kind):
            rows = [(row[words], int(_first(beside, row, (count,), 1.0) or 0)) for row in _rows(beside)]
            if rows:
                most = "; ".join(f"{what} ({times:,})" for what, times in sorted(rows, key=lambda row: -row[1])[:2])
                kinds = "1 kind" if len(rows) == 1 else f"{len(rows)} kinds"
                said.append(f"{kind} of {kinds}, {sum(times for _, times in rows):,} in all: {most}")
    return said


def _history(source: Source) -> tuple[float, float, int, dict[str | None, dict[str, float | None]]]:
    """First and last second, most users, and the totals of the last row of each name."""
    rows = _rows(source)
    if not rows:
        source.refuse("holds no row")
    try:
        times = [float(row["Timestamp"]) for row in rows]
        users = max(int(row["User Count"]) for row in rows)
        if not all(map(is_time, times)):
            raise ValueError("nan or inf")
    except ValueError as error:
        source.refuse(f"holds a time or a number of users that is none ({error})")
    return times[0], times[-1], users, {_label(row): _quantities(source, row, TOTAL_TIMES) for row in rows}


def _read_history(source: Source) -> list[Run]:
    started_s, ended_s, users, stated = _history(source)
    for one in stated.values():
        one["throughput_per_s"] = None  # that of the last second
    stated.setdefault(None, {})["duration_s"] = ended_s - started_s
    notes = [f"up to {users:,} users", "a history has no percentiles of the whole run but the median, and may end before it does"]
    return [stated_run(source, TOOL, stated, ROUNDED, started_s=started_s, ended_s=ended_s, notes=notes)]


def _read_old(source: Source) -> list[Run]:
    """Before 0.13 there were two files: counts, and percentiles."""
    requests, distribution = (
        source if _kind(source) == kind else _beside(source, kind) for kind in ("requests", "distribution")
    )
    stated: dict[str | None, dict[str, float | None]] = {}
    for part in filter(None, (requests, distribution)):
        for row in _rows(part):
            name = _label(row) if part is requests else None if row["Name"] in ALL else row["Name"]
            found = {quantity: value for quantity, value in _quantities(part, row).items() if value is not None}
            stated[name] = found | stated.get(name, {})
    return [stated_run(source, TOOL, stated, ROUNDED, notes=_mishaps(source))]


def _read_part(source: Source) -> list[Run]:
    """Failures or exceptions alone are no run: it is that of the statistics beside them."""
    for kind in ("stats", "requests"):
        if found := _beside(source, kind):
            return read(found)
    source.refuse(f"is a part of a run of Locust, without requests: give {_stem(source.path)}_stats.csv, which is not beside it")


def _read_log(source: Source) -> list[Run]:
    sheet, names, errors = Sheet(source, TOOL), Words(), Words()
    gathered = Gathering(names, errors)
    used = ("timestamp", "request_type", "name", "response_time_ms", "response_length", "status_code", "exception")
    columns = {name: name for name in used if name in source.header}
    for first, table in sheet.pieces(columns):
        start_s, ms = sheet.numbers(table["timestamp"]), sheet.numbers(table["response_time_ms"])
        bad = ~is_time(ms) | ~is_time(start_s)
        for at in map(int, np.flatnonzero(bad)):
            if ms[at] < 0:
                source.refuse(f"response_time_ms is {ms[at]:g}: a clock was set meanwhile", sheet.row(first + at))
            garbled = ", ".join(repr(shown(table[name], at)) for name in ("timestamp", "response_time_ms"))
            sheet.leave_out(first + at, f"is no sample: {garbled}")
        verbs, paths = texts(table["request_type"]), texts(table["name"])
        name = np.array([names.code(f"{verb} {path}".strip()) for verb, path in zip(verbs, paths, strict=True)], float)
        error = np.array([errors.code(words) if words else -1 for words in texts(table["exception"])], float)
        status = statuses(table["status_code"]) if "status_code" in table else np.full(len(ms), np.nan)
        size = sheet.numbers(table["response_length"]) if "response_length" in table else np.full(len(ms), np.nan)
        gathered.add(*(column[~bad] for column in (start_s, ms / 1000, status, size, name, error)))
    return sampled_runs(source, TOOL, gathered, notes=sheet.notes())


READERS: dict[str, Callable[[Source], list[Run]]] = {
    "log": _read_log, "stats": _read_stats, "history": _read_history, "requests": _read_old, "distribution": _read_old,
    "failures": _read_part, "exceptions": _read_part,
}  # fmt: skip
