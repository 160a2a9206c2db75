"""Exercises that are judged from the runs that a student has measured: which settings were seen, and what came.

    from stacklab.exercises import grade
    grade("00.1", {"20 processes": 380, "40 processes": 384})

An answer is a number for each case. It counts where there is a run of that case, with these settings, all others at their
defaults, and no other seen on the web host; that is whole (its SHA256SUMS); whose tables do not contradict each other (client
and nginx tell the same, but where requests fail, which nginx may not see); and that shows that number.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from pathlib import Path
from typing import Any

from stacklab.errors import LabError, ResultsError
from stacklab.files import RESULTS
from stacklab.runs import load_runs
from stacklab.runs.results import DamagedRunWarning, Run, UnfinishedRunWarning
from stacklab.runs.validity import contradictions
from stacklab.settings import StackSettings
from stacklab.study import summarize

NEAR = 0.05  # of what the runs show, that an answer may lie beyond them: it is read off a plot or a table


@dataclass(frozen=True)
class Exercise:
    """What is asked: `metric`, a column of `summarize`, for each of `cases`, {label: the settings that make it}, under `load`.

    `load` names what the workload has to be, as far as it matters.
    """

    asks: str
    metric: str
    cases: Mapping[str, Mapping[str, Any]]
    load: Mapping[str, Any] = field(default_factory=dict)


EXERCISES = {
    "00.1": Exercise(
        "requests a second of the page that waits, for twenty users", "throughput_per_s",
        {"20 processes": {"uwsgi_processes": 20}, "40 processes": {"uwsgi_processes": 40}}, {"path": "/io/?ms=50", "users": 20},
    ),
    "00.2": Exercise(
        "requests a second of the page that waits, with five processes", "throughput_per_s",
        {"1 thread": {"uwsgi_processes": 5, "uwsgi_threads": 1}, "4 threads": {"uwsgi_processes": 5, "uwsgi_threads": 4}},
        {"path": "/io/?ms=50", "users": 20},
    ),
    "02.1": Exercise(
        "share of failed requests with 64 connections", "error_share",
        {"64 connections": {"nginx_worker_connections": 64, "uwsgi_processes": 10, "uwsgi_threads": 10}},
        {"path": "/io/?ms=400", "users": 60},
    ),
    "04.2": Exercise(
        "share of failed requests of 200 users, with room for 100 in uWSGI's queue", "error_share",
        {"100 in the queue": {"uwsgi_listen": 100}}, {"path": "/", "users": 200},
    ),
    "05.1": Exercise(
        "share of the deliveries that arrive with the layer in memory", "delivered_share",
        {"in memory, three instances": {"channel_layer": "memory", "daphne_instances": 3, "balance": "round_robin"}},
        {"clients": 60, "rooms": 6},
    ),
    "07.2": Exercise(
        "sockets on the busiest instance, as a multiple of an even share, with two rooms", "busiest_share",
        {"hash": {"balance": "hash", "daphne_instances": 3}}, {"clients": 60, "rooms": 2},
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Grade:
    """`points` of `of`, and a line for each case that says why. As a number it is the points: nbgrader takes it so."""

    points: int
    of: int
    why: tuple[str, ...]

    def __float__(self) -> float:
        return float(self.points)

    def __str__(self) -> str:
        return "\n".join([f"{self.points} of {self.of}", *self.why])


def grade(exercise: str, answer: Mapping[str, Any] | None, results: Path = RESULTS) -> Grade:
    """A point for each case whose number is what the student's own runs show. LabError if there is no such exercise."""
    if exercise not in EXERCISES:
        raise LabError(f"there is no exercise {exercise!r}; there are {', '.join(EXERCISES)}")
    asked = EXERCISES[exercise]
    runs, left_out = _runs_in(results)
    judged = [_judged(asked, label, settings, (answer or {}).get(label), runs) for label, settings in asked.cases.items()]
    return Grade(sum(right for right, _ in judged), len(judged), (*(said for _, said in judged), *left_out))


def shown(exercise: str, results: Path = RESULTS) -> dict[str, float]:
    """What the runs show of each case that was measured: the solution."""
    asked, (runs, _) = EXERCISES[exercise], _runs_in(results)
    found = {label: [run for run in runs if _is_case(run, case, asked.load)] for label, case in asked.cases.items()}
    return {label: float(summarize(fitting)[asked.metric].median()) for label, fitting in found.items() if fitting}


def _runs_in(results: Path) -> tuple[list[Run], list[str]]:
    """The runs that are whole, and a line for each that is not."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            runs = load_runs(results)
        except ResultsError as error:
            return [], [str(error)]
    wrong = [warning for warning in said if issubclass(warning.category, (DamagedRunWarning, UnfinishedRunWarning))]
    return runs, [str(warning.message) for warning in wrong]


def _judged(asked: Exercise, label: str, settings: Mapping[str, Any], answer: Any, runs: Sequence[Run]) -> tuple[bool, str]:
    """Whether the answer of one case is right, and why."""
    if isinstance(answer, bool) or not isinstance(answer, Real):
        return False, f"{label}: no number is given ({answer!r})"
    fitting = [run for run in runs if _is_case(run, settings, asked.load)]
    if not fitting:
        wanted = ", ".join(f"{name}={value}" for name, value in {**settings, **asked.load}.items())
        return False, f"{label}: there is no run with {wanted}"
    fail = asked.metric == "error_share"
    sound = [run for run in fitting if fail or not (reasons := contradictions(run))]
    if not sound:
        return False, f"{label}: {fitting[0].run} is not to be believed: {reasons[0]}"
    shown = summarize(sound)[asked.metric].dropna()
    least = 0.2 if asked.metric.endswith("_share") else 0  # a share near 0 is read off a plot no better than others
    right = any(abs(answer - found) <= NEAR * max(abs(found), least) for found in shown)
    return right, f"{label}: {answer:g}, and your runs show {', '.join(f'{found:.4g}' for found in shown)} ({asked.metric})"


def _is_case(run: Run, settings: Mapping[str, Any], load: Mapping[str, Any]) -> bool:
    """Whether a run had these settings and no others, seen where they can be seen, and such a load, on no schedule."""
    under = run.workload.to_dict()
    seen = all(run.observed.get(name, value) == value for name, value in settings.items())
    loaded = all(under.get(name) == value for name, value in load.items()) and under.get("requests_per_s") is None
    return run.settings == StackSettings(**settings) and seen and loaded
