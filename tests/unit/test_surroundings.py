"""A home and an environment full of a person's own settings: what the lab runs for itself never sees them."""

import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import synthetic
from certificates import make_ca
from load_site import Site
from traps import VARIABLES

from stacklab.bench import experiment
from stacklab.bench.load import LOADTESTS, run_load
from stacklab.errors import LoadError
from stacklab.files import ROOT
from stacklab.surroundings import VAGRANTS, own
from stacklab.workload import HttpLoad


def fab(*words: str, **variables: str) -> subprocess.CompletedProcess:
    command = [Path(sys.executable).with_name("fab"), *words]
    return subprocess.run(command, cwd=ROOT, env=os.environ | variables, capture_output=True, text=True)


def test_nothing_gets_through_that_is_not_let_through(trapped):
    given = own()
    assert not set(given) & (set(VARIABLES) - {"LC_ALL"} | {"PYTHONPATH"})
    assert given["LC_ALL"] == "C.UTF-8" and given["PATH"] == os.environ["PATH"]


def test_what_belongs_to_the_person_gets_through():
    mine = {"https_proxy": "http://proxy:3128", "SSL_CERT_FILE": "/ca.pem", "TZ": "Asia/Seoul", "STACKLAB_CPUS": "1",
            "PIP_INDEX_URL": "https://mirror.invalid", "VAGRANT_HOME": "/big/disk", "DOCKER_HOST": "unix:///d.sock"}  # fmt: skip
    assert own(VAGRANTS, mine) == mine | {"LC_ALL": "C.UTF-8"}
    assert set(own(environment=mine)) == set(mine) - {"VAGRANT_HOME", "DOCKER_HOST"} | {"LC_ALL"}


def test_a_load_is_the_one_that_was_asked_for(trapped, tmp_path):
    authority, *site_files = make_ca(tmp_path)
    out = tmp_path / "out"
    out.mkdir()
    with Site(*site_files) as site:
        run_load(HttpLoad(requests=40, users=4, ramp_s=0.1, warmup_s=1.5), site.url, out, authority, timeout_s=60)
    rows = pq.read_table(out / "requests.parquet").to_pandas()
    assert (~rows["warmup"]).sum() == 40 and rows["error"].isna().all()


def test_a_run_says_whose_commit_it_is_only_of_its_own_folder(trapped, tmp_path, monkeypatch):
    if not (ROOT / ".git").exists():
        pytest.skip("NO CLONE HERE: a checkout without .git has no commit to tell")
    asked = subprocess.run(["git", "-C", ROOT, "describe", "--always"], env=own(), capture_output=True, text=True)
    assert experiment._commit().removesuffix("-dirty") == asked.stdout.strip()
    within = tmp_path / "theirs" / "stacklab"
    within.mkdir(parents=True)
    subprocess.run(["git", "init", "-q", within.parent], env=own(), check=True)
    commit = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "theirs"]
    subprocess.run(commit, cwd=within.parent, env=own(), check=True)
    monkeypatch.setattr(experiment, "ROOT", within)
    assert experiment._commit() is None
    monkeypatch.setattr(experiment, "ROOT", within.parent)
    assert re.fullmatch(r"[0-9a-f]{7,}", experiment._commit())


def test_a_report_is_drawn_in_a_style_of_ours_alone(tmp_path, trapped, monkeypatch):
    results = tmp_path / "results"
    synthetic.eight_cases(results, repeats=2, requests=200)
    done = fab("report", "eight-cases", STACKLAB_RESULTS=str(results))
    assert done.returncode == 0, done.stderr
    drawn = (results / "eight-cases" / "report.html").read_bytes()
    for name in VARIABLES:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert fab("report", "eight-cases", STACKLAB_RESULTS=str(results)).returncode == 0
    assert (results / "eight-cases" / "report.html").read_bytes() == drawn


FABRICS = {
    ".ssh/config of a syntax that paramiko does not take": (".ssh/config", b"Match bogus\n"),
    ".ssh/config of another encoding": (".ssh/config", b"Host *\n # \xff\xfe\n"),
    ".fabric.yaml that is none": (".fabric.yaml", b"a: [\n"),
    ".fabric.yaml of another collection": (".fabric.yaml", b"tasks: {collection_name: other}\n"),
    ".fabric.py": (".fabric.py", b"raise SystemExit(9)\n"),
    ".fabric.json": (".fabric.json", b"{"),
}


@pytest.mark.parametrize("trap", FABRICS)
def test_what_fabric_itself_would_read_is_not_read(trap, tmp_path):
    name, text = FABRICS[trap]
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(text)
    said = fab("status", HOME=str(tmp_path), STACKLAB_LAB="no-such-lab")
    assert said.returncode == 1 and said.stderr.startswith("fab status: the lab no-such-lab is absent"), said.stderr


def test_the_doctor_asks_of_this_folder_whatever_vagrants_variables_say(trapped, tmp_path, monkeypatch):
    asked = tmp_path / "asked"
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("vagrant", "docker", "virsh"):
        (programs / name).write_text(f'#!/bin/sh\nenv >> "{asked}"\nexit 1\n')
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    fab("doctor")
    told = asked.read_text()
    assert "VAGRANT_CWD" not in told and "LC_ALL=C.UTF-8" in told and "LANG=" not in told


def test_the_sites_own_tests_are_of_this_site_whatever_settings_are_exported_for_another(trapped):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/unit/app/test_app_pages.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("words", [["--list"], ["status"], ["set", "--uwsgi-processes", "x"], ["experiment", "nope"]])
def test_everyday_commands_say_the_same(words, trapped, tmp_path, monkeypatch):
    monkeypatch.setenv("STACKLAB_LAB", "no-such-lab")
    said = fab(*words)
    for name in VARIABLES:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    plain = fab(*words)
    assert (said.returncode, said.stdout, said.stderr) == (plain.returncode, plain.stdout, plain.stderr)


@pytest.mark.parametrize("words", [["--list"], ["--help"], ["--help", "set"], ["doctor"]])
def test_nobody_who_reads_on_is_no_error(words):
    command = [sys.executable, "-m", "stacklab.command", *words]
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as gone:
        done = subprocess.run(command, cwd=ROOT, env=os.environ, stdout=gone, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.parametrize(("given", "meant"), [("~/res", "home/res"), (" ~/res ", "home/res"), ("here", "work/here")])
def test_results_go_where_a_shell_would_have_put_them(given, meant, tmp_path):
    (tmp_path / "work").mkdir()
    code = "from stacklab.files import RESULTS; print(RESULTS)"
    variables = os.environ | {"HOME": str(tmp_path / "home"), "STACKLAB_RESULTS": given}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path / "work", env=variables, capture_output=True, text=True)
    assert done.stdout.strip() == str(tmp_path / meant)


@pytest.mark.fault("the load generator is out of files", "desk")
def test_too_few_open_files_are_named_and_not_the_ca(tmp_path, monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 256))
    with pytest.raises(LoadError, match=r"users=300 .* needs 400 open files .* allows 256"):
        run_load(HttpLoad(users=300), "https://127.0.0.1:9", tmp_path, tmp_path / "ca.crt")


@pytest.mark.fault("no room for the rows of a load", "desk")
def test_rows_that_find_no_room_end_the_generator_at_once():
    code = "from share import Rows; rows = Rows(open('/dev/full', 'w')); [rows.writerow(('x' * 50,)) for _ in range(9999)]"
    done = subprocess.run([sys.executable, "-c", code], cwd=LOADTESTS, env=own(), capture_output=True, text=True, timeout=300)
    assert done.returncode == os.EX_IOERR
    assert "cannot write rows: [Errno 28] No space left on device" in done.stderr
