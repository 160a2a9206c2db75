"""Comparisons of two: what the four verdicts mean, what is left out, and how often they are wrong."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from simulate_estimators import ESTIMATORS, USED, tried
from simulate_verdicts import NOISES, row

from stacklab.study.paired import BETTER, LOOK_ERROR, ONE_LOOK_ERROR, UNDECIDED, WORSE, interval, look, of_blocks, verdict

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


# ---------------------------------------------------------------- by numbers that one can check by hand


def of(values, metric: str = "p50_s", scale: str = "ratio", margin: float = 0.05, middle: float = 1.0):
    return verdict(metric, np.array(values, dtype=float), scale, margin, ONE_LOOK_ERROR, middle)


def test_of_eight_blocks_three_of_the_36_means_lie_outside_at_each_end():
    """Wilcoxon's table: of 8, a sum of 3 or less has a chance of 5/256, of 4 or less 7/256, which is more than 0.025."""
    values = np.array([1.0, 2, 4, 8, 16, 32, 64, 128])
    means = sorted((values[i] + values[j]) / 2 for i in range(8) for j in range(i, 8))
    middle = (means[17] + means[18]) / 2
    assert interval(values, ONE_LOOK_ERROR) == (middle, means[3], means[-4])
    assert interval(values, LOOK_ERROR) == (middle, means[0], means[-1]), "a chance of 1/256 at each end"
    assert interval(values, 0.005) == (middle, -np.inf, np.inf)
    nothing, low, high = interval(values[:0], ONE_LOOK_ERROR)
    assert np.isnan(nothing) and (low, high) == (-np.inf, np.inf)


def test_what_more_blocks_would_decide_is_what_their_root_makes_of_the_interval():
    """Half an interval of 0.2 around an estimate of 0.1 must shrink to half: four times the blocks, three times more."""
    values = np.linspace(-0.1, 0.3, 9)
    _, low, high = interval(values, ONE_LOOK_ERROR)
    half = (high - low) / 2
    said = of(values)
    assert said.verdict == UNDECIDED and np.log(said.estimate) == pytest.approx(0.1)
    assert said.more_blocks == np.ceil(9 * ((half / 0.1) ** 2 - 1))
    around_nothing = of(values - 0.1)
    assert around_nothing.more_blocks == np.ceil(9 * ((half / np.log(1.05)) ** 2 - 1)), "it is to fit into the margin"
    assert of([-0.04, -0.01, 0.02, 0.02, 0.05, 0.06, 0.06, 0.07]).more_blocks >= 1


def test_the_smallest_effect_that_is_found_four_times_in_five_is_that_of_the_normal_distribution():
    values = np.linspace(-0.1, 0.3, 9)
    _, low, high = interval(values, ONE_LOOK_ERROR)
    assert np.log(of(values).detectable) == pytest.approx((high - low) / 2 * (1 + 0.8416 / 1.9600), rel=1e-3)


@pytest.mark.parametrize(("more", "verdict_is"), [
    (4, "the same within ± 5 %"), (-4, "the same within ± 5 %"), (8, WORSE), (-8, BETTER),
])  # fmt: skip
def test_the_margin_of_a_difference_is_a_share_of_as_middle(more, verdict_is):
    a = [0.0, *[100.0] * 11]
    [said] = look(rows("lost", a, [value + more for value in a]), ["lost"])
    assert (said.scale, said.estimate, said.verdict, said.margin) == ("difference", more, verdict_is, 0.05)


@pytest.mark.parametrize(("metric", "more", "verdict_is"), [
    ("error_share", 0.004, "the same within ± 0.5 %"), ("error_share", 0.006, WORSE), ("error_share", -0.006, BETTER),
    ("delivered_share", 0.006, BETTER), ("delivered_share", -0.006, WORSE),
])  # fmt: skip
def test_shares_have_a_margin_of_their_own_however_large_they_are(metric, more, verdict_is):
    [said] = look(rows(metric, [0.9] * 12, [0.9 + more] * 12), [metric])
    assert (said.scale, said.verdict, said.margin) == ("difference", verdict_is, 0.005)
    assert said.estimate == pytest.approx(more)


def test_several_rows_of_one_side_are_one_number_of_their_block_and_half_a_block_is_none():
    table = pd.DataFrame({"repeat": [0, 0, 0, 1], "side": ["A", "B", "B", "A"], "p50_s": [1.0, 2.0, 6.0, 1.0]})
    values, scale = of_blocks(table, "p50_s")
    assert (values.tolist(), scale) == ([pytest.approx(np.log(4))], "ratio")
    values, scale = of_blocks(table.assign(p50_s=[0.0, 2.0, 6.0, 1.0]), "p50_s")
    assert (values.tolist(), scale) == ([4.0], "difference")
