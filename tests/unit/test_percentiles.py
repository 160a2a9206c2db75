"""Percentiles in each tool's definition, against values computed by hand."""

import numpy as np
import pytest

from stacklab.study import percentiles, ranked
from stacklab.study.ranked import Ranked, by_name

TEN = np.array([1, 2, 3, 4, 5, 6, 7, 8, 9, 20], float) / 1000


@pytest.mark.parametrize(
    ("define", "p50", "p90", "p95", "p99"),
    [
        (percentiles.nearest_rank, 5, 9, 20, 20),  # ranks 5, 9, 9.5, 9.9, rounded up
        (percentiles.linear, 5.5, 10.1, 15.05, 19.01),  # places 4.5, 8.1, 8.55, 8.91 of 0 to 9
        (percentiles.jmeter_dashboard, 5.5, 18.9, 20, 20),  # places 5.5, 9.9, 10.45, 10.89 of 1 to 10
        (percentiles.jmeter_aggregate, 5, 9, 20, 20),  # ranks 5, 9, 10 (9.5 is rounded up), 10
        (percentiles.locust, 6, 20, 20, 20),  # after 5, 9, 9, 9 others
    ],
)  # fmt: skip
def test_ten_times(define, p50, p90, p95, p99):
    found = [define(TEN, share) * 1000 for share in (0.5, 0.9, 0.95, 0.99)]
    assert found == pytest.approx([p50, p90, p95, p99])


def test_one_time_is_every_percentile():
    for name, values in percentiles.in_definitions(np.array([0.007]), (0.5, 0.99)).items():
        assert values == [0.007, 0.007], name


def test_jmeters_aggregate_report_rounds_the_rank_and_nearest_rank_takes_the_next():
    times = np.arange(1.0, 15.0)  # 14 × 0.95 = 13.3: rounded 13, taken up 14
    assert (percentiles.jmeter_aggregate(times, 0.95), percentiles.nearest_rank(times, 0.95)) == (13, 14)


@pytest.mark.parametrize(("ms", "shown"), [(47.15, 47), (99.6, 100), (123.4, 120), (1_234, 1_200), (31_254, 31_000)])
def test_locust_shows_whole_milliseconds_and_then_two_digits(ms, shown):
    assert percentiles.locust(np.array([ms / 1000]), 0.5) == pytest.approx(shown / 1000)


def test_jmeters_dashboard_forgets_all_but_the_last_twenty_thousand():
    codes, failed = np.zeros(30_000, np.int32), np.zeros(30_000, bool)
    batches = [(codes, failed, np.concatenate([np.full(10_000, 9.0), np.full(20_000, 1.0)]))]
    times = dict(by_name(batches, 30_000))
    found = percentiles.in_definitions(times[0].all, (0.99,), times[0].last)
    assert found["JMeter's dashboard, p(n+1) of the last 20,000"] == [1.0]
    assert found["nearest rank"] == [9.0]


def test_nothing_has_no_percentile():
    assert percentiles.in_definitions(np.array([]), (0.5,)) == {}


def test_counted_times_are_the_times(monkeypatch):
    monkeypatch.setattr(ranked, "MOST_APART", 50)
    rng = np.random.default_rng(1)
    durations, codes = rng.integers(0, 40, 900) / 1000, rng.integers(0, 3, 900).astype(np.int32)
    failed = rng.random(900) < 0.3
    pieces = [slice(first, first + 100) for first in range(0, 900, 100)]
    found = dict(by_name([(codes[at], failed[at], durations[at]) for at in pieces], 900))
    for code, mine in {None: slice(None), **{n: codes == n for n in range(3)}}.items():
        for times, wanted in ((found[code].all, durations[mine]), (found[code].successes, durations[mine][~failed[mine]])):
            assert [times[k] for k in range(len(times))] == sorted(wanted)
            assert times.mean == pytest.approx(wanted.mean())
            assert times[-1] == wanted.max()


def test_the_last_times_of_a_name_are_the_last_ones(monkeypatch):
    monkeypatch.setattr(ranked, "DASHBOARD_WINDOW", 5)
    durations = np.arange(40.0)
    codes, failed = (durations % 2).astype(np.int32), durations > 35
    found = dict(by_name([(codes[at], failed[at], durations[at]) for at in (slice(0, 13), slice(13, 40))], 40))
    assert found[None].last.tolist() == [35, 36, 37, 38, 39] and found[1].last.tolist() == [31, 33, 35, 37, 39]
    assert found[None].last_successes.tolist() == [31, 32, 33, 34, 35]


def test_times_that_never_repeat_are_not_added_up_over_and_over(monkeypatch):
    monkeypatch.setattr(ranked, "MOST_APART", 50)
    rows = []
    add_up = ranked._added_up
    monkeypatch.setattr(ranked, "_added_up", lambda parts: rows.append(sum(map(len, parts))) or add_up(parts))
    batches = [(np.zeros(10, np.int32), np.zeros(10, bool), np.arange(first, first + 10.0)) for first in range(0, 2000, 10)]
    assert len(dict(by_name(batches, 2000))[None].all) == 2000
    assert sum(rows) < 4 * 2000


def test_nothing_is_ranked_too():
    assert len(Ranked(np.array([]), np.array([], int))) == 0 and dict(by_name([], 0)) == {}
