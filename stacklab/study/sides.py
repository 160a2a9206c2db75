"""Two sides of runs, of any tools: the figures of each, and whether B is better than A. Runs are the unit, never samples.

Thousands of samples of one run share that run's luck: two runs of the same plan on the same machine may differ by a third,
and a test that takes samples for independent finds that significant beyond doubt. So the k-th run of A stands against the
k-th of B, in the order given, and these pairs are judged as blocks are (`paired`). From one run a side nothing is decided.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from stacklab.errors import LabError, ResultsError
from stacklab.files import RESULTS
from stacklab.runs.foreign.keeping import named, words_of
from stacklab.runs.foreign.source import plain
from stacklab.runs.foreign.telling import LINEAR, NEAREST
from stacklab.runs.results import Run
from stacklab.study.figures import ALL, Figures, Times, figures, to_dict
from stacklab.study.paired import ONE_LOOK_ERROR, look
from stacklab.study.words import NOTHING

ONE_RUN = "cannot be decided from one run a side"
OTHERWISE = "not compared: by different definitions"
NOT_TOLD = "not told of every run"
SHORT = {
    "throughput_per_s": "requests/s", "error_share": "failed", "mean_s": "mean", "p50_s": "p50", "p95_s": "p95", "p99_s": "p99",
}  # fmt: skip
FIRST_ASKED = (NEAREST, LINEAR)
MOST_LABELS = 40  # that are printed


@dataclass(frozen=True)
class Line:
    """One metric of one label: what each run of A and of B shows (None: it does not tell), and the verdict.

    `of` "successes", or "all" samples where some file does not tell them apart; `definition` of a percentile, the same for
    all, or each side's own. `ratio` of the medians, B to A. `low`, `high` the interval of B to A, on the `scale` "ratio", or
    "difference" (of shares, and where a value is 0).
    """

    label: str | None
    metric: str
    of: str
    definition: str | None
    a: tuple[float | None, ...]
    b: tuple[float | None, ...]
    ratio: float | None
    verdict: str
    scale: str | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Sides:
    """What the runs of A and of B show beside each other."""

    a: tuple[Run, ...]
    b: tuple[Run, ...]
    lines: tuple[Line, ...]
    notes: tuple[str, ...]

    @property
    def pairs(self) -> int:
        """How many runs of A stand against one of B."""
        return min(len(self.a), len(self.b))

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON: times of metrics in seconds, those of a run as `fab import` tells them."""
        return {
            "a": [to_dict(run) for run in self.a], "b": [to_dict(run) for run in self.b], "pairs": self.pairs,
            "decided_by": f"{self.pairs} pairs of runs" if self.pairs > 1 else ONE_RUN,
            "metrics": [asdict(line) for line in self.lines], "notes": list(self.notes),
        }  # fmt: skip


def compare_files(files: str | None, with_: str | None, margin: float, flags: Sequence[str] = ()) -> Sides:
    """Files of any tool, and kept runs, against others, as they are named on a command line: with commas between them.

    LabError unless both are named, and none of the `flags`, which say what to measure.
    """
    if not files or not with_ or flags:
        named_too = f"and no --{flags[0].replace('_', '-')}: nothing is measured" if flags else "both"
        raise LabError(f"to compare files takes --files A1,A2 --with B1,B2, {named_too}")
    return compare_sides(named(words_of(files), RESULTS), named(words_of(with_), RESULTS), margin)


def compare_sides(a: Sequence[Run], b: Sequence[Run], margin: float = 0.05) -> Sides:
    """The runs `a` beside the runs `b`: all samples together, then each label that all of them have.

    The intervals of the labels are widened so that they hold together with 95 %. ResultsError if a side has no run, or no
    figure at all.
    """
    for side, runs in (("--files", a), ("--with", b)):
        if not runs:
            raise ResultsError(f"{side}: no run is named")
        for run in runs:
            if ALL not in figures(run):
                raise ResultsError(f"{run.path}: holds no request, and nothing else is compared here")
    labels = [label for label in figures(a[0]) if label is not ALL and all(label in figures(run) for run in (*a, *b))]
    labels = [] if len(labels) == 1 and all(len(figures(run)) == 2 for run in (*a, *b)) else labels
    lines = [line for label in (ALL, *labels) for line in _lines(label, a, b, margin, 1 if label is ALL else len(labels))]
    return Sides(tuple(a), tuple(b), tuple(lines), tuple(_notes(a, b, labels)))


def _lines(label: str | None, a: Sequence[Run], b: Sequence[Run], margin: float, together: int) -> list[Line]:
    sides = [[figures(run)[label] for run in runs] for runs in (a, b)]
    ones = [*sides[0], *sides[1]]
    apart = all(one.successes.samples is not None for one in ones)
    times: Callable[[Figures], Times] = (lambda one: one.successes) if apart else (lambda one: one.all)
    of = "successes" if apart else "all"
    known = [list(times(one).definitions) for one in ones]
    common = [name for name in (*FIRST_ASKED, *known[0]) if all(name in names for names in known)]
    definition = next(iter(common), None)
    lines = []
    for metric, get in {
        "throughput_per_s": lambda one: one.throughput_per_s,
        "error_share": lambda one: one.error_share,
        "mean_s": lambda one: times(one).mean_s,
        **{f"{share}_s": lambda one, share=share: times(one).percentile(share, definition) for share in ("p50", "p95", "p99")},
    }.items():
        percentile = metric.startswith("p")
        words = (definition or " / ".join(dict.fromkeys(name for names in known for name in names[:1]))) if percentile else None
        shown = "all" if metric in ("throughput_per_s", "error_share") else of
        values = [[get(one) for one in side] for side in sides]
        lines.append(_line(label, metric, shown, words, values, (a, b), margin, together, percentile and definition is None))
    return lines


def _line(label, metric, of, definition, values, runs, margin, together, otherwise: bool) -> Line:
    medians = [float(np.median(side)) if None not in side else None for side in values]
    ratio = medians[1] / medians[0] if None not in medians and medians[0] else None
    line = Line(label, metric, of, definition, tuple(values[0]), tuple(values[1]), ratio, NOT_TOLD)
    if None in medians:
        return line
    if otherwise:
        return replace(line, ratio=None, verdict=OTHERWISE)
    said, scale, low, high = _verdict(metric, values, runs, margin, together)
    return replace(line, verdict=said, scale=scale, low=low, high=high)


def _verdict(metric, values, runs, margin: float, together: int) -> tuple[str, str | None, float | None, float | None]:
    pairs = min(map(len, values))
    if pairs == 1:
        return ONE_RUN, None, None, None
    rows = pd.DataFrame([
        {"repeat": pair, "side": side, "valid": run.validity.valid, metric: value}
        for side, mine, shown in zip("AB", runs, values, strict=True)
        for pair, run, value in zip(range(pairs), mine, shown, strict=False)
    ])  # fmt: skip
    rows[metric] = rows[metric].astype(float)
    error = ONE_LOOK_ERROR / together
    [verdict] = look(rows, [metric], margin, error)
    finite = math.isfinite(verdict.low) and math.isfinite(verdict.high)
    ends = (verdict.scale, verdict.low, verdict.high) if finite else (None, None, None)
    if verdict.decided:
        return (f"B is {verdict.verdict}" if verdict.verdict in ("better", "worse") else verdict.verdict), *ends
    least = math.ceil(math.log2(2 / error))
    if verdict.blocks < least:
        return f"undecided: {verdict.blocks} pairs of runs; {least} are the fewest that can decide", *ends
    return f"undecided: about {verdict.more_blocks:.0f} more pairs of runs", *ends


def _notes(a: Sequence[Run], b: Sequence[Run], labels: Sequence[str]) -> list[str]:
    """What to know before one believes it."""
    notes = []
    if len(a) != len(b):
        notes.append(f"{len(a)} runs stand against {len(b)}: the last {abs(len(a) - len(b))} are shown, and judge nothing")
    if disturbed := [run.run for run in (*a, *b) if not run.validity.valid]:
        notes.append(f"disturbed, so that they judge nothing: {', '.join(disturbed)}")
    ends = [[(run.started_s, run.ended_s) for run in side] for side in (a, b)]
    if min(len(a), len(b)) > 1 and all(None not in pair for side in ends for pair in side):
        first, last = sorted(ends, key=lambda side: min(begun for begun, _ in side))
        if max(ended for _, ended in first) <= min(begun for begun, _ in last):
            notes.append(
                "all runs of one side came before all of the other: what changed on the machine meanwhile looks like a "
                "difference of the two; measure them in turn (A B B A)"
            )
    others = {label for run in (*a, *b) for label in figures(run)} - {ALL, *labels}
    if others and labels:
        notes.append(f"{len(others)} labels are not in every run, and are left out")
    return notes


def text(sides: Sides) -> str:
    """The comparison, for people."""
    lines = [f"{name}  {plain(', '.join(run.run for run in runs))}" for name, runs in (("A", sides.a), ("B", sides.b))]
    shown = list(dict.fromkeys(line.label for line in sides.lines))
    for label in shown[: MOST_LABELS + 1]:
        mine = [line for line in sides.lines if line.label == label]
        name = "all samples together" if label is ALL else plain(label, 60) or "no label"
        lines += ["", f"{name:<26} {'A':>26} {'B':>26} {'B / A':>7}"]
        lines += [_row(line) for line in mine]
    if len(shown) > MOST_LABELS + 1:
        lines.append(f"… and {len(shown) - MOST_LABELS - 1} labels more (--json has all)")
    if {line.verdict for line in sides.lines} <= {ONE_RUN, NOT_TOLD, OTHERWISE}:
        lines += ["", f"whether B is better {ONE_RUN}: give several of each, measured in turn"]
    lines += ["", *dict.fromkeys(f"percentiles: {line.definition}" for line in sides.lines if line.definition)]
    lines += [f"note: {note}" for note in sides.notes]
    return "\n".join(lines)


def _row(line: Line) -> str:
    ratio = NOTHING if line.ratio is None else f"{line.ratio:.2f}"
    a, b = (_shown(line.metric, side) for side in (line.a, line.b))
    of = "" if line.of == "all" else f", {line.of}"
    verdict = "" if line.verdict == ONE_RUN else f"  {line.verdict}"
    return f"  {SHORT[line.metric] + of:<24} {a:>26} {b:>26} {ratio:>7}{verdict}"


def _shown(metric: str, values: Sequence[float | None]) -> str:
    """The median, and between which values the runs lie."""
    told = [value for value in values if value is not None]
    if not told:
        return NOTHING
    in_ms = (1000, " ms", ",.3g" if max(told) < 1 else ",.0f")
    scale, unit, form = {"throughput_per_s": (1, "/s", ",.1f"), "error_share": (100, " %", ".2f")}.get(metric, in_ms)
    low, middle, high = (format(value * scale, form) for value in (min(told), float(np.median(told)), max(told)))
    return f"{middle}{unit}" if low == high else f"{middle}{unit} ({low}–{high})"
