"""What verdicts are worth on a machine, by its own noise: recorded blocks drawn again, through the procedures that judge.

The noise is what a point showed against itself (`paired.of_blocks`). Blocks are drawn from it with replacement, each with a
sign by lot, as lot decides which of two comes first. Nothing is assumed of its shape. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from stacklab.study.effects import t_interval
from stacklab.study.paired import LOOK_ERROR, LOOKS, POWER, MetricVerdict, interval, of_blocks, verdict
from stacklab.study.steal import held_equal

MARGIN = 0.05
TIMES = 400
LARGEST, STEP = 1.4, 0.001  # of the effects that are tried, as logarithms: four times as much; a thousandth


def compared(
    values: np.ndarray, margin: float = MARGIN, metric: str = "throughput_per_s", lefts: np.ndarray | None = None
) -> MetricVerdict | None:
    """The verdict at which a comparison stops: the first planned look that decides, or the last. None: too few for one.

    `lefts`: what steal left to one of each pair more than to the other, to be held equal (`study.steal`).
    """
    said = None
    for blocks in (look for look in LOOKS if look <= len(values)):
        seen = values[:blocks] if lefts is None else held_equal(values[:blocks], lefts[:blocks])
        said = verdict(metric, seen, "ratio", margin, LOOK_ERROR)
        if said.decided:
            break
    return said


def drawn(noise: np.ndarray, blocks: int, rng: np.random.Generator) -> np.ndarray:
    """So many blocks of a comparison of a thing with itself."""
    return rng.choice(noise, blocks) * rng.choice([-1.0, 1.0], blocks)


def false_share(noise: np.ndarray, rng: np.random.Generator, times: int = TIMES) -> float:
    """Of comparisons of a thing with itself, how many `fab compare` calls different."""
    said = [compared(drawn(noise, LOOKS[-1], rng)) for _ in range(times)]
    return float(np.mean([one.low > 1 or one.high < 1 for one in said]))


def smallest_effects(noise: np.ndarray, blocks: Sequence[int], rng: np.random.Generator, times: int = TIMES) -> list[float]:
    """For each number of `blocks`, the smallest effect (0.1 is 10 % more) found with POWER within them; NaN where none is.

    An effect moves the whole interval and changes nothing else of it: so each draw's intervals are made once.
    """
    looks = [look for look in LOOKS if look <= max(blocks)]
    draws = [drawn(noise, max(blocks), rng) for _ in range(times)]
    ends = np.array([[interval(draw[:look], LOOK_ERROR)[1:] for look in looks] for draw in draws]).reshape(times, len(looks), 2)
    return [_smallest(ends[:, : sum(look <= most for look in looks)]) for most in blocks]


def _smallest(ends: np.ndarray) -> float:
    """The smallest effect that is found with POWER, of the `ends` of intervals: [comparison, look, low and high]."""
    if not ends.shape[1]:
        return float("nan")
    for effect in np.arange(0.0, LARGEST, STEP):
        above, below = ends[:, :, 0] + effect > 0, ends[:, :, 1] + effect < 0
        first = np.argmax(above | below, axis=1)  # the look that ends it
        if np.mean(above[np.arange(len(ends)), first]) >= POWER:
            return float(np.expm1(effect))
    return float("nan")


def claims_false_share(noise: np.ndarray, blocks: int, rng: np.random.Generator, times: int = 5 * TIMES) -> float:
    """Of claims' tests on a thing and itself, in so many blocks, how many would find a difference.

    Of two points, `effects.contrast` is the paired t-test, where steal is not held equal.
    """
    ends = np.array([t_interval(drawn(noise, blocks, rng))[1:] for _ in range(times)])
    return float(np.mean((ends[:, 0] > 0) | (ends[:, 1] < 0)))


def noises(rows: pd.DataFrame, metrics: Sequence[str]) -> dict[str, np.ndarray]:
    """What each of `metrics` showed, B against A, in each block of `rows`: logarithms of ratios, for those that have some."""
    found = {metric: of_blocks(rows, metric) for metric in metrics if metric in rows}
    return {metric: values for metric, (values, scale) in found.items() if scale == "ratio" and len(values) > 1}
