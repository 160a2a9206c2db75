"""Is B better than A? From blocks in which both were measured once, in an order drawn by lot. Pure.

Each block gives one number: the logarithm of B's value over A's (their difference, where a value is 0 or negative). What
makes a whole block slow or quick drops out of it. Because lot decides which of the two goes first, a number of a pair
that does not differ is as likely to be above 0 as below, whatever the noise looks like: that alone is what Wilcoxon's
signed-rank test needs. Its inversion gives the estimate (Hodges and Lehmann 1963: the median of the means of all pairs
of blocks) and the interval, and a few wild blocks hardly move either. Ratios are those at equal steal (`study.steal`), as far
as the blocks themselves tell what that is; what this costs the test, `tests/simulate_verdicts.py` tries too.

Who looks several times and stops when the answer is there is wrong more often than he thinks. `LOOKS` are the numbers
of blocks at which one may look, and each look's interval is so wide (LOOK_ERROR) that over all of them at most one
comparison in twenty is called different that is not (Pocock 1977, table 1; `tests/simulate_verdicts.py` tries it).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd
from scipy import stats

from stacklab.study import steal

LOOKS = (8, 11, 15, 20, 27, 36, 48, 64)
LOOK_ERROR = 0.0095  # of each of eight looks, for 5 % in all: Pocock has 0.0120 for looks that lie closer together
ONE_LOOK_ERROR = 0.05
POWER = 0.8  # with which the smallest effect that is told of would have been found

BETTER, WORSE, UNDECIDED = "better", "worse", "undecided"

MORE_IS_BETTER = ("throughput_per_s", "delivered_share")
ABSOLUTE_MARGINS = {"error_share": 0.005, "delivered_share": 0.005}
"""Of shares, which are 0 where all is well: how large a difference makes no difference. Of others it is a share of A's middle."""


def same(margin: float) -> str:
    """The verdict that the two differ by no more than `margin`."""
    return f"the same within ± {margin * 100:g} %"


@dataclass(frozen=True)
class MetricVerdict:
    """How B's `metric` compares to A's, from `blocks` blocks.

    `scale` "ratio" (times) or "difference" (more): the `estimate`, its interval from `low` to `high`, and the `verdict`:
    "better" or "worse" (B, by the metric's own direction), "the same within ± …", or "undecided". `margin` is how large a
    difference makes none, as a share of A's middle (of those in ABSOLUTE_MARGINS, as it is); `detectable` the smallest
    effect that would have been found with that many blocks, four times in five; `more_blocks` about how many more would
    decide, NaN once decided.
    """

    metric: str
    blocks: int
    scale: str
    estimate: float
    low: float
    high: float
    verdict: str
    margin: float
    detectable: float
    more_blocks: float = float("nan")

    @property
    def decided(self) -> bool:
        return self.verdict != UNDECIDED


def look(rows: pd.DataFrame, metrics: Sequence[str], margin: float = 0.05, error: float = LOOK_ERROR) -> list[MetricVerdict]:
    """A verdict for each of `metrics`, from those blocks of `rows` in which both sides are valid.

    `rows` has one row a slice or run: `repeat` (the block), `side` ("A" or "B"), `valid`, and the metrics. `error` is the
    share of false differences that this look may make: LOOK_ERROR at one of LOOKS, ONE_LOOK_ERROR where one looks once.
    What one side has nothing of (a server that only the other runs) is left out.
    """
    valid = rows.groupby("repeat")["valid"].transform("all").astype(bool)
    a = rows[valid & (rows["side"] == "A")]
    return [verdict(metric, *of_blocks(rows[valid], metric), margin, error, a[metric].median()) for metric in metrics
            if metric in rows and rows.groupby("side")[metric].count().all()]  # fmt: skip


def of_blocks(rows: pd.DataFrame, metric: str) -> tuple[np.ndarray, str]:
    """Each block's B against its A, and the scale: logarithms of the ratio, at equal steal, or differences."""
    sides = _sides(rows, metric).dropna()
    if metric in ABSOLUTE_MARGINS or not (sides > 0).all(axis=None):
        return (sides["B"] - sides["A"]).to_numpy(), "difference"
    ratios = np.log(sides["B"] / sides["A"]).to_numpy()
    lefts = _sides(rows.assign(left=steal.left(rows)), "left").reindex(sides.index)
    return steal.held_equal(ratios, (lefts["B"] - lefts["A"]).to_numpy()), "ratio"


def _sides(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    return rows.pivot_table(index="repeat", columns="side", values=column, aggfunc="mean").reindex(columns=["A", "B"])


def verdict(metric: str, values: np.ndarray, scale: str, margin: float, error: float, middle: float = 1.0) -> MetricVerdict:
    """What the blocks' `values` (see `of_blocks`) say; `middle` of A's own, of which the margin of a difference is a share."""
    if scale == "ratio":
        within, show = np.log1p(margin), np.exp
    elif metric in ABSOLUTE_MARGINS:
        within = margin = ABSOLUTE_MARGINS[metric]
        show = float
    else:
        within, show = margin * abs(middle), float
    estimate, low, high = interval(values, error)
    half = (high - low) / 2
    z = stats.norm.isf(error / 2)
    detectable = float(show(half * (1 + stats.norm.isf(1 - POWER) / z)))
    said, more = UNDECIDED, float("nan")
    if -within <= low and high <= within:
        said = same(margin)
    elif low > 0 or high < 0:
        said = BETTER if (low > 0) == (metric in MORE_IS_BETTER) else WORSE
    elif np.isfinite(half):
        # The interval shrinks with the root of the blocks; it must leave out 0, or fit into the margin.
        target = max(abs(estimate), within - abs(estimate), 1e-9)
        more = float(np.ceil(len(values) * max((half / target) ** 2 - 1, 1 / len(values))))
    return MetricVerdict(
        metric, len(values), scale, float(show(estimate)), float(show(low)), float(show(high)), said, margin, detectable, more
    )


def interval(values: np.ndarray, error: float) -> tuple[float, float, float]:
    """The Hodges–Lehmann estimate of `values`' middle, and the ends of its interval, infinite where they are too few.

    The interval leaves the middle out in at most `error` of all cases, of values that lie around it evenly.
    """
    n = len(values)
    if n == 0:
        return float("nan"), -np.inf, np.inf
    first, second = np.triu_indices(n)
    means = np.sort((values[first] + values[second]) / 2)
    left_out = _rank(n, error)
    low, high = (means[left_out], means[len(means) - 1 - left_out]) if left_out >= 0 else (-np.inf, np.inf)
    return float(np.median(means)), float(low), float(high)


@cache
def _rank(n: int, error: float) -> int:
    """How many of the ordered means lie outside at each end: the largest that keeps within `error`; -1 if none does."""
    ways = np.zeros(n * (n + 1) // 2 + 1)
    ways[0] = 1
    for rank in range(1, n + 1):  # each rank counts or does not: the exact distribution of the signed-rank sum
        ways[rank:] += ways[:-rank].copy()
    below = np.cumsum(ways) / 2.0**n
    return int(np.searchsorted(below, error / 2, side="right")) - 1
