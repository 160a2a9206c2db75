"""`compare`: is B better than A? Measured in blocks until that is decided, or the time is up."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stacklab.bench.experiment import bench, guessed_s, measure, site_under
from stacklab.bench.found import going_back
from stacklab.bench.load import Progress
from stacklab.bench.onsite import made_on
from stacklab.bench.plan import SLICE_S, Experiment, Planned, Point, block_name
from stacklab.bench.resume import open_plan, set_aside
from stacklab.bench.slices import BETWEEN_SLICES_S, slicing
from stacklab.errors import SettingsError
from stacklab.files import RESULTS
from stacklab.labs import Lab
from stacklab.runs.calibration import Calibration, calibration_for
from stacklab.runs.results import RUN_FILE, Run, read_run
from stacklab.workload import HttpLoad

if TYPE_CHECKING:
    from stacklab.study.paired import MetricVerdict

BETWEEN_RUNS_S = 8.0  # new processes, the sampler, rows to disk: for estimates
HTTP_METRICS = (
    "throughput_per_s", "p50_s", "p95_s", "p99_s", "error_share", "cpu_s_per_1000_requests", "cpu_s_nginx_per_1000_requests",
    "cpu_s_uwsgi_per_1000_requests", "pss_peak_bytes",
)  # fmt: skip
CHAT_METRICS = (
    "latency_p50_s", "latency_p95_s", "latency_p99_s", "delivered_share", "cpu_s_per_1000_deliveries",
    "cpu_s_daphne_per_1000_deliveries", "pss_peak_bytes",
)
DECIDE = {"http": ("throughput_per_s", "cpu_s_per_1000_requests"), "chat": ("latency_p50_s", "cpu_s_per_1000_deliveries")}
"""The metrics whose verdicts end a comparison, once all of them are there."""


@dataclass(frozen=True)
class Comparison:
    """What `blocks` sound blocks say of B against A, after `duration_s` under load; `disturbed` blocks were left out.

    `each` is what every sound block showed of the first of DECIDE, B to A: the dots of a picture, no verdict.
    `calibration` is what is known of the machine.
    """

    a: str
    b: str
    blocks: int
    disturbed: int
    duration_s: float
    metrics: tuple[MetricVerdict, ...]
    path: Path
    each: tuple[float, ...] = ()
    calibration: Calibration | None = None

    @property
    def decided(self) -> bool:
        """Whether all metrics of DECIDE are."""
        wanted = [verdict for verdict in self.metrics if verdict.metric in DECIDE["http"] + DECIDE["chat"]]
        return bool(wanted) and all(verdict.decided for verdict in wanted)

    def to_dict(self) -> dict[str, Any]:
        """Its fields, ready for JSON; an end of an interval that is not there is null."""
        return {
            "a": self.a, "b": self.b, "blocks": self.blocks, "disturbed": self.disturbed, "duration_s": self.duration_s,
            "metrics": [{name: finite(value) for name, value in asdict(verdict).items()} for verdict in self.metrics],
            "machine": self.calibration and self.calibration.figures(), "path": str(self.path),
        }  # fmt: skip


def finite(value: Any) -> Any:
    """`value`, or None where it is a number that JSON does not know."""
    return None if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))) else value


def compare(
    a: Point,
    b: Point,
    lab: Lab,
    *,
    margin: float = 0.05,
    budget_s: float = 300.0,
    seed: int = 1,
    fresh: bool = False,
    root: Path = RESULTS,
    on_slice: Callable[[Planned, int, int], None] = lambda planned, number, total: None,
    on_look: Callable[[Comparison], None] = lambda comparison: None,
    on_block: Callable[[Comparison], None] = lambda comparison: None,
    progress: Callable[[Progress], None] | None = None,
) -> Comparison:
    """Measure both points in blocks, in an order drawn by lot, until their metrics are decided or `budget_s` is over.

    A closed loop of HTTP requests goes on from slice to slice while the settings change; chat, and a schedule, get a run
    of their own for each point. Verdicts are made at planned numbers of blocks (`study.LOOKS`), and their errors paid for.
    `on_look` is called with each of them, `on_block` after every block with the last one and what `each` block showed.
    Blocks are kept in results/compare/; the same comparison again goes on with them, unless `fresh`. Ctrl-C ends it, and
    what is whole is judged. SettingsError where the budget is too short for one block; the settings found are back.
    """
    site = site_under(lab)
    made = [made_on(point.workload, site) for point in (a, b)]
    a, b = (replace(point, workload=load) for point, (load, _) in zip((a, b), made, strict=True))
    sliced = all(isinstance(point.workload, HttpLoad) and not point.workload.requests_per_s for point in (a, b))
    name = re.sub(r"[^a-z0-9]+", "-", f"{a.label}-or-{b.label}".lower()).strip("-") + ("" if site.is_labs else f"@{site.name}")
    plan = Experiment(name=name, points=(a, b), repeats=1000, seed=seed, slice_s=SLICE_S if sliced else None)
    each_s = sum(
        SLICE_S + plan.guard_s + BETWEEN_SLICES_S if sliced else guessed_s(point.workload) + BETWEEN_RUNS_S for point in (a, b)
    )
    if budget_s < each_s:
        raise SettingsError(f"budget_s={budget_s:g} is too short: one block of these two takes about {each_s:.0f} s")
    folder = root / "compare" / name
    with bench(lab, root, f"compare {name}") as on, going_back(on.host):
        on = on.noting(*dict.fromkeys(line for _, said in made for line in said))
        if fresh:
            set_aside(name, folder.parent)
        open_plan(plan, folder, on.lab.name, on.environment)
        calibration = calibration_for(on.environment, folder)
        judged = _Judge(plan, folder, margin, on_look, on_block)
        if judged.over:
            return replace(judged.close(), calibration=calibration)
        end_s = time.monotonic() + budget_s
        left = (repeat for repeat in count(1) if not judged.kept(repeat))
        try:
            if sliced:
                with slicing(on, plan, folder, on_slice) as slicer:
                    while time.monotonic() + each_s <= end_s and not judged.over:
                        judged.add(slicer.block(next(left)).cut())
            else:
                while time.monotonic() + each_s <= end_s and not judged.over:
                    judged.add([
                        measure(
                            on, planned.point.settings, planned.point.workload, folder=folder, name=planned.name,
                            point=planned.point.label, repeat=planned.repeat, position=planned.position, progress=progress,
                        )
                        for planned in plan.block(next(left))
                    ])  # fmt: skip
        except KeyboardInterrupt:
            pass  # what is whole is judged
    return replace(judged.close(), calibration=calibration)


class _Judge:
    """Keeps the slices, and looks at them when their number is one that was planned."""

    def __init__(self, plan: Experiment, folder: Path, margin: float, on_look: Callable[[Comparison], None], on_block=None):
        self._plan, self._folder, self._margin, self._on_look, self._on_block = plan, folder, margin, on_look, on_block
        self._runs: list[Run] = []
        self.measured: set[int] = set()
        self.now = Comparison(plan.points[0].label, plan.points[1].label, 0, 0, 0.0, (), folder)
        repeat = 0
        while found := self.kept(repeat := repeat + 1):  # what an earlier call has measured
            if len(found) == (1 if plan.slice_s else 2):
                self.add([cut for path in found for cut in read_run(path).cut()])

    def kept(self, repeat: int) -> list[Path]:
        """The folders of that block's runs that are on disk."""
        names = [block_name(repeat)] if self._plan.slice_s else [planned.name for planned in self._plan.block(repeat)]
        return [self._folder / name for name in names if (self._folder / name / RUN_FILE).exists()]

    def add(self, block: list[Run]) -> None:
        """One more block; a look, if it is time for one."""
        from stacklab.study.paired import LOOKS

        self._runs += block
        self.measured.add(block[0].repeat)
        if not self.now.decided and self._sound() in LOOKS and self._sound() != self.now.blocks:
            self.now = self._look()
            self._on_look(self.now)
        if self._on_block:
            self._on_block(replace(self.now, each=self._each()))

    @property
    def over(self) -> bool:
        """Whether it is decided, or there is no further look."""
        from stacklab.study.paired import LOOKS

        return self.now.decided or self._sound() >= LOOKS[-1]

    def close(self) -> Comparison:
        """The last word: that of the last planned look, since any other would not be paid for, however often one asks again.

        Before the first, nothing can be decided yet.
        """
        return replace(self.now if self.now.blocks else self._look(), each=self._each())

    def _sound(self) -> int:
        disturbed = {run.repeat for run in self._runs if not run.validity.valid}
        return len(self.measured - disturbed)

    def _rows(self):
        from stacklab.study.summary import summarize

        return summarize(self._runs).assign(side=["A" if run.point == self.now.a else "B" for run in self._runs])

    def _each(self) -> tuple[float, ...]:
        import numpy as np

        from stacklab.study.paired import of_blocks

        if not self._runs:
            return ()
        rows = self._rows()
        rows = rows[rows.groupby("repeat")["valid"].transform("all").astype(bool)]
        values, scale = of_blocks(rows, DECIDE[self._runs[0].kind][0])
        return tuple(np.exp(values) if scale == "ratio" else values)

    def _look(self) -> Comparison:
        from stacklab.study.paired import look

        a, b = self._plan.points
        metrics: tuple[MetricVerdict, ...] = ()
        if self._runs:
            rows = self._rows()
            wanted = HTTP_METRICS if self._runs[0].kind == "http" else CHAT_METRICS
            metrics = tuple(look(rows, wanted, self._margin))
        spent_s = sum(run.under_load_s for run in self._runs)
        return Comparison(
            a.label, b.label, self._sound(), len(self.measured) - self._sound(), round(spent_s, 1), metrics, self._folder
        )
