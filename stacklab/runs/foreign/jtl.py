"""JMeter's results as CSV: whatever columns were saved, with and without their names, runs appended, the last row cut off."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from stacklab.runs.foreign.dates import Dates
from stacklab.runs.foreign.samples import Gathering, Words
from stacklab.runs.foreign.sheet import Columns, Sheet, is_time, shown, statuses
from stacklab.runs.foreign.source import Source, plain
from stacklab.runs.foreign.telling import CLOCK, sampled_runs
from stacklab.runs.results import Run

TOOL = "JMeter"
USED = ("timeStamp", "elapsed", "label", "responseCode", "responseMessage", "success", "failureMessage", "bytes", "Hostname",
        "SampleCount")  # fmt: skip
BEGINNING = ("timeStamp", "elapsed", "label", "responseCode", "responseMessage", "threadName")  # the order of every version
TRANSACTION = "Number of samples in transaction"  # how JMeter begins the message of a Transaction Controller's own row
STAMP = re.compile(r'"?(\d{10,14}|\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}[ T]\d.*?|\d{1,2}:\d\d:\d\d.*?)"?[,;\t|]"?\d+(\.\d+)?"?[,;\t|]')
SEVERAL = "stands for several samples (SampleCount), whose own times are lost"
SUMS_ALONE = "all rows are of Transaction Controllers: the requests in them are not in the file"
SECONDS = re.compile(r"\d{10,11}(\.\d+)?")


def knows(source: Source) -> bool:
    """Whether it begins as such a file does."""
    names = {name.lower() for name in source.header}
    return "elapsed" in names and len(names & {name.lower() for name in USED}) > 1 or _is_nameless(source)


def _is_nameless(source: Source) -> bool:
    return STAMP.match(source.text.lstrip()) is not None


def read(source: Source) -> list[Run]:
    """The runs in it. Times are the start's; without a `success` nobody can tell failures."""
    names = _names(source) if _is_nameless(source) else None
    header = {seen.lower(): seen for seen in names or source.header}
    columns = {name: header[name.lower()] for name in USED if name.lower() in header}
    reading = _Reading(Sheet(source, TOOL, names), columns)
    for first, table in reading.sheet.pieces(columns):
        reading.take(first, table)
    return reading.runs()


def _names(source: Source) -> list[str]:
    """Names for the columns of a file without them: the first six are the same in every version, one holds true and false."""
    whole = source.text[: source.text.rstrip().rfind("\n") + 1] or source.text
    try:
        rows = pa.csv.read_csv(
            pa.BufferReader(whole.encode()), pa.csv.ReadOptions(autogenerate_column_names=True),
            pa.csv.ParseOptions(delimiter=source.delimiter, newlines_in_values=True, invalid_row_handler=lambda row: "skip"),
            pa.csv.ConvertOptions(column_types={f"f{n}": pa.string() for n in range(100)}),
        )  # fmt: skip
    except pa.ArrowInvalid:
        source.refuse("cannot be read as CSV: has its first row a quote that is never closed?")
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
class Host:
    """What one machine's rows say of its clock."""

    first_row: int
    first_s: float
    last_row: int = 0
    last_s: float = -np.inf

    def see(self, start_s: np.ndarray, row: int) -> None:
        """Some more of its rows, of which `row` is the last."""
        self.first_s, self.last_s = min(self.first_s, start_s.min()), max(self.last_s, start_s.max())
        self.last_row = row


@dataclass
class _Reading:
    """What is known while a file is read."""

    sheet: Sheet
    columns: Mapping[str, str]
    dates: Dates | None = None
    hosts: dict[str, Host] = field(default_factory=dict)
    labels: Words = field(default_factory=Words)
    errors: Words = field(default_factory=Words)

    def __post_init__(self) -> None:
        self.requests, self.transactions = Gathering(self.labels, self.errors), Gathering(self.labels, self.errors)

    def take(self, first: int, table: Columns) -> None:
        """Some rows, with so many before the `first` of them."""
        elapsed = self.sheet.numbers(table["elapsed"])
        bad = ~is_time(elapsed)
        start_s = np.full(len(bad), np.nan)
        if "timeStamp" in table:
            start_s = self._times(table["timeStamp"], bad)
            bad |= np.isnan(start_s)
        good = np.ones(len(bad), bool)
        if "success" in table:
            good, garbled = _flags(table["success"])
            bad |= garbled
        if bad.any():
            self._complain(table, elapsed, bad, first)
        self._keep(table, start_s, elapsed / 1000, good, ~bad, first)

    def _times(self, column: pa.Array, bad: np.ndarray) -> np.ndarray:
        if self.dates is None:
            stamps = self.sheet.numbers(column)
            if not np.isnan(stamps[~bad]).all() or bad.all():
                # Of 1970's milliseconds, or of a clock that began with the run: neither is of ten digits, or of fifteen.
                return np.where((np.abs(stamps) < 1e9) | (stamps >= 1e11) & (stamps < 1e14), stamps / 1000, np.nan)
            again = self.sheet.again().pieces({"timeStamp": self.columns["timeStamp"]})
            self.dates = Dates(table["timeStamp"] for _, table in again)
        return self.dates.seconds(column)

    def _complain(self, table: Columns, elapsed: np.ndarray, bad: np.ndarray, first: int) -> None:
        for at in map(int, np.flatnonzero(bad)):
            said = {name: plain(shown(table[name], at), 40) for name in ("timeStamp", "elapsed", "success") if name in table}
            if said["elapsed"].lower() == "elapsed":
                continue  # the names once more: files that were put one behind the other
            if elapsed[at] < 0:
                why = f"elapsed is {said['elapsed']} ms: a clock was set while that sample was under way"
                self.sheet.source.refuse(why, self.sheet.row(first + at))
            if not self.dates and SECONDS.fullmatch(said.get("timeStamp", "")):
                why = f"timeStamp is {said['timeStamp']}: that many digits are seconds, and JMeter's are milliseconds"
                self.sheet.source.refuse(why, self.sheet.row(first + at))
            self.sheet.leave_out(first + at, "is no sample: " + ", ".join(f"{name} {value!r}" for name, value in said.items()))

    def _keep(self, table: Columns, start_s, duration_s, good, kept, first: int) -> None:
        names = self.labels.codes(table["label"]) if "label" in table else np.full(len(kept), self.labels.code(""), np.int32)
        status = statuses(table["responseCode"]) if "responseCode" in table else np.full(len(kept), np.nan)
        size = self.sheet.numbers(table["bytes"]) if "bytes" in table else np.full(len(kept), np.nan)
        if "SampleCount" in table and (several := np.flatnonzero(kept & (self.sheet.numbers(table["SampleCount"]) > 1))).size:
            self.sheet.source.refuse(SEVERAL, self.sheet.row(first + int(several[0])))
        self._see_hosts(table, start_s, kept, first)
        errors = np.full(len(kept), -1, np.int32)
        failed = np.flatnonzero(kept & ~good)
        errors[failed] = [self.errors.code(_error(table, at)) for at in failed]
        is_transaction = np.zeros(len(kept), bool)
        if "responseMessage" in table:
            is_transaction = pc.starts_with(table["responseMessage"], TRANSACTION).to_numpy(zero_copy_only=False)
        columns = (start_s, duration_s, status, size, names, errors)
        self.requests.add(
            *(column[kept & ~is_transaction] for column in columns),
            apart_before=self.transactions.rows + np.cumsum(kept & is_transaction)[kept & ~is_transaction],
        )
        self.transactions.add(*(column[kept & is_transaction] for column in columns))

    def _see_hosts(self, table: Columns, start_s: np.ndarray, kept: np.ndarray, first: int) -> None:
        if "Hostname" not in table:
            return
        names = table["Hostname"].dictionary_encode()
        codes = names.indices.to_numpy()
        for code, name in enumerate(names.dictionary.to_pylist()):
            rows = np.flatnonzero((codes == code) & kept)
            if len(rows) and not np.isnan(start_s[rows]).any():
                new = Host(self.sheet.row(first + int(rows[0])), start_s[rows].min())
                self.hosts.setdefault(name.decode(), new).see(start_s[rows], self.sheet.row(first + int(rows[-1])))

    def runs(self) -> list[Run]:
        """All of it as Runs."""
        notes, lacks = [], []
        requests, apart = self.requests, self.transactions
        if apart.rows and not requests.rows:
            requests, apart = apart, None
            notes.append(SUMS_ALONE)
        elif apart.rows:
            notes.append(f"{apart.rows:,} rows of Transaction Controllers sum up requests beside them, and are kept apart")
        notes += self.sheet.notes()
        if self.dates:
            notes += self.dates.notes
            lacks += ["time zone"] if self.dates.has_day else [CLOCK]
        if "timeStamp" in self.columns:
            note_clocks(self.sheet.source, self.hosts, notes, lacks)
        notes += parts_of(self.labels.list)
        lacks += [] if "success" in self.columns else ["failures"]
        lacks += [] if "label" in self.columns else ["labels"]
        return sampled_runs(
            self.sheet.source, TOOL, requests, apart, notes=notes, cannot_tell=lacks, first_row=self.sheet.first_row, appends=True
        )


def _flags(column: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Which are true, and which are neither true nor false."""
    flags = column.dictionary_encode()
    words, codes = [value.strip().lower() for value in flags.dictionary.to_pylist()], flags.indices.to_numpy()
    known = {b"true": (True, False), b"false": (False, False)}
    good, garbled = np.array([known.get(word, (False, True)) for word in words], bool).reshape(-1, 2).T
    return good[codes], garbled[codes]


def _error(table: Columns, at: int) -> str:
    """Why the sample at that row failed, in JMeter's words."""
    message, code, words = (
        shown(table[name], at) if name in table else "" for name in ("failureMessage", "responseCode", "responseMessage")
    )
    return message or f"{code} {words}".strip() or "failed"


def parts_of(labels: Sequence[str]) -> list[str]:
    """What there is to say of labels that look like parts of others."""
    names = set(labels)
    parts = sorted(name for name in names if name[-2:] in ("-0", "-1") and name[:-2] in names)
    few = ", ".join(parts[:3])
    return [f"{few}: perhaps parts of {parts[0][:-2]} (redirects, what a page embeds), and counted beside it"] if parts else []


def note_clocks(source: Source, hosts: Mapping[str, Host], notes: list[str], lacks: list[str]) -> None:
    """Add to `notes` what there is to say of several machines' clocks; "duration" to `lacks` where they are apart."""
    if words := _clocks(hosts):
        notes.append(f"{source.path.name}: {words}")
        lacks += ["duration"] if "by" in words else []


def _clocks(hosts: Mapping[str, Host]) -> str:
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
    return f"rows of {len(names)} machines ({', '.join(names[:4])}): duration and throughput hold as far as their clocks agree"
