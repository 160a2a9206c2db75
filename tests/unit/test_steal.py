"""Steal held equal: in pairs, in blocks of several points, and what it must not do."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from simulate_verdicts import DATA, STOLEN, row, stolen

from stacklab.study import steal
from stacklab.study.effects import contrast
from stacklab.study.paired import ONE_LOOK_ERROR, interval, look


def rows(effect, power, noise, blocks=20, seed=1, known=True):
    """A and B in blocks: B is `effect` times A; both go with a `power` of what steal left to them, and with luck."""
    chance = np.random.default_rng(seed)
    made = []
    for repeat in range(1, blocks + 1):
        hour = chance.normal(0, 0.3)
        for side, times in (("A", 1.0), ("B", effect)):
            share = chance.uniform(0, 0.4)
            value = 1000 * times * (1 - share) ** power * np.exp(hour + chance.normal(0, noise))
            made.append({"repeat": repeat, "side": side, "point": side, "experiment": "e", "valid": True,
                         "throughput_per_s": value, "steal_share": share if known else np.nan})  # fmt: skip
    return pd.DataFrame(made)


def paired(table):
    return look(table, ["throughput_per_s"])[0]


def both(table):
    return contrast(table, "throughput_per_s", table["point"] == "B", table["point"] == "A", [])


@pytest.mark.parametrize("by", [paired, both])
def test_what_was_stolen_is_no_luck(by):
    table = rows(1.1, power=1.5, noise=0.02)
    equal, raw = by(table), by(table.drop(columns="steal_share"))
    assert equal.low < 1.1 < equal.high and equal.low > 1.05
    assert np.log(equal.high / equal.low) < 0.25 * np.log(raw.high / raw.low)


@pytest.mark.parametrize("by", [paired, both])
def test_where_it_is_not_known_or_nothing_was_stolen_all_is_as_it_was(by):
    unknown = rows(1.1, power=0.0, noise=0.02, known=False)
    plain = repr(by(unknown.drop(columns="steal_share")))
    partly = unknown.assign(steal_share=0.1)
    partly.loc[3, "steal_share"] = np.nan
    for table in (unknown, unknown.assign(steal_share=0.0), unknown.assign(steal_share=0.2), partly):
        assert repr(by(table)) == plain


def test_the_power_is_found_in_spite_of_an_effect_and_of_wild_pairs():
    chance = np.random.default_rng(2)
    lefts = chance.normal(0, 0.1, 40)
    for effect in (0.0, 0.1, 1.0):
        ratios = effect + 1.5 * lefts + chance.normal(0, 0.01, 40)
        ratios[[3, 17, 30]] += (2.0, -3.0, 4.0)
        assert steal.power(ratios, lefts) == pytest.approx(1.5, abs=0.1)


def test_an_effect_is_not_charged_to_steal():
    lefts = np.array([0.01, 0.02, 0.03, 0.02, 0.01, 0.03, -0.01, 0.02])
    assert steal.power(np.full(8, 0.1), lefts) == 0.0
    assert np.median(steal.held_equal(0.1 + 0.5 * lefts, lefts)) == pytest.approx(0.1)


def test_of_few_pairs_it_finds_nothing_and_what_it_costs_to_look_widens_them():
    lefts, luck = np.random.default_rng(1).normal(0.05, 0.1, (2, 8))
    assert np.array_equal(steal.held_equal(luck[:7], lefts[:7]), luck[:7])
    equal, plain = steal.held_equal(luck, lefts), luck - steal.power(luck, lefts) * lefts
    far = 7 / 6 * (1 + 8 * lefts.mean() ** 2 / np.sum((lefts - lefts.mean()) ** 2))
    assert np.std(equal) == pytest.approx(np.std(plain) * far**0.5) and np.median(equal) == pytest.approx(np.median(plain))


@pytest.mark.parametrize("spread", [0.01, 0.1])
@pytest.mark.parametrize("mean", [0.0, 0.05])
def test_looking_for_it_where_it_is_not_makes_no_false_differences(spread, mean):
    """The interval of eight blocks, of which one in twenty leaves the truth out."""
    chance, wrong = np.random.default_rng(5), 0
    for _ in range(2000):
        lefts, luck = chance.normal(mean, spread, 8), chance.normal(0, 0.05, 8)
        _, low, high = interval(steal.held_equal(luck, lefts), ONE_LOOK_ERROR)
        wrong += low > 0 or high < 0
    assert wrong / 2000 < 0.065


def test_the_power_stays_within_what_cpu_time_can_do():
    lefts = np.array([0.001, -0.002, 0.002, 0.003])
    assert steal.power(100 * lefts, lefts) == steal.LARGEST_POWER
    assert steal.power(-100 * lefts, lefts) == -steal.LARGEST_POWER
    assert steal.power(np.array([0.1, 0.2]), np.array([0.0, 0.0])) == 0.0
    assert steal.power(np.array([0.1, 0.2]), np.array([0.1, np.nan])) == 0.0
    assert steal.power(np.array([]), np.array([])) == 0.0


def test_a_run_that_is_missing_costs_what_it_should():
    """By ordinary least squares of all of it, with a level for each block and point and the covariate."""
    table = rows(1.1, power=1.5, noise=0.05, blocks=10)
    table.loc[3, "throughput_per_s"] = np.nan
    effect, known = both(table), table.dropna().reset_index(drop=True)
    design = np.column_stack([
        pd.get_dummies(known["repeat"]).to_numpy(float), (known["side"] == "B").astype(float), np.log1p(-known["steal_share"]),
    ])  # fmt: skip
    values = np.log(known["throughput_per_s"].to_numpy())
    found, (left_over,), *_ = np.linalg.lstsq(design, values)
    free = len(values) - design.shape[1]
    half = stats.t.ppf(0.975, free) * np.sqrt(left_over / free * np.linalg.inv(design.T @ design)[-2, -2])
    assert np.log(effect.estimate) == pytest.approx(found[-2], abs=0.02)
    assert np.log(effect.high / effect.low) / 2 == pytest.approx(half, rel=0.05)


def test_with_few_blocks_nothing_is_reckoned_out():
    """Three blocks of two leave two degrees of freedom: none to spare."""
    table = rows(1.1, power=1.5, noise=0.02, blocks=3)
    assert both(table) == both(table.drop(columns="steal_share"))


@pytest.mark.parametrize(("noise", "blocks"), [(0.02, 8), (0.1, 8), (0.1, 20)])
def test_an_interval_of_blocks_leaves_the_truth_out_as_seldom_as_it_says(noise, blocks):
    """Also where nothing goes with steal: to have looked for it costs a little width, and no truth."""
    for power in (0.0, 1.5):
        held = [both(rows(1.0, power, noise, blocks, seed)) for seed in range(100)]
        assert np.mean([one.low <= 1 <= one.high for one in held]) > 0.89


def test_exchanged_by_lot_within_recorded_blocks_of_eight_points_are_called_different_in_one_of_twenty():
    """Whatever the noise of a real machine looks like, lot alone decided then which slice had which settings."""
    recorded = pd.read_csv(DATA / "eight-cases.csv").assign(experiment="e", valid=True)
    chance, wrong = np.random.default_rng(1), 0
    recorded["p50_s"] /= recorded.groupby("point")["p50_s"].transform("median")
    for _ in range(300):
        some = recorded[recorded["repeat"].isin(chance.choice(recorded["repeat"].unique(), 5, replace=False))].copy()
        some["point"] = some.groupby("repeat")["point"].transform(lambda points: chance.permutation(points.to_numpy()))
        some = some.reset_index(drop=True)
        a, b = chance.choice(some["point"].unique(), 2, replace=False)
        effect = contrast(some, "p50_s", some["point"] == a, some["point"] == b, [])
        wrong += effect.low > 1 or effect.high < 1
    assert wrong <= 24, f"{wrong} of 300: 5 %, and no more than lot does"


def test_on_a_recording_it_finds_more_in_fewer_blocks_and_is_no_oftener_wrong():
    """One page against itself, while other machines took between nothing and half of the CPUs (tests/data/README.md)."""
    (_, _, _, _, found, blocks), (false, same, held, held_ten, found_equal, blocks_equal) = (
        row(noise, 600) for noise in STOLEN.values()
    )
    assert false <= 0.06 and min(held, held_ten) >= 0.93  # of 600: 5 % and no more than lot does
    assert found_equal > 0.9 and blocks_equal < 0.6 * blocks and found_equal >= found
    ratios, lefts = stolen()
    assert np.std(steal.held_equal(ratios, lefts)) < 0.6 * np.std(ratios)
