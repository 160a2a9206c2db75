"""The CPU work behind /cpu/: the same number of rounds each time, whatever the machine."""

# About one millisecond on one core of a 2024 server under CPython 3.11 (6,200 measured, rounded down).
# It is a constant and not measured at start-up, so that `ms=20` is the same work in every run on every
# machine: a slower core takes longer for it, and that is what one wants to see.
ROUNDS_PER_MS = 6_000


def spin(rounds: int) -> int:
    """`rounds` steps of a linear congruential generator in plain Python (which holds the GIL throughout).

    Returns the last value: the proof that all the steps were taken.
    """
    value = 1
    for _ in range(rounds):
        value = (value * 1_103_515_245 + 12_345) & 0x7FFF_FFFF
    return value
