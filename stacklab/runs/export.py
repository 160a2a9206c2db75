"""Runs as CSV, for spreadsheets and other programs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow
import pyarrow.compute as pc
import pyarrow.csv

from stacklab.errors import ResultsError
from stacklab.runs.results import Run
from stacklab.runs.tables import TABLES

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""How a text begins that a spreadsheet runs."""


def export_csv(runs: Sequence[Run], out: str | Path) -> list[Path]:
    """Write runs.csv (one row a run: its place, times, settings, workload) and every table of `runs` as CSV.

    The rows of all runs are in one file a table, with the columns `experiment` and `run` in front.
    Returns the files written, in the folder `out`, which is made. ResultsError if there are no runs.
    """
    if not runs:
        raise ResultsError("there are no runs to export")
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    overview = out / "runs.csv"
    pd.DataFrame([_overview(run) for run in runs]).map(_harmless).to_csv(overview, index=False)
    written = [overview]
    for name, columns in TABLES.items():
        holders = [run for run in runs if run.has(name)]
        if holders:
            written.append(out / f"{name}.csv")
            _write_csv(holders, name, columns, written[-1])
    return written


def _write_csv(runs: Sequence[Run], name: str, columns: Sequence[str], file: Path) -> None:
    with open(file, "wb") as out:
        for position, run in enumerate(runs):
            table = run.table(name)[list(columns)]
            table.insert(0, "experiment", run.experiment)
            table.insert(1, "run", run.run)
            rows = _texts_harmless(pyarrow.Table.from_pandas(table, preserve_index=False))
            pyarrow.csv.write_csv(rows, out, pyarrow.csv.WriteOptions(include_header=position == 0))


def _harmless(value: Any) -> Any:
    """A text that a spreadsheet would take for a formula gets a ' in front, as one types it there."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def _texts_harmless(rows: pyarrow.Table) -> pyarrow.Table:
    """As `_harmless`, of all columns of texts: another's labels and errors may be anything."""
    for place, field in enumerate(rows.schema):
        kind = field.type.value_type if pyarrow.types.is_dictionary(field.type) else field.type
        if pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind):
            texts = rows.column(place).cast(pyarrow.string())
            begins = pc.match_substring_regex(texts, f"^[{''.join(map(re.escape, FORMULA))}]")
            marked = pc.binary_join_element_wise("'", texts, "")
            rows = rows.set_column(place, field.name, pc.if_else(begins, marked, texts))
    return rows


def _overview(run: Run) -> dict[str, Any]:
    row = run.to_dict()
    for group in ("observed", "environment", "format"):
        del row[group]
    del row["slices"]
    row["validity"] = run.validity.measurement
    row["service"] = run.validity.service
    row["reasons"] = " ".join(run.validity.reasons)
    row["failures"] = " ".join(run.validity.failures)
    return row | {f"settings.{name}": value for name, value in (row.pop("settings") or {}).items()} | {
        f"workload.{name}": value for name, value in row.pop("workload").items()
    }
