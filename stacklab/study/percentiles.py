"""Percentiles as each tool defines them: of the same times, they give several numbers. Pure.

Each function takes the times, sorted (an array, or what is counted and indexed like one), and a share from 0 to 1. Where
there are few of them the definitions lie far apart: say which one is shown.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from stacklab.runs.foreign.telling import LINEAR, NEAREST, ROUNDED

DASHBOARD_WINDOW = 20_000


def nearest_rank(times: Sequence[float], share: float) -> float:
    """The smallest time with at least that share at or below it (Hyndman and Fan's type 1)."""
    return float(times[max(int(math.ceil(share * len(times) - 1e-9)), 1) - 1])


def linear(times: Sequence[float], share: float) -> float:
    """Between the two nearest, at share × (n − 1) from the first (type 7): NumPy's, k6's, and this lab's own."""
    at = share * (len(times) - 1)
    below = int(at)
    return float(times[below] + (times[min(below + 1, len(times) - 1)] - times[below]) * (at - below))


def jmeter_dashboard(times: Sequence[float], share: float) -> float:
    """Between the two nearest, at share × (n + 1) from before the first (type 6): JMeter's HTML report.

    That takes the last DASHBOARD_WINDOW samples of a label: see `in_definitions`.
    """
    at = share * (len(times) + 1)
    below = int(at)
    if below < 1:
        return float(times[0])
    return float(times[below - 1] + (times[below] - times[below - 1]) * (at - below) if below < len(times) else times[-1])


def jmeter_aggregate(times: Sequence[float], share: float) -> float:
    """The time at rank round(share × n), halves up: JMeter's Aggregate Report."""
    return float(times[max(int(math.floor(share * len(times) + 0.5)), 1) - 1])


def locust(times: Sequence[float], share: float) -> float:
    """The time after int(share × n) others, of times rounded to whole ms below 100 ms, to two digits above: Locust's statistics.

    Rounding keeps the order, so only that one need be rounded. Times are in seconds.
    """
    ms = float(times[min(int(len(times) * share), len(times) - 1)]) * 1000
    digits = 0 if ms < 100 else -1 if ms < 1000 else -2 if ms < 10_000 else -3
    return round(ms, digits) / 1000


DEFINITIONS: dict[str, Callable[[Sequence[float], float], float]] = {
    NEAREST: nearest_rank,
    LINEAR: linear,
    "JMeter's dashboard, p(n+1) of the last 20,000": jmeter_dashboard,
    "JMeter's aggregate report, round(pn)": jmeter_aggregate,
    ROUNDED: locust,
}
"""{what it is called: how it is computed}."""


def in_definitions(
    times: Sequence[float], shares: Sequence[float], last: Sequence[float] | None = None
) -> dict[str, list[float]]:
    """{definition: a value for each of `shares`}, of sorted `times`.

    `last`: the last DASHBOARD_WINDOW of them, sorted; None where there are no more than that.
    """
    if not len(times):
        return {}
    windows = {jmeter_dashboard: times if last is None else last}
    return {name: [define(windows.get(define, times), share) for share in shares] for name, define in DEFINITIONS.items()}
