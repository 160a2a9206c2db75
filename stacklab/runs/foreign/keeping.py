"""Runs of other tools come into results/, and out of it beside files: what somebody names is read wherever it is."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet

from stacklab.errors import ResultsError
from stacklab.runs.draft import writing_run
from stacklab.runs.foreign import read
from stacklab.runs.foreign.samples import AT_ONCE, Samples, Words, span_of
from stacklab.runs.results import OF_REQUESTS, Run, load_runs
from stacklab.runs.tables import write_table

OURS = ("adhoc", "calibration", "compare", "commits")  # what the lab itself keeps in results/, besides experiments
LONGEST_NAME = 200  # bytes; a file system takes 255, and a run has a longer name while it is written


def keep_all(runs: Sequence[Run], folder: Path) -> list[Run]:
    """`keep` all of them; ResultsError, and none is kept, where one of them cannot be."""
    for name, times in Counter(run.run.lstrip(".") for run in runs).items():
        if times > 1:
            raise ResultsError(f"{times} of the runs would be kept as {folder / name}: import each with another --as")
        if os.path.exists(folder / name):
            raise ResultsError(f"{folder / name}: this run exists already; a saved run is never overwritten")
        if not 0 < len(name.encode()) <= LONGEST_NAME:
            raise ResultsError(f"{name}: is no name for a run, which has 1 to {LONGEST_NAME} bytes; call the file otherwise")
    return [keep(run, folder) for run in runs]


def keep(run: Run, folder: Path) -> Run:
    """Save a run that was read into the experiment's `folder`, for good; its file stays where it is."""
    with writing_run(folder, run.run.lstrip(".")) as draft:
        for name, table in run.held.items():
            path = draft.path / f"{name}.parquet"
            if isinstance(table, Samples):
                table.write(path)
            else:
                write_table(table, path)
        environment = {name: value for name, value in run.environment.items() if name != "one_run"}
        draft.record(replace(run, path=draft.path, experiment=folder.name, environment=environment, held={}))
    return draft.run


def folder_of(name: str, results: Path) -> Path:
    """Where runs go that are kept under `name`; ResultsError if that is no name, or an experiment's that was measured here."""
    folder = results / name
    if not 0 < len(name.encode()) <= LONGEST_NAME or "/" in name or name.startswith((".", "-")):
        raise ResultsError(f"--as {name!r} is not allowed: the name is short, holds no /, and begins with no dot or dash")
    if name in OURS:
        raise ResultsError(f"--as {name} is not allowed: {folder} is for what the lab measures; give the runs another name")
    if (folder / "experiment.json").exists():
        raise ResultsError(f"{folder}: holds an experiment that was measured here; give the imported runs another name")
    return folder


class Kept:
    """The samples of a saved run, some at a time, as `Samples` gives them."""

    def __init__(self, path: Path):
        self._file = pyarrow.parquet.ParquetFile(path, pre_buffer=False, read_dictionary=["name"])
        self._words = Words()
        self.names = self._words.list

    def __len__(self) -> int:
        return self._file.metadata.num_rows

    def outcomes(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """See `Samples.outcomes`."""
        for part in self._file.iter_batches(columns=["name", "error", "duration_s"], batch_size=AT_ONCE):
            yield self._words.codes(part["name"]), part["error"].is_valid().to_numpy(False), part["duration_s"].to_numpy()

    def span(self) -> tuple[float, float] | None:
        """See `Samples.span`."""
        return span_of(self._file.iter_batches(columns=["start_s", "duration_s"], batch_size=AT_ONCE))


def read_files(paths: Sequence[str | Path]) -> list[Run]:
    """The runs in these files. Several records of one run (Locust's) are one: of them, that which tells most."""
    return _distinct([run for path in paths for run in read(path)])


def _distinct(runs: Sequence[Run]) -> list[Run]:
    best: dict[object, Run] = {}
    for number, run in enumerate(runs):
        one = run.environment.get("one_run")
        key = (run.path.parent.absolute(), one) if one else number
        if key not in best or _tells(run) > _tells(best[key]):
            best[key] = run
    return list(best.values())


def _tells(run: Run) -> tuple[bool, int]:
    return run.has("requests"), -len(run.environment["cannot_tell"])


def named(words: Sequence[str], results: Path) -> list[Run]:
    """The runs that are meant, in this order: files of any tool, kept runs and experiments, by folder or name in `results`.

    ResultsError where there is no such thing, and for an experiment of several points, whose runs are not of one kind.
    """
    return _distinct([run for word in words for run in (read(word) if os.path.isfile(word) else _kept(word, results))])


def _kept(word: str, results: Path) -> list[Run]:
    folder = Path(word) if os.path.isdir(word) else results / word
    if not os.path.isdir(folder):
        raise ResultsError(f"{word}: there is no such file, and no such run in {results}")
    runs = [run for run in load_runs(folder) if run.kind in OF_REQUESTS]
    if not runs:
        raise ResultsError(f"{folder}: holds no whole run of requests")
    if len(points := sorted({run.point for run in runs if run.kind in ("http", "plan")})) > 1:
        few = ", ".join(points[:4]) + (", …" if len(points) > 4 else "")
        raise ResultsError(f"{folder}: holds runs of {len(points)} points ({few}); name some by {word}/{runs[0].run}")
    return runs


def words_of(text: str | Path | Sequence[str | Path]) -> list[str]:
    """Names with commas between them; one that is there as it stands may hold commas itself."""
    if not isinstance(text, (str, Path)):
        return [str(word) for word in text]
    return [str(text)] if os.path.exists(text) else [word for part in str(text).split(",") if (word := part.strip())]
