"""How much one setting does, from runs in blocks: estimates with Student's t-intervals. Pure.

An experiment runs every point once a repeat, in random order. A repeat is a block: what makes a whole repeat
slow or quick (the hour, the machine's other guests) is the same for all its points and drops out of their
differences. What is left over is luck; its spread is taken to be alike at all points and is estimated from all
of them together (the two-way analysis of a randomised block design), so that three repeats of four points tell
more than three repeats of two. With two points it is the paired t-test. Of ratios, what goes with the CPU time that other virtual
machines took (`study.steal`) is no luck: it is a covariate, where enough is left to find out how far they go with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from stacklab.study import steal

CONFIDENCE = 0.95
NOISE_FLOOR = 1e-9  # what arithmetic alone may leave between equal numbers
FREE_FOR_STEAL = 6  # degrees of freedom, of which one is given for the covariate


@dataclass(frozen=True)
class Effect:
    """`estimate` with its interval from `low` to `high` (NaN: too few sound blocks) on a `scale`.

    "ratio": how many times; "difference": how much more; "value": the thing itself. `n` pairs of runs, or
    runs for a value; as many as `disturbed` more were left out, since a run of their block was disturbed.
    """

    scale: str
    estimate: float
    low: float
    high: float
    n: int
    disturbed: int

    @property
    def neutral(self) -> float:
        """What no change is."""
        return {"ratio": 1.0, "difference": 0.0}[self.scale]


EFFECT_COLUMNS = tuple(Effect.__dataclass_fields__)


def contrast(
    runs: pd.DataFrame, metric: str, of: pd.Series, than: pd.Series, apart: Sequence[str], comparisons: int = 1
) -> Effect:
    """How `metric` of the runs marked by `of` differs from that of those marked by `than`.

    `runs` has one row a run with `experiment`, `repeat`, `point`, `valid`, `metric` and the columns `apart`, in
    which two points must be equal to be compared. All rows of sound blocks say how large luck is. A "ratio" if all values are
    positive, else a "difference". `comparisons`: how many intervals are to hold together with 95 %.
    """
    known = runs[metric].notna()
    runs, of, than = runs[known].reset_index(drop=True), of[known].to_numpy(), than[known].to_numpy()
    values = runs[metric].to_numpy(dtype=float)
    ratio = len(values) > 0 and bool((values > 0).all())
    pairs = _pairs(runs, of, than, ["experiment", "repeat", *apart])
    sound = runs.groupby(["experiment", "repeat"])["valid"].transform("all").to_numpy(dtype=bool)
    disturbed = int((~sound[pairs["left"]]).sum())
    pairs = pairs[sound[pairs["left"]]]
    n, repeats = len(pairs), len(runs.loc[pairs["left"], ["experiment", "repeat"]].drop_duplicates())
    if not n:
        return Effect("ratio" if ratio else "difference", np.nan, np.nan, np.nan, 0, disturbed)
    weights = np.zeros(len(runs))
    np.add.at(weights, pairs["left"], 1 / n)
    np.add.at(weights, pairs["right"], -1 / n)
    logs, left = (np.log(values), steal.left(runs)) if ratio else (values, np.full(len(values), np.nan))
    mean, half = _two_way(runs[sound].reset_index(drop=True), logs[sound], left[sound], weights[sound], _widened(comparisons))
    ends = (mean, mean - half, mean + half) if repeats > 1 else (mean, np.nan, np.nan)
    estimate, low, high = np.exp(ends) if ratio else ends
    return Effect("ratio" if ratio else "difference", float(estimate), float(low), float(high), n, disturbed)


def level(runs: pd.DataFrame, metric: str, comparisons: int = 1) -> Effect:
    """The "value" of `metric` itself: the mean over `runs`, with its interval."""
    runs = runs.dropna(subset=[metric])
    sound = runs[runs.groupby(["experiment", "repeat"])["valid"].transform("all").astype(bool)]
    estimate, low, high = t_interval(sound[metric].to_numpy(dtype=float), _widened(comparisons))
    return Effect("value", estimate, low, high, len(sound), len(runs) - len(sound))


def share(runs: pd.DataFrame, metric: str, tries: str, comparisons: int = 1) -> Effect:
    """The "value" of how often something happened: the sum of `metric` over that of `tries`; `n` is that of the tries.

    The interval is the exact one of Clopper and Pearson (1934): none of n tries still leaves room for a few.
    """
    runs = runs.dropna(subset=[metric])
    sound = runs[runs["valid"].astype(bool)]
    happened, n = int(sound[metric].sum()), int(sound[tries].sum())
    disturbed = int(runs[tries].sum()) - n
    if not n:
        return Effect("value", np.nan, np.nan, np.nan, 0, disturbed)
    tail = (1 - _widened(comparisons)) / 2
    low = stats.beta.ppf(tail, happened, n - happened + 1) if happened else 0.0
    high = stats.beta.isf(tail, happened + 1, n - happened) if happened < n else 1.0
    return Effect("value", happened / n, float(low), float(high), n, disturbed)


def t_interval(values: np.ndarray, confidence: float = CONFIDENCE) -> tuple[float, float, float]:
    """Mean, lower and upper end of Student's t-interval; the ends are NaN below two values."""
    n = len(values)
    if n < 2:
        return (float(values[0]) if n else np.nan), np.nan, np.nan
    mean = float(np.mean(values))
    half = float(stats.t.ppf((1 + confidence) / 2, n - 1) * np.std(values, ddof=1) / np.sqrt(n))
    return mean, mean - half, mean + half


def _pairs(runs: pd.DataFrame, of: np.ndarray, than: np.ndarray, keys: Sequence[str]) -> pd.DataFrame:
    """Row numbers `left` (of) and `right` (than) of the runs that are equal in `keys`."""
    numbered = runs[list(keys)].assign(number=np.arange(len(runs)))
    left, right = (numbered[marked].rename(columns={"number": name}) for marked, name in ((of, "left"), (than, "right")))
    return left.merge(right, on=list(keys))[["left", "right"]].astype(int)


def _two_way(
    runs: pd.DataFrame, values: np.ndarray, left: np.ndarray, weights: np.ndarray, confidence: float
) -> tuple[float, float]:
    """The weighted sum of `values`, and half the length of its interval (NaN if nothing is left to judge luck by).

    `weights` sum to 0 within each repeat, so that it is free of what moved whole repeats. Luck is what a least-squares fit of
    a level for each repeat and each point leaves over; and of a covariate, `left`, unless that is unknown (NaN) or was the same
    for all: then the sum is that at equal `left`.
    """
    repeats, points = (pd.factorize(pd.MultiIndex.from_frame(runs[["experiment", name]]))[0] for name in ("repeat", "point"))
    design = np.hstack([np.eye(repeats.max() + 1)[repeats], np.eye(points.max() + 1)[points]])
    free = len(values) - np.linalg.matrix_rank(design)
    over, length = _unfitted(design, values), weights @ weights
    if free >= FREE_FOR_STEAL and np.isfinite(left).all():
        apart = _unfitted(design, left)
        if (spread := apart @ apart) > NOISE_FLOOR:
            power = (apart @ over) / spread
            values, over, free = values - power * left, over - power * apart, free - 1
            through = weights @ left
            length += (through**2 - 2 * through * (weights @ apart)) / spread  # the power is known that well
    mean = float(weights @ values)
    if free < 1:
        return mean, np.nan
    half = stats.t.ppf((1 + confidence) / 2, free) * np.sqrt(over @ over / free * length)
    return mean, max(float(half), NOISE_FLOOR * max(1.0, np.abs(values).max()))


def _unfitted(design: np.ndarray, values: np.ndarray) -> np.ndarray:
    """What a least-squares fit leaves over of `values`."""
    return values - design @ np.linalg.lstsq(design, values, rcond=None)[0]


def _widened(comparisons: int) -> float:
    """The confidence of each of that many intervals, for all of them to hold together with `CONFIDENCE` (Bonferroni)."""
    return 1 - (1 - CONFIDENCE) / max(comparisons, 1)
