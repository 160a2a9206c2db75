"""Somebody's JMeter plan as a load: found, told what it must know, followed, ended, and its file made a run's table."""

import json
import os
import shutil
import subprocess
import sys
import textwrap
import xml.etree.ElementTree as ElementTree
import zipfile

import numpy as np
import psutil
import pyarrow.parquet
import pytest
import synthetic
from here import wait_until

from stacklab.bench import plans
from stacklab.bench.experiments import eight_cases, eight_cases_by_jmeter, plans_of
from stacklab.bench.plans import plan_load, run_plan
from stacklab.bench.resume import open_plan
from stacklab.bench.tools import COLUMNS, find_jmeter, versions_of
from stacklab.console import run_text
from stacklab.errors import LabError, LoadError, ResultsError, SettingsError
from stacklab.files import ROOT
from stacklab.runs.foreign.keeping import named
from stacklab.runs.results import Run, read_run
from stacklab.settings import StackSettings
from stacklab.study.report import write_report
from stacklab.study.summary import summarize
from stacklab.study.verdicts import judge_all
from stacklab.study.words import commands
from stacklab.workload import HttpLoad, PlanLoad

POST, CHAT = ROOT / "loadtests" / "post.jmx", ROOT / "loadtests" / "post-chat.jmx"
HEADER = "timeStamp,elapsed,label,responseCode,responseMessage,success,failureMessage,bytes\n"


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """A JMeter, and the Java that runs it, which writes down what it was asked and does what a test says."""
    home, java = tmp_path / "jmeter", tmp_path / "java" / "bin" / "java"
    (home / "bin").mkdir(parents=True)
    with zipfile.ZipFile(home / "bin" / "ApacheJMeter.jar", "w") as jar:
        jar.writestr("META-INF/MANIFEST.MF", "Manifest-Version: 1.0\r\nImplementation-Version: 5.6.2\r\n")
    java.parent.mkdir(parents=True)

    def does(body: str):
        java.write_text(
            f"#!{sys.executable}\nimport json, os, sys, time\nfrom pathlib import Path\n"
            "if '-version' in sys.argv: sys.exit(print('    java.version = 17.0.15', file=sys.stderr))\n"
            "results = Path(sys.argv[sys.argv.index('-l') + 1])\n"
            f"Path({str(tmp_path / 'asked')!r}).write_text(json.dumps([sys.argv[1:], dict(os.environ)]))\n"
            + textwrap.dedent(body)
        )
        java.chmod(0o755)

    monkeypatch.setattr(plans, "verify", lambda url, ca: None)
    monkeypatch.setenv("JMETER_HOME", str(home))
    monkeypatch.setenv("JAVA_HOME", str(java.parent.parent))
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", "-Xint")
    does(f"results.write_text({HEADER!r} + '1700000000000,20,page,200,OK,true,,100\\n1700000000500,30,page,502,Bad,false,,9\\n')")
    return does


def put(tmp_path, load=None, **more):
    out = tmp_path / "out"
    out.mkdir(exist_ok=True)
    run_plan(load or plan_load(POST, "threads=3, loops=2", 0), "https://10.1.2.3", out, tmp_path / "ca.crt", **more)
    return out


# ---------------------------------------------------------------- which JMeter, which plan


def test_a_jmeter_is_found_by_its_home_or_on_the_path(fake, tmp_path):
    jar = str(tmp_path / "jmeter" / "bin" / "ApacheJMeter.jar")
    assert find_jmeter(os.environ)[-1] == jar
    assert "-XX:TieredStopAtLevel=1" in find_jmeter(os.environ), "the second compiler takes the core of a load of seconds"
    script = tmp_path / "jmeter" / "bin" / "jmeter"
    script.touch(0o755)
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "jmeter").symlink_to(script)
    assert find_jmeter({"PATH": f"{tmp_path / 'links'}:{tmp_path / 'java' / 'bin'}"})[-1] == jar


def test_without_one_a_line_says_how_to_get_one(tmp_path, fake):
    with pytest.raises(LoadError, match="JMETER_HOME") as none:
        find_jmeter({"PATH": str(tmp_path)})
    assert "\n" not in str(none.value)
    with pytest.raises(LoadError, match="holds no bin/ApacheJMeter.jar"):
        find_jmeter({"PATH": "", "JMETER_HOME": str(tmp_path)})
    with pytest.raises(LoadError, match="needs Java.*openjdk"):
        find_jmeter({"PATH": str(tmp_path), "JMETER_HOME": str(tmp_path / "jmeter")})
    with pytest.raises(LoadError, match="JMETER_HOME=~nobody-here holds no bin"):
        find_jmeter({"PATH": "", "JMETER_HOME": "~nobody-here"})


def test_the_versions_are_known_before_anything_runs(fake, tmp_path):
    assert versions_of([plan_load(POST)]) == {"jmeter": "5.6.2", "java": "17.0.15"}
    (tmp_path / "jmeter" / "bin" / "ApacheJMeter.jar").write_text("")
    with pytest.raises(LoadError, match="does not say its version"):
        versions_of([plan_load(POST)])


def test_another_version_is_another_experiment(fake, tmp_path):
    plan, known = eight_cases_by_jmeter(), {"generator": versions_of([plan_load(POST)])}
    open_plan(plan, tmp_path / "plan", "stacklab", known)
    open_plan(plan, tmp_path / "plan", "stacklab", known)
    with pytest.raises(LabError, match="jmeter was 5.6.2, and is 5.7"):
        open_plan(plan, tmp_path / "plan", "stacklab", {"generator": known["generator"] | {"jmeter": "5.7"}})


@pytest.mark.parametrize("threads", ["²", "٣", "9" * 5000, "many"])
def test_threads_that_are_no_number_are_no_users(threads):
    assert plan_load(POST, f"threads={threads}").users is None


def test_a_plan_is_named_by_its_file_and_its_sum():
    load = plan_load(POST, "threads=200, loops=100")
    assert (load.file, load.users, load.parameters) == ("loadtests/post.jmx", 200, "threads=200,loops=100")
    assert PlanLoad.from_dict(load.to_dict()) == load
    assert plan_load(POST).users is None


@pytest.mark.parametrize(("name", "text", "words"), [
    ("mine.txt", "", "is no plan that is run here"), ("mine.jmx", "<xml/>", "is no plan of JMeter"),
    ("gone.jmx", None, "cannot be read"), ("a\0.jmx", None, "holds a NUL"),
])  # fmt: skip
def test_what_is_no_plan_is_refused_in_a_line(tmp_path, name, text, words):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(LabError, match=words) as refused:
        plan_load(tmp_path / name)
    assert "\n" not in str(refused.value)
    with pytest.raises(SettingsError, match="cannot be read"):
        plan_load("~nobody-here/mine.jmx")


@pytest.mark.parametrize("parameters", ["threads", "host=elsewhere", "a b=1", "=1", "threads=1,ca=x", "a=\0"])
def test_parameters_are_names_with_values_and_none_that_the_lab_gives(parameters):
    with pytest.raises(SettingsError, match="parameters"):
        plan_load(POST, parameters)


# ---------------------------------------------------------------- a run of it


def test_jmeter_is_told_where_the_site_is_and_its_rows_are_the_runs(fake, tmp_path):
    out = put(tmp_path)
    words, environment = json.loads((tmp_path / "asked").read_text())
    told = {"-Jhost=10.1.2.3", "-Jport=443", "-Jscheme=https", f"-Jca={tmp_path / 'ca.crt'}", "-Jthreads=3", "-Jloops=2", "-f"}
    assert told <= set(words)
    assert words[words.index("-t") + 1] == str(POST)
    assert "JAVA_TOOL_OPTIONS" not in environment and environment["HOME"] == str(out / "raw")
    assert words[0] == f"-Duser.home={out / 'raw'}"
    assert {f"-Jjmeter.save.saveservice.{column}" for column in COLUMNS} <= set(words)
    rows = pyarrow.parquet.read_table(out / "requests.parquet").to_pandas()
    assert rows["duration_s"].tolist() == [0.02, 0.03] and rows["status"].tolist() == [200, 502]
    assert rows["error"].isna().tolist() == [True, False]
    assert (out / "plan.jmx").read_bytes() == POST.read_bytes()
    assert (out / "generator.parquet").is_file() and not (out / "raw").exists()


def test_jmeter_is_kept_to_the_cpus_of_the_generator(fake, tmp_path, monkeypatch):
    pinned = []
    monkeypatch.setattr(os, "sched_setaffinity", lambda pid, cpus: pinned.append((pid, cpus)))
    fake(f"results.write_text({HEADER!r} + f'1700000000000,{{os.getpid()}},a,200,OK,true,,1\\n')")
    out = put(tmp_path, cpus=[7])
    (pid,) = pyarrow.parquet.read_table(out / "requests.parquet")["duration_s"].to_pylist()
    assert pinned == [(round(pid * 1000), [7])]


def test_progress_counts_rows_and_those_that_failed(fake, tmp_path):
    lines = HEADER + "1700000000000,5,a,200,OK,true,,1\n" + "1700000000000,5,a,500,Bad,false,too late,1\n" * 2
    fake(f"results.write_text({lines!r})\nwhile not Path({str(tmp_path / 'seen')!r}).exists(): time.sleep(0.05)")
    seen = []
    put(tmp_path, progress=lambda step: (seen.append(step), (tmp_path / "seen").touch()))
    assert {(one.done, one.errors, one.phase) for one in seen} == {(3, 2, "load")}


def test_what_the_reader_notes_is_kept_with_the_run(fake, tmp_path):
    fake(f"results.write_text({HEADER!r} + '1700000000000,5,a,200,OK,true,,1\\n1700000000001,5,a\\n')")
    out = tmp_path / "out"
    out.mkdir()
    told = run_plan(plan_load(POST, "", 0), "https://10.1.2.3", out, tmp_path / "ca")
    assert told["cannot_tell"] == [] and "row 3 has 3 fields" in told["notes"][0]


def test_what_cannot_be_read_is_kept(fake, tmp_path):
    fake(f"results.write_text({HEADER!r} + '1700000000000,-5,a,200,OK,true,,1\\n')")
    with pytest.raises(LoadError, match="a clock was set") as refused:
        put(tmp_path)
    kept = tmp_path / "out.jtl"
    assert str(kept) in str(refused.value) and kept.read_text().startswith(HEADER)


def test_a_plan_with_a_long_pause_is_one_run(fake, tmp_path):
    rows = "".join(f"{1700000000000 + n * 10 + (n > 14) * 60_000},5,page,200,OK,true,,1\\n" for n in range(30))
    fake(f"results.write_text({HEADER!r} + '{rows}')")
    assert len(pyarrow.parquet.read_table(put(tmp_path) / "requests.parquet")) == 30


@pytest.mark.parametrize(("body", "words"), [
    ("sys.exit(1)", "exit code 1"),
    ("pass", "made no sample"),
    (f"results.write_text({HEADER!r})", "made no sample"),
    (f"results.write_text({HEADER!r} + '1700000000000,9,ca,TLS,PKIX path building failed,false,,0\\n')", "PKIX.*CA this lab's"),
])  # fmt: skip
def test_what_went_wrong_is_said(fake, tmp_path, body, words):
    fake(body)
    with pytest.raises(LoadError, match=words):
        put(tmp_path)


def test_no_jmeter_is_left_when_the_load_is_stopped(fake, tmp_path, monkeypatch):
    fake("time.sleep(60)")

    def stopped(process, *_):
        started.append(process)
        raise KeyboardInterrupt

    started = []
    monkeypatch.setattr(plans, "_follow", stopped)
    with pytest.raises(KeyboardInterrupt):
        put(tmp_path)
    assert started[0].poll() is not None


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="no setpriv here: JMeter outlives whoever is killed")
def test_no_jmeter_outlives_who_is_killed(fake, tmp_path):
    fake(f"Path({str(tmp_path / 'pid')!r}).write_text(str(os.getpid())); time.sleep(60)")
    program = (
        "from pathlib import Path; from stacklab.bench import plans; from stacklab.bench.plans import *; out = Path('out'); "
        "out.mkdir(); plans.verify = lambda url, ca: None; "
        f"run_plan(plan_load({str(POST)!r}), 'https://10.1.2.3', out, Path('ca'))"
    )
    with subprocess.Popen([sys.executable, "-c", program], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}) as lab:
        wait_until(lambda: (tmp_path / "pid").is_file() and (tmp_path / "pid").read_text(), "JMeter runs")
        lab.kill()
    wait_until(lambda: not psutil.pid_exists(int((tmp_path / "pid").read_text())), "it has ended")


# ---------------------------------------------------------------- kept, judged


def by_jmeter(run: Run, folder, change=lambda tables: tables) -> Run:
    """The same run, as if a plan had been the load."""
    tables = {name: run.table(name) for name in ("requests", "server", "resources", "gauges", "generator")}
    tables["requests"] = tables["requests"].assign(warmup=False)
    load = plan_load(POST, f"threads={run.workload.users},loops=50")
    return synthetic.save(
        folder, run.run, change(tables), run.settings, load, run.started_s + 5, run.ended_s - 2, point=run.point,
        repeat=run.repeat, position=run.position,
    )  # fmt: skip


def test_a_run_of_a_plan_is_kept_and_read_again_as_sound(tmp_path):
    run = by_jmeter(synthetic.http_run(tmp_path / "http", "r1"), tmp_path / "plans")
    again = read_run(run.path)
    assert again.workload == run.workload and again.kind == "plan" and again.validity.measurement == "sound", again.validity
    row = summarize([again]).iloc[0]
    assert row["counted"] == len(run.table("requests")) and row["cpu_s_per_1000_requests"] > 0
    assert run_text(again).splitlines()[0].endswith("0 errors")
    page = write_report([again], tmp_path / "report.html").read_text()
    assert "the plan loadtests/post.jmx by JMeter with threads=20,loops=50" in page
    assert "fab load --file loadtests/post.jmx --parameters threads=20,loops=50" in page


@pytest.mark.parametrize(("change", "words"), [
    (lambda t: t | {"server": t["server"].iloc[:-9]}, "rows are missing"),
    (lambda t: t | {"server": t["server"].assign(client=["10.9.9.9"] * 3 + ["10.77.0.1"] * (len(t["server"]) - 3))},
     "3 requests from other addresses"),
    (lambda t: t | {"server": t["server"].assign(end_s=t["server"]["end_s"] - 30)}, "one of the two is wrong"),
    (lambda t: t | {"generator": t["generator"].assign(value=0.95)}, "used 95% of the cores it can use"),
])  # fmt: skip
def test_what_nginx_saw_is_held_against_the_plans_rows(tmp_path, change, words):
    run = by_jmeter(synthetic.http_run(tmp_path / "http", "r1"), tmp_path / "plans", change)
    assert words in " ".join(run.validity.reasons)


@pytest.mark.parametrize(("named", "sound"), [("GET /static/site.css", True), ("/static/site.css", True), ("GET /", False)])
def test_static_files_which_nginx_does_not_log_are_not_missed_in_its_log(tmp_path, named, sound):
    def change(t):
        nth = np.arange(len(t["requests"]))
        return t | {"requests": t["requests"].assign(name=np.where(nth % 2, named, "page")), "server": t["server"].iloc[::2]}

    run = by_jmeter(synthetic.http_run(tmp_path / "http", "r1"), tmp_path / "plans", change)
    assert (run.validity.measurement == "sound") == sound, run.validity.reasons


def test_the_labs_own_addresses_are_the_loads(tmp_path, monkeypatch):
    def change(t):
        return t | {"server": t["server"].assign(client=["10.9.9.9"] * 3 + ["10.77.0.1"] * (len(t["server"]) - 3))}

    known = synthetic.ENVIRONMENT | {"client_addresses": ["10.9.9.9"]}
    monkeypatch.setattr(synthetic, "ENVIRONMENT", known)
    run = by_jmeter(synthetic.http_run(tmp_path / "http", "r1"), tmp_path / "plans", change)
    assert run.validity.measurement == "sound", run.validity.reasons


def test_c5_has_the_same_verdict_by_jmeters_runs(tmp_path):
    cases = [(users, c, p) for users in (10, 20) for c in (1024, 4000) for p in (5, 10)]
    runs = [
        synthetic.http_run(
            tmp_path / "http", f"r{repeat}-{users}-{c}-{p}", StackSettings(nginx_worker_connections=c, uwsgi_processes=p),
            HttpLoad(requests=1000, users=users, ramp_s=0, warmup_s=0), per_s=600 if (c, p) == (4000, 10) else 900,
            seed=repeat * 100 + n, point=f"{users}, {c}/{p}", repeat=repeat, position=n,
        )
        for repeat in (1, 2, 3) for n, (users, c, p) in enumerate(cases, 1)
    ]  # fmt: skip
    plans = [by_jmeter(run, tmp_path / "eight-cases-jmeter") for run in runs]
    said = [next(one for one in judge_all(each) if one.claim.id == "C5") for each in (runs, plans)]
    assert [one.verdict for one in said] == ["contradicted", "contradicted"]
    assert list(said[0].tests["each"]) == list(said[1].tests["each"])
    assert "fab experiment eight-cases --generator jmeter --repeats 3" in commands(plans)
    with pytest.raises(ResultsError, match="points"):  # which are not of one kind
        named([str(plans[0].path.parent)], tmp_path)
    assert [run.run for run in named([str(plans[0].path)], tmp_path)] == [plans[0].run]


def test_the_eight_cases_are_the_same_by_jmeter(fake):
    (plan,) = plans_of("eight-cases", generator="jmeter")
    assert plan.name == "eight-cases-jmeter" and not plan.slice_s
    assert [(p.label, p.settings, p.workload.users) for p in plan.points] == [
        (p.label, p.settings, p.workload.users) for p in eight_cases().points
    ]
    assert plan.points[0].workload.parameters == "threads=100,loops=100"
    with pytest.raises(SettingsError, match="jmeter for eight-cases"):
        plans_of("sockets", generator="jmeter")


# ---------------------------------------------------------------- the post's plans


@pytest.mark.parametrize("plan", [POST, CHAT])
def test_the_posts_plans_say_what_they_can_be_told(plan):
    text = plan.read_text()
    ElementTree.fromstring(text)
    asked = {part.partition(")")[0].partition(",")[0] for part in text.split("__P(")[1:]}
    lines = (POST.read_text() + text).splitlines()
    told = {line.split()[0] for line in lines if line.startswith("  ") and line.split()}
    assert asked and asked <= told
    assert "endpointIdentificationAlgorithm = 'HTTPS'" in text

