"""CPU time that other virtual machines took, held equal: on a busy host most of what makes one slice slower than the next.

It differs from slice to slice, and is known for each. No setting of the lab's decides about it, so it may be reckoned out: a
covariate (Fisher 1932). Values go with a power of the share of the wanted CPU time that was left: the throughput of a closed loop
with about its first or second, as a computer with many guests also computes more slowly; how far they go is found from the
blocks themselves, by what differs within them.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

SHARE = "steal_share"
LARGEST_POWER = 3.0  # more is luck, where hardly anything was stolen
STEPS = 3
SAID = "ratios are those at equal steal (docs/verdicts.md)"


def left(rows: pd.DataFrame) -> np.ndarray:
    """The logarithm of the share that was left to each of `rows`; NaN where nothing is known."""
    return np.log1p(-rows[SHARE].to_numpy(dtype=float)) if SHARE in rows else np.full(len(rows), np.nan)


def power(ratios: np.ndarray, lefts: np.ndarray) -> float:
    """The power with which pairs' log `ratios` go with their `lefts` (differences of `left`): the line to which the sum of the
    distances is least, so that a few wild pairs do not turn it. 0 where nothing is known, or was stolen.
    """
    some = lefts != 0
    if not np.isfinite(lefts).all() or not some.any():
        return 0.0
    found = middle = 0.0
    for _ in range(STEPS):
        slopes, weights = (ratios - middle)[some] / lefts[some], np.abs(lefts[some])
        order = np.argsort(slopes)
        within = np.cumsum(weights[order])
        found = float(np.clip(slopes[order][np.searchsorted(within, within[-1] / 2)], -LARGEST_POWER, LARGEST_POWER))
        middle = float(np.median(ratios - found * lefts))
    return found


def held_equal(ratios: np.ndarray, lefts: np.ndarray) -> np.ndarray:
    """Pairs' log `ratios`, as they would be if as much had been left to both of each."""
    return ratios - found * lefts if (found := power(ratios, lefts)) else ratios
