"""Which interval should `fab compare` use? Four, on recorded and made-up noise: `python -m tests.simulate_estimators [PNG]`

A comparison stops at the first planned look whose interval decides. Of a thing compared with itself: how many were called
different (5 % is allowed); of one that is 10 % quicker: how many blocks it took in the median.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
from scipy import stats

from stacklab.study.paired import LOOK_ERROR, LOOKS, interval
from tests.simulate_verdicts import NOISES, Noise

MARGIN = np.log(1.05)
TIMES = 1000
Interval = Callable[[np.ndarray, float], tuple[float, float, float]]


def student(values: np.ndarray, error: float) -> tuple[float, float, float]:
    """The mean, with Student's t."""
    half = stats.t.isf(error / 2, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values))
    return np.mean(values), np.mean(values) - half, np.mean(values) + half


def trimmed(values: np.ndarray, error: float) -> tuple[float, float, float]:
    """The mean without the fifth at each end; its interval from the Winsorized variance (Tukey and McLaughlin 1963)."""
    n, cut = len(values), int(0.2 * len(values))
    ordered = np.sort(values)
    middle = np.mean(ordered[cut : n - cut])
    spread = np.std(np.clip(values, ordered[cut], ordered[n - cut - 1]), ddof=1)
    half = stats.t.isf(error / 2, n - 2 * cut - 1) * spread / (0.6 * np.sqrt(n))
    return middle, middle - half, middle + half


def bootstrap(values: np.ndarray, error: float, resamples: int = 2000) -> tuple[float, float, float]:
    """The median, with the percentiles of the medians of samples drawn from the values."""
    rng = np.random.default_rng(len(values))
    medians = np.median(rng.choice(values, (resamples, len(values))), axis=1)
    low, high = np.quantile(medians, [error / 2, 1 - error / 2])
    return float(np.median(values)), float(low), float(high)


ESTIMATORS: dict[str, Interval] = {
    "Hodges–Lehmann, signed rank": interval,
    "mean, Student's t": student,
    "trimmed mean": trimmed,
    "median, bootstrap": bootstrap,
}
USED = next(iter(ESTIMATORS))


def stops(values: np.ndarray, by: Interval) -> tuple[int, int]:
    """The blocks at which a comparison by that interval stops, and what it says: 1 more, -1 less, 0 neither."""
    for blocks in LOOKS:
        _, low, high = by(values[:blocks], LOOK_ERROR)
        said = int(low > 0) - int(high < 0)
        if said and not -MARGIN <= low <= high <= MARGIN:
            return blocks, said
        if -MARGIN <= low and high <= MARGIN:
            return blocks, 0
    return LOOKS[-1], 0


def tried(noise: Noise, by: Interval, times: int = TIMES) -> tuple[float, float]:
    """The share of false differences, and the blocks in the median until 10 % are found (or it gives up)."""
    rng = np.random.default_rng(1)
    false = np.mean([stops(noise(rng, LOOKS[-1]), by)[1] != 0 for _ in range(times)])
    blocks = np.median([stops(noise(rng, LOOKS[-1]) + np.log(1.1), by)[0] for _ in range(times)])
    return float(false), float(blocks)


def draw(table: dict[str, dict[str, tuple[float, float]]], path: str) -> None:
    """One line a noise: a mark for each interval's share of false differences, and for the blocks that it takes."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    from stacklab.study.drawing import INK, OKABE_ITO, finish, our_style

    with our_style():
        figure, axes = plt.subplots(1, 2, figsize=(12, 4.4), sharey=True, layout="constrained")
        for place, (name, marker, colour) in enumerate(zip(ESTIMATORS, "DosX", OKABE_ITO[:4], strict=True)):
            for ax, values in zip(axes, zip(*(table[noise][name] for noise in table), strict=True), strict=True):
                heights = [height + 0.12 * (place - 1.5) for height in range(len(table))]
                factor = 100 if ax is axes[0] else 1
                ax.plot([factor * value for value in values], heights, marker, color=colour, markersize=7, label=name)
        axes[0].axvline(5, color=INK, linewidth=1)
        axes[0].set_yticks(range(len(table)), list(table))
        axes[0].set(xlabel="called different, % (5 is allowed)", xlim=(0, None))
        axes[0].invert_yaxis()
        axes[1].set(xlabel="blocks, in the median", xlim=(0, LOOKS[-1] + 4))
        axes[1].legend(loc="lower right", fontsize=9)
        finish(axes[0], "A thing compared with itself", "", grid="x")
        finish(axes[1], "One that is 10 % quicker: blocks until found", "", grid="x")
        figure.savefig(path, dpi=110)


def main() -> None:
    table = {noise: {name: tried(make, by) for name, by in ESTIMATORS.items()} for noise, make in NOISES.items()}
    print(f"| noise | {' | '.join(ESTIMATORS)} |\n|---|{'---|' * len(ESTIMATORS)}")
    for noise, row in table.items():
        print(f"| {noise} | {' | '.join(f'{false:.1%}, {blocks:.0f}' for false, blocks in row.values())} |")
    if sys.argv[1:]:
        draw(table, sys.argv[1])


if __name__ == "__main__":
    main()
