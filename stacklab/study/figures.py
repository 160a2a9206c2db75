"""The figures of a run, of any tool and of ours: counts, and times in each definition of a percentile, by label.

What is not there is None.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from stacklab.runs.foreign.keeping import Kept
from stacklab.runs.foreign.samples import Samples
from stacklab.runs.foreign.source import plain
from stacklab.runs.results import Run
from stacklab.study.percentiles import in_definitions
from stacklab.study.ranked import Batch, Ranked, Rankings, by_name

SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
ALL = None  # and not "", which is the label of a sample that has none
MOST_LABELS = 20  # that are printed


@dataclass(frozen=True)
class Times:
    """Response times in seconds: of all samples, or of those that succeeded. `definitions` {name: {"p50": …}}."""

    samples: int | None = None
    mean_s: float | None = None
    min_s: float | None = None
    max_s: float | None = None
    definitions: dict[str, dict[str, float]] = field(default_factory=dict)

    def percentile(self, share: str, definition: str | None = None) -> float | None:
        """`share` such as "p95", by that definition, or by the first that there is."""
        name = definition or next(iter(self.definitions), None)
        return self.definitions.get(name, {}).get(share)


@dataclass(frozen=True)
class Figures:
    """What a run shows of one label (ALL: of all together). `failures` None: the file does not tell."""

    label: str | None
    samples: int | None
    failures: int | None
    duration_s: float | None
    throughput_per_s: float | None
    all: Times
    successes: Times

    @property
    def error_share(self) -> float | None:
        return self.failures / self.samples if self.samples and self.failures is not None else None


def figures(run: Run) -> dict[str | None, Figures]:
    """{label: its figures}, ALL first. Throughput is of all samples, over the time from the first start to the last end."""
    return run.once("figures", lambda: dict(_figures(run)))


def _figures(run: Run) -> Iterator[tuple[str | None, Figures]]:
    if run.has("requests"):
        yield from _of_samples(run, "requests")
    elif run.has("stated"):
        yield from _of_stated(run)


def apart(run: Run) -> dict[str | None, Figures]:
    """As `figures`, of the samples that are sums or parts of others."""
    return dict(_of_samples(run, "apart")) if run.has("apart") else {}


def _of_samples(run: Run, table: str) -> Iterator[tuple[str | None, Figures]]:
    names, count, span, batches = _samples(run, table)
    lacks = run.environment.get("cannot_tell", ())
    duration_s = None if span is None or "duration" in lacks else span[1] - span[0]
    for code, times in by_name(batches, count):
        label = ALL if code is None else names[code]
        if label is ALL or list(names) != [""]:  # where no sample has a label, there are no labels
            yield label, _one(label, times, duration_s, told="failures" not in lacks)


def _samples(run: Run, table: str) -> tuple[Sequence[str], int, tuple[float, float] | None, Iterator[Batch]]:
    """Names, how many samples, from when to when, and the samples themselves: of ours those that count."""
    if run.kind == "foreign":
        held: Samples | Kept = run.held.get(table) or Kept(run.path / f"{table}.parquet")
        return held.names, len(held), held.span(), held.outcomes()
    rows = run.table(table)
    rows = rows[~rows["warmup"].astype(bool)]
    labels = rows["name"].fillna("").astype("category").cat
    ends = rows["start_s"] + rows["duration_s"]
    span = None if rows["start_s"].isna().any() or rows.empty else (float(rows["start_s"].min()), float(ends.max()))
    batch = labels.codes.to_numpy(np.int32), rows["error"].notna().to_numpy(), rows["duration_s"].to_numpy(float)
    return list(labels.categories), len(rows), span, iter([batch])


def _one(label: str | None, times: Rankings, duration_s: float | None, told: bool) -> Figures:
    count = len(times.all)
    failures = count - len(times.successes) if told else None
    every = _times(times.all, times.last)
    good = every if failures == 0 else _times(times.successes, times.last_successes) if told else Times()
    return Figures(label, count, failures, duration_s, count / duration_s if duration_s else None, every, good)


def _times(times: Ranked, last: np.ndarray | None) -> Times:
    if not len(times):
        return Times(samples=0)
    found = in_definitions(times, tuple(SHARES.values()), last)
    definitions = {name: dict(zip(SHARES, values, strict=True)) for name, values in found.items()}
    return Times(len(times), times.mean, times[0], times[-1], definitions)


def _of_stated(run: Run) -> Iterator[tuple[str | None, Figures]]:
    told: dict[str | None, dict[str, float]] = {ALL: {}}
    for name, quantity, value in run.table("stated").itertuples(index=False):
        told.setdefault(ALL if pd.isna(name) else name, {})[quantity] = value
    for label, quantities in told.items():
        if quantities:
            yield label, _stated(label, quantities, run.environment["percentile"])


def _stated(label: str | None, told: dict[str, float], definition: str) -> Figures:
    samples, failures = (int(told[name]) if name in told else None for name in ("samples", "failures"))
    percentiles = {share: told[f"{share}_s"] for share in SHARES if f"{share}_s" in told}
    every = Times(samples, told.get("mean_s"), told.get("min_s"), told.get("max_s"), {definition: percentiles})
    # Where nothing failed, the times of all are those of the successes; else no summary tells them apart.
    good = every if failures == 0 else Times()
    return Figures(label, samples, failures, told.get("duration_s"), told.get("throughput_per_s"), every, good)


def to_dict(run: Run) -> dict[str, Any]:
    """What `fab import` tells of a run, in milliseconds; p50_ms, p95_ms and p99_ms are of all samples, by `percentile`."""
    known, beside = figures(run), apart(run)
    whole = known.get(ALL, Figures(ALL, None, None, None, None, Times(), Times()))
    tool = run.environment.get("tool", "stacklab")
    return {
        "tool": tool, "file": run.environment.get("file", run.path.name), "run": run.run,
        **_told(whole), "percentile": next(iter(whole.all.definitions), None),
        "cannot_tell": list(run.environment.get("cannot_tell", ())), "notes": list(run.environment.get("notes", ())),
        "started_s": run.started_s, "ended_s": run.ended_s,
        "successes": _times_told(whole.successes), "definitions": _in_ms(whole.all),
        "labels": {name: of | {"successes": _times_told(known[name].successes)} for name, of in _labels(known).items()},
        "apart": _told(beside[ALL]) | {"labels": _labels(beside)} if beside else {}, "path": str(run.path),
    }  # fmt: skip


def _labels(known: dict[str | None, Figures]) -> dict[str, dict[str, Any]]:
    return {label: _told(one) for label, one in known.items() if label is not ALL}


def text(told: dict[str, Any]) -> str:
    """What `to_dict` tells, for people."""
    failed = "failures not told" if told["failures"] is None else f"{told['failures']:,} failed"
    took = "" if told["duration_s"] is None else f" in {told['duration_s']:,.3f} s"
    rate = "" if told["throughput_per_s"] is None else f" · {told['throughput_per_s']:,.1f}/s"
    lines = [f"{plain(told['run'])} ({told['tool']})", f"{_count(told['samples'])} samples, {failed}{took}{rate}"]
    lines.append(f"  {'ms':<44} {'p50':>9} {'p95':>9} {'p99':>9} {'mean':>9} {'max':>9}")
    for nth, (name, values) in enumerate(told["definitions"].items()):
        lines.append(_times_line(name, values if nth else values | {"mean_ms": told["mean_ms"], "max_ms": told["max_ms"]}))
    if told["failures"] and told["successes"]["samples"] is not None:
        lines.append(_times_line(f"successes alone, {told['percentile']}", told["successes"]))
    labels = sorted(told["labels"].items(), key=lambda pair: -(pair[1]["samples"] or 0))
    for label, one in labels[:MOST_LABELS] if len(labels) > 1 else ():
        failed = f", {one['failures']:,} failed" if one["failures"] else ""
        lines.append(_times_line(f"{plain(label, 28) or 'no label'} ({_count(one['samples'])}{failed})", one))
    if len(labels) > MOST_LABELS:
        lines.append(f"  … and {len(labels) - MOST_LABELS} labels more (--json has all)")
    if told["cannot_tell"]:
        lines.append(f"cannot tell: {', '.join(told['cannot_tell'])}")
    return "\n".join([*lines, *(f"note: {note}" for note in told["notes"]), told["path"]])


def _count(number: int | None) -> str:
    return "–" if number is None else f"{number:,}"


def _times_line(name: str, values: dict[str, Any]) -> str:
    cells = (values.get(f"{which}_ms") for which in (*SHARES, "mean", "max"))
    return f"  {name:<44} " + " ".join(f"{'–' if value is None else format(value, ',.2f'):>9}" for value in cells)


def _told(one: Figures) -> dict[str, Any]:
    counts = {"samples": one.samples, "failures": one.failures, "duration_s": _rounded(one.duration_s)}
    return counts | {"throughput_per_s": _rounded(one.throughput_per_s)} | _times_told(one.all)


def _times_told(times: Times) -> dict[str, Any]:
    shares = {f"{share}_ms": _rounded(times.percentile(share), 1000) for share in SHARES}
    others = {f"{name}_ms": _rounded(getattr(times, f"{name}_s"), 1000) for name in ("mean", "min", "max")}
    return {"samples": times.samples} | others | shares


def _in_ms(times: Times) -> dict[str, dict[str, float | None]]:
    return {name: {f"{share}_ms": _rounded(value, 1000) for share, value in values.items()}
            for name, values in times.definitions.items()}  # fmt: skip


def _rounded(value: float | None, scale: float = 1.0) -> float | None:
    return None if value is None else round(value * scale, 3)
