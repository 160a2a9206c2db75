"""`fab calibrate` on the real lab, as a person types it, and what knows of it afterwards."""

import json
import os

import pytest

from stacklab import stack
from stacklab.bench.calibration import METRICS, NOTHING
from stacklab.runs import load_runs
from stacklab.runs.calibration import FILE
from stacklab.settings import StackSettings


def test_the_empty_answer_is_there_for_the_desk_and_changes_nothing_else(site):
    assert site(NOTHING) == (204, b"")
    assert site(NOTHING + "/")[0] == site("/stacklab/")[0] == 404


@pytest.mark.faults
def test_a_quick_calibration_tells_what_the_machine_can_tell_and_comparisons_say_so(fab, at_defaults, tmp_path):
    done = fab("calibrate", "--quick", "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert set(said["noise"]) == set(METRICS) and all(0 < noise < 2 for noise in said["noise"].values())
    assert all(0 <= share <= 0.15 for share in said["false_share"].values())
    assert said["blocks"] >= 3 and said["quick"] and said["ceiling_per_s"] > 0 and 0 <= said["sampler_cores"] < 0.5
    kept = list((tmp_path / "results/calibration").glob(f"*/{FILE}"))
    assert len(kept) == 1 and kept[0].stat().st_mode & 0o222 == 0
    assert stack.current(at_defaults) == StackSettings()

    compared = fab("compare", "--uwsgi-processes", "5,10", "--budget-s", "12")
    assert compared.returncode == 0, compared.stderr
    assert "calibrated on this machine (quickly)" in compared.stdout
    measured = fab("http", "--users", "10", "--requests", "1000", "--point", "one")
    assert measured.returncode == 0
    (run,) = load_runs(tmp_path / "results/adhoc")
    desk = run.environment["desk"]
    assert run.environment["one_computer"] and desk["cpus"] == len(os.sched_getaffinity(0)) and 1 <= desk["cores"] <= desk["cpus"]
    assert fab("report", "adhoc").returncode == 0
    assert "calibrated on this machine (quickly)" in (tmp_path / "results/adhoc/report.html").read_text()
