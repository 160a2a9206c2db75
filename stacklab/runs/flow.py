"""Whether requests flowed as a load of that kind must have them flow: rates, Little's law, drift. Pure; `validity` asks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from stacklab.runs.calibration import Calibration
from stacklab.runs.disturbance import TIMES_USUAL, load_window
from stacklab.runs.results import Run

MAX_CEILING_SHARE = 0.5  # of what the generator could make at most: beyond, its own queue is measured
LITTLE_TOLERANCE = 0.1  # of a user's time between two requests that need not have been in nginx …
MIN_OUTSIDE_S = 0.005  # … which is no matter below this: TLS, the way, nginx's milliseconds
MIN_REQUESTS = 30  # fewer in a slice say nothing of it
MIN_WINDOW_S = 0.5  # a shorter load has not one reading of the CPU in it
RATES_TOLERANCE = 0.05  # between the client's count of requests in a window and nginx's
DRIFT_PARTS = 10
DRIFT_ORDER = 29  # of 45 pairs of parts, so many more rise than fall (or the reverse) once in a hundred by luck (Kendall's S)
MAX_DRIFT = 0.2  # over a run


def little_users(starts: np.ndarray, durations: np.ndarray, first: float, last: float, wait_s: float) -> float:
    """How many users a closed loop must have had from `first` to `last`: throughput × (response time + wait), Little's law.

    Requests under way on average (stragglers too), plus those users who are in their wait. NaN if that time is empty.
    """
    if not last > first:
        return float("nan")
    under_way_s = np.clip(np.minimum(starts + durations, last) - np.maximum(starts, first), 0, None).sum()
    return float(under_way_s / (last - first) + _per_s(starts, first, last) * wait_s)


def _per_s(starts: np.ndarray, first: float, last: float) -> float:
    return np.count_nonzero((starts >= first) & (starts < last)) / (last - first)


def _begun(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """When nginx took each request, on the desk's clock, and how long it had it."""
    logged = run.table("server")
    durations = logged["duration_s"].to_numpy()
    return logged["end_s"].to_numpy() - durations - (run.clock_offset_s or 0.0), durations


def _all_at_work(run: Run, requests: pd.DataFrame) -> tuple[float, float]:
    """The time in which all users are at work: of a slice its own, else from the first counted start to the last."""
    if run.whole:
        return run.start_s, run.end_s
    counted = requests.loc[~requests["warmup"].astype(bool), "start_s"]
    return (float(counted.min()), float(counted.max())) if len(counted) else (0.0, 0.0)


def rates(run: Run, requests: pd.DataFrame) -> Iterator[str]:
    """The client's clock and nginx's count alike: else times were taken late, or are of another time."""
    first, last = _all_at_work(run, requests)
    if not last > first or run.table("server").empty:
        return
    ours, theirs = _per_s(requests["start_s"].to_numpy(), first, last), _per_s(_begun(run)[0], first, last)
    if abs(theirs - ours) * (last - first) > RATES_TOLERANCE * ours * (last - first) + MIN_REQUESTS:
        yield f"The client began {ours:,.0f} requests a second, nginx {theirs:,.0f} in the same time: one of the two is wrong."


def window(run: Run) -> Iterator[str]:
    start, end = load_window(run)
    if end - start < MIN_WINDOW_S:
        yield f"The load was counted for {end - start:.2f} s only: {MIN_WINDOW_S:g} s are the least that says anything."


def ceiling(run: Run, calibration: Calibration | None) -> Iterator[str]:
    """Beyond half of what the generator can do, its own queue is measured too. (Without a calibration, its CPU tells.)"""
    if run.kind != "http" or not run.has("requests") or not (calibration and calibration.ceiling_per_s):
        return
    requests = run.table("requests")
    first, last = _all_at_work(run, requests)
    made = _per_s(requests["start_s"].to_numpy(), first, last) if last > first else 0.0
    if made > MAX_CEILING_SHARE * calibration.ceiling_per_s:
        yield (
            f"The load generator made {made:,.0f} requests a second, more than half of the {calibration.ceiling_per_s:,.0f} "
            "that it can make at most: it may be what limited the run."
        )


def drift(run: Run, calibration: Calibration | None) -> Iterator[str]:
    """A closed loop that grows ever slower, or quicker, within a run: no figure is the figure of it.

    A schedule is not asked: where it asks for more than there is, its times must grow. Nor is a run with events, nor a
    slice: of a block, lot has drawn the order.
    """
    if run.whole or run.events or run.kind != "http" or run.workload.requests_per_s or not run.has("requests"):
        return
    requests = run.table("requests")
    ends = np.linspace(*_all_at_work(run, requests), DRIFT_PARTS + 1)
    per_part = np.histogram(requests["start_s"], ends)[0]
    if per_part.min() < MIN_REQUESTS:
        return
    logs = np.log(per_part)
    left, right = np.triu_indices(DRIFT_PARTS, 1)
    order = int(np.sign(logs[right] - logs[left]).sum())
    change = float(np.median((logs[right] - logs[left]) / (right - left)) * (DRIFT_PARTS - 1))  # Theil and Sen's slope
    limit = max(MAX_DRIFT, TIMES_USUAL * (calibration.noise.get("throughput_per_s", 0.0) if calibration else 0.0))
    if abs(order) >= DRIFT_ORDER and abs(change) > np.log1p(limit):
        yield f"Throughput drifted by {np.expm1(change):+.0%} within the run, more than {limit:.0%}: it had not settled."


def little(run: Run, counted: pd.DataFrame, requests: pd.DataFrame) -> Iterator[str]:
    """By nginx's own times, of which the client knows nothing: by the client's, the law would hold by construction."""
    users, (first, last) = run.workload.users, _all_at_work(run, requests)
    if len(counted) <= users or not last > first or not run.has("server") or run.table("server").empty:
        return  # each user asked once or not at all, so there was no loop; or nginx keeps no log of this path
    starts, durations = _begun(run)
    found = little_users(starts, durations, first, last, run.workload.wait_s)
    allowed = max(LITTLE_TOLERANCE * users, MIN_OUTSIDE_S * _per_s(starts, first, last))
    if abs(found - users) > allowed:
        yield (
            f"Little's law does not hold: nginx's throughput × (its response time + wait) makes {found:.1f} users, "
            f"{users} were asked for ({found / users - 1:+.0%})."
        )
