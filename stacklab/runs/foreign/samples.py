"""Samples of another tool on their way to a Run: gathered in pieces, beyond some millions on disk, cut where runs were appended.

A sample is a row with `start_s`, `duration_s`, `status`, `bytes`, and its name and error as numbers of the lists `names`
and `errors`. They stay in the order of the file, which for most tools is that of completion.
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from stacklab.runs.tables import SCHEMAS

RAW = pa.schema({
    "start_s": pa.float64(), "duration_s": pa.float64(), "status": pa.int32(), "bytes": pa.int64(), "name": pa.int32(),
    "error": pa.int32(),
})  # fmt: skip
MOST_IN_MEMORY = 1_000_000
AT_ONCE = 1 << 18  # rows of a file beside
MOST_WORDS = 10_000
OTHERS = "(others)"
GAP_S = 30.0  # of nothing under way: what follows is another run, appended to the same file
LEAST_PER_RUN = 10  # samples in the median piece; fewer are a slow load with long pauses, and no runs
BACK_S = 1.0  # by which a row may end before an earlier one: threads do not write in perfect order


class Words:
    """Texts that repeat, each kept once. After MOST_WORDS all new ones are OTHERS: a name with an id in it has no end."""

    def __init__(self) -> None:
        self.list: list[str] = []
        self._codes: dict[str, int] = {}

    def code(self, text: str) -> int:
        """The number of `text`."""
        if text not in self._codes and len(self.list) >= MOST_WORDS:
            text = OTHERS
        if text not in self._codes:
            self._codes[text] = len(self.list)
            self.list.append(text)
        return self._codes[text]

    def codes(self, column: pa.Array) -> np.ndarray:
        """The numbers of a column of texts or bytes."""
        coded = column.dictionary_encode()
        texts = [value.decode() if isinstance(value, bytes) else value for value in coded.dictionary.to_pylist()]
        return np.array([self.code(text) for text in texts], np.int32)[coded.indices.to_numpy(zero_copy_only=False)]


@dataclass(frozen=True)
class Samples:
    """Rows `first` to `last` of what was gathered, in memory or in a file beside."""

    parts: Sequence[pa.RecordBatch]
    file: Path | None
    first: int
    last: int
    names: Sequence[str]
    errors: Sequence[str]
    keeper: object = field(repr=False, default=None)  # while it lives, the file does

    def __len__(self) -> int:
        return self.last - self.first

    def batches(self, columns: Iterable[str] = RAW.names) -> Iterator[pa.RecordBatch]:
        """The rows, some at a time."""
        wanted = list(columns)
        if self.file:
            parts = pyarrow.parquet.ParquetFile(self.file, pre_buffer=False).iter_batches(columns=wanted, batch_size=AT_ONCE)
        else:
            parts = (part.select(wanted) for part in self.parts)
        at = 0
        for part in parts:
            low, high = max(self.first - at, 0), min(self.last - at, len(part))
            if low < high:
                yield part.slice(low, high - low)
            at += len(part)

    def outcomes(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """(numbers of names, whether they failed, durations) of some at a time, in their order."""
        for part in self.batches(["name", "error", "duration_s"]):
            yield part["name"].to_numpy(), part["error"].is_valid().to_numpy(False), part["duration_s"].to_numpy()

    def span(self) -> tuple[float, float] | None:
        """First start and last end; None where starts are not told."""
        return span_of(self.batches(["start_s", "duration_s"]))

    def tables(self) -> Iterator[pa.Table]:
        """The rows as the table `requests` of a run, some at a time."""
        schema = SCHEMAS["requests"]
        for part in self.batches():
            rows = {name: part.column(name) for name in ("start_s", "duration_s", "status", "bytes")}
            rows |= {"error": _spelled(part.column("error"), self.errors), "name": _spelled(part.column("name"), self.names)}
            no = pa.repeat(False, len(part))
            rows |= {"warmup": no, "scheduled_s": pa.nulls(len(part), pa.float64()), "retried": no}
            yield pa.table([rows[name] for name in schema.names], names=schema.names)

    def to_pandas(self) -> pd.DataFrame:
        """All rows as the table `requests`."""
        return pa.concat_tables(self.tables()).unify_dictionaries().to_pandas()

    def write(self, path: Path) -> None:
        """The table `requests` as parquet, some rows at a time."""
        schema = SCHEMAS["requests"]
        with pyarrow.parquet.ParquetWriter(path, schema, write_page_checksum=True) as file:
            for table in self.tables():
                file.write_table(table.cast(schema))


def span_of(parts: Iterable[pa.RecordBatch]) -> tuple[float, float] | None:
    """First start and last end of samples; None where there are none, or a start is not told."""
    start_s, end_s = np.inf, -np.inf
    for part in parts:
        if part["start_s"].null_count:
            return None
        starts = part["start_s"].to_numpy()
        start_s, end_s = min(start_s, starts.min()), max(end_s, (starts + part["duration_s"].to_numpy()).max())
    return (float(start_s), float(end_s)) if np.isfinite(start_s) else None


def _spelled(codes: pa.Array, words: Sequence[str]) -> pa.Array:
    return pa.DictionaryArray.from_arrays(codes, pa.array(words, pa.string()))


@dataclass
class _Gap:
    """Perhaps nothing was under way for long before a row. `end_s`: the last end before it, `start_s`: the first start after."""

    at: int
    apart: int
    end_s: float
    start_s: float


class Gathering:
    """Takes samples in the order of their file. `apart`: those that are sums or parts of others, and not to be counted."""

    def __init__(self, names: Words, errors: Words) -> None:
        self.names, self.errors = names, errors
        self.rows = 0
        self.backwards: tuple[int, float] | None = None  # the first sample that ended before an earlier one, and by how much
        self._parts: list[pa.RecordBatch] = []
        self._writer: pyarrow.parquet.ParquetWriter | None = None
        self._folder: Path | None = None
        self._gaps: list[_Gap] = []
        self._end_s = self._start_s = -np.inf
        self._by_start = True

    def add(self, start_s, duration_s, status, size, name, error, apart_before=0) -> None:
        """Some samples, as arrays; `error` -1 is none. `apart_before` each of them: how many were told apart (or one for all)."""
        size = np.where((np.asarray(size) >= 0) & (np.asarray(size) < 2**53), np.floor(size), np.nan)
        error = np.where(np.asarray(error) < 0, np.nan, error)
        columns = [pa.array(values, kind.type, from_pandas=True) for values, kind in
                   zip((start_s, duration_s, status, size, name, error), RAW, strict=True)]  # fmt: skip
        self._look(np.asarray(start_s, float), np.asarray(duration_s, float), apart_before)
        self._parts.append(pa.record_batch(columns, schema=RAW))
        self.rows += len(columns[0])
        if self.rows > MOST_IN_MEMORY:
            self._put_aside()

    def _look(self, start_s: np.ndarray, duration_s: np.ndarray, apart_before) -> None:
        if not len(start_s) or np.isnan(start_s).any():
            return
        for gap in self._gaps:
            gap.start_s = min(gap.start_s, start_s.min())
        ends = start_s + duration_s
        before = np.maximum.accumulate(np.concatenate([[self._end_s], ends]))
        apart_before = np.broadcast_to(apart_before, len(start_s))
        for at in np.flatnonzero((start_s - before[:-1] > GAP_S) & np.isfinite(before[:-1])):
            self._gaps.append(_Gap(self.rows + at, int(apart_before[at]), before[at], start_s[at:].min()))
        if self.backwards is None and len(back := np.flatnonzero(before[:-1] - ends > BACK_S)):
            self.backwards = self.rows + int(back[0]), float(before[back[0]] - ends[back[0]])
        self._by_start &= bool((np.diff(start_s, prepend=self._start_s) >= 0).all())
        self._end_s, self._start_s = before[-1], start_s[-1]

    def _put_aside(self) -> None:
        if self._writer is None:
            self._folder = Path(tempfile.mkdtemp(prefix="stacklab-"))
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
            self._writer = pyarrow.parquet.ParquetWriter(self._folder / "samples.parquet", RAW)
        for part in self._parts:
            self._writer.write_batch(part)
        self._parts = []

    @property
    def went_back(self) -> tuple[int, float] | None:
        """The sample that ended before an earlier one, unless somebody sorted the file by start."""
        return None if self._by_start else self.backwards

    def cuts(self) -> list[tuple[int, int]]:
        """Where another run begins: (samples before, those apart before)."""
        found = [(gap.at, gap.apart) for gap in self._gaps if gap.start_s - gap.end_s > GAP_S]
        ends = [0, *(at for at, _ in found), self.rows]
        return found if not found or np.median(np.diff(ends)) >= LEAST_PER_RUN else []

    @property
    def paused(self) -> bool:
        """Whether it had long pauses, and yet is taken for one run."""
        return bool(self._gaps) and not self.cuts()

    def pieces(self, cuts: Sequence[int]) -> list[Samples]:
        """What was gathered, cut there."""
        if self._writer is not None:
            self._put_aside()
            self._writer.close()
        file = self._folder / "samples.parquet" if self._folder else None
        ends = [0, *cuts, self.rows]
        names, errors = self.names.list, self.errors.list
        return [Samples(self._parts, file, *both, names, errors, self) for both in zip(ends, ends[1:], strict=False)]
