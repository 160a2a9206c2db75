"""Effects and their intervals, by numbers that one can check by hand. (test_analysis.py has their behaviour by lot.)"""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from stacklab.study.effects import Effect, contrast, level, share, t_interval

T3 = 3.182446  # Student's t of 3 degrees of freedom that leaves out a fortieth at each end


def runs(*values: tuple[int, str, float], valid=True) -> pd.DataFrame:
    """A row for each (repeat, point, value)."""
    table = pd.DataFrame(values, columns=["repeat", "point", "p50_s"])
    return table.assign(experiment="e", valid=valid, users=100)


def b_than_a(table: pd.DataFrame, **more) -> Effect:
    return contrast(table, "p50_s", table["point"] == "b", table["point"] == "a", **{"apart": [], **more})


def test_the_interval_of_four_values_is_that_of_students_table():
    mean, low, high = t_interval(np.array([1.0, 2, 3, 4]))
    half = T3 * np.sqrt(5 / 3) / 2
    assert (mean, low, high) == pytest.approx((2.5, 2.5 - half, 2.5 + half))
    assert t_interval(np.array([1.0, 2, 3, 4]), confidence=0.9)[1] == pytest.approx(2.5 - 2.353363 * np.sqrt(5 / 3) / 2)
    one, *ends = t_interval(np.array([5.0]))
    assert one == 5 and np.isnan(ends).all() and np.isnan(t_interval(np.array([]))).all()


def test_two_values_have_an_interval():
    mean, low, high = t_interval(np.array([1.0, 3.0]))
    assert (mean, low, high) == pytest.approx((2, 2 - 12.7062, 2 + 12.7062), rel=1e-5)


@pytest.mark.parametrize(("happened", "tries"), [(3, 10), (1, 2), (0, 7), (7, 7)])
def test_a_share_lies_where_neither_end_makes_it_rarer_than_one_in_forty(happened, tries):
    table = pd.DataFrame({"valid": [True, True, False], "left": [happened, 0, 9], "starts": [tries - 1, 1, 30]})
    effect = share(table, "left", "starts")
    assert (effect.scale, effect.estimate, effect.n, effect.disturbed) == ("value", happened / tries, tries, 30)
    if happened:
        assert stats.binom.sf(happened - 1, tries, effect.low) == pytest.approx(0.025)
    if happened < tries:
        assert stats.binom.cdf(happened, tries, effect.high) == pytest.approx(0.025)
    assert (effect.low == 0) == (happened == 0) and (effect.high == 1) == (happened == tries)
    wide = share(table, "left", "starts", comparisons=5)
    assert wide.low <= effect.low and effect.high <= wide.high and wide.high - wide.low > effect.high - effect.low


def test_a_share_of_no_tries_is_none():
    effect = share(pd.DataFrame({"valid": [False], "left": [1], "starts": [3]}), "left", "starts")
    assert np.isnan([effect.estimate, effect.low, effect.high]).all() and (effect.n, effect.disturbed) == (0, 3)


def test_a_level_leaves_out_whole_blocks_and_what_was_not_measured():
    table = runs((1, "a", 1.0), (2, "a", 2.0), (3, "a", 3.0), (4, "a", 4.0), (5, "a", 9.0), (5, "b", 9.0), (6, "a", np.nan))
    table["valid"] = [True] * 5 + [False, True]
    effect = level(table, "p50_s")
    assert (effect.scale, effect.estimate, effect.n, effect.disturbed) == ("value", 2.5, 4, 2)
    assert effect.high == pytest.approx(2.5 + T3 * np.sqrt(5 / 3) / 2)
    assert level(table, "p50_s", comparisons=2).high > effect.high


def test_two_points_in_four_blocks_are_the_paired_t_test_of_their_logarithms():
    logs = [1.0, 2, 3, 4]
    table = runs(*((n, "a", 10.0 * (n + 1)) for n in range(4)), *((n, "b", 10.0 * (n + 1) * np.exp(logs[n])) for n in range(4)))
    effect = b_than_a(table)
    half = T3 * np.sqrt(5 / 3) / 2
    assert np.log([effect.estimate, effect.low, effect.high]) == pytest.approx([2.5, 2.5 - half, 2.5 + half])
    assert (effect.scale, effect.neutral, effect.n, effect.disturbed) == ("ratio", 1, 4, 0)


def test_where_a_value_is_nothing_the_difference_is_what_there_is():
    table = runs(*((n, "a", 0.0) for n in range(4)), *((n, "b", float(n + 1)) for n in range(4)))
    effect = b_than_a(table)
    half = T3 * np.sqrt(5 / 3) / 2
    assert (effect.estimate, effect.low, effect.high) == pytest.approx((2.5, 2.5 - half, 2.5 + half))
    assert (effect.scale, effect.neutral, effect.n) == ("difference", 0, 4)


def test_a_block_with_a_disturbed_run_is_left_out_and_counted_and_so_is_what_was_not_measured():
    table = runs(*((n, "a", 1.0) for n in range(6)), *((n, "b", 2.0) for n in range(6)))
    table.loc[0, "valid"] = False
    table.loc[6, "p50_s"] = 50.0
    table.loc[11, "p50_s"] = np.nan
    effect = b_than_a(table)
    assert (effect.estimate, effect.n, effect.disturbed) == (pytest.approx(2), 4, 1)
    none = b_than_a(table.assign(valid=False))
    assert np.isnan([none.estimate, none.low, none.high]).all() and (none.scale, none.n, none.disturbed) == ("ratio", 0, 5)
    nothing = b_than_a(table[:0])
    assert (nothing.scale, nothing.n, nothing.disturbed) == ("difference", 0, 0)


def test_one_block_has_an_estimate_and_no_interval():
    effect = b_than_a(runs((1, "a", 1.0), (1, "b", 3.0)))
    assert effect.estimate == pytest.approx(3) and np.isnan([effect.low, effect.high]).all() and effect.n == 1


def test_equal_ratios_still_have_an_interval_as_wide_as_arithmetic_may_be_wrong():
    effect = b_than_a(runs((1, "a", 1.0), (1, "b", 2.0), (2, "a", 3.0), (2, "b", 6.0)))
    assert effect.low < 2 < effect.high and effect.high - effect.low < 1e-6


def test_points_are_compared_where_they_are_equal_in_all_else():
    few = runs((1, "a", 1.0), (1, "b", 2.0), (2, "a", 1.0), (2, "b", 2.0))
    many = few.assign(users=200, p50_s=[1.0, 4.0, 1.0, 4.0], point=["a2", "b2"] * 2)
    both = pd.concat([few, many], ignore_index=True)
    of, than = both["point"].str.startswith("b"), both["point"].str.startswith("a")
    effect = contrast(both, "p50_s", of, than, ["users"])
    assert (effect.n, effect.estimate) == (4, pytest.approx(2 * np.sqrt(2)))
    assert contrast(both, "p50_s", of, than, []).n == 8
