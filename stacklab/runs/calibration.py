"""What a machine can tell at all, as `fab calibrate` found it: kept in results/calibration/, one folder each, immutable.

A calibration counts for the machine that it was made on: the same lab on the same CPUs. It is looked for beside the runs
that it is to judge, so results that were copied elsewhere, calibrations among them, are judged as they were at home.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from stacklab.errors import ResultsError
from stacklab.files import write_json
from stacklab.site import LAB_NAME

FOLDER, FILE = "calibration", "calibration.json"
FORMAT = 1
GIB = 1 << 30
MINUTES = (2, 5, 10)
"""Of measuring, after which it is told how small an effect is found."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """The same point against itself, in `blocks` sound blocks of two slices (`disturbed` more were left out).

    `noise`: the standard deviation of a block's log ratio, of each metric. `false_share`: how often `fab compare` calls two
    that are the same different, of each metric; `false_share_claims` how often a claim's test does, in the worst metric.
    `smallest`: {metric: {minutes: the smallest effect that is found four times in five}}, without those that are not found.
    `ceiling_per_s`: requests that the load generator makes at most, of a page that costs nothing (None: not measured).
    `sampler_cores`: what the sampler takes. `usual` levels of steal and of others' work, and how `uneven` they usually are
    within a block. `machine` is what `machine_of` says.
    """

    machine: Mapping[str, Any]
    made_s: float
    quick: bool
    blocks: int
    disturbed: int
    slice_s: float
    noise: Mapping[str, float]
    false_share: Mapping[str, float]
    false_share_claims: float
    smallest: Mapping[str, Mapping[str, float]]
    ceiling_per_s: float | None
    sampler_cores: float | None
    usual: Mapping[str, float] = field(default_factory=dict)
    uneven: Mapping[str, float] = field(default_factory=dict)
    path: Path = field(default=Path(), compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Its fields, ready for JSON."""
        return {"format": FORMAT} | asdict(self) | {"path": str(self.path)}

    @property
    def worst_false_share(self) -> float:
        """That of the metric which is called different most often."""
        return max(self.false_share.values(), default=float("nan"))

    def figures(self) -> dict[str, Any]:
        """What stands beside a verdict: its share of false differences, and the smallest effect that it finds."""
        return {"false_share": self.worst_false_share, "smallest": dict(self.smallest), "path": str(self.path)}

    def save(self) -> None:
        """Write it into its folder, for good."""
        write_json(self.path / FILE, {name: value for name, value in self.to_dict().items() if name != "path"})
        (self.path / FILE).chmod(0o444)


def machine_of(environment: Mapping[str, Any]) -> dict[str, Any]:
    """What of a run's environment makes it the same machine: the lab, its CPUs, those that the load comes from, and the site,
    whose pages have a noise of their own.
    """
    web, desk = environment.get("web", {}), environment.get("desk", {})
    site = environment.get("site") or {}
    whole = {name: environment.get(name) for name in ("lab", "kind", "one_computer", "pinned_cpus", "generator_cpus")}
    return whole | {
        "site": site.get("name", LAB_NAME),
        "web": {"cpus": web.get("cpus"), "model": web.get("model"), "memory_gib": round(web.get("memory_bytes", 0) / GIB)},
        "desk": {name: desk.get(name) for name in ("cpus", "cores", "nodes")}
        | {"memory_gib": round(desk.get("memory_bytes", 0) / GIB)},
    }


def read_calibration(path: Path) -> Calibration:
    """The calibration in the folder `path`; FileNotFoundError if there is none, ResultsError if it is damaged."""
    text = (path / FILE).read_bytes()
    try:
        values = json.loads(text)
        if values.pop("format") != FORMAT:
            raise ValueError("another version's")
        values["machine"] = {"site": LAB_NAME} | values["machine"]  # earlier ones do not name theirs
        return Calibration(**values, path=path)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ResultsError(f"{path / FILE}: is no calibration ({error!r}); delete the folder, and say 'fab calibrate'") from error


def calibration_for(environment: Mapping[str, Any], near: Path) -> Calibration | None:
    """The newest calibration of that machine among the results that `near` (a run, an experiment's folder) lies in.

    A quick one counts where there is no other.
    """
    wanted = machine_of(environment)
    for folder in (near, *near.parents[:4]):
        if fitting := [one for one in calibrations(folder) if one.machine == wanted]:
            return fitting[-1]
    return None


def calibrations(root: Path) -> list[Calibration]:
    """Those among the results in `root`, the best last: quick ones first, then by their time. Unreadable ones are left out."""
    found = []
    for file in (root / FOLDER).glob(f"*/{FILE}"):
        try:
            found.append(read_calibration(file.parent))
        except (ResultsError, OSError):
            continue  # another version's, or damaged: as good as none
    return sorted(found, key=lambda one: (not one.quick, one.made_s))


def calibration_of(runs: Sequence[Any]) -> Calibration | None:
    """The newest calibration of the machine that all of `runs` were measured on; None if there is none, or several machines."""
    machines = {json.dumps(machine_of(run.environment), sort_keys=True) for run in runs}
    return calibration_for(runs[0].environment, runs[0].path) if len(machines) == 1 else None


def in_words(calibration: Calibration | None) -> str:
    """One line to stand beside a verdict: how often this machine is wrong, and the smallest effect that it finds."""
    if calibration is None:
        return "not calibrated: fab calibrate"
    found = calibration.smallest.get("throughput_per_s", {})
    minutes = next((minutes for minutes in (5, *reversed(MINUTES)) if str(minutes) in found), None)
    smallest = (
        f"{found[str(minutes)]:.1%} of throughput in {minutes} minutes is the smallest effect that it finds four times in five"
        if minutes
        else f"no effect on throughput is found four times in five within {MINUTES[-1]} minutes"
    )
    return (
        f"calibrated on this machine{' (quickly)' if calibration.quick else ''}: a thing is called different from itself in "
        f"{calibration.worst_false_share:.1%} of comparisons, in the worst metric; {smallest}"
    )
