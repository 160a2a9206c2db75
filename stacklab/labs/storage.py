"""Where labs keep their things on this computer, and how to lock, write, delete and run there without a mess."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from stacklab.errors import LabError
from stacklab.surroundings import own

STATE = Path("/var/lib/stacklab")
IMAGES = STATE / "images"
LABS = STATE / "labs"
REMOVED = STATE / "removed"  # labs on their way out
LOCKS = Path("/run/stacklab")  # emptied by a reboot, as locks should be

MOUNTINFO = Path("/proc/self/mountinfo")

_held: list[IO[str]] = []  # the locks this process holds, the innermost last


def say(text: str) -> None:
    """One line of progress for the person at the terminal."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold the lock `name`; waits for whoever holds it.

    What `run` starts has the innermost lock for its standard input, so work that outlives a killed parent still keeps
    others out.
    """
    LOCKS.mkdir(mode=0o755, exist_ok=True)
    with open(LOCKS / f"{name}.lock", "w+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another command that works on {name}")
            fcntl.flock(file, fcntl.LOCK_EX)
        _held.append(file)
        try:
            yield
        finally:
            _held.pop()


def disk_full(detail: str) -> LabError:
    """The error for a disk that has no room left."""
    return LabError(f"the disk that holds {STATE} is full ({detail}); free some space there and run the command again")


def require_free(free_bytes: int, purpose: str) -> None:
    """LabError unless the disk has room for `purpose`."""
    STATE.mkdir(mode=0o755, parents=True, exist_ok=True)
    free = shutil.disk_usage(STATE).free
    if free < free_bytes:
        raise disk_full(f"{purpose} needs {free_bytes / 1e9:.1f} GB, {free / 1e9:.1f} GB are free")


def read_json(path: Path) -> dict[str, Any] | None:
    """The file's content, or None where there is no such file."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise LabError(f"{path} is damaged ({error}); remove the lab with 'fab destroy' and build it anew") from error


def mounts_below(folder: Path) -> list[Path]:
    """The mount points at or below `folder`, the deepest first."""
    points = [Path(_unescape(line.split()[4])) for line in MOUNTINFO.read_text().splitlines()]
    below = {point for point in points if point == folder or folder in point.parents}
    return sorted(below, key=lambda point: len(point.parts), reverse=True)


def _unescape(text: str) -> str:
    """mountinfo writes blanks and the like as three octal digits after a backslash."""
    return text.encode("latin-1", "backslashreplace").decode("unicode_escape") if "\\" in text else text


def discard(folder: Path) -> None:
    """Delete the lab's `folder`. It is renamed first, so that a half-deleted one is never taken for a lab."""
    rest = REMOVED / folder.name
    remove_tree(rest)  # of a removal that was killed
    if folder.exists():
        for point in mounts_below(folder):
            run(["umount", str(point)], f"cannot unmount {point}, so {folder} is not deleted")
        REMOVED.mkdir(mode=0o755, exist_ok=True)
        folder.rename(rest)
        remove_tree(rest)


def remove_tree(folder: Path) -> None:
    """Delete `folder` and what is in it, but nothing that is only mounted there: that is unmounted first."""
    for point in mounts_below(folder):
        run(["umount", str(point)], f"cannot unmount {point}, so {folder} is not deleted")
    run(["rm", "-rf", "--one-file-system", "--", str(folder)], f"cannot delete {folder}")


def run(command: Sequence[str], failure: str) -> str:
    """The standard output of `command`; LabError with `failure` and the command's own last words if it fails."""
    # A lock is an empty file: whoever reads it is at its end at once, as with /dev/null. No descriptor beyond the usual
    # three is handed on: mmdebstrap, for one, has dash name those that come after, and dash knows no number above 9.
    done = subprocess.run(
        command, stdin=_held[-1] if _held else subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
        env=own(),
    )
    if done.returncode == 0:
        return done.stdout
    words = done.stderr.strip() or done.stdout.strip()
    for line in words.splitlines():
        if os.strerror(errno.ENOSPC) in line:
            raise disk_full(line)
    tail = "\n".join(words.splitlines()[-15:])
    raise LabError(f"{failure}: {tail or f'{command[0]} ended with {done.returncode}'}")
