"""An experiment's folder, from one call to the next: whether the runs there are of the same plan, lab and versions."""

from __future__ import annotations

import itertools
import json
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stacklab.bench.plan import Experiment
from stacklab.errors import LabError
from stacklab.files import RESULTS, make_folder, write_json

PLAN_FILE = "experiment.json"
FRESH = "start over with --fresh (the old runs are kept under another name)"

# What makes runs of one experiment two experiments. (Memory is not in it: a virtual machine's may breathe.)
COMPARED = ("kind", "one_computer", "pinned_cpus", "generator_cpus", "stacklab", "site.name", "site.code", "versions",
            "web.cpus", "web.model", "desk.cpus", "desk.python", "desk.locust", "generator")  # fmt: skip


def open_plan(experiment: Experiment, folder: Path, lab: str, environment: Mapping[str, Any]) -> None:
    """Write experiment.json, or check that what is there is the same plan, measured in the same lab with the same versions.

    LabError, saying what differs, if it is not.
    """
    file = folder / PLAN_FILE
    now = {"format": 2, "plan": experiment.to_dict(), "lab": lab, "started_s": time.time()}
    now["environment"] = {name: _within(environment, name) for name in COMPARED}
    if not file.exists():
        make_folder(folder)
        write_json(file, now)
        return
    written = json.loads(file.read_text())
    if written["plan"] != now["plan"]:
        raise LabError(f"{folder} holds runs of another plan of the same name; {FRESH}")
    if written["lab"] != lab:
        raise LabError(
            f"{folder} holds runs of the lab {written['lab']}, and runs of two machines cannot be compared; "
            f"{FRESH}, or set STACKLAB_RESULTS to another folder"
        )
    if changed := differences(written.get("environment", {}), now["environment"]):
        raise LabError(f"{folder} holds runs of a lab that was otherwise: {'; '.join(changed)}; {FRESH}, or put that back")


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What is another than it was, each in words; what was not noted then is not held against anything."""
    changed = []
    for name, was in then.items():
        if isinstance(was, Mapping) and isinstance(now.get(name), Mapping):
            changed += differences(was, now[name])
        elif name in now and _plain(now[name]) != was:
            changed.append(f"{name} was {was}, and is {now[name]}")
    return changed


def _plain(value: Any) -> Any:
    """As JSON keeps it."""
    return json.loads(json.dumps(value))


def _within(values: Mapping[str, Any], name: str) -> Any:
    """The value at a dotted `name`; None if it is not there."""
    for part in name.split("."):
        values = values.get(part) if isinstance(values, Mapping) else None
    return values


def require_disk(root: Path, needed_bytes: int) -> None:
    """LabError if the disk that `root` is on has no room for `needed_bytes`."""
    make_folder(root)
    free = shutil.disk_usage(root).free
    if free < needed_bytes + 50_000_000:
        raise LabError(f"{root} has {free >> 20} MiB free, and this needs about {(needed_bytes >> 20) + 50} MiB; make room first")


def set_aside(name: str, root: Path = RESULTS) -> Path | None:
    """Make room for a fresh start of the experiment `name`: its folder moves to `name`.1, .2, … Where it went."""
    folder = root / name
    if not folder.exists():
        return None
    free = next(path for n in itertools.count(1) if not (path := root / f"{name}.{n}").exists())
    folder.rename(free)
    return free
