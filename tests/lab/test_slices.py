"""Slices on the real lab: one load goes on, settings change below it, and nothing is dropped."""

import io
import itertools
import json
import time

import pandas as pd
import pytest
from matrix import by_count

from stacklab import stack
from stacklab.bench import serverlog
from stacklab.bench.crowd import crowd
from stacklab.bench.experiment import run_experiment
from stacklab.bench.plan import Experiment, Point
from stacklab.errors import LabError
from stacklab.runs.results import RUN_FILE
from stacklab.runs.tables import RAW_REQUESTS
from stacklab.settings import StackSettings
from stacklab.study import summarize
from stacklab.workload import HttpLoad

LOAD = HttpLoad(users=20)
TEN = StackSettings(uwsgi_processes=10)
# uWSGI's and nginx's in turn, each on top of those before; after the last all is as it was.
TURNS = (
    {"uwsgi_processes": 10}, {"nginx_worker_connections": 4000}, {"uwsgi_threads": 2}, {"nginx_worker_processes": 2},
    {"uwsgi_processes": 5}, {"nginx_worker_connections": 1024}, {"uwsgi_threads": 1}, {"nginx_worker_processes": 1},
)  # fmt: skip
WAITS = HttpLoad(users=40, path="/io/?ms=50")
# One, and ten, workers that wait 50 ms for each request: a tenfold effect, that no noise hides.
POINTS = (Point("1", StackSettings(uwsgi_processes=1), WAITS), Point("10", TEN, WAITS))


def test_a_block_is_measured_under_one_load_and_shows_what_each_setting_does(lab, at_defaults, tmp_path):
    plan = Experiment(name="waiting", points=POINTS, repeats=2, slice_s=2.0)
    runs = run_experiment(plan, lab, tmp_path)
    assert [(run.repeat, run.position) for run in runs][:4] == [(1, 1), (1, 2), (2, 1), (2, 2)]
    assert all(run.observed["uwsgi_processes"] == run.settings.uwsgi_processes == int(run.point) for run in runs)
    rows = summarize(runs)
    assert (rows["errors"] == 0).all() and rows["load_s"].tolist() == pytest.approx([2.0] * len(rows), abs=0.2)
    for _, block in rows.groupby("repeat"):
        per_s = block.set_index("point")["throughput_per_s"]
        assert per_s["10"] > 4 * per_s["1"]
    assert (rows["server_p50_s"] > 0.05).all() and (rows["cpu_s_uwsgi"] > 0).all()
    assert stack.current(at_defaults) == StackSettings()
    assert not list((tmp_path / "waiting").glob(".partial*"))


def test_blocks_go_on_where_they_stopped_and_whole_ones_are_kept(lab, at_defaults, tmp_path):
    plan = Experiment(name="waiting", points=POINTS, repeats=2, slice_s=1.0, guard_s=0.5)

    def stop(planned, number, total):
        if planned.repeat == 2 and planned.position == 2:
            raise LabError("enough")

    with pytest.raises(LabError, match="enough"):
        run_experiment(plan, lab, tmp_path, on_run=stop)
    assert stack.current(at_defaults) == StackSettings()
    first = (tmp_path / "waiting" / "b001" / RUN_FILE).stat().st_mtime_ns
    seen = []
    runs = run_experiment(plan, lab, tmp_path, on_run=lambda planned, number, total: seen.append(planned.repeat))
    assert min(seen) == 2 and len(runs) >= 4
    assert (tmp_path / "waiting" / "b001" / RUN_FILE).stat().st_mtime_ns == first


@pytest.mark.faults
@pytest.mark.fault("somebody changes settings between slices", "web")
def test_somebody_elses_change_costs_that_block_and_nothing_else(lab, at_defaults, tmp_path):
    plan = Experiment(name="waiting", points=POINTS, repeats=2, slice_s=1.0, guard_s=0.5)
    changed = []

    def meddle(planned, number, total):
        if planned.repeat == 2 and planned.position == 2 and not changed:
            changed.append(stack.apply(at_defaults, StackSettings(uwsgi_processes=3)))

    runs = run_experiment(plan, lab, tmp_path, on_run=meddle)
    assert changed and [run.settings.uwsgi_processes for run in runs if run.repeat == 2].count(3) == 0
    assert len(runs) >= 4


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("changes", by_count(20, 200, "{:,} changes under a saturating load", "web"))
def test_changes_under_a_saturating_load_drop_no_request(lab, at_defaults, tmp_path, changes):
    ca = tmp_path / "ca.crt"
    ca.write_text(stack.ca_certificate(at_defaults))
    settings, turns = StackSettings(), itertools.cycle(TURNS)
    before = serverlog.mark(at_defaults)
    with crowd(LOAD, at_defaults.url, tmp_path, ca, lab.status().get("generator_cpus"), ()) as load:
        load.ask(LOAD)
        for _ in range(changes):
            settings = settings.replace(**next(turns))
            assert stack.apply(at_defaults, settings).changed
        time.sleep(1)
        end_s = load.now()
        rows = pd.read_csv(io.BytesIO(load.cut()), names=RAW_REQUESTS.names, dtype={"error": str})
        serverlog.collect_requests(at_defaults, before, tmp_path)
    logged = pd.read_parquet(tmp_path / "server.parquet")
    answered = int((rows["start_s"] + rows["duration_s"] < end_s).sum())
    print(f"{changes} changes: {len(rows):,} requests, {rows['retried'].sum()} of them sent again on a fresh connection")
    assert len(rows) > 100 * changes
    assert rows["error"].dropna().tolist() == [] and set(rows["status"]) == {200}
    assert set(logged["status"]) == {200}
    assert abs((logged["end_s"] < end_s).sum() - answered) <= LOAD.users + rows["retried"].sum(), "both count the same requests"


@pytest.mark.parametrize(
    ("budget_s", "verdict"), [("30", "undecided"), pytest.param("240", "better", marks=pytest.mark.faults)]
)
def test_fab_compare_says_what_it_found_within_its_budget(fab, at_defaults, budget_s, verdict):
    done = fab("compare", "--uwsgi-processes", "1,10", "--path", "/io/?ms=50", "--users", "40", "--budget-s", budget_s, "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["blocks"] + said["disturbed"] >= 1
    throughput = next(metric for metric in said["metrics"] if metric["metric"] == "throughput_per_s")
    assert throughput["verdict"] == verdict
    assert said["blocks"] == 0 or throughput["estimate"] > 3, "of few blocks a very busy computer may disturb all"
    assert stack.current(at_defaults) == StackSettings()


def test_a_budget_too_short_for_one_block_changes_nothing(fab, at_defaults):
    done = fab("compare", "--uwsgi-processes", "1,10", "--budget-s", "5")
    assert done.returncode == 1 and "budget_s=5 is too short: one block of these two takes about 11 s" in done.stderr
