"""k6's results: a JSON object a line, CSV, and both forms of its summary. A request is spread over many metrics: one is read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.compute as pc

from stacklab.runs.foreign.samples import Gathering, Words
from stacklab.runs.foreign.sheet import Sheet, is_time, shown, status, statuses, texts
from stacklab.runs.foreign.source import Source, plain
from stacklab.runs.foreign.telling import LINEAR, sampled_runs, stated_run
from stacklab.runs.results import Run

TOOL = "k6"
METRIC = "http_req_duration"
AT_ONCE = 50_000
ODD = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)  # of JSON that is another than k6's
USED = ("timestamp", "metric_value", "error", "error_code", "expected_response", "method", "name", "status")
FINE_ENOUGH = 100  # whole seconds: from so many of them on, a duration is right within 1 %
QUANTITIES = {"avg": "mean_s", "min": "min_s", "med": "p50_s", "max": "max_s"}


def knows(source: Source) -> bool:
    """Whether it begins as one of them does."""
    start = source.text.lstrip()[:4000]
    lines = start.startswith("{") and '"metric"' in start and '"type"' in start and '"data"' in start
    return lines or source.header[:3] == ["metric_name", "timestamp", "metric_value"] or _is_summary(source)


def _is_summary(source: Source) -> bool:
    text = source.text
    counts = '"iterations"' in text or '"http_reqs"' in text
    return text.lstrip().startswith("{") and ('"root_group"' in text or '"metrics"' in text and counts)


def read(source: Source) -> list[Run]:
    """The run in it. Samples are those of http_req_duration; k6 stamps their end."""
    if source.header[0] == "metric_name":
        return _read_csv(source)
    return _read_summary(source) if _is_summary(source) else _read_lines(source)


class _Reading:
    """Samples on their way."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.errors, self.names = Words(), Words()
        self.gathered = Gathering(self.names, self.errors)
        self.waiting: list[tuple[str, float, float, int, float]] = []  # time, ms, status, name, error

    def take(self, data: Mapping[str, Any]) -> None:
        tags = data.get("tags") or {}
        code = str(tags.get("status", ""))
        failed = _failed(str(tags.get("expected_response", "")), code)
        error = self.errors.code(str(tags.get("error") or f"HTTP {code}")) if failed else -1
        name = self.names.code(f"{tags.get('method', '')} {tags.get('name') or tags.get('url', '')}".strip())
        self.waiting.append((str(data["time"]), _number(data["value"]), status(code), name, error))

    def gather(self) -> None:
        if self.waiting:
            times, *columns = zip(*self.waiting, strict=True)
            ms, codes, name, error = np.array(columns, float)
            stamps = pd.to_datetime(pd.Series(times), utc=True, format="ISO8601", errors="coerce")
            if stamps.isna().any():
                self.source.refuse(f"holds {plain(str(times[stamps.isna().argmax()]), 40)!r} where a time should be")
            ends = ((stamps - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(seconds=1)).to_numpy()
            self.gathered.add(ends - ms / 1000, ms / 1000, codes, np.full(len(ms), np.nan), name, error)
            self.waiting = []


def _number(value: Any) -> float:
    """A count, or what something took; ValueError or TypeError for anything else."""
    if not is_time(number := value + 0.0):
        raise ValueError(f"{value!r} is negative, or no number")
    return number


def _failed(expected: str, code: str) -> bool:
    """As k6 says; versions that did not say it called 200 to 399 good."""
    return expected == "false" if expected else not 200 <= status(code) < 400


def _read_lines(source: Source) -> list[Run]:
    reading, seen, garbled, notes = _Reading(source), set(), None, []
    with source.lines() as lines:
        for row, line in enumerate(lines, start=1):
            if garbled:
                source.refuse("is not the JSON that k6 writes", garbled)
            if METRIC not in line or '"Point"' not in line:
                if '"Metric"' in line[:2000]:
                    seen.add(line.partition('"metric":"')[2].partition('"')[0])
                elif not line.endswith("\n") and line.strip() and not line.rstrip().endswith("}"):
                    garbled = row
                continue
            try:
                point = json.loads(line)
                if point["metric"] == METRIC:
                    reading.take(point["data"])
            except ODD:
                garbled = row
            if len(reading.waiting) >= AT_ONCE:
                reading.gather()
        reading.gather()
    if garbled:
        notes.append(f"row {garbled:,} of {source.path.name}, its last, was cut off, and is left out")
    if not reading.gathered.rows:
        source.refuse(f"holds no {METRIC}, so no HTTP request; it has {', '.join(sorted(seen)[:12]) or 'no metric'}")
    return sampled_runs(source, TOOL, reading.gathered, notes=notes, first_row=1)


def _read_csv(source: Source) -> list[Run]:
    sheet, names, errors = Sheet(source, TOOL), Words(), Words()
    gathered, whole_seconds, last_s, first_s = Gathering(names, errors), True, -np.inf, np.inf
    columns = {name: name for name in ("metric_name", *USED) if name in source.header}
    for first, table in sheet.pieces(columns):
        mine = pc.equal(table["metric_name"], METRIC.encode())
        rows = np.flatnonzero(mine.to_numpy(zero_copy_only=False))
        table = {name: column.filter(mine) for name, column in table.items()}
        stamps, ms = sheet.numbers(table["timestamp"]), sheet.numbers(table["metric_value"])
        if np.isnan(stamps).any():  # K6_CSV_TIME_FORMAT
            parsed = pd.to_datetime(pd.Series(texts(table["timestamp"])), utc=True, format="ISO8601", errors="coerce")
            stamps = ((parsed - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(seconds=1)).to_numpy(dtype=float)
        stamps = stamps / 10.0 ** (3 * np.digitize(stamps, (1e11, 1e14, 1e17)))  # of seconds, ms, µs, ns
        bad = ~is_time(stamps) | ~is_time(ms)
        for at in np.flatnonzero(bad):
            sheet.leave_out(first + int(rows[at]), f"is no sample: {shown(table['metric_value'], int(at))!r}")
        whole_seconds &= bool((stamps[~bad] % 1 == 0).all())
        first_s, last_s = min(first_s, stamps[~bad].min(initial=np.inf)), max(last_s, stamps[~bad].max(initial=-np.inf))
        tags = {name: texts(table[name]) if name in table else [""] * len(ms) for name in USED[2:]}
        failed = [_failed(*both) for both in zip(tags["expected_response"], tags["status"], strict=True)]
        error = np.array([
            errors.code(words or f"error {code or status}") if so else -1
            for so, words, code, status in zip(failed, tags["error"], tags["error_code"], tags["status"], strict=True)
        ], float)  # fmt: skip
        name = np.array([names.code(f"{verb} {name}".strip()) for verb, name in zip(tags["method"], tags["name"], strict=True)])
        codes = statuses(table["status"]) if "status" in table else np.full(len(ms), np.nan)
        nothing = np.full(len(ms), np.nan)
        gathered.add(*(column[~bad] for column in (stamps - ms / 1000, ms / 1000, codes, nothing, name, error)))
    notes, lacks = sheet.notes(), []
    if whole_seconds and last_s - first_s < FINE_ENOUGH:
        notes.append(f"times are in whole seconds ({first_s:.0f} to {last_s:.0f}): too coarse for a duration")
        lacks.append("duration")
    return sampled_runs(source, TOOL, gathered, notes=notes, cannot_tell=lacks)


def _read_summary(source: Source) -> list[Run]:
    text = source.whole()
    try:
        content = json.loads(text)
        metrics = {name: values.get("values", values) for name, values in content["metrics"].items()}
        whole = _stated(metrics, content.get("state") or {}) if METRIC in metrics else {}
    except ODD as error:
        source.refuse(f"is not the summary that k6 writes ({error!r}); was it cut off?")
    if not whole:
        source.refuse(f"holds no {METRIC}, so no HTTP request; it has {', '.join(sorted(metrics)[:12])}")
    return [stated_run(source, TOOL, {None: whole}, LINEAR, cannot_tell=["labels"])]


def _stated(metrics: Mapping[str, Mapping[str, Any]], state: Mapping[str, Any]) -> dict[str, float | None]:
    """Its quantities. `passes` of http_req_failed are the failed requests, for what it counts is failures."""
    told = {
        "samples": metrics.get("http_reqs", {}).get("count"), "throughput_per_s": metrics.get("http_reqs", {}).get("rate"),
        "failures": metrics.get("http_req_failed", {}).get("passes"), "duration_s": state.get("testRunDurationMs"),
    } | _times(metrics[METRIC])  # fmt: skip
    whole = {name: None if value is None else _number(value) for name, value in told.items()}
    whole |= {name: value / 1000 for name, value in whole.items() if name.endswith("_s") and name != "throughput_per_s" and value}
    if whole["duration_s"] is None and whole["samples"] is not None and whole["throughput_per_s"]:
        whole["duration_s"] = whole["samples"] / whole["throughput_per_s"]  # the rate is k6's own count over its own time
    return whole


def _times(trend: Mapping[str, Any]) -> dict[str, Any]:
    """A metric's times, ms, as quantities: avg, med, p(95) and whatever else summaryTrendStats asked for."""
    named = {QUANTITIES.get(name, f"p{name[2:-1]}_s" if name.startswith("p(") else ""): value for name, value in trend.items()}
    return {name: value for name, value in named.items() if name}
