"""Experiments that are interrupted, on a real lab: nothing is counted twice, nothing is left running."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from here import wait_until

from stacklab import stack
from stacklab.bench.experiment import run_experiment
from stacklab.bench.found import left_behind
from stacklab.bench.plan import Experiment, Point
from stacklab.files import ROOT
from stacklab.runs.results import load_runs
from stacklab.settings import StackSettings
from stacklab.workload import HttpLoad

FOUND = StackSettings(uwsgi_threads=2)
LOAD = HttpLoad(path="/healthz", requests=600, users=4, ramp_s=0, warmup_s=0.5, requests_per_s=300.0)
PLAN = Experiment(
    name="small", points=tuple(Point(f"{n} processes", StackSettings(uwsgi_processes=n), LOAD) for n in (2, 3)), repeats=2
)

# What a desk process does, in a process that can be killed.
DESK = """
import sys
from pathlib import Path
sys.path[:0] = [{tests!r}]
from lab.test_experiment import PLAN
from stacklab.bench.experiment import run_experiment
from stacklab.labs import open_lab
run_experiment(PLAN, open_lab({lab!r}), Path({results!r}), on_run=lambda *_: print("run", flush=True))
"""


@pytest.fixture
def desk(lab, tmp_path):
    """Starts the experiment in a process of its own, results in tmp_path."""
    children = []

    def start() -> subprocess.Popen:
        code = DESK.format(tests=str(Path(__file__).parents[1]), lab=lab.name, results=str(tmp_path))
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        child = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, **pipes)
        children.append(child)
        return child

    yield start
    for child in children:
        child.kill()
        child.communicate()


def generators(folder: Path) -> list[psutil.Process]:
    """The load generators whose share of a load lies below `folder`."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("STACKLAB_LOAD", "").startswith(str(folder)):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            pass
    return [process for process in found if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]


def samplers(host) -> str:
    return host.run("pgrep -f '[f]iles/sampler.py' || true")


def under_load(child: subprocess.Popen, folder: Path, runs: int) -> None:
    """Returns in the middle of the load of run number `runs`."""
    for _ in range(runs):
        assert child.stdout.readline() == "run\n", child.communicate()[1]
    wait_until(lambda: generators(folder), "the load begins")
    time.sleep(1.5)
    assert generators(folder)


@pytest.mark.faults
@pytest.mark.fault("kill -9 of an experiment", "desk")
def test_kill_9_of_the_desk_leaves_nothing_running_and_the_next_start_goes_on(at_defaults, lab, desk, tmp_path):
    host = at_defaults
    stack.apply(host, FOUND)
    child = desk()
    under_load(child, tmp_path, runs=2)
    child.kill()
    child.communicate()
    wait_until(lambda: not generators(tmp_path), "no generator is left", 15)
    wait_until(lambda: not samplers(host), "no sampler is left", 30)
    assert stack.current(host) in [point.settings for point in PLAN.points], "it could not put them back"

    runs = run_experiment(PLAN, lab, tmp_path)
    # A third block comes only in place of one that other work disturbed.
    names, plan = [run.run for run in runs], [planned.name for planned in PLAN.plan()]
    assert names[: len(plan)] == plan and names[len(plan) :] in ([], PLAN.folders(3))
    for run in runs:
        requests = run.table("requests")
        assert (~requests.warmup).sum() == LOAD.requests
        assert len(run.table("server")) == len(requests), "the server saw these requests and no other's"
        assert run.observed["uwsgi_processes"] == run.settings.uwsgi_processes
    assert stack.current(host) == FOUND
    assert not [path for path in (tmp_path / "small").iterdir() if path.name.startswith(".")]
    assert len(load_runs(tmp_path)) == len(runs)


@pytest.mark.fault("Ctrl-C in an experiment", "desk")
def test_an_interrupt_ends_in_the_settings_it_found_and_in_no_half_run(at_defaults, lab, desk, tmp_path):
    stack.apply(at_defaults, FOUND)
    child = desk()
    under_load(child, tmp_path, runs=1)
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=60)
    assert child.returncode != 0
    assert not generators(tmp_path) and not samplers(at_defaults)
    assert stack.current(at_defaults) == FOUND
    assert not left_behind(lab)
    with pytest.warns(match="unfinished"):
        assert load_runs(tmp_path) == []


def test_ctrl_c_is_answered_in_one_line(at_defaults, lab, tmp_path):
    command = [Path(sys.executable).with_name("fab"), "experiment", "eight-cases", "--quick"]
    environment = os.environ | {"STACKLAB_LAB": lab.name, "STACKLAB_RESULTS": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    child = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: generators(tmp_path), "the load begins")
    time.sleep(1)
    child.send_signal(signal.SIGINT)
    out, said = child.communicate(timeout=60)
    assert child.returncode == 130
    assert out.startswith("eight-cases-quick: 5 blocks of 8 slices to measure; about ")
    assert "stopped; without --fresh, the same command goes on from here" in out
    assert "Traceback" not in said and said.splitlines()[-1] == "fab experiment: stopped"
    assert not generators(tmp_path)
    assert stack.current(at_defaults) == StackSettings()


@pytest.mark.fault("somebody changes settings in a run", "web")
def test_settings_that_somebody_changes_meanwhile_make_the_run_disturbed(at_defaults, lab, tmp_path):
    point = Point("changed", StackSettings(), LOAD)
    changed = []

    def progress(now):
        if now.phase == "load" and not changed:
            changed.append(True)
            at_defaults.run("true")
            stack.apply(at_defaults, StackSettings(balance="hash"))

    (run,) = run_experiment(Experiment(name="meddled", points=(point,), repeats=1), lab, tmp_path, progress=progress)
    assert not run.validity.valid
    assert "The settings were changed by somebody else during the run." in run.validity.reasons
    assert stack.current(at_defaults) == StackSettings()


@pytest.mark.fault("disk full in a run", "desk")
def test_results_without_room_on_the_desk_are_one_line(at_defaults, fab, tmp_path):
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where the folder should be")
    done = fab("http", "--requests", "10", STACKLAB_RESULTS=str(blocked))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr and done.stderr.count("\n") == 1
