"""Comparisons of two: what the four verdicts mean, what is left out, and how often they are wrong."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from simulate_estimators import ESTIMATORS, USED, tried
from simulate_verdicts import NOISES, row

from stacklab.study.paired import BETTER, ONE_LOOK_ERROR, UNDECIDED, WORSE, interval, look

RECORDED = next(iter(NOISES.values()))


def rows(metric: str, a: list[float], b: list[float], valid: list[bool] | None = None) -> pd.DataFrame:
    """Blocks in which A has the values `a` and B `b`."""
    blocks = range(len(a))
    valid = valid or [True] * len(a)
    sides = [("A", a), ("B", b)]
    return pd.DataFrame([
        {"repeat": n, "side": side, "valid": valid[n] or side == "A", metric: values[n]} for side, values in sides for n in blocks
    ])  # fmt: skip


def about(value: float, n: int = 12, spread: float = 0.01, seed: int = 0) -> list[float]:
    return list(value * np.exp(np.random.default_rng(seed).normal(0, spread, n)))


@pytest.mark.parametrize(
    ("metric", "b", "verdict"),
    [
        ("throughput_per_s", 1200, BETTER), ("throughput_per_s", 800, WORSE), ("p95_s", 1200, WORSE), ("p95_s", 800, BETTER),
        ("cpu_s_per_1000_requests", 1200, WORSE), ("pss_peak_bytes", 800, BETTER), ("p50_s", 1005, "the same within ± 5 %"),
    ],
)  # fmt: skip
def test_better_is_what_the_metric_says(metric, b, verdict):
    [said] = look(rows(metric, about(1000), about(b, seed=1)), [metric])
    assert (said.verdict, said.scale, said.blocks) == (verdict, "ratio", 12)
    assert said.low <= said.estimate <= said.high and said.estimate == pytest.approx(b / 1000, rel=0.02)
    assert np.isnan(said.more_blocks)


def test_what_noise_hides_is_undecided_and_says_how_much_more_would_decide():
    [said] = look(rows("p50_s", about(1.0, spread=0.2), about(1.02, spread=0.2, seed=1)), ["p50_s"])
    assert said.verdict == UNDECIDED and said.low < 1 < said.high
    assert said.detectable > 1.1 and said.more_blocks > 12


def test_more_blocks_find_a_smaller_effect():
    few, many = (look(rows("p50_s", about(1, n, 0.1), about(1, n, 0.1, 1)), ["p50_s"])[0].detectable for n in (12, 48))
    assert 1 < many < 1 + 0.7 * (few - 1)


def test_too_few_blocks_decide_nothing():
    [said] = look(rows("p50_s", about(1, 6), about(2, 6)), ["p50_s"])
    assert said.verdict == UNDECIDED and said.high == np.inf
    [once] = look(rows("p50_s", about(1, 6), about(2, 6)), ["p50_s"], error=ONE_LOOK_ERROR)
    assert once.verdict == WORSE


def test_a_block_with_a_disturbed_side_is_left_out_whole():
    a, b = about(1), about(1.2, seed=1)
    b[3:5] = [50, 60]
    [said] = look(rows("p50_s", a, b, [n not in (3, 4) for n in range(12)]), ["p50_s"])
    assert said.blocks == 10 and said.high < 1.3


def test_a_few_wild_blocks_hardly_move_the_estimate():
    a, b = about(1, 20), about(1.2, 20, seed=1)
    b[3] *= 50
    [said] = look(rows("p50_s", a, b), ["p50_s"])
    assert said.estimate == pytest.approx(1.2, rel=0.03) and said.verdict == WORSE


def test_shares_that_are_zero_are_compared_by_their_difference():
    [said] = look(rows("error_share", [0.0] * 12, [0.0] * 12), ["error_share"])
    assert (said.scale, said.estimate, said.verdict) == ("difference", 0.0, "the same within ± 0.5 %")
    [said] = look(rows("error_share", [0.0] * 12, about(0.1)), ["error_share"])
    assert said.verdict == WORSE and said.estimate == pytest.approx(0.1, rel=0.05)


@pytest.mark.parametrize("error", [0.05, 0.0095])
@pytest.mark.parametrize("n", [8, 11, 20])
def test_the_interval_is_that_of_the_signed_rank_test(n, error):
    values = np.random.default_rng(n).normal(0.3, 1, n)
    _, low, high = interval(values, error)
    for end, outside in ((low, -1e-6), (high, 1e-6)):
        assert stats.wilcoxon(values - (end + outside), method="exact").pvalue <= error
        assert stats.wilcoxon(values - (end - outside), method="exact").pvalue > error - 2 * 2.0**-n * (n < 9)


@pytest.mark.parametrize("noise", NOISES)
def test_false_differences_stay_rare_and_intervals_hold_the_truth(noise):
    false, _, held, held_ten, found, _ = row(NOISES[noise], 150)
    assert false <= 0.1 and min(held, held_ten) >= 0.9  # of 150: twice what 1,000 show is still no surprise
    assert found >= 0.5


def test_on_recorded_noise_of_a_busy_computer_false_differences_stay_below_one_in_twenty():
    false, _, held, held_ten, found, _ = row(RECORDED, 1000)
    assert false <= 0.05 and min(held, held_ten) >= 0.94
    assert found >= 0.8


def test_the_interval_that_is_used_is_the_one_that_keeps_its_promise_whatever_the_noise():
    used = {name: tried(noise, ESTIMATORS[USED], 300)[0] for name, noise in NOISES.items()}
    assert max(used.values()) <= 0.075, used  # of 300: 5 % and twice what lot does


def test_what_only_one_side_has_is_no_metric_of_both():
    rows = pd.DataFrame({
        "repeat": [0, 0, 1, 1], "side": ["A", "B"] * 2, "valid": True, "p50_s": [1.0, 2.0] * 2,
        "cpu_s_uwsgi_per_1000_requests": [1.0, np.nan] * 2,
    })  # fmt: skip
    assert [one.metric for one in look(rows, ["p50_s", "cpu_s_uwsgi_per_1000_requests"])] == ["p50_s"]
