"""Exercises are judged from runs: measured, whole, and not made up."""

import shutil

import pandas as pd
import pytest
from synthetic import http_run

from stacklab import exercises
from stacklab.errors import LabError
from stacklab.exercises import EXERCISES, grade
from stacklab.runs.sums import SUMS_FILE, write_sums
from stacklab.settings import StackSettings
from stacklab.study import METRIC_NAMES
from stacklab.workload import ChatLoad, HttpLoad

LOAD = HttpLoad(path="/io/?ms=50", users=20, requests=600, ramp_s=1.0, warmup_s=0.5)
RIGHT = {"20 processes": 300.0, "40 processes": 305.0}


@pytest.fixture
def results(tmp_path):
    """What a student has measured for 00.1."""
    for processes, per_s in ((20, 300), (40, 305), (5, 90)):
        http_run(tmp_path / "adhoc", f"run-{processes}", StackSettings(uwsgi_processes=processes), LOAD, per_s=per_s)
    return tmp_path


def test_every_exercise_asks_for_settings_loads_and_metrics_that_there_are():
    for name, exercise in EXERCISES.items():
        for settings in exercise.cases.values():
            StackSettings(**settings)
        (ChatLoad if "clients" in exercise.load else HttpLoad)(**exercise.load)
        assert exercise.metric in METRIC_NAMES, name


def test_the_numbers_of_ones_own_runs_are_right(results):
    graded = grade("00.1", RIGHT, results)
    assert (graded.points, graded.of, float(graded)) == (2, 2, 2.0)
    assert "20 processes: 300, and your runs show 2" in str(graded)


@pytest.mark.parametrize("other", [{"uwsgi_threads": 4}, {"requests_per_s": 100.0}, {"path": "/"}, {"users": 19}])
def test_a_run_under_other_settings_or_another_load_is_not_the_case_that_is_asked_for(results, other):
    shutil.rmtree(results / "adhoc" / "run-20")
    settings = StackSettings(uwsgi_processes=20, uwsgi_threads=other.get("uwsgi_threads", 1))
    load = LOAD.replace(**{name: value for name, value in other.items() if name != "uwsgi_threads"})
    http_run(results / "adhoc", "run-other", settings, load, per_s=300)
    assert grade("00.1", RIGHT, results).points == 1


def test_two_runs_do_not_make_all_between_them_right(results):
    http_run(results / "adhoc", "run-odd", StackSettings(uwsgi_processes=20), LOAD, per_s=600)
    assert grade("00.1", RIGHT | {"20 processes": 450.0}, results).points == 1
    assert grade("00.1", RIGHT | {"20 processes": 580.0}, results).points == 2


@pytest.mark.parametrize(
    ("answer", "points", "why"),
    [
        (None, 0, r"20 processes: no number is given \(None\)"),
        ({}, 0, r"no number is given \(None\)"),
        ({"20 processes": True, "40 processes": "305"}, 0, r"no number is given \('305'\)"),
        ({"20 processes": 300, "40 processes": 400}, 1, "40 processes: 400, and your runs show 29"),
        ({"20 processes": float("nan"), "40 processes": 305}, 1, "20 processes: nan"),
    ],
)  # fmt: skip
def test_an_answer_that_is_not_given_or_not_theirs_is_no_point(results, answer, points, why):
    graded = grade("00.1", answer, results)
    assert graded.points == points
    assert pd.Series(graded.why).str.contains(why).any()


def test_where_nothing_was_measured_with_these_settings_it_says_so(results):
    shutil.rmtree(results / "adhoc" / "run-40")
    assert "40 processes: there is no run with uwsgi_processes=40, path=/io/?ms=50, users=20" in grade("00.1", RIGHT, results).why
    assert grade("00.1", RIGHT, results / "nowhere").points == 0


def test_settings_that_were_asked_for_and_not_seen_do_not_count(results, monkeypatch):
    def other(root):
        runs = load(root)
        for run in runs:
            run.observed["uwsgi_processes"] = 5
        return runs

    load = exercises.load_runs
    monkeypatch.setattr(exercises, "load_runs", other)
    assert grade("00.1", RIGHT, results).points == 0


def quicker(folder):
    """Somebody writes better times into the client's table."""
    rows = pd.read_parquet(folder / "requests.parquet")
    rows["start_s"] = rows["start_s"].min() + (rows["start_s"] - rows["start_s"].min()) / 2
    rows["duration_s"] /= 2
    (folder / "requests.parquet").chmod(0o644)
    rows.to_parquet(folder / "requests.parquet")


def test_a_table_that_was_edited_is_told(results):
    quicker(results / "adhoc" / "run-20")
    graded = grade("00.1", {"20 processes": 600.0, "40 processes": 305.0}, results)
    assert graded.points == 1 and any("not what was written: requests.parquet" in line for line in graded.why)


def test_so_is_one_whose_sums_were_edited_too_for_nginxs_rows_say_otherwise(results):
    folder = results / "adhoc" / "run-20"
    quicker(folder)
    folder.chmod(0o755)
    (folder / SUMS_FILE).unlink()
    write_sums(folder)
    graded = grade("00.1", {"20 processes": 600.0, "40 processes": 305.0}, results)
    assert graded.points == 1 and any("is not to be believed" in line for line in graded.why), graded


def test_there_are_only_the_exercises_that_there_are(results):
    with pytest.raises(LabError, match="there is no exercise '99.1'; there are 00.1, "):
        grade("99.1", {}, results)
