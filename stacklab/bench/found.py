"""The settings that a measurement found in force: it goes back to them, also if it was killed half-way."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stacklab import stack
from stacklab.files import RESULTS, write_json
from stacklab.labs.host import Host
from stacklab.settings import StackSettings

CHANGE_ENDS_WITHIN_S = 600.0  # it takes that long on an emulated machine only


def folder_of(lab_name: str, root: Path = RESULTS) -> Path:
    """Where this computer keeps what measurements of a lab share."""
    return root / ".bench" / lab_name.replace("/", "_")


def pending(lab_name: str, root: Path = RESULTS) -> bool:
    """Whether a measurement of the lab runs, or was killed, that has yet to go back."""
    return _file(folder_of(lab_name, root)).exists()


def forget(lab_name: str, root: Path = RESULTS) -> None:
    """The user has set something else since: that counts."""
    _file(folder_of(lab_name, root)).unlink(missing_ok=True)


@contextmanager
def going_back(host: Host, folder: Path) -> Iterator[StackSettings]:
    """The settings in force, which are back after the block, also after an error in it.

    `folder` keeps them meanwhile: after a kill it is the settings found then that the next such block of this lab
    yields, and ends in.
    """
    file = _file(folder)
    if not file.exists():
        write_json(file, stack.current(host).to_dict())
    settings = StackSettings.from_dict(json.loads(file.read_text()))
    try:
        yield settings
    finally:
        _wait_for_a_change_under_way(host)
        if stack.current(host) != settings:
            stack.apply(host, settings)
        file.unlink(missing_ok=True)


def _file(folder: Path) -> Path:
    return folder / "found.json"


def _wait_for_a_change_under_way(host: Host) -> None:
    """One that an interrupt left to end by itself."""
    end = time.monotonic() + CHANGE_ENDS_WITHIN_S
    while stack.state(host)["changing"] and time.monotonic() < end:
        time.sleep(0.5)
