"""After a power cut there is the old or the new, whole: of settings, results, certificates and web.sh's lists."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import power
import pytest

from stacklab.files import ROOT
from stacklab.settings import StackSettings
from stacklab.site import LAB

pytestmark = pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed: power cuts are NOT tried")


SCRIPTS = f"""import importlib.machinery, importlib.util, json, sys
sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "provision")!r}]
from pathlib import Path
top = Path(sys.argv[1])
def load(script):
    loader = importlib.machinery.SourceFileLoader("script", {str(ROOT / "provision")!r} + "/" + script)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("script", loader))
    loader.exec_module(module)
    return module
"""


def python(*lines, args):
    return [sys.executable, "-B", "-c", "\n".join((SCRIPTS, *lines)), *map(str, args)]


@pytest.fixture
def folder():
    """An empty one, in memory: nobody else's disk need be flushed."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as made:
        (Path(made) / "folder").mkdir()
        yield Path(made) / "folder"


# ---------------------------------------------------------------- a change of the settings

BEFORE, AFTER = StackSettings().to_dict(), StackSettings(uwsgi_processes=7).to_dict()
NOTHING = "lambda *given, **named: {}"
LOAD = f"""commit = load("commit-settings")
commit.STATE, commit.STAGE, commit.JOURNAL = (top / "var/commit" / name for name in ("", "stage", "journal.json"))
commit.SITE, commit.live.SETTINGS, commit.changing.LOCK = str(top / "site"), top / "etc/settings.json", top.parent / "lock"
commit.live.WRITTEN = top.parent / "written.json"
commit.observe = commit.verify = commit.validate = commit.check_limits = commit.take_up = {NOTHING}
commit.differences, commit.live.words_of = (lambda *given: []), (lambda *given: "")
def refuse(*given):
    commit.take_up = {NOTHING}
    raise commit.Refused("no")
"""
CHANGE = "outcome = commit.outcome_of(json.loads(sys.argv[2])); assert outcome['ok'], outcome"
REFUSED_CHANGE = "commit.take_up = refuse; assert commit.outcome_of(json.loads(sys.argv[2]))['restored']"


@pytest.fixture
def disk(folder, commit, monkeypatch):
    """A web host's disk. What is to change: two files, a third in a new folder, the site, and the record of it all."""
    (folder / "etc/nginx").mkdir(parents=True)
    (folder / "var").mkdir()
    (folder / "etc/nginx/nginx.conf").write_text("old nginx\n")
    (folder / "etc/uwsgi.ini").write_text("old uwsgi\n")
    (folder / "etc/uwsgi.ini").chmod(0o640)
    (folder / "site").symlink_to("/sites/old")
    (folder / "etc/settings.json").write_text(json.dumps({"settings": BEFORE, "version": "1", "site": LAB.to_dict()}))
    commit.STATE, commit.JOURNAL, commit.SITE = folder / "var/commit", folder / "var/commit/journal.json", str(folder / "site")
    commit.live.SETTINGS, commit.live.WRITTEN = folder / "etc/settings.json", folder.parent / "written.json"
    monkeypatch.setattr(commit.os, "fsync", lambda descriptor: None)  # of the recoveries, which are many
    monkeypatch.setattr(commit.live, "words_of", lambda *command: "")
    return folder


def change(disk, what=CHANGE):
    texts = {"etc/nginx/nginx.conf": "new nginx\n", "etc/uwsgi.ini": "new uwsgi\n", "etc/new/deep/daphne.env": "new daphne\n"}
    files = [{"path": str(disk / path), "text": text, "unit": ""} for path, text in texts.items()]
    request = {"settings": AFTER, "version": "2", "files": files, "site": LAB.to_dict(), "place": "/sites/new"}
    return power.record(python(LOAD, what, args=(disk, json.dumps(request))), disk)


def state(disk):
    """What stands on a disk: [nginx.conf, uwsgi.ini, its mode, daphne.env, the site, the settings]."""
    new = disk / "etc/new/deep/daphne.env"
    return [
        (disk / "etc/nginx/nginx.conf").read_text(), (disk / "etc/uwsgi.ini").read_text(),
        (disk / "etc/uwsgi.ini").stat().st_mode & 0o777, new.read_text() if new.exists() else None,
        os.readlink(disk / "site"), json.loads((disk / "etc/settings.json").read_text())["settings"],
    ]  # fmt: skip


OLD = ["old nginx\n", "old uwsgi\n", 0o640, None, "/sites/old", BEFORE]
NEW = ["new nginx\n", "new uwsgi\n", 0o640, "new daphne\n", "/sites/new", AFTER]


def ends(disk, commit, disks):
    """The states that the recovery at boot makes of disks; AssertionError at the first that is neither old nor new."""
    found = []
    for step, left in disks:
        power.lay_out(left, disk)
        commit.recover_files()
        assert state(disk) in (OLD, NEW) and not commit.JOURNAL.exists(), f"{state(disk)} after {step}"
        found.append("old" if state(disk) == OLD else "new")
    return found


def test_a_power_cut_while_settings_change_leaves_the_old_or_the_new(disk, commit):
    found = ends(disk, commit, change(disk).disks())
    assert (found[0], found[-1]) == ("old", "new") and len(found) > 100
    assert "new" not in found[: len(found) // 2], "nothing is new before the change stands"


def test_a_power_cut_while_a_change_is_undone_leaves_the_old(disk, commit):
    assert set(ends(disk, commit, change(disk, REFUSED_CHANGE).disks())) == {"old"}


def test_a_power_cut_while_the_boot_undoes_a_change_leaves_the_old(disk, commit):
    change(disk, "commit.forget_old = commit.undo = lambda *given: None; " + CHANGE)
    assert commit.JOURNAL.exists() and state(disk) == NEW
    recovery = power.record(python(LOAD, "commit.recover_files()", args=(disk,)), disk)
    assert set(ends(disk, commit, recovery.disks())) == {"old"} and len(recovery.calls) > 8


@pytest.mark.parametrize("what", ["dir", "file"])
def test_without_what_is_synced_a_power_cut_would_leave_neither(disk, commit, what):
    with pytest.raises((AssertionError, OSError, ValueError)):
        ends(disk, commit, change(disk).disks(unsynced=what))


# ---------------------------------------------------------------- files on the desk

WRITE = "from stacklab.files import write_json; write_json(top / 'found.json', {'new': 1})"


def test_a_power_cut_while_a_small_file_is_replaced_leaves_one_of_the_two_and_afterwards_the_new_one(folder):
    (folder / "found.json").write_text('{"old": 1}')
    write = power.record(python(WRITE, args=[folder]), folder, umask=0o077)
    assert {left["found.json"][1] for _, left in write.disks()} == {b'{"old": 1}', b'{\n  "new": 1\n}\n'}
    assert {left["found.json"][2] for left in write.end()} == {0o644}
    assert {left["found.json"][1] for left in write.end()} == {b'{\n  "new": 1\n}\n'}


RUN = """from stacklab.runs.draft import writing_run
from stacklab.runs.results import Run
from stacklab.settings import StackSettings
from stacklab.workload import HttpLoad
with writing_run(top / "results/an-experiment", "one") as draft:
    (draft.path / "logs").mkdir()
    (draft.path / "logs/nginx.log").write_text("a line")
    draft.record(Run(path=draft.path, settings=StackSettings(), workload=HttpLoad(), observed={}, environment={}, run="one",
                     experiment="an-experiment", started_s=1.0, ended_s=2.0))
"""


def test_a_power_cut_leaves_a_run_whole_or_none_and_afterwards_the_run(folder):
    writing = power.record(python(RUN, args=[folder]), folder)
    whole = power.read(folder)
    files = {path: what for path, what in whole.items() if path.startswith("results/an-experiment/one/")}
    assert len(files) == 4
    for step, left in writing.disks():
        found = {path: what for path, what in left.items() if path.startswith("results/an-experiment/one")}
        found.pop("results/an-experiment/one", None)
        assert found in ({}, files), f"{sorted(found)} after {step}"
    assert all(left == whole for left in writing.end())


IMAGE = """from stacklab.labs import image, storage
storage.IMAGES, image.BUILD = top, top / "build"
image.BUILD.write_text("echo all of it > $1")
image.require_free = lambda *given: None
image._build("web")
"""


def test_a_power_cut_leaves_no_half_of_a_base_image(folder):
    building = power.record(python(IMAGE, args=[folder]), folder)
    kept = [left["web.tar"][1] for _, left in building.disks() if "web.tar" in left]
    assert set(kept) == {b"all of it\n"}


# ---------------------------------------------------------------- what the web host is set up with


def bash(folder, commands):
    """Runs `commands` among web.sh's own functions, with `folder` for what lies in /var/lib and /etc."""
    source = (ROOT / "provision/web.sh").read_text()
    head = source[: source.index("\n# shellcheck source=provision/certificates.sh")]
    head = head.replace("/var/lib/stacklab", f"{folder}/state").replace("/etc/stacklab", f"{folder}/etc")
    return ["bash", "-c", f"{head}\n. {ROOT}/provision/certificates.sh\n{commands}"]


def step(name):
    """One of web.sh's own functions."""
    source = (ROOT / "provision/web.sh").read_text()
    return source[(begin := source.index(f"\n{name}() {{")) : source.index("\n}\n", begin) + 3]


ENVIRONMENT = f"""mkdir -p home/venv/bin provision && echo lock >provision/requirements.lock
echo 'mkdir -p home/venv/lib && echo all of it >home/venv/lib/package' >home/venv/bin/python && chmod +x home/venv/bin/python
home=$PWD/home source_dir=$PWD {step("environment")} environment"""
MADE_SITE = f"""mkdir -p home/app home/venv/bin state/db state/static && touch home/venv/.lock state/db/site.sqlite3
: >home/venv/bin/python && chmod +x home/venv/bin/python
manage() {{ [ $1 != collectstatic ] || echo all of it >state/static/page.css; }}; chgrp() {{ :; }}; install() {{ :; }}
home=$PWD/home {step("site")} site"""

PACKAGES = f"""apt-get() {{ case $* in -s*) echo 'Inst all (of Debian [it])';; *install*) : >installed;; esac; }}
sh() {{ :; }}; dpkg-query() {{ :; }}; brought_files() {{ :; }}
source_dir=. missing=(one) {step("install_packages")} install_packages"""


@pytest.mark.parametrize(
    ("work", "stamp", "made"),
    [
        (ENVIRONMENT, "home/venv/.lock", "home/venv/lib/package"),
        (MADE_SITE, "state/site", "state/static/page.css"),
        (PACKAGES, "installed", "state/brought"),  # else nobody would know that they came with us
    ],
    ids=["environment", "site", "packages"],
)
def test_a_power_cut_leaves_no_stamp_without_what_it_says_is_done(folder, work, stamp, made):
    working = power.record(bash(folder, work), folder)
    stamped = power.read(folder)[stamp]
    for step_done, left in working.disks():
        assert left.get(stamp) != stamped or left[made][1] in (b"all of it\n", b"package all:it\n"), step_done
    assert any(left.get(stamp) == stamped for _, left in working.disks())


SITE = """build = load("build-site")
build.VENVS, place = top / "venvs", top / "sites/one"
def write(path):
    path.parent.mkdir(parents=True)
    path.write_text("all of it")
class Builder(build.Builder):
    require_python = variables = answer = import_asgi = lambda self: None
    must = manage = lambda self, *words, **more: ""
    kept_venv = lambda self: build.VENVS / "venv"
    lacking = lambda self, venv: []
    pip = lambda self, venv, *words: write(venv / "lib/package")
    static_files = lambda self: write(self.static / "page.css") and ""
    shared = lambda self, *folders: None
(place / "code").mkdir(parents=True)
(place / "code/requirements.txt").write_text("django")
site = {"name": "one", "code": "1", "asgi": None, "database": "sqlite"}
asked = {"site": site, "place": str(place), "requirements": "requirements.txt", "migrate": False}
assert Builder(asked).build()["ok"]
"""


def test_a_power_cut_leaves_no_environment_that_is_called_complete_and_is_not_nor_half_of_a_site_that_may_serve(folder):
    building = power.record(python(SITE, args=[folder]), folder)
    for step_done, left in building.disks():
        assert "venvs/venv/complete" not in left or left["venvs/venv/lib/package"][1] == b"all of it", step_done
    assert all(left == power.read(folder) for left in building.end())


def test_a_power_cut_leaves_the_old_certificate_or_the_new_one_which_is_to_be_taken_up(folder):
    (folder / "etc/tls").mkdir(parents=True)
    make = "authority localhost; server web DNS:localhost"
    subprocess.run(bash(folder, f"{make}; rm -r {folder}/state"), check=True, capture_output=True)
    before = power.read(folder)
    renewing = power.record(bash(folder, f"{make},DNS:stacklab"), folder)
    after = power.read(folder)
    pem, ext, ca, pending = "etc/tls/web.pem", "etc/tls/web.ext", "etc/tls/ca.crt", "state/restart"
    for step, left in renewing.disks():
        assert left[ca][1] == before[ca][1] and left[pem][1] in (before[pem][1], after[pem][1]), step
        assert left[pem][1] == before[pem][1] or left[pending][1] == b"nginx\ndaphne\n", f"not to be taken up after {step}"
        assert left[ext][1] == before[ext][1] or left[pem][1] == after[pem][1], f"of another certificate after {step}"
    assert all(left[name][1] == after[name][1] for left in renewing.end() for name in (pem, ext))


def test_a_power_cut_leaves_no_half_of_the_first_authority(folder):
    (folder / "etc/tls").mkdir(parents=True)
    making = power.record(bash(folder, "authority localhost"), folder)
    after = power.read(folder)
    names = [f"etc/tls/{name}" for name in ("ca.pem", "ca.ext", "ca.crt")]
    for step, left in making.disks():
        there = [name in left for name in names]
        assert there == sorted(there, reverse=True), f"{there} after {step}"
        assert all(left[name][1] == after[name][1] for name in names if name in left), step
    assert all(set(names) < set(left) for left in making.end())


def test_what_was_brought_is_in_the_list_before_it_is_there_whatever_a_power_cut_leaves(folder):
    (folder / "etc").mkdir(parents=True)
    (folder / "theirs").write_text("theirs\n")
    (folder / "ours").write_text("ours\n")
    bring = f"""home={folder}/home; source_dir={folder}; mkdir -p {folder}/provision; : >{folder}/provision/packages.txt
    begin; mkdir {folder}/home; brought user somebody; : >{folder}/somebody; install_file {folder}/ours {folder}/theirs"""
    bringing = power.record(bash(folder, bring), folder)
    whole = power.read(folder)["state/brought"][1].splitlines()
    for step, left in bringing.disks():
        lines = left.get("state/brought", ("", b"", 0))[1].splitlines()
        assert lines in [whole[:count] for count in range(len(whole) + 1)], f"{lines} after {step}"
        assert "home" not in left or b"begun list" in lines, step
        assert "somebody" not in left or b"user somebody" in lines, step
        if left.get("theirs") != bringing.before["theirs"]:
            assert lines == whole and left[f"state/originals{folder}/theirs"][1] == b"theirs\n", step
