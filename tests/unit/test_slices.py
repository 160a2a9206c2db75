"""Slices: a block on disk is one run; what is cut out of it are runs like any other."""

import json

import pytest
import synthetic

from stacklab.bench.events import Event
from stacklab.bench.plan import Experiment, Point
from stacklab.errors import SettingsError
from stacklab.runs import load_runs
from stacklab.runs.results import MARGIN_S
from stacklab.runs.validity import check
from stacklab.settings import StackSettings
from stacklab.study import summarize
from stacklab.workload import ChatLoad, HttpLoad

LOAD = HttpLoad(requests=4000, users=20, ramp_s=0, warmup_s=0)
FIVE, TEN = StackSettings(), StackSettings(uwsgi_processes=10)


def block(folder, repeat=1, start_s=synthetic.START_S):
    """A block of two slices of a second each, with a guard time between them, under one synthetic load."""
    def part(point, settings, begin_s):
        return {
            "point": point, "settings": settings.to_dict(), "workload": {"kind": "http", **LOAD.to_dict()},
            "observed": synthetic.observed(settings), "start_s": begin_s, "end_s": begin_s + 1.0,
            "validity": {"reasons": [], "failures": []},
        }

    parts = [part("5", FIVE, start_s + 0.5), part("10", TEN, start_s + 2.5)]
    return synthetic.http_run(
        folder, f"b{repeat:03d}", workload=LOAD, seed=repeat, start_s=start_s, repeat=repeat, slices=parts
    )


@pytest.fixture
def runs(tmp_path):
    block(tmp_path / "e", 1)
    block(tmp_path / "e", 2, synthetic.START_S + 100)
    return load_runs(tmp_path / "e")


def test_a_block_gives_a_run_for_each_slice_with_its_own_settings(runs):
    assert [(run.run, run.point, run.repeat, run.position) for run in runs] == [
        ("b001-01", "5", 1, 1), ("b001-02", "10", 1, 2), ("b002-01", "5", 2, 1), ("b002-02", "10", 2, 2),
    ]  # fmt: skip
    assert [run.settings.uwsgi_processes for run in runs] == [5, 10, 5, 10]
    assert all(run.observed["uwsgi_processes"] == run.settings.uwsgi_processes for run in runs)


def test_a_slice_holds_the_rows_that_began_in_it_and_samples_a_little_around(runs):
    whole, cut = runs[0].whole, runs[0]
    starts = whole.table("requests")["start_s"]
    assert len(cut.table("requests")) == starts.between(cut.start_s, cut.end_s).sum() > 100
    logged = cut.table("server")
    began = logged["end_s"] - logged["duration_s"] - synthetic.OFFSET_S
    assert began.between(cut.start_s, cut.end_s).all() and len(logged) == pytest.approx(len(cut.table("requests")), rel=0.05)
    sampled = cut.table("resources")["time_s"] - synthetic.OFFSET_S
    assert sampled.between(cut.start_s - MARGIN_S, cut.end_s + MARGIN_S).all() and sampled.min() < cut.start_s < cut.end_s


def test_a_slice_is_summarised_over_its_own_time(runs):
    rows = summarize(runs)
    assert rows["load_s"].tolist() == pytest.approx([1.0] * 4)
    assert rows["throughput_per_s"].to_numpy() == pytest.approx(rows["counted"].to_numpy())
    # uWSGI's share of a core grows to 0.76 within three seconds: a third of it in the first slice, all in the second.
    assert rows["cpu_s_uwsgi"].tolist() == pytest.approx([0.3, 0.75, 0.3, 0.75], rel=0.3)


def test_somebody_elses_requests_within_a_slice_are_named(runs, tmp_path):
    cut = runs[0]
    assert check(cut).reasons == ()
    logged = cut.whole.table("server")
    inside = (logged["end_s"] - synthetic.OFFSET_S).between(cut.start_s + 0.2, cut.end_s)
    logged.loc[logged.index[inside][:7], "path"] = "/somebody-else"
    cut.whole._known["server"] = logged
    cut._known.clear()
    [reason] = check(cut).reasons
    assert "7 of them are not this load's" in reason and "1 address" in reason


def cut_with(cut, **tables):
    """The slice as if its block held these tables."""
    cut.whole._known.update(tables)
    cut._known.clear()
    return check(cut).reasons


def test_a_slice_in_which_hardly_anything_was_asked_says_nothing(runs):
    requests, logged = runs[0].whole.table("requests"), runs[0].whole.table("server")
    began = logged["end_s"] - logged["duration_s"] - synthetic.OFFSET_S
    few, end_s = slice(0, None, 200), runs[0].end_s
    reasons = cut_with(runs[0], requests=requests[few], server=logged[began < end_s][few])
    assert any("requests began in this slice; 30 are the least" in reason for reason in reasons)


def test_a_slice_of_which_nginx_logged_another_number_is_found(runs):
    [reason] = cut_with(runs[0], server=runs[0].whole.table("server").iloc[::2])
    assert "some are not ours, or missing" in reason


def test_a_slice_made_beyond_half_the_generators_ceiling_is_found(runs):
    from test_validity import calibrated

    [reason] = check(runs[0], calibration=calibrated(ceiling_per_s=1000.0)).reasons
    assert "more than half of the 1,000 that it can make" in reason
    assert check(runs[0], calibration=calibrated(ceiling_per_s=9000.0)).valid


def test_a_run_from_before_slices_is_still_read(tmp_path):
    run = synthetic.http_run(tmp_path / "e", "one")
    file = run.path / "run.json"
    values = json.loads(file.read_text())
    del values["slices"]
    (run.path / "SHA256SUMS").unlink()
    file.chmod(0o644)
    file.write_text(json.dumps(values | {"format": 1}))
    [read] = load_runs(tmp_path / "e")
    assert read.whole is None and len(read.table("requests")) == len(run.table("requests"))


def test_the_plan_of_slices_names_one_folder_a_block_and_shuffles_each():
    points = tuple(Point(str(n), StackSettings(uwsgi_processes=n), LOAD) for n in (1, 2, 5, 10))
    plan = Experiment(name="e", points=points, repeats=6, slice_s=3.0)
    # Half as many again may be measured in place of blocks that were disturbed.
    assert [plan.folders(repeat) for repeat in range(1, plan.most_repeats + 1)] == [[f"b00{number}"] for number in range(1, 10)]
    orders = [tuple(planned.point.label for planned in plan.block(repeat)) for repeat in range(1, 7)]
    assert len(set(orders)) > 2 and all(sorted(order) == sorted(orders[0]) for order in orders)
    assert orders == [tuple(planned.point.label for planned in plan.block(repeat)) for repeat in range(1, 7)]
    assert plan.to_dict()["slice_s"] == 3.0
    assert "slice_s" not in Experiment(name="e", points=points).to_dict()


def test_events_would_pass_a_slice_by_and_are_refused():
    with pytest.raises(SettingsError, match="events happen in whole runs only"):
        Experiment(name="e", points=(Point("a", FIVE, HttpLoad(), (Event(1, kill="nginx"),)),), slice_s=3.0)


@pytest.mark.parametrize("load", [ChatLoad(), HttpLoad(requests_per_s=100)])
def test_what_remembers_or_keeps_a_schedule_cannot_be_a_slice(load):
    with pytest.raises(SettingsError, match="cannot be slices"):
        Experiment(name="e", points=(Point("a", FIVE, load),), slice_s=3.0)
