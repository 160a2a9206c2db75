"""How often `fab compare` is wrong, and how soon right, on recorded and made-up noise. `python -m tests.simulate_verdicts`

Each row: a kind of noise; of so many comparisons of a thing with itself, how many were called different or the same, and
how often the interval held the truth when the comparison stopped; then of one that is 10 % quicker, how often it held it,
how many were found, and after how many blocks in the median. Noise is that of a block's log ratio: 0.12 to 0.17 where
other guests took 5 to 28 % of a computer's two CPUs.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np

from stacklab.study.paired import BETTER, LOOKS, UNDECIDED, WORSE, MetricVerdict
from stacklab.study.power import compared

Noise = Callable[[np.random.Generator, int], np.ndarray]
DATA = Path(__file__).parent / "data"


def drawn_by_lot(rng: np.random.Generator, slices: np.ndarray) -> np.ndarray:
    """Blocks' log ratios from the noise of 2n slices in the order of time; lot decides which of a pair is A."""
    pairs = slices.reshape(-1, 2)
    return (pairs[:, 1] - pairs[:, 0]) * rng.choice([-1, 1], len(pairs))


def walk(rng: np.random.Generator, n: int) -> np.ndarray:
    """Noise that remembers: each slice's is four fifths of the one before, and some."""
    steps = rng.normal(0, 0.08, n)
    for at in range(1, n):
        steps[at] += 0.8 * steps[at - 1]
    return steps


@cache
def recorded() -> np.ndarray:
    """The log throughputs of slices of one and the same point, in the order of time (see tests/data/README.md)."""
    rows = np.genfromtxt(DATA / "noise.csv", delimiter=",", names=True)
    return np.log(rows["throughput_per_s"])


@cache
def stolen() -> tuple[np.ndarray, np.ndarray]:
    """Of each recorded block of one and the same point: the log ratio of its two throughputs, and of what steal left them."""
    rows = np.genfromtxt(DATA / "steal.csv", delimiter=",", names=True)
    throughputs, lefts = np.log(rows["throughput_per_s"]), np.log1p(-rows["steal_share"])
    return throughputs[1::2] - throughputs[::2], lefts[1::2] - lefts[::2]


def with_steal(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """So many of these blocks, drawn with replacement; lot decides which of a block is A."""
    ratios, lefts = stolen()
    chosen, signs = rng.integers(len(ratios), size=n), rng.choice([-1, 1], n)
    return ratios[chosen] * signs, lefts[chosen] * signs


def stretch(rng: np.random.Generator, n: int) -> np.ndarray:
    """Blocks from a stretch of the recording, in its own order (it goes on from its end to its beginning)."""
    slices = recorded()
    first = 2 * rng.integers(len(slices) // 2)
    return drawn_by_lot(rng, slices[(first + np.arange(2 * n)) % len(slices)])


NOISES: dict[str, Noise] = {
    "recorded, a busy computer of two CPUs": stretch,
    "quiet computer, 6 %": lambda rng, n: rng.normal(0, 0.06, n),
    "busy computer, 14 %": lambda rng, n: rng.normal(0, 0.14, n),
    "heavy tails (t, 3 degrees of freedom)": lambda rng, n: rng.standard_t(3, n) * 0.09,
    "bursts of others' work in one slice of seven": lambda rng, n: drawn_by_lot(
        rng, rng.normal(0, 0.05, 2 * n) - np.where(rng.random(2 * n) < 0.15, rng.lognormal(-1.2, 0.6, 2 * n), 0)
    ),
    "drift of 1 % a slice": lambda rng, n: drawn_by_lot(rng, rng.normal(0, 0.05, 2 * n) - 0.01 * np.arange(2 * n)),
    "a step of 40 % on the way": lambda rng, n: drawn_by_lot(
        rng, rng.normal(0, 0.05, 2 * n) - 0.4 * (np.arange(2 * n) > rng.integers(2 * n))
    ),
    "noise that remembers": lambda rng, n: drawn_by_lot(rng, walk(rng, 2 * n)),
}


STOLEN: dict[str, Callable] = {
    "recorded, others took up to half of the CPUs": lambda rng, n: with_steal(rng, n)[0],
    "the same, with steal held equal, as it is": with_steal,
}


def tried(noise: Noise, effect: float, times: int, seed: int = 1) -> list[MetricVerdict]:
    """The verdicts of so many comparisons of B, `effect` times A, under that noise, which may come with what steal left."""
    rng = np.random.default_rng(seed)
    said = []
    for _ in range(times):
        values = noise(rng, LOOKS[-1])
        values, lefts = values if isinstance(values, tuple) else (values, None)
        said.append(compared(values + np.log(effect), lefts=lefts))
    return said


def row(noise: Noise, times: int) -> tuple[float, float, float, float, float, float]:
    """Of no effect: shares called different, called the same, and of intervals that hold the truth. Of 10 %: the last again,
    the share found, and the blocks that it took in the median."""
    nothing, ten = tried(noise, 1.0, times), tried(noise, 1.1, times)
    held = [np.mean([said.low <= truth <= said.high for said in some]) for truth, some in ((1.0, nothing), (1.1, ten))]
    false = np.mean([said.verdict in (BETTER, WORSE) for said in nothing])
    same = np.mean([said.verdict not in (BETTER, WORSE, UNDECIDED) for said in nothing])
    found, blocks = np.mean([said.verdict == BETTER for said in ten]), np.median([said.blocks for said in ten])
    return false, same, held[0], held[1], found, blocks


def main(times: int = 5000) -> None:
    heads = ("noise", "no effect: called different", "the same within ± 5 %", "interval holds 1", "10 %: holds 1.1", "found",
             "blocks")  # fmt: skip
    print(f"| {' | '.join(heads)} |")
    print("|---|---|---|---|---|---|---|")
    for name, noise in (STOLEN | NOISES).items():
        false, same, held, held_ten, found, blocks = row(noise, times)
        print(f"| {name} | {false:.1%} | {same:.0%} | {held:.1%} | {held_ten:.1%} | {found:.0%} | {blocks:.0f} |")


if __name__ == "__main__":
    main()
