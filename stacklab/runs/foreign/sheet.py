"""A table of another tool in CSV, read in pieces: rows that were cut off are left out and told, all else is a clear line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from stacklab.runs.foreign.source import Source

BLOCK_BYTES = 2 << 20  # pyarrow reads some thirty of them ahead
MOST_CUT = 20
"""Rows that were cut off, after which it is no longer a file with a few cut rows."""

Columns = Mapping[str, pa.Array]


class Sheet:
    """The rows of `source`, in pieces of the `columns` that one asks for; `names` where it has no header."""

    def __init__(self, source: Source, tool: str, names: Sequence[str] | None = None):
        self.source, self.tool, self._names = source, tool, names
        self.first_row = 1 if names else 2
        self.cut: list[tuple[int, str]] = []
        self._rows = 0
        self._of_few_fields: list[int] = []

    def pieces(self, columns: Mapping[str, str]) -> Iterator[tuple[int, Columns]]:
        """(how many rows came before, {name: bytes}) of each piece, of `columns` {name: what it is called there}."""
        raw = {} if self._names else dict(zip(self.source.header, self.source.raw_header, strict=True))
        columns = {name: raw.get(seen, seen) for name, seen in columns.items()}
        convert = pa.csv.ConvertOptions(
            include_columns=list(columns.values()), strings_can_be_null=False,
            column_types={seen: pa.binary() for seen in columns.values()},
        )  # fmt: skip
        parse = pa.csv.ParseOptions(
            delimiter=self.source.delimiter, newlines_in_values=True, invalid_row_handler=self._cut_row
        )
        # Not by several threads: these do not know which row they are at.
        options = pa.csv.ReadOptions(block_size=BLOCK_BYTES, column_names=self._names, use_threads=False)
        try:
            with pa.csv.open_csv(self.source.stream(), options, parse, convert) as batches:
                for batch in batches:
                    before, self._rows = self._rows, self._rows + len(batch)
                    yield before, {name: batch.column(seen) for name, seen in columns.items()}
        except pa.ArrowException as error:
            self._refuse_cut()
            if "straddl" in str(error):  # pyarrow's word for a field without end
                self.source.refuse("a quote in or after this row is never closed", self.row(max(self._rows - 1, 0)))
            self.source.refuse(f"cannot be read as CSV after row {self.row(self._rows - 1):,} ({error})")

    def again(self) -> Sheet:
        """The same, from its beginning."""
        return Sheet(self.source, self.tool, self._names)

    def row(self, place: int) -> int:
        """The number in the file of the sample with so many before it."""
        number = place + self.first_row
        for cut in self._of_few_fields:
            number += cut <= number
        return number

    def _cut_row(self, row: pa.csv.InvalidRow) -> str:
        self._of_few_fields.append(row.number)
        lines = row.text.count("\n") + 1  # a quote that nobody closed takes in what follows
        within = f" in {lines:,} lines" if lines > 1 else ""
        self.cut.append((row.number, f"has {row.actual_columns} fields{within}, not {row.expected_columns}"))
        return "skip" if len(self.cut) <= MOST_CUT else "error"

    def leave_out(self, place: int, why: str) -> None:
        """Note a row that is none, though it has all fields; ResultsError if there are too many of them."""
        self.cut.append((self.row(place), why))
        self._refuse_cut()

    def _refuse_cut(self) -> None:
        if len(self.cut) > MOST_CUT:
            row, why = min(self.cut)
            self.source.refuse(f"{why}, and more than {MOST_CUT} rows are like that: did {self.tool} write it?", row)

    def notes(self) -> list[str]:
        """What was left out."""
        if not self.cut:
            return []
        rows = "; ".join(f"row {number:,} {why}" for number, why in sorted(self.cut)[:3])
        more = f"; and {len(self.cut) - 3} more" if len(self.cut) > 3 else ""
        return [f"left out of {self.source.path.name}, as cut off: {rows}{more}"]

    def numbers(self, column: pa.Array) -> np.ndarray:
        """As numbers, NaN where it is none. A decimal comma is one where fields are not parted by commas."""
        column = column.cast(pa.string())
        if self.source.delimiter != ",":
            column = pc.replace_substring(column, ",", ".")
        try:
            return column.cast(pa.float64()).to_numpy(zero_copy_only=False)
        except pa.ArrowInvalid:
            return pd.to_numeric(column.to_pandas(), errors="coerce").to_numpy(dtype=float, na_value=np.nan)


def shown(column: pa.Array, at: int) -> str:
    """One field as text."""
    return column[at].as_py().decode().strip()


def texts(column: pa.Array) -> list[str]:
    """All of its fields."""
    words = column.dictionary_encode()
    spelled = [value.decode().strip() for value in words.dictionary.to_pylist()]
    return [spelled[code] for code in words.indices.to_pylist()]


def is_time(values: np.ndarray | float) -> np.ndarray | bool:
    """Whether something can have taken so long."""
    return (values >= 0) & (values < np.inf)


def counted(text: str, most: int = 15) -> float:
    """A whole number of at most so many digits, NaN where there is none."""
    return float(text) if text.isascii() and text.isdecimal() and len(text) <= most else np.nan


def status(text: str) -> float:
    """HTTP's code, NaN where there is none: JMeter has words there too, and nothing."""
    return counted(text, 5)


def statuses(column: pa.Array) -> np.ndarray:
    """The `status` of each."""
    coded = column.dictionary_encode()
    return np.array([status(value.decode()) for value in coded.dictionary.to_pylist()])[coded.indices.to_numpy()]
