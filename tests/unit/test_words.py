"""The report's cells and sentences: units, ranges, what is left out, and how a verdict is said."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from stacklab.study.claims import Claim
from stacklab.study.verdicts import TEST_COLUMNS, Judgement
from stacklab.study.words import chat_row, counted, environment, foreign_row, http_row, judgement_words, number, said, when

DAY_S = 86400.0


@pytest.mark.parametrize(("value", "words"), [
    (np.nan, "–"), (0.0, "0.00"), (9.994, "9.99"), (10, "10.0"), (99.9, "99.9"), (100, "100"), (12345.6, "12,346"),
    (-150.2, "-150"),
])  # fmt: skip
def test_three_figures_count(value, words):
    assert number(value) == words


def test_a_row_of_http_runs_is_in_milliseconds_and_mib_with_the_range_of_the_throughput():
    rows = pd.DataFrame({
        "valid": [True, False, True], "throughput_per_s": [90.0, 110.0, 100.0], "p50_s": [0.1, 0.3, 0.2], "p95_s": 0.5,
        "p99_s": np.nan, "errors": [1, 0, 2000], "cpu_s_per_1000_requests": 2.5, "pss_peak_bytes": 3.0 * (1 << 20),
    })  # fmt: skip
    assert http_row("a", rows) == {
        "case": "a", "runs": "3 (1 disturbed)", "requests/s": "100 (90.0–110)", "median, ms": "200", "p95, ms": "500",
        "p99, ms": "–", "failed": "2,001", "CPU s per 1000": "2.50", "peak PSS, MiB": "3.00",
    }  # fmt: skip
    one = http_row("a", rows[:1].drop(columns=["errors"]))
    assert (one["runs"], one["requests/s"], one["failed"]) == ("1", "90.0", "–")


def test_a_row_of_chat_runs_has_shares_in_percent_and_bursts_where_there_was_one():
    rows = pd.DataFrame({
        "valid": [True, True], "left": [0, 3], "delivered_share": [0.99, 0.98], "lost": [1, 2], "latency_p50_s": 0.01,
        "latency_p95_s": 0.02, "latency_p99_s": 0.03, "burst_last_s": np.nan, "pss_peak_bytes_daphne": 5.0 * (1 << 20),
        "away_max_s": 1.5, "connect_p95_s": 0.04,
    })  # fmt: skip
    row = chat_row("b", rows)
    assert (row["delivered"], row["lost"], row["came and left"], row["twice"]) == ("98.50%", "3", "3", "–")
    assert row["latency p50 / p95 / p99, ms"] == "10.0 / 20.0 / 30.0" and row["burst p50 / last, ms"] == "–"
    assert (row["back after, s"], row["instances' PSS, MiB"], row["connect p95, ms"]) == ("1.50", "5.00", "40.0")
    burst = chat_row("b", rows.assign(burst_p50_s=0.1, burst_last_s=[0.2, np.nan]))
    assert burst["burst p50 / last, ms"] == "100 / 200"


def test_a_row_of_files_names_the_tools_once_and_what_is_not_told_not_at_all():
    rows = pd.DataFrame({"of_tool": ["k6", "k6", "wrk"], "times_of": None, "counted": [10, 20, 30], "throughput_per_s": 5.0})
    row = foreign_row("c", rows)
    assert (row["tool"], row["times of"], row["runs"], row["samples"]) == ("k6, wrk", "–", "3", "60")
    assert row["requests/s"] == "5.00 (5.00–5.00)" and row["median, ms"] == "–"


def test_when_it_was_is_from_the_first_start_to_the_last_end():
    runs = [SimpleNamespace(started_s=DAY_S * day, ended_s=ended) for day, ended in ((3, 4 * DAY_S), (2, None))]
    first, last = when(runs).split(" to ")
    assert first[:10] == "1970-01-03" and last[:10] == "1970-01-05"
    assert when(runs[1:]) == first and "to" not in when(runs[1:])
    assert when([SimpleNamespace(started_s=None, ended_s=None)]) == "at a time that no file tells"


def row(**known) -> dict:
    return {
        "metric": "p50_s", "of": "uwsgi_processes=10", "than": "uwsgi_processes=5", "expect": "less", "each": "", "decides": True,
        "scale": "ratio", "estimate": 1.2345, "low": 1.1, "high": 1.3, "n": 6, "disturbed": 0, "limit": np.nan,
        "more_blocks": np.nan, "more_minutes": np.nan, "verdict": "undecided", "command": "fab experiment e", **known,
    }  # fmt: skip


def test_how_many_runs_a_test_had_and_what_would_decide_it():
    assert counted(row()) == "6" and counted(row(disturbed=2)) == "6 (2 of 8 disturbed)"
    assert said(row()) == "undecided" and said(row(verdict="not tested")) == "not tested (fab experiment e)"
    assert said(row(more_blocks=1.0, more_minutes=0.4)) == "undecided (about 1 more block, 1 min)"
    assert said(row(more_blocks=3.0)) == "undecided (about 3 more blocks)"
    assert said(row(more_blocks=2.0, more_minutes=7.0, n=0)) == "undecided (all were disturbed; about 2 sound blocks, 7 min)"


def test_a_judgement_says_what_was_compared_once_and_each_test_on_its_scale():
    rows = [
        row(each="users=100"), row(scale="difference", estimate=-0.5, low=np.nan),
        row(scale="value", estimate=0.25, expect="at most", than="1", limit=1.0), row(estimate=np.nan, scale="", of=""),
    ]  # fmt: skip
    judgement = Judgement(Claim("C0", "It is so", note="a note"), "undecided", pd.DataFrame(rows, columns=list(TEST_COLUMNS)))
    words = judgement_words(judgement)
    assert (words["id"], words["sentence"], words["note"], words["of"]) == ("C0", "It is so", "a note", "uwsgi_processes=10")
    assert [test["figure"] for test in words["tests"]] == ["× 1.23", "-0.5", "0.25", "–"]
    assert [test["interval"] for test in words["tests"]] == ["1.1 to 1.3", "none", "1.1 to 1.3", "1.1 to 1.3"]
    assert words["tests"][0]["what"].endswith(", users=100") and words["tests"][0]["than"] == "less than uwsgi_processes=5"
    assert words["tests"][2]["than"] == "at most 1" and not words["tests"][1]["what"].endswith(", ")


def test_what_differs_between_runs_is_told_with_each_value_and_no_more_than_four():
    def run(cpus, offset_s=None):
        return SimpleNamespace(
            environment={"web": {"cpus": cpus, "memory_bytes": 2 << 30, "os": ""}, "addresses": ["a", "b"], "lab": None},
            clock_offset_s=offset_s, clock_error_s=0.0021,
        )  # fmt: skip

    facts = dict(environment([run(number, 0.25) for number in (1, 2, 2, 3, 4, 5)]))
    assert facts == {
        "web: cpus": "1; 2; 3; 4; and 1 more", "web: memory": "2,048 MiB", "addresses": "a, b",
        "clock offset, web − desk": "250.0 ± 2.1 ms",
    }  # fmt: skip
    assert dict(environment([run(1), run(2), run(3), run(4)]))["web: cpus"] == "1; 2; 3; 4"
