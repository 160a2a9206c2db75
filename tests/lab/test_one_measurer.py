"""Two who measure one lab: the second is told who the first is, whatever its checkout; a foreign load is found."""

import os
import re
import shutil
import signal
import subprocess
import sys
import threading

import pytest
from here import wait_until

from stacklab import stack
from stacklab.bench.experiment import bench, measure
from stacklab.bench.found import FOUND, left_behind
from stacklab.bench.measuring import measured_by
from stacklab.files import ROOT
from stacklab.settings import StackSettings
from stacklab.workload import ChatLoad, HttpLoad

SLOW = ("http", "--path", "/healthz", "--users", "2", "--ramp-s", "0", "--warmup-s", "0", "--requests-per-s", "20", "--requests")
LOAD = HttpLoad(path="/healthz", requests=400, users=4, ramp_s=0, warmup_s=0.5, requests_per_s=150.0)


@pytest.fixture
def checkout(tmp_path):
    """A second checkout, by a copy of the code that people run."""
    copy = tmp_path / "R&D (내 것)"
    for part in ("app", "loadtests", "provision", "stacklab"):
        shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "fabfile.py", copy)
    return copy


@pytest.fixture
def measurer(lab, tmp_path):
    """`measurer(*words, cwd)` starts `fab`; it is killed in the end if it still runs."""
    children = []

    def start(*words, cwd=ROOT) -> subprocess.Popen:
        environment = os.environ | {"STACKLAB_LAB": lab.name, "STACKLAB_RESULTS": str(tmp_path / f"results-{len(children)}")}
        command = [sys.executable, "-m", "fabric", *words]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        children.append(subprocess.Popen(command, cwd=cwd, env=environment, **pipes))
        return children[-1]

    yield start
    for child in children:
        child.kill()
        child.communicate()


@pytest.mark.fault("two measurements at once; kill -9 of the first", "desk")
def test_the_second_measurer_is_told_of_the_first_from_wherever_and_a_kill_gives_the_lab_back(
    at_defaults, lab, measurer, checkout
):
    first = measurer(*SLOW, "2000")
    wait_until(lambda: measured_by(at_defaults), "the first measures")
    named = rf"the lab {lab.name} is being measured by \S+ on \S+ from {re.escape(str(ROOT))} \(fab http\), for \d+ s now"
    for words, rest in (
        (SLOW + ("10",), "wait for it to end"),
        (("chat", "--clients", "2", "--rooms", "1"), "wait for it to end"),
        (("experiment", "eight-cases", "--quick"), "wait for it to end"),
        (("set", "--uwsgi-processes", "3"), "a change now would spoil that and not outlast it, so wait for it to end"),
    ):
        second = measurer(*words, cwd=checkout)
        _, said = second.communicate(timeout=60)
        assert second.returncode == 1
        assert re.fullmatch(rf"fab {words[0]}: {named}; {rest}\n", said), said
    assert first.poll() is None and stack.current(at_defaults) == StackSettings()
    first.send_signal(signal.SIGKILL)
    wait_until(lambda: measured_by(at_defaults) is None, "the lab is given back", 10)
    third = measurer(*SLOW, "10", cwd=checkout)
    out, said = third.communicate(timeout=60)
    assert third.returncode == 0, said


@pytest.mark.fault("kill -9 of a desk that has changed settings", "desk")
def test_after_a_kill_another_desk_goes_back_to_the_settings_found(at_defaults, lab, measurer, checkout):
    stack.apply(at_defaults, StackSettings(uwsgi_threads=2))
    first = measurer("chat", "--clients", "2000", "--rooms", "20", "--ramp-s", "60")  # which raises settings for itself
    wait_until(lambda: stack.current(at_defaults) != StackSettings(uwsgi_threads=2), "settings are raised")
    first.send_signal(signal.SIGKILL)
    wait_until(lambda: left_behind(lab), "the lab is given back")
    second = measurer(*SLOW, "10", cwd=checkout)
    out, said = second.communicate(timeout=120)
    assert second.returncode == 0, said
    assert stack.current(at_defaults) == StackSettings(uwsgi_threads=2)
    assert at_defaults.run(f"ls {FOUND} 2>/dev/null || true") == ""


@pytest.fixture
def measured(at_defaults, lab, tmp_path):
    """`measured(load)` is the run; at `meanwhile`, a function, in the middle of the load."""

    def run(load, meanwhile=lambda: None):
        happened = []

        def progress(now):
            if now.phase == "load" and now.done and not happened:
                happened.append(threading.Thread(target=meanwhile))
                happened[0].start()

        with bench(lab, tmp_path) as on:
            run = measure(on, stack.current(at_defaults), load, folder=tmp_path / "adhoc", progress=progress)
        happened[0].join()
        return run

    return run


def foreign(run) -> list[str]:
    return [reason for reason in run.validity.reasons if "not this load's" in reason]


CHAT = ChatLoad(clients=20, rooms=4, messages_per_s=1, duration_s=3, ramp_s=1)


@pytest.mark.fault("somebody else's request in a run", "from outside")
@pytest.mark.parametrize("load", [LOAD, pytest.param(CHAT, marks=pytest.mark.faults)])
def test_a_single_foreign_request_disturbs_a_run_and_a_load_alone_has_none(measured, site, load):
    assert foreign(measured(load)) == []
    run = measured(load, site)
    assert len(foreign(run)) == 1 and " and 1 of them" in foreign(run)[0], run.validity.reasons


def test_changes_of_settings_and_keep_alive_retries_are_not_foreign(measured, at_defaults):
    def reload():
        at_defaults.run("systemctl reload nginx", sudo=True)

    assert foreign(measured(LOAD.replace(users=30), reload)) == []
