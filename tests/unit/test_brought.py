"""What a machine's list of what provisioning brought has go and stay, where others' things depend on it; and who keeps it."""

import importlib.machinery
import importlib.util
import json
import os
import re
import shutil
import subprocess
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from shell import put, run, stub

from stacklab import tasks
from stacklab.errors import LabError
from stacklab.files import ROOT
from stacklab.stack.services import SERVICES

WEB_SH = (ROOT / "provision/web.sh").read_text()


@pytest.fixture
def program(monkeypatch, tmp_path):
    """provision/brought, on a machine whose files are below `tmp_path`, and of which `known`, and `owned` ({file: package}), are
    all that dpkg knows. It does what it does with files; other commands are in `ran`, and fail if they begin as `refused`."""
    loader = importlib.machinery.SourceFileLoader("brought_program", str(ROOT / "provision/brought"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    module.known, module.owned, module.ran, module.refused = [], {}, [], ("nothing",)
    module.really = module.run

    def moved(path):
        return Path(f"{tmp_path}{path}")

    def answer(*command):
        code, said, text = 0, "", " ".join(command).replace(str(tmp_path), "")
        if text.startswith(module.refused):
            return subprocess.CompletedProcess(command, 1, "", "it will not\n")
        if command[0] == "dpkg-query":
            said = "".join(f"{name} installed\n" for name in command[4:] if name in module.known)
        elif command[:2] == ("dpkg", "-S"):
            said = f"{module.owned[command[2]]}: {command[2]}\n" if command[2] in module.owned else ""
        elif command[0] == "getent":
            said = f"{command[2]}:x\n"
        elif command[0] in ("cp", "rm", "rmdir"):
            return module.really(*command)
        elif command[:2] != ("dpkg", "--no-act"):
            module.ran.append(text)
            module.known = [name for name in module.known if command[:2] != ("dpkg", "--purge") or name not in command]
        return subprocess.CompletedProcess(command, code, said, "")

    for name in ("STATE", "LIST", "ORIGINALS", "UNITS", "COMMIT_LOCK"):
        monkeypatch.setattr(module, name, moved(getattr(module, name)))
    module.OURS = {moved(folder): names for folder, names in module.OURS.items()}
    module.RUNNING = tuple(map(moved, module.RUNNING))
    module.GUARDED = {family: moved(folder) for family, folder in module.GUARDED.items()}
    monkeypatch.setattr(module, "run", answer)
    return module


def files_in(root):
    return sorted(str(path).removeprefix(str(root)) for path in root.rglob("*") if path.is_file())


def said_by(program, capsys, *words):
    """What the program itself answers."""
    program.sys.argv = ["brought", *words]
    program.main()
    return json.loads(capsys.readouterr().out)


THEIRS = (
    "/opt/stacklab/wheels/django.whl", "/opt/stacklab/.env", "/opt/stacklab/backups/site", "/opt/stacklab/desk-venv/bin/python",
    "/etc/stacklab/desk.json", "/etc/stacklab/jupyter.env", "/var/lib/stacklab/labs/mine/lab.json",
    "/var/lib/stacklab/images/trixie.tar", "/var/lib/stacklab/removed/old/lab.json", "/var/lib/stacklab/desks/bookworm.tar",
    "/var/lib/stacklab/bookings", "/run/stacklab/images.lock", "/var/log/nginx/requests.jsonl.of-mine",
    "/etc/systemd/system/nginx.service.d/theirs.conf",
)  # fmt: skip
OURS = (
    "/opt/stacklab/app/manage.py", "/opt/stacklab/source/README.md", "/etc/stacklab/tls/ca.pem", "/etc/stacklab/settings.json",
    "/etc/stacklab/.settings.json.stacklab-new", "/var/lib/stacklab/sites/lab/site.env", "/var/lib/stacklab/restart",
    "/var/log/daphne/daphne-1.log", "/run/stacklab-commit.lock", "/run/stacklab-measuring", "/var/log/nginx/requests.jsonl.1",
    "/etc/nginx/conf.d/.stacklab.conf.stacklab-old",
)  # fmt: skip
LISTED = (
    "/etc/nginx/conf.d/stacklab.conf", "/var/log/nginx/requests.jsonl", "/etc/systemd/system/uwsgi.service",
    "/etc/systemd/system/daphne@.service", "/etc/systemd/system/nginx.service.d/stacklab.conf",
)  # fmt: skip


@pytest.fixture
def machine(program, tmp_path):
    """A machine that was provisioned, and on which others have things of their own. The text of its list."""
    put(tmp_path, *THEIRS, text="theirs\n")
    put(tmp_path, *OURS, *LISTED, "/etc/nginx/nginx.conf", "/opt/stacklab/venv/there-before")
    put(tmp_path, "/etc/nginx/nginx.conf", text="the lab's\n")
    put(f"{tmp_path}/var/lib/stacklab/originals{tmp_path}", "/etc/nginx/nginx.conf", text="theirs\n")
    program.known, program.owned = ["rsync", "nginx"], {f"{tmp_path}/etc/nginx/nginx.conf": "nginx"}
    lines = [
        "enabled nginx", "active nginx", f"kept {tmp_path}/opt/stacklab/venv", "had nginx", "sysctl net.core.somaxconn=4096",
        "begun list", "package rsync", "user daphne", *(f"file {tmp_path}{path}" for path in LISTED),
        f"original {tmp_path}/etc/nginx/nginx.conf", f"tree {tmp_path}/var/log/daphne", f"tree {tmp_path}/var/lib/stacklab",
    ]  # fmt: skip
    program.LIST.write_text("".join(f"{line}\n" for line in lines))
    return lines


def test_what_is_taken_away_is_ours_by_its_name_and_what_others_have_beside_it_stays(program, machine, tmp_path, capsys):
    seen = said_by(program, capsys)
    assert seen["goes"]["packages"] == ["rsync"] and program.ran == [] and seen["failed"] == []
    assert any("/var/lib/stacklab/labs" in line and "of another lab" in line for line in seen["stays"])
    assert said_by(program, capsys, "--take-away") == seen
    assert files_in(tmp_path) == sorted([*THEIRS, "/etc/nginx/nginx.conf", "/opt/stacklab/venv/there-before"])
    assert (tmp_path / "etc/nginx/nginx.conf").read_text() == "theirs\n"
    assert not (tmp_path / "etc/nginx/conf.d/stacklab.conf").exists()
    ran = program.ran
    assert ran[0] == "systemctl stop uwsgi.service daphne@*.service"
    assert "systemctl stop redis-server uwsgi gunicorn" in ran and "systemctl disable nginx" not in ran
    after_the_files = ["systemctl daemon-reload", "systemctl enable nginx", "sysctl -q -w net.core.somaxconn=4096",
                       "userdel daphne", "dpkg --purge rsync", "systemctl restart nginx"]  # fmt: skip
    assert [one for one in ran if one in after_the_files] == after_the_files
    assert said_by(program, capsys, "--take-away") is None


@pytest.mark.parametrize(
    ("refused", "words"),
    [
        ("cp -a", "/etc/nginx/nginx.conf: it will not"), ("dpkg --purge", "packages rsync: it will not"),
        ("rm -rf --one-file-system /opt/stacklab/app", "/opt/stacklab/app: it will not"),
        ("rm -f /etc/nginx/conf.d/stacklab.conf", "/etc/nginx/conf.d/stacklab.conf: it will not"),
        ("systemctl restart nginx", "nginx, which ran before: it will not"),
    ],
)  # fmt: skip
def test_what_fails_is_said_and_stays_on_the_list_and_the_next_run_does_that(program, machine, tmp_path, capsys, refused, words):
    program.refused = (refused,)
    seen = said_by(program, capsys, "--take-away")
    assert [line.replace(str(tmp_path), "") for line in seen["failed"]] == [words]
    kept = f"{tmp_path}/var/lib/stacklab/originals{tmp_path}/etc/nginx/nginx.conf"
    assert program.LIST.exists() and Path(kept).read_text() == "theirs\n"
    assert (f"original {tmp_path}/etc/nginx/nginx.conf" in program.LIST.read_text().splitlines()) == (refused == "cp -a")
    if refused != "cp -a":  # it is theirs again, and they go on with it
        put(tmp_path, "/etc/nginx/nginx.conf", text="theirs, newer\n")
    program.refused = ("nothing",)
    assert said_by(program, capsys, "--take-away")["failed"] == []
    assert (tmp_path / "etc/nginx/nginx.conf").read_text() == ("theirs\n" if refused == "cp -a" else "theirs, newer\n")
    assert files_in(tmp_path) == sorted([*THEIRS, "/etc/nginx/nginx.conf", "/opt/stacklab/venv/there-before"])


def test_a_unit_that_somebody_has_removed_meanwhile_is_not_missed(program, machine, capsys):
    program.refused = ("systemctl cat", "systemctl enable", "systemctl restart")
    assert said_by(program, capsys, "--take-away")["failed"] == [] and not program.LIST.exists()


def test_nothing_goes_by_a_list_of_which_the_beginning_was_cut_off(program, machine, capsys):
    program.LIST.write_text("enabled nginx\n")
    assert said_by(program, capsys, "--take-away") is None
    assert program.LIST.exists() and program.ran == []


def test_a_change_of_settings_that_is_under_way_ends_before_anything_goes(program, machine, capsys, monkeypatch):
    """By the lock that a change really holds."""
    monkeypatch.syspath_prepend(ROOT / "provision")
    import changing

    monkeypatch.setattr(changing, "LOCK", program.COMMIT_LOCK)
    program.COMMIT_LOCK.parent.mkdir(parents=True, exist_ok=True)
    ran_meanwhile = []

    def end_soon() -> None:
        time.sleep(0.5)
        ran_meanwhile.extend(program.ran)
        held.close()

    with ExitStack() as held:
        held.enter_context(changing.alone(patience_s=0))
        said_by(program, capsys)  # who only looks waits for nobody
        ending = threading.Thread(target=end_soon)
        ending.start()
        said_by(program, capsys, "--take-away")
        ending.join()
    assert ran_meanwhile == [] and program.ran


def test_the_lock_of_another_who_installs_is_waited_for(program, monkeypatch):
    answers = iter(["dpkg: error: dpkg frontend lock was locked by another process with pid 7\n"] * 3 + [""])
    monkeypatch.setattr(program, "run", lambda *command: subprocess.CompletedProcess(command, 0, "", next(answers)))
    waited = []
    monkeypatch.setattr(program.time, "sleep", waited.append)
    assert program.dpkg("--purge", "rsync").stderr == "" and len(waited) == 3


PACKAGE = "Package: {}\nStatus: {}\nVersion: 1\nArchitecture: {}\nMaintainer: a\nDescription: a\n{}\n"


def test_no_package_is_taken_along_and_one_that_another_needs_stays_with_what_it_needs_itself(program, monkeypatch, tmp_path):
    if not shutil.which("dpkg"):
        pytest.skip("there is no dpkg here")
    (tmp_path / "dpkg/updates").mkdir(parents=True)
    (tmp_path / "dpkg/info").mkdir()
    (tmp_path / "dpkg/available").touch()
    architecture = subprocess.run(["dpkg", "--print-architecture"], capture_output=True, text=True).stdout.strip()
    rows = (
        ("ours", "install ok installed", "Depends: lib\n"),
        ("lib", "install ok installed", "Depends: deeper\nMulti-Arch: same\n"),
        ("deeper", "install ok installed", ""), ("theirs", "install ok installed", "Depends: lib\n"),
        ("was-here", "deinstall ok config-files", ""), ("broken", "install ok half-installed", ""),
    )  # fmt: skip
    status = [PACKAGE.format(name, state, architecture, more) for name, state, more in rows]
    (tmp_path / "dpkg/status").write_text("".join(status))
    for name in ("ours", f"lib:{architecture}", "deeper", "theirs", "was-here", "broken"):
        (tmp_path / f"dpkg/info/{name}.list").touch()
    monkeypatch.setenv("DPKG_ADMINDIR", str(tmp_path / "dpkg"))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")  # of somebody who is not root
    monkeypatch.setattr(program, "run", program.really)
    names = [f"{name}:{architecture}" for name in ("ours", "lib", "deeper", "was-here", "broken", "gone")]
    assert set(program.present(names)) == {"ours", f"lib:{architecture}", "deeper", "was-here", "broken"}
    assert "was-here" not in program.present(names, ["was-here"])
    goes, stays = program.plan({"package": names, "remains": ["was-here"]})
    assert sorted(goes["packages"]) == ["broken", "ours"]
    assert "theirs depends on lib" in stays[0] and set(stays[0].split(":")[0].split()) >= {"packages", "lib"}, stays
    assert f"lib:{architecture}" in stays[0] and "deeper" in stays[0]


def test_of_a_package_whose_configuration_was_there_before_that_stays(program, machine, tmp_path, capsys):
    with open(program.LIST, "a") as file:
        file.write("package nginx\nremains nginx\n")
    seen = said_by(program, capsys, "--take-away")
    assert "the configuration of rsync" not in str(seen["stays"]) and "the configuration of nginx: there before" in seen["stays"]
    assert [one for one in program.ran if one.startswith("dpkg")] == ["dpkg --remove rsync nginx", "dpkg --purge rsync"]


FOLDERS = [("nginx", "nginx/conf.d"), ("redis", "redis"), ("postgresql", "postgresql/17/main")]


@pytest.mark.parametrize(("family", "folder"), FOLDERS)
def test_a_package_goes_unless_somebody_has_put_something_of_theirs_into_its_folders(program, tmp_path, family, folder):
    program.known = [family, f"{family}-common", "rsync"]
    put(tmp_path, f"/etc/{family}/its.conf", f"/etc/{folder}/stacklab.conf", f"/etc/{folder}/.stacklab.conf.stacklab-old")
    program.owned = {f"{tmp_path}/etc/{family}/its.conf": f"{family}-common"}
    found = {"package": [*program.known, "gone-since"], "file": [f"{tmp_path}/etc/{folder}/stacklab.conf"]}
    goes, stays = program.plan(found)
    assert goes["packages"] == program.known and not any(line.startswith("packages") for line in stays)
    put(tmp_path, f"/etc/{folder}/mine.conf")
    goes, stays = program.plan(found)
    assert goes["packages"] == ["rsync"]
    assert stays[0] == (
        f"packages {family} {family}-common: {tmp_path}/etc/{folder}/mine.conf would go with them, and did not come with us"
    )


def test_of_a_machine_of_before_there_was_a_list_it_says_what_is_not_known(program, tmp_path):
    put(tmp_path, "/nginx.conf", "/ours.conf")
    program.owned, program.known = {f"{tmp_path}/nginx.conf": "nginx-common"}, ["nginx", "redis-server"]
    goes, stays = program.plan({"late": ["list"], "file": [f"{tmp_path}/{name}" for name in ("nginx.conf", "ours.conf", "gone")]})
    assert goes["files"] == [f"{tmp_path}/ours.conf"]
    assert "as the lab wrote it: it is a file of nginx-common" in stays[0]
    assert any("before this machine kept a list" in line and "somaxconn" in line for line in stays)
    assert "nginx redis-server, stopped and disabled: whether they ran here before the lab is not known" in stays


def test_of_a_template_all_instances_are_stopped_and_a_drop_in_is_no_unit(program):
    units = [f"{program.UNITS}/{name}" for name in ("daphne@.service", "uwsgi.service", "nginx.service.d/stacklab.conf")]
    assert program.units_of([*units, "/etc/logrotate.d/stacklab"]) == ["daphne@*.service", "uwsgi.service"]


def test_every_name_that_provisioning_has_in_the_labs_folders_is_known_as_ours(program, tmp_path):
    shell = WEB_SH + (ROOT / "provision/certificates.sh").read_text()
    for kind, place in (("home", "/opt/stacklab"), ("etc", "/etc/stacklab"), ("state", "/var/lib/stacklab")):
        names = set(re.findall(rf"\${kind}\"?/([a-z][a-z0-9.-]*)", shell)) - {"wheels", "brought", "originals"}
        names |= {file.path.split("/")[3] for one in SERVICES.values() for file in one.templates if file.path.startswith(place)}
        assert names and names <= set(program.OURS[Path(f"{tmp_path}{place}")]), kind


# ---------------------------------------------------------------- who keeps the list


def functions(folder, commands, code=0):
    """Runs `commands` among web.sh's own functions; the lines of the list."""
    done = run(folder, "web.sh", commands)
    assert done.returncode == code, done.stderr
    return (folder / "var/lib/stacklab/brought").read_text().splitlines()


def test_a_file_that_was_there_is_kept_as_it_was_once_and_one_that_was_not_is_ours(tmp_path):
    (tmp_path / "theirs").write_text("theirs\n")
    (tmp_path / "source").write_text("ours\n")
    (tmp_path / "link").symlink_to("nowhere")
    install = "; ".join(f'install_file "{tmp_path}/source" "{tmp_path}/{name}"' for name in ("theirs", "new", "link"))
    lines = functions(tmp_path, install)
    assert lines == [f"original {tmp_path}/theirs", f"file {tmp_path}/new", f"original {tmp_path}/link"]
    (tmp_path / "source").write_text("ours, newer\n")
    assert functions(tmp_path, install) == lines
    assert (tmp_path / "theirs").read_text() == "ours, newer\n"
    assert (tmp_path / f"var/lib/stacklab/originals{tmp_path}/theirs").read_text() == "theirs\n"
    assert os.readlink(tmp_path / f"var/lib/stacklab/originals{tmp_path}/link") == "nowhere"


def test_a_file_that_cannot_be_kept_is_not_replaced(tmp_path):
    (tmp_path / "theirs").write_text("theirs\n")
    stub(tmp_path, "cp", "exit 1")
    assert functions(tmp_path, f'brought tree x; install_file /dev/null "{tmp_path}/theirs"; echo went on', code=1) == ["tree x"]
    assert (tmp_path / "theirs").read_text() == "theirs\n"
    assert not re.findall(r"(?m)^.*\binstall_file .*(?:&&|\|\|).*$", re.sub(r"\[ -z \"\$six\" \] \|\| ", "", WEB_SH))


def test_what_was_there_is_noted_by_exact_names_and_a_beginning_that_was_cut_off_begins_anew(tmp_path):
    theirs = (
        "/opt/stacklab/.env",
        "/opt/stacklab/secrets",
        "/etc/stacklab/.x",
        "/var/lib/stacklab/backups",
        "/var/lib/stacklab/labs/a",
    )
    put(tmp_path, *theirs, "/opt/stacklab/source/README.md")
    stub(tmp_path, "systemctl", 'case "$*" in *nginx) ;; *) exit 1 ;; esac')
    stub(tmp_path, "dpkg-query", '[ "$4" != rsync ] || echo "install ok installed"')
    assert functions(tmp_path, "is_installed() { exit 3; }; begin", code=3)[:2] == ["enabled nginx", "active nginx"]
    lines = functions(tmp_path, "begin")
    kept = sorted(line.removeprefix(f"kept {tmp_path}") for line in lines if line.startswith("kept"))
    assert kept == sorted([*theirs[:4], "/var/lib/stacklab/labs"])
    assert lines[-1] == "begun list" and lines.count("active nginx") == 1 and "had rsync" in lines
    put(tmp_path, "/opt/stacklab/app")
    assert functions(tmp_path, "begin") == lines


def test_on_a_machine_of_before_there_was_a_list_no_file_of_ours_is_taken_for_somebody_elses(tmp_path):
    put(tmp_path, "/etc/stacklab/settings.json", "/there")
    lines = functions(tmp_path, f'begin; brought_files "{tmp_path}/there"; begin')
    assert lines == ["late list", "begun list", f"file {tmp_path}/there"]
    assert not (tmp_path / "var/lib/stacklab/originals").exists()


SIMULATED = """NOTE: This is only a simulation!
Inst libc6 [2.36-1] (2.36-2 Debian:12/stable [amd64])
Inst nginx-common (1.22 Debian:12.7/stable, Debian-Security:12/stable [all])
Inst libx:i386 (1 Debian:12/stable [i386]) []
Inst nginx (1.22 Debian:12/stable [amd64])
Conf nginx (1.22 Debian:12/stable [amd64])"""
TO_COME = ["remains nginx-common", *(f"package {name}" for name in ("nginx-common:all", "libx:i386", "nginx:amd64"))]


@pytest.fixture
def apt(tmp_path):
    """A machine on which nothing is installed; what apt-get was told is in the file `told`, with the list as it was then."""
    known = """*-f*binary*) echo nginx-common config-files; exit 1 ;; "-W nginx-common:all") exit 0 ;;"""
    stub(tmp_path, "dpkg-query", f'case "$*" in {known} esac; exit 1')
    stub(tmp_path, "sh", "")
    stub(tmp_path, "sleep", "")
    script = """echo "$*" >> {0}/told
case "$*" in
    update*) [ ! -e {0}/locked ] || {{ rm {0}/locked; echo "E: Could not get lock /var/lib/apt/lists/lock."; exit 100; }} ;;
    -s*) cat {0}/simulated; [ ! -e {0}/removes ] || {{ echo "E: remove is disabled."; exit 100; }} ;;
    *) cat {0}/var/lib/stacklab/brought >> {0}/told; exit 100 ;;
esac"""
    put(tmp_path, "/simulated", text=SIMULATED)
    stub(tmp_path, "apt-get", script.format(tmp_path))
    return tmp_path


def test_what_apt_will_install_is_noted_before_it_does_and_an_upgrade_is_not_ours(apt):
    (apt / "locked").touch()
    lines = functions(apt, "packages", code=1)
    assert [line for line in lines if line.startswith("package")] == ["package nginx-common:all"], "which alone came"
    told = (apt / "told").read_text().splitlines()
    assert told[:2] == ["update -q"] * 2 and told[2].startswith("-s install") and told[3].startswith("install")
    assert all("--no-remove" in one and "DPkg::Lock::Timeout" in one for one in told[2:4])
    assert told[4:8] == TO_COME  # and so they were when apt was asked


def test_where_apt_would_remove_what_is_there_nothing_is_installed_nor_noted(apt):
    (apt / "removes").touch()
    assert functions(apt, "brought tree x; packages", code=1) == ["tree x"]
    assert (apt / "told").read_text().count("\n") == 2


# ---------------------------------------------------------------- fab destroy


@pytest.fixture
def destroying(monkeypatch):
    """The lab is an SSH host. `of` says what taking away answers, `order` what was done."""

    class Host:
        name = "mine"

    class Lab:
        kind = "ssh"
        web = staticmethod(Host)

    @contextmanager
    def measuring(host, what):
        Lab.order.append(what)
        yield
        Lab.order.append("given back")

    Lab.order, Lab.answer = [], {"goes": {"files": ["/a"]}, "stays": ["b"], "failed": []}
    monkeypatch.setattr(tasks, "open_lab", lambda lab: Lab)
    monkeypatch.setattr(tasks, "measured_by", lambda host: None)
    monkeypatch.setattr(tasks, "measuring", measuring)
    monkeypatch.setattr(tasks.stack, "brought", lambda host: Lab.answer, raising=False)
    monkeypatch.setattr(tasks.stack, "take_away", lambda host: Lab.order.append("take away") or Lab.answer, raising=False)
    return Lab


def test_destroy_holds_the_host_meanwhile_so_that_nobody_measures_what_goes(destroying, monkeypatch):
    tasks.destroy(yes=True)
    assert destroying.order == ["fab destroy --yes", "take away", "given back"]
    monkeypatch.setattr(tasks, "measured_by", lambda host: "mine is being measured by ada")
    with pytest.raises(LabError, match="measured by ada"):
        tasks.destroy(yes=True)
    assert len(destroying.order) == 3


def test_destroy_that_did_not_get_through_says_so_and_what_to_do(destroying, capsys):
    destroying.answer["failed"] = ["/etc/nginx/nginx.conf: no space left"]
    with pytest.raises(LabError, match="not yet as it was before.*--yes"):
        tasks.destroy(yes=True)
    assert "FAILED: /etc/nginx/nginx.conf: no space left" in capsys.readouterr().out
