"""The computer's own pace, held equal: on a shared host most of what makes one slice slower than the next.

Other virtual machines take CPU time (steal), and make the cores slower while they share them (caches, the other thread of a
core, heat), which no counter tells, but a small fixed piece of work that the sampler times forty times a second
(`core_speed_per_s`). The share of the time that was left, times that speed, is the pace. It differs from slice to slice, and is
known for each: a covariate (Fisher 1932), that may be reckoned out. Values go with a power of it, the throughput of a closed
loop with about its first; how far they go is found from the blocks themselves. What a setting costs by wanting more CPU, and so
having more of it stolen, or by leaving its cores' caches fuller, is reckoned out with it.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

SHARE, SPEED = "steal_share", "core_speed_per_s"
LARGEST_POWER = 3.0  # more is luck, where hardly anything was stolen
FEWEST_PAIRS = 8
SAID = "ratios are those at an equal pace of the computer, where that is known and there are blocks enough (docs/verdicts.md)"


def left(rows: pd.DataFrame) -> np.ndarray:
    """The logarithm of the pace during each of `rows`; NaN where no steal is known. Speed counts where it is known of all."""
    if SHARE not in rows:
        return np.full(len(rows), np.nan)
    share = np.log1p(-rows[SHARE].to_numpy(dtype=float))
    timed = SPEED in rows and rows[SPEED].gt(0).all()
    return share + np.log(rows[SPEED].to_numpy(dtype=float)) if timed else share


def power(ratios: np.ndarray, lefts: np.ndarray) -> float:
    """The power with which pairs' log `ratios` go with their `lefts` (differences of `left`): the middle of the slopes between
    any two of them (Theil 1950), each with its run as its weight, so that a few wild pairs do not turn it. 0 where any is
    unknown, or all are alike.
    """
    i, j = np.triu_indices(len(lefts), 1)
    run, rise = lefts[i] - lefts[j], ratios[i] - ratios[j]
    some = run != 0
    if not np.isfinite(lefts).all() or not some.any():
        return 0.0
    slopes, weights = rise[some] / run[some], np.abs(run[some])
    order = np.argsort(slopes)
    within = np.cumsum(weights[order])
    return float(np.clip(slopes[order][np.searchsorted(within, within[-1] / 2)], -LARGEST_POWER, LARGEST_POWER))


def held_equal(ratios: np.ndarray, lefts: np.ndarray) -> np.ndarray:
    """Pairs' log `ratios`, as they would be at the same pace of both of each; as they are, where these are too few to
    find the power by. What it costs to have looked for it, of a line by least squares, widens them around their middle.
    """
    n = len(ratios)
    found = power(ratios, lefts) if n >= FEWEST_PAIRS else 0.0
    if not found:
        return ratios
    equal = ratios - found * lefts
    middle = np.median(equal)
    cost = (n - 1) / (n - 2) * (1 + n * lefts.mean() ** 2 / np.sum((lefts - lefts.mean()) ** 2))
    return middle + (equal - middle) * np.sqrt(cost)
