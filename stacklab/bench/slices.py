"""`slicing`: points measured in short slices, in turn, under one load that goes on."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stacklab import stack
from stacklab.bench import serverlog
from stacklab.bench.crowd import CONNECTS_PER_S, Crowd, crowd
from stacklab.bench.plan import Experiment, Planned, block_name
from stacklab.bench.sampling import Sampling, sampling
from stacklab.errors import ApplyError, LabError
from stacklab.runs.calibration import calibration_for
from stacklab.runs.disturbance import uneven
from stacklab.runs.draft import writing_run
from stacklab.runs.results import MARGIN_S, NOT_CHECKED, PARTIAL_PREFIX, Run, Validity
from stacklab.runs.validity import check
from stacklab.settings import StackSettings

if TYPE_CHECKING:
    from stacklab.bench.experiment import Bench

SAMPLES_EVERY_S = 0.25
TRIES = 3  # of a block into which somebody else's change of settings fell
BETWEEN_SLICES_S = 1.5  # a change of settings, and each slice's share of the block's end: for estimates
BYTES_PER_BLOCK = 1_500_000


@contextmanager
def slicing(
    on: Bench, experiment: Experiment, folder: Path, on_slice: Callable[[Planned, int, int], None] = lambda *_: None
) -> Iterator[Slicer]:
    """The load of the experiment's points goes on while the block runs; `Slicer.block` measures them all once.

    Blocks are kept in `folder`, each as one run with slices. `on_slice(planned, number, total)` is called before each.
    Nothing is put back: see `found.going_back`.
    """
    scratch = folder / f"{PARTIAL_PREFIX}load"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    most = max((point.workload for point in experiment.points), key=lambda workload: workload.users)
    with (
        sampling(on.host, scratch, interval_s=SAMPLES_EVERY_S) as samples,
        crowd(most, on.host.url, scratch, on.ca, on.generator_cpus, on.client_addresses) as load,
    ):
        yield Slicer(on, experiment, folder, samples, load, on_slice)
    shutil.rmtree(scratch)


class Slicer:
    """Measures block after block. Made by `slicing`."""

    def __init__(self, on: Bench, experiment: Experiment, folder: Path, samples: Sampling, load: Crowd, on_slice):
        self._on, self._experiment, self._folder = on, experiment, folder
        self._samples, self._load, self._on_slice = samples, load, on_slice
        self._settings: StackSettings | None = None  # what we applied last
        self._users = 0
        self._usual: list[list[dict[str, float]]] = []  # the numbers of the blocks so far
        self._calibration = calibration_for(on.environment, folder)

    def under_the_same_load(self, experiment: Experiment, folder: Path) -> Slicer:
        """For slices of another plan, of no more users, kept in another folder."""
        return Slicer(self._on, experiment, folder, self._samples, self._load, self._on_slice)

    def block(self, repeat: int) -> Run:
        """Each point once, in that repeat's order, saved as one run.

        A block into which somebody else's change of settings fell is measured again, a few times. LabError, ApplyError,
        LoadError: nothing of the block is saved.
        """
        for _ in range(TRIES):
            try:
                return self._block(repeat)
            except ApplyError:
                if self._settings is None or stack.current(self._on.host) == self._settings:
                    raise  # the services refused
                self._settings = None
        raise LabError(f"somebody else keeps changing the settings of {self._on.lab.name}: block {repeat} was given up")

    def _block(self, repeat: int) -> Run:
        from stacklab.runs import rows  # it loads pyarrow, which those who only import this module need not wait for

        on, load = self._on, self._load
        on.hold.take()
        with writing_run(self._folder, block_name(repeat)) as draft:
            logged_before = serverlog.mark(on.host)
            problems_before = len(self._samples.problems)
            started_s = load.now()
            parts = [self._slice(planned) for planned in self._experiment.block(repeat)]
            ended_s = load.now()
            raw = draft.path / "raw"
            raw.mkdir()
            (raw / "requests-0.csv").write_bytes(load.cut())
            rows.write_requests(raw, draft.path, "")
            shutil.rmtree(raw)
            serverlog.collect_requests(on.host, logged_before, draft.path)
            offset_s, error_s = self._samples.clock()
            around = started_s - MARGIN_S, ended_s + MARGIN_S
            rows.write_samples(self._samples.between(*(time_s + (offset_s or 0.0) for time_s in around)), draft.path)
            rows.write_gauges(load.gauges(*around), draft.path / "generator.parquet")
            first = self._experiment.block(repeat)[0].point
            run = Run(
                path=draft.path, settings=first.settings, workload=first.workload, observed=parts[0]["observed"],
                environment=on.environment, experiment=self._folder.name, run=block_name(repeat), repeat=repeat,
                started_s=started_s, ended_s=ended_s, under_load_s=ended_s - started_s,
                clock_offset_s=offset_s, clock_error_s=error_s, slices=parts,
            )
            problems = [*self._samples.problems[problems_before:], *on.bearing()]
            found = [check(cut, problems, self._calibration) for cut in run.cut()]
            calibrated = self._calibration.uneven if self._calibration else None
            together = uneven([validity.numbers for validity in found], self._usual, calibrated)
            self._usual.append([validity.numbers for validity in found])
            found = [replace(validity, reasons=(*validity.reasons, *together)) for validity in found]
            slices = [part | {"validity": validity.to_dict()} for part, validity in zip(parts, found, strict=True)]
            draft.record(replace(run, slices=slices, validity=_of_all(found)))
        return draft.run

    def _slice(self, planned: Planned) -> dict[str, Any]:
        """The settings and the load of the point; after the guard time, the slice."""
        experiment, load, point = self._experiment, self._load, planned.point
        number = (planned.repeat - 1) * len(experiment.points) + planned.position
        self._on_slice(planned, number, max(experiment.repeats, planned.repeat) * len(experiment.points))
        load.ask(point.workload)
        applied = stack.apply(self._on.host, point.settings, expect=self._settings)
        self._settings = point.settings
        time.sleep(experiment.guard_s + max(0, point.workload.users - self._users) / CONNECTS_PER_S)
        self._users = point.workload.users
        start_s = load.now()
        time.sleep(experiment.slice_s)
        end_s = load.now()
        workload = {"kind": "http", **point.workload.to_dict()}
        return {
            "point": point.label, "settings": point.settings.to_dict(), "workload": workload, "observed": applied.observed,
            "start_s": start_s, "end_s": end_s, "validity": NOT_CHECKED.to_dict(),
        }


def _of_all(slices: Sequence[Validity]) -> Validity:
    """A block's own: disturbed if one of its slices is, which leaves the whole of it out of verdicts."""
    reasons = dict.fromkeys(reason for validity in slices for reason in validity.reasons)
    failures = dict.fromkeys(failure for validity in slices for failure in validity.failures)
    return Validity(tuple(reasons), tuple(failures))
