"""`writing_run`: a run comes onto disk whole, or not at all.

It appears in one rename, with read-only files and their sums; until then it is a hidden `.partial-<run>` folder that no
reader looks at. So it is safe to read while experiments are being written.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from stacklab.errors import ResultsError
from stacklab.files import flush, make_folder
from stacklab.runs.results import PARTIAL_PREFIX, RUN_FILE, Run
from stacklab.runs.sums import write_sums


class Draft:
    """A run that is being written: put its files into `path`, then `record` what run.json is to hold."""

    def __init__(self, path: Path, name: str):
        self.path, self.name = path, name
        self.run: Run | None = None

    def record(self, run: Run) -> None:
        """Say what run.json will hold. After the `with` block, `self.run` is the run where it now is."""
        self.run = run


@contextmanager
def writing_run(experiment_dir: Path, name: str | None = None) -> Iterator[Draft]:
    """Write the run `name` into `experiment_dir`, whole or not at all. Without a name it gets one that nobody has.

        with writing_run(folder, "r1-03-users-100") as draft:
            ...  # tables and logs go to draft.path
            draft.record(run)
        return draft.run

    On success run.json and the sums of all files are written last, everything is flushed to disk, made read-only, and
    moved to its name in one rename. After an exception or a kill only a hidden `.partial-<name>` folder remains,
    logs inside; it is never read, and the next writer of that name, or without one, clears it.
    ResultsError if the run exists, is being written by another process, or nothing was recorded.
    """
    if name is not None and (not name or name.startswith(".") or "/" in name):
        raise ResultsError(f"run={name!r} is not allowed: the name of a run holds no / and does not begin with a dot")
    if name and (experiment_dir / name).exists():
        raise ResultsError(f"{experiment_dir / name}: this run exists already; a saved run is never overwritten")
    make_folder(experiment_dir)
    partial, lock = _claim(experiment_dir / f"{PARTIAL_PREFIX}{name}") if name else _claim_any(experiment_dir)
    final = experiment_dir / partial.name.removeprefix(PARTIAL_PREFIX)
    try:
        draft = Draft(partial, final.name)
        yield draft
        if draft.run is None:
            raise ResultsError(f"{final}: nothing was recorded for this run, so it was not saved")
        _seal(draft.run, partial)
        partial.rename(final)
        flush(experiment_dir)
        draft.path, draft.run = final, replace(draft.run, path=final)
    finally:
        os.close(lock)


def _claim_any(folder: Path) -> tuple[Path, int]:
    """`_claim` under a name made of the time, which nobody else has or gets. What killed runs left there is cleared."""
    import fcntl

    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # for as long as it takes to choose
        for left in folder.glob(f"{PARTIAL_PREFIX}*"):
            try:
                os.close(_claim(left)[1])
                left.rmdir()
            except (ResultsError, OSError):
                pass  # it is being written; or it is another user's
        now = time.strftime("%Y%m%d-%H%M%S")
        names = (now if n == 1 else f"{now}-{n}" for n in itertools.count(1))
        taken = {path.name.removeprefix(PARTIAL_PREFIX) for path in folder.iterdir()}
        return _claim(folder / f"{PARTIAL_PREFIX}{next(name for name in names if name not in taken)}")
    finally:
        os.close(descriptor)


def _claim(partial: Path) -> tuple[Path, int]:
    """Make `partial` an empty folder of ours. Returns it, and the descriptor that holds its lock."""
    import fcntl  # of POSIX alone; results must be readable on any system

    partial.mkdir(exist_ok=True)
    lock = os.open(partial, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Between our open and our lock, its writer may have finished and renamed it: then it is not ours.
        if not partial.exists() or partial.stat().st_ino != os.fstat(lock).st_ino:
            raise BlockingIOError
        for child in partial.iterdir():
            if child.is_dir():
                shutil.rmtree(child)
            else:
                child.unlink()
    except BlockingIOError:
        os.close(lock)
        raise ResultsError(f"{partial}: another process is writing this run; wait for it to end") from None
    except BaseException:
        os.close(lock)
        raise
    return partial, lock


def _seal(run: Run, folder: Path) -> None:
    """Write run.json and the sums as the last files of `folder`; make all of them read-only and flush them to disk."""
    text = json.dumps(run.to_dict(), indent=2, ensure_ascii=False)
    (folder / RUN_FILE).write_text(text + "\n", encoding="utf-8")
    write_sums(folder)
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(0o444)
        flush(path)
    flush(folder)
