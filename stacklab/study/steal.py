"""CPU time that other virtual machines took, held equal: on a busy host most of what makes one slice slower than the next.

It differs from slice to slice, and is known for each: a covariate (Fisher 1932), that may be reckoned out. Values go with a
power of the share of the wanted CPU time that was left: the throughput of a closed loop with about its first or second, as a
computer with many guests also computes more slowly; how far they go is found from the blocks themselves. What a setting costs by
wanting more CPU, and so having more of it stolen, is reckoned out with it.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

SHARE = "steal_share"
LARGEST_POWER = 3.0  # more is luck, where hardly anything was stolen
FEWEST_PAIRS = 8
SAID = "ratios are those at equal steal, where that is known and there are blocks enough (docs/verdicts.md)"


def left(rows: pd.DataFrame) -> np.ndarray:
    """The logarithm of the share that was left to each of `rows`; NaN where nothing is known."""
    return np.log1p(-rows[SHARE].to_numpy(dtype=float)) if SHARE in rows else np.full(len(rows), np.nan)


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
    """Pairs' log `ratios`, as they would be if as much had been left to both of each; as they are, where these are too few to
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
