"""JMeter's results as CSV: whatever columns were saved, with and without their names, runs appended, the last row cut off."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from stacklab.runs.foreign.samples import Gathering, Words
from stacklab.runs.foreign.source import Source, plain
from stacklab.runs.foreign.telling import sampled_runs
from stacklab.runs.results import Run

TOOL = "JMeter"
USED = ("timeStamp", "elapsed", "label", "responseCode", "responseMessage", "success", "failureMessage", "bytes", "Hostname",
        "SampleCount")  # fmt: skip
BEGINNING = ("timeStamp", "elapsed", "label", "responseCode", "responseMessage", "threadName")  # the order of every version
TRANSACTION = "Number of samples in transaction"  # how JMeter begins the message of a Transaction Controller's own row
STAMP = re.compile(r'"?(\d{10,14}|\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}[ T]\d.*?|\d{1,2}:\d\d:\d\d.*?)"?[,;\t|]"?\d+(\.\d+)?"?[,;\t|]')
DATES = (
    "%Y-%m-%d %H:%M:%S.%f", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S.%f", "%Y-%m-%dT%H:%M:%S", "%Y/%m/%d %H:%M:%S.%f",
    "%Y/%m/%d %H:%M:%S", "%m/%d/%Y %H:%M:%S.%f", "%m/%d/%Y %H:%M:%S", "%m/%d/%y %H:%M:%S", "%d/%m/%Y %H:%M:%S.%f",
    "%d/%m/%Y %H:%M:%S", "%d.%m.%Y %H:%M:%S.%f", "%d.%m.%Y %H:%M:%S", "%H:%M:%S.%f", "%H:%M:%S",
)  # fmt: skip
BLOCK_BYTES = 8 << 20
MOST_CUT = 20
"""Rows that were cut off, after which it is no longer a file with a few cut rows."""


def knows(source: Source) -> bool:
    """Whether it begins as such a file does."""
    names = {name.lower() for name in source.header}
    return "elapsed" in names and len(names & {name.lower() for name in USED}) > 1 or _is_nameless(source)


def _is_nameless(source: Source) -> bool:
    return STAMP.match(source.text.lstrip()) is not None


def read(source: Source) -> list[Run]:
    """The runs in it. Times are the start's; without a `success` nobody can tell failures."""
    reading = _Reading(source)
    for batch in _batches(source, reading):
        reading.take(batch)
    return reading.runs()


def _batches(source: Source, reading: _Reading):
    parse = pa.csv.ParseOptions(
        delimiter=source.delimiter, newlines_in_values=True, invalid_row_handler=reading.cut_row
    )
    names = None if not _is_nameless(source) else _names(source, parse)
    header = names or source.header
    columns = {name: next((seen for seen in header if seen.lower() == name.lower()), None) for name in USED}
    reading.columns = {name: seen for name, seen in columns.items() if seen is not None}
    if "elapsed" not in reading.columns:
        source.refuse("has no column elapsed: no time of any sample")
    reading.header_rows = int(names is None)
    convert = pa.csv.ConvertOptions(
        include_columns=list(reading.columns.values()), strings_can_be_null=False, check_utf8=False,
        column_types={seen: pa.binary() for seen in reading.columns.values()},
    )  # fmt: skip
    options = pa.csv.ReadOptions(block_size=BLOCK_BYTES, column_names=names)
    try:
        with pa.csv.open_csv(source.stream(), options, parse, convert) as rows:
            yield from rows
    except (pa.ArrowException, OSError, EOFError) as error:
        source.refuse(f"cannot be read as CSV after row {reading.rows + 1:,} ({error})")


def _names(source: Source, parse: pa.csv.ParseOptions) -> list[str]:
    """Names for the columns of a file without them: the first six are the same in every version, one holds true and false."""
    whole = source.text[: source.text.rstrip().rfind("\n") + 1] or source.text
    rows = pa.csv.read_csv(
        pa.BufferReader(whole.encode()), pa.csv.ReadOptions(autogenerate_column_names=True),
        pa.csv.ParseOptions(delimiter=parse.delimiter, newlines_in_values=True, invalid_row_handler=lambda row: "skip"),
        pa.csv.ConvertOptions(column_types={f"f{n}": pa.string() for n in range(100)}),
    )  # fmt: skip
    names = [*BEGINNING, *(f"column {n}" for n in range(len(BEGINNING), rows.num_columns))][: rows.num_columns]
    flags = [n for n in range(len(BEGINNING), len(names)) if {text.lower() for text in rows[n].to_pylist()} <= {"true", "false"}]
    if flags:
        names[flags[0]] = "success"
        after = flags[0] + 1
        # From version 3 on a failure's message follows, before the bytes.
        messages = after < len(names) and not all(text.isdigit() for text in rows[after].to_pylist())
        for name, place in (("failureMessage", after), ("bytes", after + 1)) if messages else (("bytes", after),):
            if place < len(names):
                names[place] = name
    return names


@dataclass
class _Host:
    """What one machine's rows say of its clock."""

    first_row: int
    first_s: float
    last_row: int = 0
    last_s: float = -np.inf


@dataclass
class _Reading:
    """What is known while a file is read."""

    source: Source
    columns: dict[str, str] = field(default_factory=dict)
    header_rows: int = 1
    rows: int = 0
    cut: list[tuple[int, str]] = field(default_factory=list)
    date_format: str | None = None
    hosts: dict[str, _Host] = field(default_factory=dict)
    labels: Words = field(default_factory=Words)
    errors: Words = field(default_factory=Words)

    def __post_init__(self) -> None:
        self.requests, self.transactions = Gathering(self.labels, self.errors), Gathering(self.labels, self.errors)

    def cut_row(self, row: pa.csv.InvalidRow) -> str:
        """A row of too few or too many fields."""
        self._left_out(row.number, f"has {row.actual_columns} fields, not {row.expected_columns}")
        return "skip"

    def _left_out(self, number: int | None, why: str) -> None:
        self.cut.append((number or self.rows + len(self.cut) + 1 + self.header_rows, why))
        if len(self.cut) > MOST_CUT:
            number, why = self.cut[0]
            self.source.refuse(f"{why}, and more than {MOST_CUT} rows are like that: is it a JMeter result file?", number)

    def take(self, batch: pa.RecordBatch) -> None:
        """Some rows."""
        first = self.rows + len(self.cut) + 1 + self.header_rows
        self.rows += len(batch)
        table = {name: batch.column(seen) for name, seen in self.columns.items()}
        elapsed = self._numbers(table["elapsed"])
        stamps = table.get("timeStamp")
        bad = ~(elapsed >= 0)
        if stamps is not None:
            start_s = self._times(stamps, bad)
            bad |= np.isnan(start_s)
        else:
            start_s = np.full(len(batch), np.nan)
        if "success" in table:
            good, garbled = _flags(table["success"])
            bad |= garbled
        else:
            good = np.ones(len(batch), bool)
        if bad.any():
            self._complain(table, elapsed, bad, first)
        self._keep(table, start_s, elapsed / 1000, good, ~bad, first)

    def _numbers(self, column: pa.Array) -> np.ndarray:
        """As numbers, NaN where it is none. A decimal comma is one where fields are not parted by commas."""
        column = column.cast(pa.string())
        if self.source.delimiter != ",":
            column = pc.replace_substring(column, ",", ".")
        try:
            return column.cast(pa.float64()).to_numpy(zero_copy_only=False)
        except pa.ArrowInvalid:
            return pd.to_numeric(column.to_pandas(), errors="coerce").to_numpy(dtype=float, na_value=np.nan)

    def _times(self, column: pa.Array, bad: np.ndarray) -> np.ndarray:
        if self.date_format is None:
            found = self._numbers(column)
            if not np.isnan(found[~bad]).all() or bad.all():
                return found / 1000
        texts = column.cast(pa.string()).to_pandas().str.strip().str.replace(",", ".")
        if self.date_format is None:
            fits = {form: pd.to_datetime(texts, format=form, errors="coerce").notna().sum() for form in DATES}
            self.date_format = max(DATES, key=fits.get)
        stamps = pd.to_datetime(texts, format=self.date_format, errors="coerce")
        return ((stamps - pd.Timestamp(0)) / pd.Timedelta(seconds=1)).to_numpy(dtype=float)

    def _complain(self, table: dict[str, pa.Array], elapsed: np.ndarray, bad: np.ndarray, first: int) -> None:
        for at in np.flatnonzero(bad):
            shown = {name: plain(column[at].as_py().decode(errors="replace"), 40) for name, column in table.items()}
            if shown["elapsed"].lower() == "elapsed":
                continue  # the names once more: files that were put one behind the other
            if elapsed[at] < 0:
                self.source.refuse(f"elapsed is {shown['elapsed']} ms: a clock was set while that sample was under way", first + at)
            wrong = ", ".join(f"{name} {shown[name]!r}" for name in ("timeStamp", "elapsed", "success") if name in shown)
            self._left_out(int(first + at), f"is no sample: {wrong}")

    def _keep(self, table, start_s, duration_s, good, kept, first: int) -> None:
        names = self.labels.codes(table["label"]) if "label" in table else np.full(len(kept), self.labels.code(""), np.int32)
        status = _statuses(table["responseCode"]) if "responseCode" in table else np.full(len(kept), np.nan)
        size = self._numbers(table["bytes"]) if "bytes" in table else np.full(len(kept), np.nan)
        if "SampleCount" in table and (several := np.flatnonzero(kept & (self._numbers(table["SampleCount"]) > 1))).size:
            self.source.refuse("stands for several samples (SampleCount), whose own times are lost", first + int(several[0]))
        self._see_hosts(table, start_s, kept, first)
        errors = np.full(len(kept), -1, np.int32)
        failed = np.flatnonzero(kept & ~good)
        errors[failed] = [self.errors.code(_error(table, at)) for at in failed]
        is_transaction = np.zeros(len(kept), bool)
        if "responseMessage" in table:
            is_transaction = pc.starts_with(table["responseMessage"], TRANSACTION).to_numpy(zero_copy_only=False)
        columns = (start_s, duration_s, status, size, names, np.where(errors < 0, np.nan, errors))
        self.requests.add(
            *(column[kept & ~is_transaction] for column in columns),
            apart_before=self.transactions.rows + np.cumsum(kept & is_transaction)[kept & ~is_transaction],
        )
        self.transactions.add(*(column[kept & is_transaction] for column in columns))

    def _see_hosts(self, table, start_s: np.ndarray, kept: np.ndarray, first: int) -> None:
        if "Hostname" not in table:
            return
        coded = table["Hostname"].dictionary_encode()
        codes = coded.indices.to_numpy()
        for code, name in enumerate(coded.dictionary.to_pylist()):
            rows = np.flatnonzero((codes == code) & kept)
            if len(rows) and not np.isnan(start_s[rows]).any():
                host = self.hosts.setdefault(name.decode(errors="replace"), _Host(first + int(rows[0]), start_s[rows].min()))
                host.first_s, host.last_s = min(host.first_s, start_s[rows].min()), max(host.last_s, start_s[rows].max())
                host.last_row = first + int(rows[-1])

    def runs(self) -> list[Run]:
        """All of it as Runs."""
        notes, lacks = [], []
        requests, apart = self.requests, self.transactions
        if apart.rows and not requests.rows:
            requests, apart = apart, None
            notes.append("all rows are of Transaction Controllers: the requests in them are not in the file")
        elif apart.rows:
            notes.append(f"{apart.rows:,} rows of Transaction Controllers sum up requests beside them, and are kept apart")
        if self.cut:
            rows = "; ".join(f"row {number:,} {why}" for number, why in self.cut[:3])
            more = f"; and {len(self.cut) - 3} more" if len(self.cut) > 3 else ""
            notes.append(f"left out of {self.source.path.name}, since a row was cut off: {rows}{more}")
        if self.date_format:
            notes.append("times are local ones of a machine whose zone the file does not tell; they are read as UTC")
            lacks.append("time zone")
        if "timeStamp" in self.columns and (words := _clocks(self.hosts)):
            notes.append(f"{self.source.path.name}: {words}")
            if "by" in words:
                lacks.append("duration")
        lacks += [] if "success" in self.columns else ["failures"]
        lacks += [] if "label" in self.columns else ["labels"]
        return sampled_runs(
            self.source, TOOL, requests, apart, notes=notes, cannot_tell=lacks, first_row=1 + self.header_rows, appends=True
        )


def _flags(column: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Which are true, and which are neither true nor false."""
    coded = column.dictionary_encode()
    words = [value.strip().lower() for value in coded.dictionary.to_pylist()]
    codes = coded.indices.to_numpy()
    return np.array([word == b"true" for word in words])[codes], np.array([word not in (b"true", b"false") for word in words])[codes]


def _statuses(column: pa.Array) -> np.ndarray:
    """Response codes that are numbers; JMeter has words there too, and nothing."""
    coded = column.dictionary_encode()
    numbers = [float(value) if re.fullmatch(rb"\d{1,5}", value) else np.nan for value in coded.dictionary.to_pylist()]
    return np.array(numbers)[coded.indices.to_numpy()]


def _error(table: dict[str, pa.Array], at: int) -> str:
    """Why the sample at that row failed, in JMeter's words."""
    message, code, words = (
        table[name][at].as_py().decode(errors="replace").strip() if name in table else ""
        for name in ("failureMessage", "responseCode", "responseMessage")
    )
    return message or f"{code} {words}".strip() or "failed"


def _clocks(hosts: dict[str, _Host]) -> str:
    """What there is to say of several machines' clocks: how far apart they are at least, where their rows lie together."""
    if len(hosts) < 2:
        return ""
    names: Sequence[str] = sorted(hosts)
    for nth, one in enumerate(names):
        for other in names[nth + 1 :]:
            a, b = hosts[one], hosts[other]
            together = a.first_row < b.last_row and b.first_row < a.last_row
            apart_s = max(a.first_s, b.first_s) - min(a.last_s, b.last_s)
            if together and apart_s > 1:
                return (
                    f"the clocks of {one} (from row {a.first_row:,}) and {other} (from row {b.first_row:,}) differ by "
                    f"{apart_s:,.1f} s or more: their rows lie together, and their times do not"
                )
    return f"rows of {len(names)} machines ({', '.join(names[:4])}): duration and throughput are right as far as their clocks agree"
