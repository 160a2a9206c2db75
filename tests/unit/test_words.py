"""The report's cells and sentences: units, ranges, what is left out, and how a verdict is said."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from stacklab.runs.results import Run
from stacklab.settings import StackSettings
from stacklab.study.claims import Claim
from stacklab.study.verdicts import TEST_COLUMNS, Judgement
from stacklab.study.words import (
    chat_row,
    commands,
    counted,
    environment,
    foreign_row,
    http_row,
    judgement_words,
    look_row,
    number,
    said,
    setup,
    when,
)
from stacklab.workload import ChatLoad, Foreign, HttpLoad, Look, PlanLoad

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


def run_of(workload, repeat: int = 1, settings: StackSettings | None = None, **more) -> Run:
    return Run(**{
        "path": Path("nowhere"), "settings": settings or StackSettings(), "workload": workload, "observed": {}, "environment": {},
        "experiment": "e", "run": "r", "repeat": repeat, "started_s": 0.0, "ended_s": 1.0, **more,
    })  # fmt: skip


@pytest.mark.parametrize(("load", "words"), [
    (HttpLoad(requests=2000, users=20, path="/io/"), "2,000 requests for /io/ by 20 users."),
    (HttpLoad(requests_per_s=50), "10,000 requests for / by 100 users on a schedule of 50 requests/s, even."),
    (PlanLoad(file="a.jmx"), "the plan a.jmx by JMeter."), (PlanLoad(file="a.js", parameters="x=1"), "by k6 with x=1."),
    (Look(sight="sync_threads"), "a look at sync threads."), (Look(rounds=2), "a look at starts, 2 times."),
    (ChatLoad(clients=1000, rooms=100, largest_room=50, listeners=7, burst_at_s=5.0, burst_messages=3),
     "1,000 clients in 100 rooms, each sending 0.2 messages/s of 100 characters for 30 s, 50 of them in one room, "
     "7 only listen, 3 said at once to the largest room after 5.0 s."),
    (ChatLoad(slow_readers=2, churn_per_s=0.5, storm_at_s=0.0), "for 30 s, 2 do not read, 0.5 leave and come each second, "
     "all cut off after 0.0 s."),
    (ChatLoad(), "300 clients in 30 rooms, each sending 0.2 messages/s of 100 characters for 30 s."),
])  # fmt: skip
def test_what_was_asked_of_a_load_is_said_in_words(load, words):
    asked, settings, one_repeat = setup([run_of(load)], ["one"])
    assert asked.startswith("One case, run once: ") and asked.endswith(words)
    assert settings == "The settings were the same in all runs." and one_repeat.startswith("One repeat cannot tell")


def test_cases_their_repeats_and_what_differs_between_them_are_counted():
    loads = [(HttpLoad(users=users), StackSettings(uwsgi_processes=n)) for users, n in ((200, 10), (100, 5))]
    sentences = setup([run_of(load, repeat, settings) for repeat in (1, 2) for load, settings in loads], ["a", "b"])
    assert sentences == [
        "2 cases, each run 2 times, in random order within each repeat: 10,000 requests for / by 100 users; "
        "10,000 requests for / by 200 users.",
        "The cases differ in uwsgi_processes (5, 10).",
    ]  # fmt: skip
    whole = run_of(HttpLoad(users=7))
    assert "slices of 3 s of / by 7 users" in setup([replace(whole, whole=whole, start_s=1.0, end_s=4.0)], ["a"])[0]


def test_of_other_tools_files_what_they_cannot_tell_is_repeated_and_of_many_not_all():
    told = {"cannot_tell": ["p95", "errors"], "notes": ["a note"]}
    runs = [run_of(Foreign(tool="k6"), environment=told, run=f"r{n}") for n in range(20)]
    sentences = setup([*runs[:3], run_of(Foreign(tool="wrk"), run="silent"), *runs[3:]], ["a"])
    assert sentences[0].startswith("Result files of k6, wrk: ") and sentences[2] == "r0: cannot tell p95, errors; a note."
    assert len(sentences) == 2 + 15 and not any("silent" in sentence for sentence in sentences[1:])


def test_a_look_shows_what_was_seen_with_its_range():
    rows = pd.DataFrame({"valid": [True, True], "starts": [10, 20], "stop_s": np.nan})
    row = look_row("d", rows)
    assert list(row) == ["case", "looks", *[name for name in row if "start" in name.lower()]] and len(row) == 3
    assert row["looks"] == "2" and list(row.values())[2] == "15.0 (10.0–20.0)"


def test_what_to_type_to_measure_it_again():
    load, five = HttpLoad(users=7), StackSettings(uwsgi_processes=7)
    named = [run_of(load, repeat, point="a", experiment=name) for name, repeat in (
        ("eight-cases", 1), ("eight-cases", 4), ("crowds-quick", 2), ("crowds-quick", 1), ("eight-cases-jmeter@site", 3),
    )]  # fmt: skip
    assert commands(named) == [
        "fab experiment eight-cases --repeats 4", "fab experiment crowds --quick --repeats 2",
        "fab experiment eight-cases --generator jmeter --repeats 3",
    ]  # fmt: skip
    assert commands([run_of(load), run_of(load, settings=five), run_of(ChatLoad())]) == [
        "fab reset", "fab http --users 7", "fab reset && fab set --uwsgi-processes 7", "fab chat",
    ]  # fmt: skip
    plan = PlanLoad(file="a plan.jmx", parameters="x=1", warmup_s=5)
    assert commands([run_of(plan)])[1] == "fab load --file 'a plan.jmx' --parameters x=1 --warmup-s 5"
    assert commands([run_of(PlanLoad(file="b.js"))])[1] == "fab load --file b.js"
    files = [run_of(Foreign(tool="k6"), environment={"file": name}) for name in ("a.csv", "b c.csv", "a.csv")]
    assert commands(files) == ["fab import a.csv 'b c.csv' --as e"]
