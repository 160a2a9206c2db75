"""What verdicts are worth on a machine, by its own noise: recorded blocks drawn again, through the procedures that judge.

The noise is what a point showed against itself (`paired.of_blocks`). Blocks are drawn from it with replacement, each with a
sign by lot, as lot decides which of two comes first. Nothing is assumed of its shape. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from stacklab.study.effects import contrast
from stacklab.study.paired import LOOK_ERROR, LOOKS, POWER, MetricVerdict, of_blocks, verdict

MARGIN = 0.05
TIMES = 400
LARGEST = np.log(4.0)  # effect that is looked for
HALVINGS = 8  # to within 0.5 % of it


def compared(values: np.ndarray, margin: float = MARGIN, metric: str = "throughput_per_s") -> MetricVerdict | None:
    """The verdict at which a comparison stops: the first planned look that decides, or the last. None: too few for one."""
    said = None
    for blocks in (look for look in LOOKS if look <= len(values)):
        said = verdict(metric, values[:blocks], "ratio", margin, LOOK_ERROR)
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


def smallest_effect(noise: np.ndarray, blocks: int, rng: np.random.Generator, times: int = TIMES) -> float:
    """The smallest effect (0.1 is 10 % more) that is found with POWER within so many blocks; NaN where none is."""
    draws = [drawn(noise, blocks, rng) for _ in range(times)]

    def found(effect: float) -> bool:
        said = [compared(draw + effect, margin=0.0) for draw in draws]
        return np.mean([one is not None and one.low > 1 for one in said]) >= POWER

    low, high = 0.0, LARGEST
    if not found(high):
        return float("nan")
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if found(middle) else (middle, high)
    return float(np.expm1(high))


def claims_false_share(noise: np.ndarray, blocks: int, rng: np.random.Generator, times: int = TIMES) -> float:
    """Of claims' tests on a thing and itself, in so many blocks, how many would find a difference."""
    rows = pd.DataFrame({
        "experiment": "same", "repeat": np.repeat(np.arange(blocks), 2), "point": np.tile(["A", "B"], blocks), "valid": True,
    })  # fmt: skip
    a, b = rows["point"] == "A", rows["point"] == "B"
    wrong = 0
    for _ in range(times):
        rows["value"] = np.exp(np.column_stack([np.zeros(blocks), drawn(noise, blocks, rng)]).ravel())
        effect = contrast(rows, "value", b, a, apart=())
        wrong += effect.low > 1 or effect.high < 1
    return wrong / times


def noises(rows: pd.DataFrame, metrics: Sequence[str]) -> dict[str, np.ndarray]:
    """What each of `metrics` showed, B against A, in each block of `rows`: logarithms of ratios, for those that have some."""
    found = {metric: of_blocks(rows, metric) for metric in metrics if metric in rows}
    return {metric: values for metric, (values, scale) in found.items() if scale == "ratio" and len(values) > 1}
