"""`fab doctor`: is this computer fit to run a lab, in a container or by Vagrant, and if not, what to do about it.

Vagrant's side is judged by `vagrant doctor` alone (provision/vagrant/doctor.rb), which needs no Python.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from stacklab.errors import LabError, LabNotRunning
from stacklab.files import ROOT
from stacklab.surroundings import VAGRANTS, own

State = Literal["ok", "warn", "fail"]

CONTAINER_DISK_BYTES = 3 * 10**9
INSTALL = "install it (developer.hashicorp.com/vagrant/install); the container lab, on Linux, needs none: make lab"
RUNS = "is running"
VAGRANT_ANSWERS_S = 120  # it asks Docker, libvirt and PowerShell, each for half a minute at most


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: `check` names it, `what` is what was found, `todo` what to do about it."""

    check: str
    state: State
    what: str
    todo: str = ""


def diagnose() -> tuple[list[Finding], list[Finding], list[Finding]]:
    """What stands between this computer and a lab in a container, and one by Vagrant; and how it is with the lab there is.

    One is enough: where one can be had, or runs (on an SSH host, say), what fails for another is a warning.
    """
    container, vagrant, lab = diagnose_container(), diagnose_vagrant(), diagnose_lab()
    if lab[0].what.endswith(RUNS) or not (fails(container) and fails(vagrant)):
        container, vagrant = _as_warnings(container), _as_warnings(vagrant)
    return container, vagrant, lab


def fails(findings: Sequence[Finding]) -> bool:
    """Does one of them stand in the way?"""
    return any(finding.state == "fail" for finding in findings)


def _as_warnings(findings: Sequence[Finding]) -> list[Finding]:
    return [replace(each, state="warn") if each.state == "fail" else each for each in findings]


def diagnose_vagrant(timeout_s: float = VAGRANT_ANSWERS_S) -> list[Finding]:
    """What `vagrant doctor` finds; one finding where there is no Vagrant, or where it fails or does not answer in time."""
    if not shutil.which("vagrant"):
        return [Finding("Vagrant", "fail", "Vagrant is not installed", INSTALL)]
    asking = subprocess.Popen(
        ["vagrant", "doctor", "--json"], cwd=ROOT, env=own(VAGRANTS), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, errors="replace", start_new_session=True,
    )  # fmt: skip
    with asking:
        try:
            printed, errors = asking.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            hangs = f"'vagrant doctor' did not answer within {timeout_s:g} s"
            return [Finding("Vagrant", "fail", hangs, "look with 'vagrant doctor' what it waits for")]
        finally:
            if asking.poll() is None:
                _kill(asking)
    try:
        return [Finding(**each) for each in json.loads(printed)]
    except (ValueError, TypeError):
        said = " ".join((errors or printed).split()) or f"exit code {asking.returncode}"
        return [Finding("Vagrant", "fail", f"'vagrant doctor' failed: {said}", "mend what it says, or install a newer Vagrant")]


def _kill(asking: subprocess.Popen) -> None:
    """With whom it asks in turn: HashiCorp's `vagrant` is a small program that starts the Ruby one."""
    if os.name == "posix":
        os.killpg(asking.pid, signal.SIGKILL)
    else:
        asking.kill()


def diagnose_container() -> list[Finding]:
    """What stands between this computer and the container lab (`make lab`)."""
    from stacklab.labs.asroot import check_possible
    from stacklab.labs.obstacles import obstacles

    if in_the_way := [Finding("container lab", "fail", what, todo) for what, todo in obstacles()]:
        return in_the_way
    try:
        check_possible()
    except LabError as error:
        return [Finding("container lab", "fail", str(error))]
    free = shutil.disk_usage(Path("/var/lib")).free
    if free < CONTAINER_DISK_BYTES:
        make_room = f"make room: the container lab takes {_gb(CONTAINER_DISK_BYTES)}"
        return [Finding("disk", "fail", f"{_gb(free)} free below /var/lib", make_room)]
    return [Finding("container lab", "ok", "this computer can have one: 'make lab'")]


def diagnose_lab() -> list[Finding]:
    """How it stands with the lab that `open_lab` opens here: its state, or who refuses whom."""
    from stacklab.labs import open_lab, require_running

    status = {}
    try:
        lab = open_lab()
        status = lab.status()
        require_running(lab, status)
    except LabNotRunning as error:
        return [Finding("lab", "warn" if status.get("why") else "ok", str(error))]
    except LabError as error:
        return [Finding("lab", "warn", str(error))]
    return [Finding("lab", "ok", f"the lab {lab.name} {RUNS}")]


def _gb(count: int) -> str:
    return f"{count / 10**9:.1f} GB"
