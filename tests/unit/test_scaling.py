"""Models of growth: what each finds again in points made by it, and which is right on points it has not seen."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import synthetic

from stacklab.settings import StackSettings
from stacklab.study.report import write_report
from stacklab.study.scaling import CPUS, LAW, LINE, curves, fitted, picture, scores, sentences
from stacklab.workload import HttpLoad

N = np.array([1, 2, 3, 4, 6, 8])
MADE = {
    LAW: 100 * N / (1 + 0.08 * (N - 1) + 0.02 * N * (N - 1)), LINE: 20.0 * N, CPUS: 450.0 * np.minimum(N, 2),
}  # fmt: skip


def points(per_s, noise=0.03, repeats=3):
    chance = np.random.default_rng(3)
    rows = [(n, value * np.exp(chance.normal(0, noise))) for _ in range(repeats) for n, value in zip(N, per_s, strict=True)]
    return pd.DataFrame(rows, columns=["n", "per_s"]).assign(valid=True)


def test_the_law_finds_its_parameters_again():
    assert fitted(LAW, N, MADE[LAW], 2).parameters == pytest.approx((100, 0.08, 0.02), rel=1e-3)
    assert fitted(LINE, N, MADE[LINE], 2).parameters == pytest.approx((20,))
    assert fitted(CPUS, N, MADE[CPUS], 2).predict([1, 8]).tolist() == pytest.approx([450, 900])


@pytest.mark.parametrize("right", [LAW, CPUS])
def test_the_model_that_made_the_points_is_nearest_on_those_left_out(right):
    off = scores(points(MADE[right]), 2)
    assert next(iter(off)) == right and off[right] < 0.05 < off[LINE]


def test_of_a_straight_line_the_law_is_as_good_and_the_cpus_are_far_off():
    off = scores(points(MADE[LINE]), 2)
    assert max(off[LINE], off[LAW]) < 0.05 and off[CPUS] > 0.3


def test_a_disturbed_run_has_no_say():
    rows = points(MADE[LINE])
    astray = pd.DataFrame({"n": [8], "per_s": [1.0], "valid": [False]})
    assert scores(pd.concat([rows, astray]), 2) == scores(rows, 2)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results") / "e"
    load = HttpLoad(requests=300, users=20, ramp_s=0, warmup_s=0)
    return [
        synthetic.http_run(
            folder, f"n{n}", StackSettings(uwsgi_processes=int(n)), load, per_s=float(per_s), point=f"{n} processes",
        )
        for n, per_s in zip(N, MADE[LAW], strict=True)
    ]  # fmt: skip


def test_the_report_says_which_was_right_and_where_that_ends(runs, tmp_path):
    first, said = sentences(runs)
    assert first.startswith("On 1 CPU, each") and said.startswith(f"/: the {LAW} was nearest") and "beyond 8 processes" in said
    assert "Growth" in write_report(runs, tmp_path).read_text()
    [ax] = picture(runs).axes
    assert ax.get_xlabel() == "uWSGI processes" and len(ax.lines) == 3


def test_too_few_numbers_of_processes_fit_no_model(runs):
    assert curves(runs[:4]) == [] and sentences(runs[:4]) == [] and [path for path, _ in curves(runs)] == ["/"]


def test_runs_that_differ_in_more_than_the_number_of_processes_are_no_curve(runs):
    threads = [replace(run, settings=run.settings.replace(uwsgi_threads=1 + place)) for place, run in enumerate(runs)]
    assert curves(threads) == []
