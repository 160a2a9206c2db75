"""Runs as CSV, for spreadsheets and other programs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow
import pyarrow.csv

from stacklab.errors import ResultsError
from stacklab.runs.results import Run
from stacklab.runs.tables import TABLES


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
    pd.DataFrame([_overview(run) for run in runs]).to_csv(overview, index=False)
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
            rows = pyarrow.Table.from_pandas(table, preserve_index=False)
            pyarrow.csv.write_csv(rows, out, pyarrow.csv.WriteOptions(include_header=position == 0))


def _overview(run: Run) -> dict[str, Any]:
    row = run.to_dict()
    for group in ("observed", "environment", "format"):
        del row[group]
    del row["slices"]
    row["validity"] = run.validity.measurement
    row["service"] = run.validity.service
    row["reasons"] = " ".join(run.validity.reasons)
    row["failures"] = " ".join(run.validity.failures)
    return row | {f"settings.{name}": value for name, value in row.pop("settings").items()} | {
        f"workload.{name}": value for name, value in row.pop("workload").items()
    }
