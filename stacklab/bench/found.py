"""The settings that a measurement found in force: the lab goes back to them, also if the measurement was killed half-way.

They are kept on the web host meanwhile: whoever measures it next, from whichever checkout or computer, goes back first.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

from stacklab import stack
from stacklab.bench.measuring import measured_by
from stacklab.errors import LabNotRunning
from stacklab.labs import Lab
from stacklab.labs.host import Host
from stacklab.settings import StackSettings

FOUND = "/var/lib/stacklab/found.json"
CHANGE_ENDS_WITHIN_S = 600.0  # it takes that long on an emulated machine only


def left_behind(lab: Lab) -> bool:
    """Whether a measurement of the lab was killed that has yet to go back. Not if the lab is not up, or is being measured."""
    try:
        host = lab.web()
    except LabNotRunning:
        return False
    return _kept(host) is not None and measured_by(host) is None


def at_rest(host: Host) -> StackSettings:
    """The settings in force, or those that a killed measurement has yet to go back to."""
    return _kept(host) or stack.current(host)


def forget(host: Host) -> None:
    """The user has set something else since: that counts."""
    if host.run(f"ls {FOUND} 2>/dev/null || true"):  # a look is ten times as quick as a sudo
        host.run(f"rm {FOUND}", sudo=True)


def go_back(host: Host) -> None:
    """To what a measurement that was killed had found, if there was one."""
    if (found := _kept(host)) is not None:
        _restore(host, found)


@contextmanager
def going_back(host: Host) -> Iterator[StackSettings]:
    """The settings in force, which are back after the block, also after an error in it."""
    found = stack.current(host)
    host.write(FOUND, json.dumps(found.to_dict()) + "\n")
    try:
        yield found
    finally:
        _restore(host, found)


def _kept(host: Host) -> StackSettings | None:
    text = host.run(f"cat {FOUND} 2>/dev/null || true")
    try:
        return StackSettings.from_dict(json.loads(text)) if text else None
    except (ValueError, TypeError):  # settings of another version: nobody can go back to them
        return None


def _restore(host: Host, found: StackSettings) -> None:
    _wait_for_a_change_under_way(host)
    if stack.current(host) != found:
        stack.apply(host, found)
    forget(host)


def _wait_for_a_change_under_way(host: Host) -> None:
    """One that an interrupt left to end by itself."""
    end = time.monotonic() + CHANGE_ENDS_WITHIN_S
    while stack.state(host)["changing"] and time.monotonic() < end:
        time.sleep(0.5)
