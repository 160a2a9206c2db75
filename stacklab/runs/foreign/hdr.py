"""HdrHistogram's two forms: a table of percentiles (.hgrm), and a log of intervals (.hlog), which can be added up exactly."""

from __future__ import annotations

import binascii
import re
import zlib
from dataclasses import dataclass
from typing import Any

from stacklab.runs.foreign.sheet import is_time
from stacklab.runs.foreign.source import Source
from stacklab.runs.foreign.telling import stated_run
from stacklab.runs.results import Run

TOOL = "HdrHistogram"
HEADER = re.compile(r"^\s*Value(?:\s*\(([^)\n]*)\))?\s+Percentile\s+TotalCount", re.M)
ROW = re.compile(r"^\s*(\d+(?:[.,]\d+)?)\s+([01][.,]\d+)\s+(\d+)\s+(?:[\d.,]+|inf|Infinity)\s*$", re.M)
UNITS = {1e-6: "ns nsec nanos nanoseconds", 1e-3: "us µs μs usec micros microseconds", 1.0: "ms msec millis milliseconds",
         1e3: "s sec secs seconds"}  # fmt: skip
TO_MS = {name: scale for scale, names in UNITS.items() for name in names.split()}
WANTED = {"p50_s": 50.0, "p75_s": 75.0, "p90_s": 90.0, "p95_s": 95.0, "p99_s": 99.0, "p99.9_s": 99.9, "p99.99_s": 99.99}
STEPS = "HdrHistogram's table: the first step at or above"
EXACT = "nearest rank in HdrHistogram, to three digits"
LONGEST = 10**15  # in whatever unit was recorded: eleven days in nanoseconds
DIGITS = 3
LOG = "#[Histogram log format version"
YEAR_S = 365 * 86_400.0


def knows(source: Source) -> bool:
    """Whether it begins as one of them does."""
    text = source.text.lstrip()
    return text.startswith((LOG, "#[", '"StartTimestamp"', "Tag=")) and "HISTF" in text or HEADER.match(text) is not None


def read(source: Source) -> list[Run]:
    """The run in it."""
    return _read_table(source) if HEADER.match(source.text.lstrip()) else _read_log(source)


@dataclass(frozen=True)
class Spectrum:
    """A table of steps: (share of the values, value) in ms, and what stands below it."""

    steps: list[tuple[float, float]]
    mean: float | None
    max: float | None
    count: float | None
    unit: str | None

    def at(self, share: float) -> float:
        """The first step at or above `share`."""
        return next(value for reached, value in self.steps if reached >= share - 1e-9)


def spectrum_of(text: str) -> Spectrum | None:
    """The first table of percentiles in `text`; None if there is no whole one, in a unit that is known."""
    header = HEADER.search(text)
    scale = header and TO_MS.get(_unit(header) or "ms")
    if scale is None:
        return None
    steps = [(number(share), number(value) * scale) for value, share, _ in ROW.findall(text, header.end())]
    if not steps or steps[-1][0] < 1:
        return None
    mean, largest, count = (
        re.compile(rf"{name}\s*=\s*(\d+(?:[.,]\d+)?)[,\]\s]").search(text, header.end())
        for name in ("Mean", "Max", "Total count")
    )
    mean, largest = (found and number(found[1]) * scale for found in (mean, largest))
    return Spectrum(steps, mean, largest, number(count[1]) if count else None, header[1])


def _unit(header: re.Match[str]) -> str:
    return (header[1] or "").strip().lower()


def number(text: str) -> float:
    """With a point or a decimal comma."""
    return float(text.replace(",", "."))


def _read_table(source: Source) -> list[Run]:
    if (unit := _unit(HEADER.search(source.text))) and unit not in TO_MS:
        source.refuse(f"has its times in {unit!r}, which is no unit that is known here")
    spectrum = spectrum_of(source.whole())
    if spectrum is None:
        source.refuse("is cut off: its table of percentiles does not reach 1")
    whole = {name: spectrum.at(percent / 100) / 1000 for name, percent in WANTED.items()} | {
        "samples": spectrum.count, "mean_s": spectrum.mean and spectrum.mean / 1000,
        "max_s": spectrum.max and spectrum.max / 1000,
    }  # fmt: skip
    unit = [] if spectrum.unit else ["unit"]
    notes = ["the file does not tell its unit: its numbers are read as milliseconds"] if unit else []
    return [stated_run(source, TOOL, {None: whole}, STEPS, notes=notes, cannot_tell=[*unit, "labels"])]


class _Log:
    """Histograms added up, for each tag, as intervals are read."""

    def __init__(self, source: Source) -> None:
        try:
            from hdrh import codec, histogram
        except ImportError:  # it has no wheel for every computer
            source.refuse("an interval log needs the package hdrhistogram, which is not there: pip install hdrhistogram")
        self._histogram = histogram.HdrHistogram
        self.no_line = (ValueError, IndexError, binascii.Error, zlib.error, codec.HdrCookieException, codec.HdrLengthException)
        self.sums: dict[str | None, Any] = {}
        self.start_s: float | None = None
        self.first_s, self.last_s, self.scale = float("inf"), float("-inf"), None

    def take(self, line: str) -> None:
        """One line of it."""
        if line.startswith("#"):
            if begun := re.match(r"#\[(?:StartTime|BaseTime): ([\d.]+)", line):
                self.start_s = float(begun[1])
            return
        tag, line = re.fullmatch(r"(?:Tag=([^,]*),)?(.*)", line).groups()
        stamp, length, largest, packed = line.split(",", 3)
        if stamp.strip('"') == "StartTimestamp":
            return
        histogram = self._histogram.decode(packed.strip().strip('"'))
        if not (is_time(float(stamp)) and is_time(float(length)) and is_time(float(largest))):
            raise ValueError
        self.first_s, self.last_s = min(self.first_s, float(stamp)), max(self.last_s, float(stamp) + float(length))
        if self.scale is None and float(largest) > 0:
            # What was recorded stands in a unit of its own; the interval's largest value stands beside it in ms.
            self.scale = min(TO_MS.values(), key=lambda scale: abs(histogram.get_max_value() * scale / float(largest) - 1))
        if tag not in self.sums:
            self.sums[tag] = self._histogram(1, LONGEST, DIGITS)
        self.sums[tag].add(histogram)

    def whole(self) -> Any:
        """All tags together."""
        together = self._histogram(1, LONGEST, DIGITS)
        for one in self.sums.values():
            together.add(one)
        return together


def _read_log(source: Source) -> list[Run]:
    log, broken, notes = _Log(source), None, []
    with source.lines() as lines:
        for row, line in enumerate(lines, start=1):
            if broken:
                source.refuse("is no line of an interval log of HdrHistogram, version 2", broken)
            try:
                if line.strip():
                    log.take(line.strip())
            except log.no_line:
                broken = row
    if broken:
        notes.append(f"row {broken:,} of {source.path.name}, its last, was cut off, and is left out")
    if not log.sums:
        source.refuse("holds no interval")
    scale = (log.scale or 1.0) / 1000
    begun_s = log.first_s + (log.start_s if log.start_s is not None and log.first_s < YEAR_S else 0.0)
    known = log.start_s is not None or log.first_s > YEAR_S
    stated = {None: _quantities(log.whole(), scale) | {"duration_s": log.last_s - log.first_s}}
    stated |= {tag: _quantities(one, scale) for tag, one in log.sums.items() if tag is not None}
    return [stated_run(
        source, TOOL, stated, EXACT, started_s=begun_s if known else None,
        ended_s=begun_s + log.last_s - log.first_s if known else None, notes=notes,
        cannot_tell=[] if log.scale else ["unit"],
    )]  # fmt: skip


def _quantities(histogram: Any, scale: float) -> dict[str, float]:
    count = histogram.get_total_count()
    times = {name: histogram.get_value_at_percentile(percent) * scale for name, percent in WANTED.items()}
    times |= {"mean_s": histogram.get_mean_value() * scale, "max_s": histogram.get_max_value() * scale}
    return {"samples": count} | (times if count else {})
