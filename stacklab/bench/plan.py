"""What is to be measured: points, in blocks, in a seeded random order. Pure."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from stacklab.bench.events import Event
from stacklab.errors import SettingsError
from stacklab.settings import StackSettings
from stacklab.workload import HttpLoad, Workload


@dataclass(frozen=True)
class Point:
    """One combination of settings and workload, and what happens while it is measured; `label` names it on plots."""

    label: str
    settings: StackSettings
    workload: Workload
    events: tuple[Event, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """{label, settings, workload, events}, ready for JSON."""
        return {
            "label": self.label,
            "settings": self.settings.to_dict(),
            "workload": self.workload.to_dict(),
            "events": [event.to_dict() for event in self.events],
        }


@dataclass(frozen=True)
class Planned:
    """One run to be: its place in the experiment's order, and the name of its folder."""

    repeat: int
    position: int
    point: Point

    @property
    def name(self) -> str:
        slug = re.sub(r"[^a-z0-9]+", "-", self.point.label.lower()).strip("-")
        return f"r{self.repeat}-{self.position:02d}-{slug}"


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Points × repeats. Each repeat is a block: all points, in an order shuffled anew by `seed`.

    Each point is a run of its own, with a load of its own; or, with `slice_s`, a slice of that many seconds under one
    load that goes on from block to block while the settings change. `guard_s` after each change are not counted. `notes`:
    what each run is to say of it, such as what the site under test was asked instead.
    """

    name: str
    points: tuple[Point, ...]
    repeats: int = 3
    seed: int = 1
    slice_s: float | None = None
    guard_s: float = 1.0
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.repeats <= 1000:
            raise SettingsError(f"repeats={self.repeats} is not allowed: repeats takes a whole number from 1 to 1000")
        labels = [point.label for point in self.points]
        if len(set(labels)) != len(labels):
            raise SettingsError(f"the points of {self.name} need different labels, not {labels}")
        if self.slice_s and not all(isinstance(p.workload, HttpLoad) and not p.workload.requests_per_s for p in self.points):
            raise SettingsError(f"the points of {self.name} cannot be slices: only a closed loop of HTTP requests can")
        if self.slice_s and any(point.events for point in self.points):
            raise SettingsError(f"the points of {self.name} cannot be slices: events happen in whole runs only")

    def loads(self, kind: type[Workload]) -> list[Workload]:
        """The loads of that kind."""
        return [point.workload for point in self.points if isinstance(point.workload, kind)]

    def block(self, repeat: int) -> list[Planned]:
        """The points in their order of that repeat; the same for the same seed."""
        points = list(self.points)
        random.Random(f"{self.seed}/{repeat}").shuffle(points)
        return [Planned(repeat, position, point) for position, point in enumerate(points, start=1)]

    def plan(self) -> list[Planned]:
        """Every run, or slice, in the order of execution."""
        return [planned for repeat in range(1, self.repeats + 1) for planned in self.block(repeat)]

    def folders(self, repeat: int) -> list[str]:
        """The names that the folders of that block's runs have on disk: one a run, or one for all its slices."""
        return [block_name(repeat)] if self.slice_s else [planned.name for planned in self.block(repeat)]

    @property
    def most_repeats(self) -> int:
        """Blocks, those counted that may be measured in place of disturbed ones."""
        return self.repeats + self.repeats // 2

    def to_dict(self) -> dict[str, Any]:
        """What experiment.json holds of the plan."""
        slices = {"slice_s": self.slice_s, "guard_s": self.guard_s} if self.slice_s else {}
        return {"name": self.name, "seed": self.seed, "points": [point.to_dict() for point in self.points]} | slices


# With nginx's limit at 1024 the 512th chat client is refused, whatever stands behind it: a proxied client takes two.
CHAT = StackSettings(nginx_worker_connections=4096)
BLOCKS, QUICK_BLOCKS, SLICE_S = 18, 5, 3.0  # of slices
SLOPE_RAMP_S = 12  # memory is read every two seconds: fewer readings while sockets open make no slope


def named(
    name: str, points: Sequence[Point], quick: bool, repeats: int | None, seed: int, *, usual: int | None = None, **slices: float
) -> Experiment:
    """An experiment of as many repeats as are asked for, or as are `usual`: three, or BLOCKS of slices. In quick mode one, or
    QUICK_BLOCKS, under a name of its own.
    """
    default = usual or ((QUICK_BLOCKS if quick else BLOCKS) if slices else 1 if quick else 3)
    return Experiment(
        name=f"{name}-quick" if quick else name, points=tuple(points), repeats=default if repeats is None else repeats,
        seed=seed, **slices,
    )


def block_name(repeat: int) -> str:
    """The folder of a block of slices."""
    return f"b{repeat:03d}"
