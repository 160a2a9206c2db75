"""`calibrate`: what this machine can tell at all, from the same point measured against itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from stacklab.bench.experiment import bench
from stacklab.bench.found import going_back
from stacklab.bench.onsite import made_on
from stacklab.bench.plan import BLOCKS, SLICE_S, Experiment, Planned, Point
from stacklab.bench.slices import BETWEEN_SLICES_S, Slicer, slicing
from stacklab.errors import LabError
from stacklab.files import RESULTS
from stacklab.labs import Lab
from stacklab.runs.calibration import FOLDER, MINUTES, Calibration, machine_of
from stacklab.runs.disturbance import UNEVEN, usually_uneven
from stacklab.runs.results import Run
from stacklab.settings import StackSettings
from stacklab.workload import HttpLoad

METRICS = ("throughput_per_s", "p50_s", "p95_s", "p99_s", "cpu_s_per_1000_requests")
CLAIMED = ("throughput_per_s", "cpu_s_per_1000_requests")  # claims' tests are of these above all
LOAD = HttpLoad(path="/", users=50)
NOTHING = "/stacklab/nothing"  # nginx answers 204 by itself (provision/templates/site.conf.j2)
BUDGET_S, QUICK_BUDGET_S = 300.0, 22.0  # of blocks; starting the load, the ceiling and the arithmetic come on top
QUICK = {"slice_s": 1.5, "guard_s": 0.3}
LEAST_BLOCKS, MOST_BLOCKS = 3, 12  # sound ones wanted; and how many are tried for them once the budget is spent
SEED = 1


def calibrate(
    lab: Lab,
    *,
    quick: bool = False,
    root: Path = RESULTS,
    on_slice: Callable[[Planned, int, int], None] = lambda planned, number, total: None,
) -> Calibration:
    """Measure one page against itself, as `compare` would, then the load generator's ceiling; kept in results/calibration/.

    About six minutes; with `quick` 45 s, of shorter and fewer slices, whose noise is rather too high than too low. With the
    settings as they are. LabError if too few blocks were sound: then the machine has other work.
    """
    folder = root / FOLDER / time.strftime("%Y-%m-%d-%H%M%S")
    with bench(lab, root, "fab calibrate") as on, going_back(on.host) as settings:
        load, said = made_on(LOAD, on.site)
        on = on.noting(*said)
        points = tuple(Point(label, settings, load) for label in "AB")
        sizes = QUICK if quick else {"slice_s": SLICE_S}
        plan = Experiment(name=folder.name, points=points, repeats=1000, seed=SEED, **sizes)
        blocks: list[Run] = []
        with slicing(on, plan, folder, on_slice) as slicer:
            end_s = time.monotonic() + (QUICK_BUDGET_S if quick else BUDGET_S)
            while time.monotonic() < end_s or (len(_sound(blocks)) < LEAST_BLOCKS and len(blocks) < MOST_BLOCKS):
                blocks.append(slicer.block(len(blocks) + 1))
            ceiling_per_s = _ceiling(slicer, settings, folder)
    sound = _sound(blocks)
    if len(sound) < LEAST_BLOCKS:
        why = next(reason for run in blocks for reason in run.validity.reasons)
        raise LabError(f"{len(sound)} of {len(blocks)} blocks were sound, too few: {why} Try again when the computer is idle")
    known = _judged(sound, block_s=_between(blocks) if not quick else 2 * (SLICE_S + 1 + BETWEEN_SLICES_S))
    calibration = Calibration(
        machine=machine_of(on.environment), made_s=time.time(), quick=quick, blocks=len(sound),
        disturbed=len(blocks) - len(sound), slice_s=plan.slice_s, ceiling_per_s=ceiling_per_s, **known, path=folder,
    )  # fmt: skip
    calibration.save()
    return calibration


def _sound(blocks: Sequence[Run]) -> list[Run]:
    return [run for run in blocks if run.validity.valid]


def _ceiling(slicer: Slicer, settings: StackSettings, folder: Path) -> float | None:
    """What the generator makes a second at most, of a page that costs nothing; None where that is not to be had."""
    point = Point("ceiling", settings, LOAD.replace(path=NOTHING))
    plan = Experiment(name="ceiling", points=(point,), repeats=1, slice_s=SLICE_S, guard_s=0.5)
    [run] = slicer.under_the_same_load(plan, folder / plan.name).block(1).cut()
    requests = run.table("requests")
    answered = int((requests["status"] == 204).sum())
    return answered / run.under_load_s if answered == len(requests) > 0 else None


def _judged(sound: Sequence[Run], block_s: float) -> dict:
    """What the sound blocks say of verdicts on this machine, `block_s` being what a block of a comparison takes."""
    from stacklab.study import power
    from stacklab.study.summary import summarize

    slices = [cut for run in sound for cut in run.cut()]
    rows = summarize(slices).assign(side=[cut.point for cut in slices])
    rng = np.random.default_rng(SEED)
    noises = power.noises(rows, METRICS)
    within = [int(minutes * 60 // block_s) for minutes in MINUTES]
    smallest = {
        metric: dict(zip(MINUTES, power.smallest_effects(noise, within, rng), strict=True)) for metric, noise in noises.items()
    }
    numbers = [[cut.validity.numbers for cut in run.cut()] for run in sound]
    usual = {name: _median(numbers, name) for name in (*UNEVEN, "sampler_cores")}
    return {
        # About zero: a thing against itself differs by nothing but noise.
        "noise": {metric: float(np.sqrt(np.mean(noise**2))) for metric, noise in noises.items()},
        "false_share": {metric: power.false_share(noise, rng) for metric, noise in noises.items()},
        "false_share_claims": max(power.claims_false_share(noises[m], BLOCKS, rng) for m in CLAIMED if m in noises),
        "smallest": {
            metric: {str(minutes): effect for minutes, effect in found.items() if np.isfinite(effect)}
            for metric, found in smallest.items()
        },
        "sampler_cores": usual.pop("sampler_cores"),
        "usual": {name: value for name, value in usual.items() if value is not None},
        "uneven": usually_uneven(numbers),
    }


def _median(blocks: Sequence[Sequence], name: str) -> float | None:
    values = [numbers[name] for block in blocks for numbers in block if name in numbers]
    return float(np.median(values)) if values else None


def _between(blocks: Sequence[Run]) -> float:
    """Seconds from one block's beginning to the next one's."""
    return float(np.median(np.diff([run.started_s for run in blocks])))
