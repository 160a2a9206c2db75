"""This checkout's places on disk, and how a small file is replaced whole."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from stacklab.errors import LabError

ROOT = Path(__file__).resolve().parent.parent
"""The checkout: the folder that holds provision/, app/, loadtests/ and this package."""


def place(named: str | Path) -> Path:
    """The path that somebody `named`: ~ is the home, and ~somebody's that of a user that there is. LabError for a NUL in it."""
    if "\0" in os.fspath(named):
        raise LabError(f"{os.fspath(named)!r}: is no path, for it holds a NUL; name it without")
    return Path(os.path.expanduser(named))


RESULTS = place(os.environ.get("STACKLAB_RESULTS", "").strip() or ROOT / "results").absolute()
"""Where runs go, and are looked for."""


def hand_over() -> None:
    """What root has made in somebody's checkout, as `sudo make lab` does, belongs to that person, who goes on without sudo.

    Looked at are results/ and whatever at the top of the checkout is root's; nothing that lies elsewhere.
    """
    owner = ROOT.stat()
    if os.geteuid() != 0 or owner.st_uid == 0:
        return
    made = [path for path in ROOT.iterdir() if path.lstat().st_uid == 0]
    if ROOT in RESULTS.parents:
        made.append(RESULTS)
    for folder, folders, files in (step for top in list(made) for step in os.walk(top)):
        made += [Path(folder, name) for name in (*folders, *files)]
    for path in made:
        with contextlib.suppress(OSError):  # gone since; or the disk does not know owners
            if path.lstat().st_uid == 0:
                os.lchown(path, owner.st_uid, owner.st_gid)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Replace the file `path` in one step: a reader, a crash or a power cut finds the old text or the new one."""
    new = path.with_name(f".{path.name}.new")
    with open(new, "w") as file:
        json.dump(content, file, indent=2)
        file.write("\n")
        file.flush()
        os.chmod(new, 0o644)
        os.fsync(file.fileno())
    new.rename(path)
    flush(path.parent)


def flush(path: Path) -> None:
    """Have a file's text and mode, or the names in a folder, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(path: Path) -> None:
    """Make a folder, and those above it that are missing, which survive a power cut."""
    if not path.is_dir():
        make_folder(path.parent)
        path.mkdir(exist_ok=True)
        flush(path.parent)
