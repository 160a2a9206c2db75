"""The tasks without a lab: what they take, and what they say to what they cannot take."""

import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from fabric.main import program

from stacklab import commandline, show, tasks
from stacklab.errors import SettingsError
from stacklab.files import ROOT
from stacklab.settings import StackSettings
from stacklab.site import LAB
from stacklab.stack import Applied
from stacklab.workload import HttpLoad

FAB = Path(sys.executable).with_name("fab")


def fab(*words: str, **variables: str) -> subprocess.CompletedProcess:
    """The `fab` command as a person types it, on a lab that is not there."""
    environment = os.environ | {"STACKLAB_LAB": "no-such-lab", "COLUMNS": "80"} | variables
    return subprocess.run([FAB, *words], cwd=ROOT, env=environment, capture_output=True, text=True)


@pytest.fixture
def refused(capsys, monkeypatch):
    """The one line that a refused command leaves. The command runs in this process, which is quicker."""

    def run(*words: str, lab: str = "no-such-lab") -> str:
        monkeypatch.setenv("STACKLAB_LAB", lab)
        monkeypatch.chdir(ROOT)
        with pytest.raises(SystemExit) as caught:
            program.run(["fab", *words])
        assert caught.value.code == 1
        said = capsys.readouterr()
        assert said.out == "" and said.err.count("\n") == 1, said
        return said.err.rstrip("\n")

    return run


@pytest.mark.parametrize("words", [["set", "--uwsgi-processes", "0"], ["set", "--frob", "3"], ["frob"], ["reset"]])
def test_the_command_itself_ends_in_one_line_and_a_failure(words):
    done = fab(*words)
    assert done.returncode == 1
    assert done.stdout == "" and done.stderr.count("\n") == 1 and "Traceback" not in done.stderr


def test_the_home_of_nobody_is_a_folder_that_is_not_there():
    done = fab("provision", "--site", "~nobody-here/site", STACKLAB_RESULTS="~nobody-here/results")
    assert "has no stacklab.toml" in done.stderr and "Traceback" not in done.stderr


def test_the_list_has_one_line_for_each_task_at_80_columns():
    lines = fab("--list").stdout.splitlines()
    assert lines[0] == "Available tasks:"
    listed = [line.split()[0] for line in lines[2:] if line.strip()]
    assert listed == sorted(commandline.TASKS)
    assert all(len(line) <= 80 for line in lines)
    assert {"up", "halt", "destroy", "provision", "status", "set", "reset", "http", "chat", "logs", "experiment",
            "report", "export", "ca"} <= set(listed)  # fmt: skip


def test_help_names_every_flag_with_its_range():
    text = "".join(fab("--help", "set").stdout.split())  # it is broken into lines, also within words
    for name, rule in StackSettings.rules().items():
        assert f"--{name.replace('_', '-')}" in text
        assert "".join(rule.help.split()) in text and "".join(rule.allowed().split()) in text


def test_every_flag_is_explained_and_read_as_text():
    flags = {(task.name, flag.name): flag for task in commandline.namespace().tasks.values() for flag in task.get_arguments()}
    assert [name for name, flag in flags.items() if not flag.help] == []
    assert [name for name, flag in flags.items() if flag.kind not in (str, bool)] == [], "Invoke would convert it"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["set", "--uwsgi-processes", "0"], "uwsgi_processes takes a whole number from 1 to 64"),
        (["set", "--uwsgi-processes", "ten"], "fab set: uwsgi_processes='ten' is not allowed"),
        (["set", "--uwsgi-processes", "5.5"], "fab set: uwsgi_processes='5.5' is not allowed"),
        (["set", "--balance", "fair"], "fab set: balance='fair' is not allowed: balance takes one of round_robin, "),
        (["set", "--daphne-tls", "2"], "fab set: daphne_tls='2' is not allowed: daphne_tls takes true or false"),
        (["set", "--uwsgi-processes"], "fab set: --uwsgi-processes needs a value"),
        (["set", "--frob", "3"], "fab set: '--frob' is not known; there are --lab, --json, --nginx-worker-processes, "),
        (["set", "uwsgi_processes=3"], "fab set: 'uwsgi_processes=3' is not known; there are --lab, "),
        (["frob"], "fab: there is no task 'frob'; 'fab --list' names those there are"),
        (["http", "--users", "-1"], "fab http: users=-1 is not allowed: users takes a whole number from 1 to 10000"),
        (["http", "--path", "index"], "fab http: path='index' is not allowed: path starts with /"),
        (["http", "--wait-s", "1", "--requests-per-s", "9"], "fab http: wait_s=1.0 and requests_per_s=9.0 exclude each other"),
        (["chat", "--rooms", "9", "--clients", "3"], "fab chat: rooms=9 is not allowed: there are only 3 clients"),
        (["experiment"], "fab experiment: 'name' is missing"),
        (["experiment", "nope"], "fab experiment: there is no experiment 'nope'; there are eight-cases, "),
        (["experiment", "eight-cases", "--repeats", "x"], "repeats='x' is not allowed: repeats takes a whole number"),
        (["experiment", "eight-cases", "--repeats", "0"], "fab experiment: repeats=0 is not allowed"),
        (["experiment", "eight-cases", "--seed", "x"], "fab experiment: seed='x' is not allowed: seed takes a whole number"),
        (["logs", "apache"], "fab logs: there is no service 'apache'; there are nginx, uwsgi, gunicorn, daphne, uvicorn, "),
        (["logs", "daphne@1;reboot"], "fab logs: there is no service 'daphne@1;reboot'"),
        (["logs", "nginx", "--lines", "many"], "fab logs: lines='many' is not allowed: lines takes a whole number"),
        (["logs", "nginx", "--lines", "-3"], "fab logs: lines='-3' is not allowed: lines takes a whole number from 0 up"),
        (["report", "nothing-here"], "there are no results here"),
        (["export", "nothing-here"], "there are no results here"),
        (["status", "--lab", "No Lab"], "fab status: lab name 'No Lab' is not allowed"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused_in_one_line(refused, words, says):
    assert says in refused(*words)


@pytest.mark.parametrize(
    "words",
    [["provision"], ["set"], ["set", "--uwsgi-processes", "10"], ["reset"], ["http"], ["chat"], ["logs", "nginx"],
     ["ca"]],
)  # fmt: skip
def test_without_a_lab_each_task_says_what_to_do(refused, words):
    assert refused(*words) == f"fab {words[0]}: the lab no-such-lab is absent; start it with 'fab up'"


def test_an_experiment_without_a_lab_says_so_after_its_estimate(tmp_path):
    done = fab("experiment", "one-vs-three", "--quick", STACKLAB_RESULTS=str(tmp_path))
    assert (done.returncode, done.stderr) == (1, "fab experiment: the lab no-such-lab is absent; start it with 'fab up'\n")
    assert re.fullmatch(r"one-vs-three-quick: \d+ runs to measure; about .* and \d+ MiB of disk\n", done.stdout)


def test_the_status_of_a_lab_that_is_not_there_fails_and_still_prints_json():
    done = fab("status", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["state"] == "absent"
    assert done.stderr.count("\n") == 1


def test_an_ssh_host_that_does_not_answer_is_not_running(refused):
    assert "someone@127.0.0.1:1 does not answer on SSH" in refused("set", lab="someone@127.0.0.1:1")


def test_a_file_that_cannot_be_written_is_one_line():
    from invoke import Context
    from invoke.exceptions import Exit

    def no_room():
        raise OSError(28, "No space left on device", "/results/x")

    task = commandline._as_task("report", no_room, ())
    with pytest.raises(Exit) as caught:
        task(Context())
    assert (caught.value.message, caught.value.code) == ("fab report: No space left on device: /results/x", 1)


def test_an_interrupted_task_ends_with_130():
    from invoke import Context
    from invoke.exceptions import Exit

    def stop():
        raise KeyboardInterrupt

    with pytest.raises(Exit) as caught:
        commandline._as_task("http", stop, ())(Context())
    assert (caught.value.message, caught.value.code) == ("fab http: stopped", 130)


SAYS_AN_ARROW = """
from invoke import Context
from invoke.exceptions import Exit
from stacklab import commandline
try:
    commandline._as_task("set", lambda: print("5 \u2192 10"), ())(Context())
except Exit as error:
    raise SystemExit(error.code)
"""


def test_a_terminal_that_cannot_say_an_arrow_is_no_error_after_the_deed():
    variables = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", SAYS_AN_ARROW], env=variables, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "5 ? 10\n", "")


def test_a_reader_who_has_gone_is_no_traceback():
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as closed:
        done = subprocess.run([sys.executable, "-c", SAYS_AN_ARROW], stdout=closed, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (1, "")


def test_values_are_taken_as_text_or_as_what_they_stand_for():
    assert tasks.values(StackSettings, {"uwsgi_processes": "10", "balance": None}) == {"uwsgi_processes": 10}
    assert tasks.values(StackSettings, {"uwsgi_processes": 10}) == {"uwsgi_processes": 10}
    assert tasks.values(HttpLoad, {"requests_per_s": "none"}) == {"requests_per_s": None}
    with pytest.raises(SettingsError):
        StackSettings(**tasks.values(StackSettings, {"uwsgi_processes": 10.5}))


def test_every_task_and_flag_is_explained():
    for name, (function, _) in commandline.TASKS.items():
        words = inspect.getdoc(function).splitlines()[0]
        assert words.endswith(".") and len(words) <= 66, name
        for flag in list(inspect.signature(function).parameters.values()):
            if flag.default is not flag.empty and flag.kind is not flag.VAR_KEYWORD:
                assert flag.name in commandline.FLAGS, f"{name} {flag.name}"


def test_verdicts_need_no_lab_and_say_what_each_claim_lacks(tmp_path):
    (tmp_path / "results").mkdir()
    done = fab("verdicts", "--json", STACKLAB_RESULTS=str(tmp_path / "results"))
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert [claim["id"] for claim in said] == [f"C{n}" for n in range(1, 13)]
    assert {claim["verdict"] for claim in said} == {"not tested"}
    assert all(test["command"].startswith("fab experiment ") for claim in said for test in claim["tests"])
    assert "\nC1   fab experiment clients-held\n" in fab("verdicts", STACKLAB_RESULTS=str(tmp_path / "none")).stdout


def test_claims_are_all_experiments_that_decide_one_measured_in_turn_and_judged(monkeypatch, capsys):
    from stacklab import console
    from stacklab.study.claims import claim_experiments

    measured = []
    monkeypatch.setattr(console, "measure_plan", lambda plan, *_: measured.append((plan.name, plan.repeats)) or [])
    monkeypatch.setattr(tasks, "report", lambda name: None)
    monkeypatch.setattr(tasks, "verdicts", lambda: measured.append("verdicts"))
    tasks.experiment("claims", quick=True, lab="no-such-lab")
    assert [name for name, _ in measured[:-1]] == [f"{name}-quick" for name in claim_experiments()] and measured[-1] == "verdicts"
    assert all(repeats >= 3 for _, repeats in measured[:-1])
    assert f"{len(claim_experiments())} experiments judge the claims; about " in capsys.readouterr().out


# ---------------------------------------------------------------- what is printed


STATUS = {
    "lab": "stacklab", "kind": "container", "state": "running", "address": "10.83.0.2", "pinned_cpus": [0], "generator_cpus": [1],
    "url": "https://10.83.0.2", "site": LAB.to_dict(), "settings": StackSettings().to_dict(), "version": "1",
    "checkout_version": "1",
    "observed": {"uwsgi_processes": 5, "daphne_tls": True, "units": {"nginx": "active"}}, "unfinished": False, "changing": False,
}  # fmt: skip


def test_status_shows_asked_beside_running():
    text = show.status_text(STATUS)
    assert "lab stacklab (container): running at 10.83.0.2" in text and "pinned to CPU 0; load comes from CPU 1" in text
    assert "not as asked" not in text and "!" not in text


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"observed": STATUS["observed"] | {"uwsgi_processes": 4}}, "<- not as asked"),
        ({"unfinished": True}, "! a change was cut off half-way"),
        ({"changing": True}, "! a change is being applied at this moment"),
        ({"checkout_version": "2"}, "! provisioned by 1, this checkout is 2: run 'fab provision'"),
        ({"leaving": 2}, "nginx: 2 workers of before a reload, for the sockets open since then"),
        ({"settings": None}, "the stack is not set up yet: run 'fab provision'"),
    ],
)
def test_status_says_what_is_not_right(change, says):
    assert says in show.status_text(STATUS | change)


def test_an_absent_lab_has_a_status_of_one_line():
    assert show.status_text({"lab": "x", "kind": "container", "state": "absent"}) == "lab x (container): absent"


def test_a_change_is_shown_with_its_diff_its_units_and_its_times():
    applied = Applied(("/etc/x",), "-a\n+b\n", ("nginx",), {"validate": 0.1, "reload nginx": 0.25})
    assert show.applied_text(applied) == "-a\n+b\n\ntaken up by nginx (validate 0.10 s · reload nginx 0.25 s)"
    assert show.applied_text(Applied()) == "nothing to change: these settings are in force already"
    assert "not everything that runs was as asked" in show.applied_text(Applied(reloaded=("nginx",)))


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0 s"), (59.6, "1 min 0 s"), (95, "1 min 35 s"), (4000, "66 min 40 s")])
def test_durations_read_as_people_say_them(seconds, text):
    assert show.duration(seconds) == text


def test_settings_are_listed_with_what_they_may_be():
    lines = show.settings_text(StackSettings()).splitlines()
    assert len(lines) == len(StackSettings.rules())
    assert "none" in next(line for line in lines if line.startswith("asgi_threads"))


def test_a_first_look_is_written_after_the_first_block_and_each_time_there_are_twice_as_many(monkeypatch):
    from stacklab.bench.experiments import experiment_named

    written, said = [], []
    monkeypatch.setattr(tasks, "write_report_of", lambda name: written.append(name) or f"results/{name}/report.html")
    bar = type("Bar", (), {"say": staticmethod(said.append)})
    plan = experiment_named("eight-cases", quick=True, repeats=9)
    counts = []
    for repeat in range(1, 12):
        before = len(written)
        tasks._first_look(plan, bar, repeat)
        counts += [repeat] * (len(written) - before)
    assert counts == [1, 2, 4, 8]
    assert said == ["a first look, while more comes: results/eight-cases-quick/report.html"]
