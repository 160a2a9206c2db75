"""Verdicts, by numbers that one can check by hand."""

from pathlib import Path

import numpy as np
import pytest

from stacklab.runs.results import Run, Validity
from stacklab.settings import StackSettings
from stacklab.study.claims import Claim, Test
from stacklab.study.paired import UNDECIDED
from stacklab.study.verdicts import as_claimed, is_time, judge
from stacklab.workload import Look


def valued(values, expect: str, limit: float):
    """The row of one test that holds runs of these values against a number."""
    runs = []
    for repeat, value in enumerate(values, start=1):
        run = Run(path=Path("nowhere"), settings=StackSettings(), workload=Look(), observed={}, environment={}, experiment="e",
                  run=f"r{repeat}", point="one", repeat=repeat, started_s=0.0, ended_s=1.0, validity=Validity())  # fmt: skip
        run._known["summary"] = {"p50_s": value, "started_s": 90.0 * repeat}
        runs.append(run)
    return judge(Claim("X", "x", (Test("p50_s", expect, {"uwsgi_processes": 5}, limit),)), runs).tests.iloc[0]


def test_how_many_more_blocks_would_decide_is_what_their_root_makes_of_the_interval():
    """Of 1, 2, 3 and 4 the interval is 2.5 ± 2.05; a limit that is 1.5 away takes 1.88 times as many."""
    row = valued([1, 2, 3, 4], "at most", 4.0)
    assert (row.verdict, row.n) == (UNDECIDED, 4) and row.high - row.low == pytest.approx(4.109, abs=0.001)
    assert row.more_blocks == np.ceil(4 * (2.0544**2 / 1.5**2 - 1)) == 4 and row.more_minutes == 6
    assert valued([1, 2, 3, 4], "at least", 0.5).more_blocks == 1
    assert valued([1, 2, 3, 4], "at least", 1.0).more_blocks == 4
    assert np.isnan(valued([1, 2, 3, 4], "at least", 2.5).more_blocks), "no number of them"


def test_two_blocks_are_the_least_that_decides():
    assert valued([1], "at most", 4.0).more_blocks == 1 and np.isnan(valued([1], "at most", 4.0).more_minutes)


@pytest.mark.parametrize(("expect", "limit", "verdict"), [
    ("at most", 3.0, "supported"), ("at most", 2.9, "contradicted"), ("at least", 3.0, "supported"),
    ("at least", 3.1, "contradicted"),
])  # fmt: skip
def test_a_limit_that_is_met_is_met(expect, limit, verdict):
    assert valued([3.0, 3.0, 3.0], expect, limit).verdict == verdict


@pytest.mark.parametrize(("scale", "expect", "limit", "values", "expected"), [
    ("value", "at least", 2.0, (3, 1, 4), (1.5, 0.5, 2)), ("value", "at most", 2.0, (3, 1, 4), (2 / 3, 0.5, 2)),
    ("value", "at least", 0.0, (3, 1, 4), (np.nan,) * 3), ("ratio", "more", np.nan, (3, 1, 4), (3, 1, 4)),
    ("ratio", "less", np.nan, (0.5, 0.25, 1), (2, 1, 4)), ("ratio", "not more", np.nan, (0.5, 0.25, 1), (2, 1, 4)),
    ("difference", "more", np.nan, (3, 1, 4), (np.nan,) * 3),
])  # fmt: skip
def test_as_claimed_more_is_more_as_claimed(scale, expect, limit, values, expected):
    row = dict(zip(("estimate", "low", "high"), values, strict=True)) | {"scale": scale, "expect": expect, "limit": limit}
    assert as_claimed(row) == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(("metric", "time"), [
    ("p50_s", True), ("latency_p99_s", True), ("cpu_s", False), ("cpu_daphne_s", False), ("throughput_per_s", False),
    ("load_s", False), ("pss_peak_bytes", False),
])  # fmt: skip
def test_of_waiting_times_less_is_faster(metric, time):
    assert is_time(metric) is time
