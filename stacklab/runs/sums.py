"""SHA256SUMS of a run: whether its files are what was written. `sha256sum --check SHA256SUMS` says the same by hand."""

from __future__ import annotations

import hashlib
from pathlib import Path

from stacklab.errors import ResultsError

SUMS_FILE = "SHA256SUMS"
AGAIN = "delete its folder (an experiment then measures it again)"


def write_sums(folder: Path) -> None:
    """Write the sums of all files in `folder` as sha256sum does: a line each, by name."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    lines = [f"{_sum(path)}  {path.relative_to(folder).as_posix()}\n" for path in files]
    (folder / SUMS_FILE).write_text("".join(lines), encoding="utf-8")


def check_sums(folder: Path) -> None:
    """ResultsError, naming them, if files of `folder` are missing or are not what was written.

    A run from before there were sums passes.
    """
    file = folder / SUMS_FILE
    if not file.is_file():
        return
    lines = file.read_bytes().decode(errors="replace").splitlines()
    sums = {name: sum_ for sum_, _, name in (line.partition("  ") for line in lines)}
    there = {path.name for path in folder.iterdir() if path.suffix in (".parquet", ".json")}
    wrong = sorted(there - sums.keys()) + [name for name, sum_ in sums.items() if not _is(folder / name, sum_)]
    if wrong:
        raise ResultsError(f"{folder}: missing, or not what was written: {', '.join(wrong)}; {AGAIN}")


def _is(path: Path, sum_: str) -> bool:
    try:
        return _sum(path) == sum_
    except (OSError, ValueError):
        return False


def _sum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
