"""Load generators side by side: the same page at the same load by each, in turn, so that one sees what each can be believed."""

from __future__ import annotations

from dataclasses import replace

from stacklab.bench.plan import Experiment, Point, named
from stacklab.bench.plans import plan_load
from stacklab.bench.tools import missing
from stacklab.errors import LabError
from stacklab.files import ROOT
from stacklab.settings import StackSettings
from stacklab.workload import HttpLoad, PlanLoad, Workload

LEAN = "lean client"
PLANS = {"FastHttpUser": "fasthttp.py", "JMeter": "page.jmx", "k6": "page.js", "wrk": "page.lua"}
"""{generator: its plan in loadtests/}. The lean client is that of `fab http`."""
NO_SCHEDULE = ("wrk",)
PAGE = "/healthz"  # costs Django little, so that what a generator adds can be seen
GUESSED_PER_S = 1200  # of that page, in a closed loop, for how many requests the lean client is to make


def generators(quick: bool = False, repeats: int | None = None, seed: int = 1) -> Experiment:
    """Each generator on one page: closed loops of few and of many users, and schedules up to what the page can bear.

    Whole runs of the same length, in blocks. wrk has no schedule: its points are closed loops alone.
    """
    seconds, closed, per_s = (10, (20,), (200,)) if quick else (12, (5, 50), (100, 300, 900))
    loads = [(f"{users} users", users, None) for users in closed] + [(f"{rate}/s", 50, rate) for rate in per_s]
    points = [
        Point(f"{generator}, {words}", StackSettings(), _load(generator, users, rate, seconds))
        for words, users, rate in loads for generator in (LEAN, *PLANS) if rate is None or generator not in NO_SCHEDULE
    ]  # fmt: skip
    return named("generators", points, quick, repeats, seed)


def _load(generator: str, users: int, per_s: int | None, seconds: int) -> Workload:
    """The first two seconds do not count, of none of them."""
    if generator == LEAN:
        count = (per_s or GUESSED_PER_S) * (seconds - 2)
        return HttpLoad(path=PAGE, users=users, requests=count, requests_per_s=per_s and float(per_s), ramp_s=0, warmup_s=2)
    rate = f",per_s={per_s}" if per_s else ""
    return plan_load(ROOT / "loadtests" / PLANS[generator], f"users={users},duration_s={seconds},path={PAGE}{rate}")


def of_those_here(plan: Experiment) -> tuple[Experiment, list[str]]:
    """The experiment without the points whose tool is not on this computer, and a line for each tool that is missing.

    LabError where no point is left.
    """
    lacking = missing(plan.loads(PlanLoad))
    if not lacking:
        return plan, []
    points = [point for point in plan.points if getattr(point.workload, "tool", None) not in lacking]
    if not points:
        raise LabError(f"{plan.name} cannot be measured: {'; '.join(lacking.values())}")
    return replace(plan, points=tuple(points)), [f"LEFT OUT, {tool}: {words}" for tool, words in lacking.items()]
