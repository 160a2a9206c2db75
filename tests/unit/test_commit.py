"""commit-settings without a host: its files are swapped, or put back, wherever it is killed.

The fixture `commit` is the script as a module. A kill is real: a forked process ends itself with SIGKILL at the n-th call
that touches the disk.
"""

import http.client
import itertools
import json
import os
import signal
import ssl
import time
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from certificates import make_ca
from load_site import Site

TOUCHES = ("replace", "link", "fsync", "fchmod", "open", "unlink")


@pytest.fixture
def site(tmp_path) -> list[dict]:
    """Three files to change: two exist, the third is new."""
    folder = tmp_path / "etc"
    (folder / "nginx").mkdir(parents=True)
    (folder / "nginx" / "nginx.conf").write_text("old nginx\n")
    (folder / "uwsgi.ini").write_text("old uwsgi\n")
    (folder / "uwsgi.ini").chmod(0o640)
    return [
        {"path": str(folder / "nginx" / "nginx.conf"), "text": "new nginx\n", "unit": "nginx"},
        {"path": str(folder / "uwsgi.ini"), "text": "new uwsgi\n", "unit": "uwsgi"},
        {"path": str(folder / "daphne.env"), "text": "new daphne\n", "unit": "daphne"},
    ]


OLD = ["old nginx\n", "old uwsgi\n", None]
NEW = ["new nginx\n", "new uwsgi\n", "new daphne\n"]


def texts(site) -> list[str | None]:
    return [Path(file["path"]).read_text() if Path(file["path"]).exists() else None for file in site]


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob(".*stacklab-*")]


def killed(work, at: int) -> bool:
    """Do `work` in a process of its own that is killed at its `at`-th touch of the disk. Whether it was."""
    pid = os.fork()
    if pid == 0:
        count = itertools.count(1)

        def deadly(function):
            def call(*args, **kwargs):
                if next(count) == at:
                    os.kill(os.getpid(), signal.SIGKILL)
                return function(*args, **kwargs)

            return call

        for name in TOUCHES:
            setattr(os, name, deadly(getattr(os, name)))
        try:
            work()
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(pid, 0)[1])


def test_a_swap_and_its_undoing(commit, site, tmp_path):
    commit.swap(site)
    assert texts(site) == NEW
    assert Path(site[1]["path"]).stat().st_mode & 0o777 == 0o640
    assert commit.put_back() == {"nginx", "uwsgi", "daphne"}
    assert texts(site) == OLD
    assert commit.put_back() == {"nginx", "uwsgi", "daphne"}, "once more does no harm"
    assert texts(site) == OLD
    assert Path(site[1]["path"]).stat().st_mode & 0o777 == 0o640
    commit.forget_old()
    assert not commit.JOURNAL.exists() and leftovers(tmp_path) == []


def test_a_swap_that_stands_leaves_nothing_behind(commit, site, tmp_path):
    commit.swap(site)
    commit.forget_old()
    assert texts(site) == NEW
    assert not commit.JOURNAL.exists() and leftovers(tmp_path) == []


@pytest.mark.fault("a change is killed at any system call", "web")
def test_killed_anywhere_it_ends_in_the_old_files_or_the_new(commit, site, tmp_path):
    def change():
        commit.swap(site)
        commit.forget_old()

    def undo():
        commit.put_back()
        commit.forget_old()

    ends = []
    for at in itertools.count(1):
        whole = not killed(change, at)
        if commit.JOURNAL.exists():
            for then in itertools.count(1):  # and whoever puts things back is killed too
                if not commit.JOURNAL.exists() or not killed(undo, then):
                    break
            assert texts(site) == OLD, f"killed at touch {at}"
        ends.append(texts(site))
        assert ends[-1] in (OLD, NEW), f"killed at touch {at}"
        for path, text in zip((file["path"] for file in site), OLD, strict=True):
            Path(path).write_text(text) if text else Path(path).unlink(missing_ok=True)
        commit.JOURNAL.unlink(missing_ok=True)
        if whole:
            break
    assert ends[0] == OLD and ends[-1] == NEW and len(ends) > 20
    commit.swap(site)
    commit.forget_old()
    assert texts(site) == NEW and leftovers(tmp_path) == [], "what a kill left does not disturb the next change"


@pytest.mark.fault("a disk that fills up at any write of a change", "web")
@pytest.mark.parametrize("written", ["nginx.conf", "journal.json"])
def test_a_disk_without_room_leaves_all_as_it_was(commit, site, tmp_path, monkeypatch, written):
    fsync = os.fsync

    def full(descriptor):
        if os.readlink(f"/proc/self/fd/{descriptor}").endswith(f".{written}.stacklab-new"):
            raise OSError(28, os.strerror(28))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(commit.Refused, match=rf"cannot write .*{written}: No space left on device; nothing was changed"):
        commit.swap(site)
    assert texts(site) == OLD and leftovers(tmp_path) == [] and not commit.JOURNAL.exists()


def test_recovery_takes_up_what_came_back_and_forgets_the_journal_last(commit, site, monkeypatch):
    before = {"settings": {"daphne_instances": 3}}
    commit.live.SETTINGS.write_text(json.dumps(before))
    seen = []

    def take_up(parts, settings, steps):
        seen.append((parts, settings, texts(site), commit.JOURNAL.exists()))

    monkeypatch.setattr(commit, "take_up", take_up)
    monkeypatch.setattr(commit, "verify", lambda settings, site: seen.append(settings))
    assert commit.recover() is False
    commit.swap(site)
    assert commit.recover() is True
    assert seen == [({"nginx", "uwsgi", "daphne"}, before["settings"], OLD, True), before["settings"]]
    assert not commit.JOURNAL.exists()


def test_the_boot_has_systemd_read_the_old_units_and_starts_as_many_instances_as_the_old_settings_say(commit, site, monkeypatch):
    commit.live.SETTINGS.write_text(json.dumps({"settings": SETTINGS}))
    jobs = """ 118 daphne@1.service start waiting\n 119 uvicorn@3.service start waiting\n  90 nginx.service start waiting
 120 uvicorn@1.service start waiting\n  91 gunicorn.service start waiting\n   2 multi-user.target start waiting\n"""
    told = []

    def words_of(*command):
        assert texts(site) == OLD and commit.JOURNAL.exists(), "killed now, the next boot does it again"
        told.append(" ".join(command).removeprefix("systemctl "))
        return jobs if command[1] == "list-jobs" else ""

    monkeypatch.setattr(commit.live, "words_of", words_of)
    commit.recover_files()
    assert told == [], "there is nothing to put back"
    commit.swap(site)
    commit.recover_files()
    assert told[0] == "daemon-reload" and told[-1] == "start --no-block uwsgi uvicorn@1 uvicorn@2"
    assert told[2:-1] == [f"stop --no-block {unit}.service" for unit in ("daphne@1", "uvicorn@3", "gunicorn")]
    assert not commit.JOURNAL.exists()


def test_a_recovery_that_a_service_refuses_is_not_tried_for_ever(commit, site, monkeypatch):
    commit.live.SETTINGS.write_text(json.dumps({"settings": {"daphne_instances": 3}}))

    def take_up(parts, settings, steps):
        raise commit.Refused("reloading nginx failed", "nginx", "words")

    monkeypatch.setattr(commit, "take_up", take_up)
    commit.swap(site)
    with pytest.raises(commit.Refused, match="reloading nginx failed"):
        commit.recover()
    assert texts(site) == OLD and not commit.JOURNAL.exists()


def test_an_undoing_that_fails_says_both(commit, site, monkeypatch):
    def recover(before):
        raise commit.Refused("starting nginx failed", "nginx", "port taken")

    monkeypatch.setattr(commit, "recover", recover)
    with pytest.raises(commit.Refused, match="reload failed; and putting the old settings back failed: starting nginx") as caught:
        commit.undo({}, commit.Refused("reload failed", "uwsgi"))
    assert (caught.value.unit, caught.value.journal, caught.value.serving) == ("nginx", "port taken", False)


def test_only_files_that_differ_are_changed_and_shown(commit, site):
    Path(site[1]["path"]).write_text("new uwsgi\n")
    changed = commit.changed_files(site)
    assert [file["unit"] for file in changed] == ["nginx", "daphne"]
    diff = commit.diff_of(changed)
    assert f"--- {site[0]['path']}\n+++ {site[0]['path']}\n@@ -1 +1 @@\n-old nginx\n+new nginx\n" in diff
    assert "+new daphne\n" in diff and "uwsgi" not in diff


def test_a_change_based_on_old_settings_is_refused(commit, site):
    commit.live.SETTINGS.write_text(json.dumps({"settings": {"uwsgi_processes": 6}}))
    request = {
        "settings": {"uwsgi_processes": 7}, "version": "1", "files": site, "expect": {"uwsgi_processes": 5},
        "site": {"name": "lab", "asgi": "a:b"}, "place": "/nowhere",
    }  # fmt: skip
    outcome = commit.outcome_of(request)
    assert outcome["ok"] is False and "the settings changed while this change was being prepared" in outcome["message"]
    assert texts(site) == OLD


def test_what_cannot_be_seen_as_asked_is_named(commit):
    asked = dict.fromkeys(commit.observable({}), 1) | {"asgi_server": "daphne"}
    observed = asked | {"daphne_drain_s": 7}
    assert commit.differences(asked, observed) == ["daphne_drain_s"]
    assert commit.differences(asked | {"asgi_server": "uvicorn"}, observed | {"asgi_server": "uvicorn"}) == [], "it knows none"
    assert commit.differences({"uwsgi_processes": 2, "a setting of another version": 3}, observed) == ["uwsgi_processes"]
    assert commit.differences({}, observed) == []
    asked = {"asgi_server": "daphne", "daphne_instances": 3, "uwsgi_processes": 2}
    plain = commit.running_of(asked, {"asgi": None})
    assert commit.differences(asked, asked | {"daphne_instances": 2}) == ["daphne_instances"]
    assert commit.differences(plain, asked | dict.fromkeys(("asgi_server", "daphne_instances"))) == [], "it has no Daphne"


def test_variables_of_a_units_files_are_read_as_systemd_does(commit, tmp_path):
    (tmp_path / "app.env").write_text("# words\nA=1\nB=x=y\n\n")
    (tmp_path / "daphne.env").write_text("A=2\n" + r'''C="it's \"#1\" of $2 \\ 3"''' + "\n")
    variables = commit.environment_of(*(str(tmp_path / name) for name in ("app.env", "daphne.env", "nothing.env")))
    assert variables == {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "A": "2", "B": "x=y", "C": "it's \"#1\" of $2 \\ 3"}


def test_a_command_that_fails_speaks_for_itself(commit):
    with pytest.raises(commit.Refused, match="^checking failed$") as caught:
        commit.call("sh", "-c", "echo no such option >&2; exit 3", doing="checking", unit="")
    assert caught.value.journal == "no such option"
    with pytest.raises(commit.Refused, match=r"^checking took longer than 0\.1 s$"):
        commit.call("sleep", "5", doing="checking", timeout_s=0.1)


def test_numbers_are_read_from_nginx_own_words(commit):
    text = "worker_processes 2;\n  worker_connections   1024;\n# worker_rlimit_nofile 9;\n"
    assert commit.nginx.directive(text, "worker_connections") == 1024
    assert commit.nginx.directive(text, "worker_rlimit_nofile") is None


SETTINGS = {"asgi_server": "uvicorn", "daphne_instances": 2, "balance_max_fails": 1}


@pytest.fixture
def told(commit, monkeypatch):
    """What services are told, in order; `told.units` are the instances that run."""

    class Told(list):
        units: set[str] = set()

    told = Told()

    def call(*command, **_):
        told.append(" ".join(command).removeprefix("systemctl "))
        verb, names = command[1], set(command[2:])
        told.units = told.units - names if verb == "stop" else told.units | names if verb == "start" else told.units

    monkeypatch.setattr(commit, "call", call)
    monkeypatch.setattr(commit, "is_active", lambda unit: True)
    monkeypatch.setattr(commit, "reload", lambda service: told.append(f"reload {service.name}"))
    monkeypatch.setattr(commit.live, "words_of", lambda *command: "")
    monkeypatch.setattr(
        commit, "in_state",
        lambda service, *states: sorted(unit for unit in told.units if unit.split("@")[0] == service.name),
    )
    monkeypatch.setattr(commit, "let_finish", lambda path: told.append(f"let finish {path}"))
    return told


def test_one_server_takes_anothers_place_instance_by_instance_and_nginx_forgets_each_that_was_away(commit, told):
    told.units = {"daphne@1", "daphne@2", "daphne@3"}
    commit.take_up({"uvicorn", "daphne.target"}, SETTINGS, commit.Steps())
    assert told == [
        "daemon-reload",
        "stop daphne@1", "start uvicorn@1", "reload nginx",
        "stop daphne@2", "start uvicorn@2", "reload nginx",
        "stop daphne@3",
    ]  # fmt: skip


def test_a_roll_takes_one_instance_after_the_other_and_nginx_forgets_each_that_was_away(commit, told):
    told.units = {"uvicorn@1", "uvicorn@2"}
    commit.take_up({"uvicorn"}, SETTINGS, commit.Steps())
    rolled = ["restart uvicorn@1", "reload nginx", "restart uvicorn@2", "reload nginx"]
    assert told == ["daemon-reload", *rolled]
    told.clear()
    commit.take_up({"uvicorn"}, SETTINGS | {"balance_max_fails": 0}, commit.Steps())
    assert told == ["daemon-reload", *rolled[::2]], "where no failure counts there is none to forget"


def test_the_new_wsgi_server_answers_then_nginx_asks_it_and_the_old_one_ends_last(commit, told):
    told.units = {"uwsgi", "uvicorn@1", "uvicorn@2"}
    commit.take_up({"gunicorn", "stacklab.target", "nginx"}, SETTINGS | {"wsgi_server": "gunicorn"}, commit.Steps())
    assert told == ["daemon-reload", "reload gunicorn", "reload nginx", "let finish /run/uwsgi/stacklab.sock", "stop uwsgi"]
    assert commit.in_its_place("uwsgi", {"wsgi_server": "gunicorn"}) == "gunicorn"


def test_a_server_that_went_out_of_force_is_stopped_once_nobody_was_connected_to_it_for_a_second(commit, monkeypatch):
    left, clock = iter([2, 1, 0, 1]), [0.0]
    passes = SimpleNamespace(monotonic=lambda: clock[0], sleep=lambda seconds: clock.append(clock.pop() + seconds))
    monkeypatch.setattr(commit, "time", passes)

    class Machine:
        def connections(self, path):
            return next(left, 0)

    monkeypatch.setattr(commit, "machine", Machine)
    commit.let_finish("/run/x")
    assert next(left, None) is None and clock[0] == pytest.approx(4 * 0.05 + 1, abs=0.06)
    monkeypatch.setattr(Machine, "connections", lambda self, path: 1)
    clock[0] = 0.0
    commit.let_finish("/run/x")
    assert clock[0] == pytest.approx(commit.FINISH_S, abs=0.06), "who stays is not waited for longer"


def test_whoever_is_named_stands_for_the_server_in_its_place(commit):
    assert commit.in_its_place("daphne", SETTINGS) == "uvicorn" and commit.in_its_place("nginx", SETTINGS) == "nginx"
    assert commit.in_its_place("daphne.target", SETTINGS) == "daphne.target"
    assert commit.in_its_place("uvicorn", {"daphne_instances": 3}) == "daphne", "a record of before there were others"


@pytest.mark.parametrize(
    ("changes", "site", "taken_up"),
    [
        ({}, {}, {"uvicorn", "uwsgi", "nginx"}),
        ({"database": "postgresql", "wsgi_server": "gunicorn"}, {}, {"uvicorn", "gunicorn", "nginx", "postgresql"}),
        ({}, {"asgi": None}, {"uwsgi", "nginx"}),
    ],
)
def test_of_what_is_to_start_anew_only_what_runs_does_and_is_said_to(commit, monkeypatch, tmp_path, changes, site, taken_up):
    settings, site = SETTINGS | changes, {"name": "lab", "asgi": "a:b"} | site
    (tmp_path / "site").symlink_to("/place")
    monkeypatch.setattr(commit, "SITE", str(tmp_path / "site"))
    commit.write(commit.live.SETTINGS, json.dumps({"settings": settings, "version": "1", "site": site}))
    monkeypatch.setattr(commit, "observe", dict)
    monkeypatch.setattr(commit, "differences", lambda settings, observed: [])
    monkeypatch.setattr(commit, "verify", lambda settings, site: {})
    parts = []
    monkeypatch.setattr(commit, "take_up", lambda units, settings, steps: parts.append(units))
    asked = ["daphne", "nginx", "postgresql", "uwsgi"]
    request = {"settings": settings, "files": [], "site": site, "place": "/place", "restart": asked}
    assert commit.commit(request)["reloaded"] == sorted(taken_up) and parts == [taken_up]


def test_the_link_to_a_site_is_swapped_and_put_back_as_a_file_is(commit, monkeypatch, tmp_path):
    link = tmp_path / "site"
    monkeypatch.setattr(commit, "SITE", str(link))
    link.symlink_to("/sites/before")
    change = [{"path": str(link), "text": "/sites/after", "unit": "site"}]
    assert commit.changed_files(change) == change and "-/sites/before" in commit.diff_of(change)
    commit.swap(change)
    assert commit.read(str(link)) == "/sites/after" and commit.changed_files(change) == []
    assert commit.put_back() == {"site"} and commit.read(str(link)) == "/sites/before"
    commit.forget_old()
    link.unlink()
    commit.swap(change)  # of a host that never had one
    assert commit.put_back() == {"site"} and not link.is_symlink()
    commit.forget_old()
    assert leftovers(tmp_path) == []


def test_postgresql_starts_and_is_prepared_before_the_workers_ask_it_and_ends_after_they_no_longer_do(commit, told, monkeypatch):
    monkeypatch.setattr(commit, "is_active", lambda unit: unit != "stacklab-postgresql")
    commit.take_up({"uwsgi"}, SETTINGS | {"database": "postgresql", "daphne_instances": 0}, commit.Steps())
    assert told == ["restart stacklab-postgresql", "bash /opt/stacklab/provision/web.sh tables", "reload uwsgi"]
    told.clear()
    monkeypatch.setattr(commit, "is_active", lambda unit: True)
    commit.take_up({"nginx"}, SETTINGS | {"database": "postgresql", "daphne_instances": 0}, commit.Steps())
    assert told == ["reload nginx"], "it is left alone"
    told.clear()
    told.units = {"stacklab-postgresql"}
    monkeypatch.setattr(commit, "in_state", lambda service, *states: [service.unit] if service.unit in told.units else [])
    commit.take_up({"uwsgi"}, SETTINGS | {"daphne_instances": 0}, commit.Steps())
    assert told == ["reload uwsgi", "stop stacklab-postgresql"]
    told.clear()
    monkeypatch.setattr(commit, "is_active", lambda unit: unit != "stacklab-postgresql")
    commit.write(commit.live.SETTINGS, json.dumps({"site": {"name": "mysite"}}))
    commit.take_up({"nginx"}, SETTINGS | {"database": "postgresql", "daphne_instances": 0}, commit.Steps())
    assert told == ["restart stacklab-postgresql", "reload nginx"], "another site has no tables of the lab's"


@pytest.mark.parametrize("server", ["uwsgi", "gunicorn"])
def test_another_site_is_taken_up_from_the_back_to_the_front_and_the_units_are_read_once(commit, told, monkeypatch, server):
    monkeypatch.setattr(commit, "is_active", lambda unit: unit != "stacklab-postgresql")
    monkeypatch.setattr(commit, "ready", lambda service: told.append(f"{service.name} is ready"))
    told.units = {"uvicorn@1", "uvicorn@2"}
    settings = SETTINGS | {"database": "postgresql", "wsgi_server": server, "balance_max_fails": 0}
    commit.take_up({"site", server, "uvicorn", "daphne.target", "stacklab.target", "nginx"}, settings, commit.Steps())
    assert told == [
        "daemon-reload", "restart stacklab-postgresql", "bash /opt/stacklab/provision/web.sh tables",
        "restart uvicorn@1", "restart uvicorn@2", f"restart {server}", f"{server} is ready", "reload nginx",
    ]  # fmt: skip


# ---------------------------------------------------------------- clocks


def test_a_file_that_a_clock_set_back_has_put_into_the_future_keeps_no_change_from_being_confirmed(commit, tmp_path, monkeypatch):
    (tmp_path / "nginx.conf").touch()
    for name in ("CONF", "SITE"):
        monkeypatch.setattr(commit.nginx, name, str(tmp_path / "nginx.conf"))
    machine = type("Machine", (commit.live.Machine,), {
        "nginx_config": "worker_connections 1024;", "units": {"nginx": ("active", 1)},
        "children": lambda self, pid: [1], "title": lambda self, pid: "nginx: worker process",
    })([])  # fmt: skip
    now, uptime_s = time.time(), commit.live.uptime_s()
    monkeypatch.setattr(commit.live.time, "time", lambda: now)
    monkeypatch.setattr(commit.live, "uptime_s", lambda: uptime_s)  # both stand still, however long this takes
    began_s = machine.started_s(1)
    born_s = began_s - now + uptime_s  # process 1 of a container begins long after its computer
    connections = commit.nginx.NGINX.settings["nginx_worker_connections"]
    os.utime(tmp_path / "nginx.conf", (now, began_s + 2))
    assert connections.read(machine) is None, "the file was written after the worker began"
    os.utime(tmp_path / "nginx.conf", (now, began_s - 2))
    assert connections.read(machine) == 1024
    monkeypatch.setattr(commit.live.time, "time", lambda: began_s - 3600)
    assert connections.read(machine) == 1024, "nobody noted when: what lies in the future counts as never written"
    mtime_ns = os.stat(tmp_path / "nginx.conf").st_mtime_ns
    for clock_s in (now, now - 600, now - 10**8, now + 10**8):
        monkeypatch.setattr(commit.live.time, "time", lambda clock_s=clock_s: clock_s)
        for written_s, seen in ((born_s - 5, 1024), (born_s + 100, None)):
            commit.live.WRITTEN.write_text(json.dumps({str(tmp_path / "nginx.conf"): [[mtime_ns, written_s]]}))
            assert connections.read(machine) == seen, "whatever the clock was set to since"
    commit.live.note_written([tmp_path / "nginx.conf"])
    assert connections.read(machine) is None
    commit.live.WRITTEN.unlink()
    monkeypatch.setattr(commit.live.time, "time", lambda: began_s - 3600)
    monkeypatch.setattr(commit.live, "words_of", lambda *command: str(tmp_path / "nginx.conf"))
    assert machine.unit_written_s("nginx") == 0, "nor is nginx begun anew for the sake of its unit"


@pytest.mark.parametrize("ahead_days", [5, -5])
def test_the_site_is_asked_whatever_the_clock_says_of_its_certificate_and_no_other_is(commit, tmp_path, monkeypatch, ahead_days):
    authority, *files = make_ca(tmp_path, now_is_ahead=timedelta(days=ahead_days))
    stranger, *_ = make_ca(tmp_path, "stranger", now_is_ahead=timedelta(days=ahead_days))
    trust, connect = ssl.create_default_context, http.client.HTTPSConnection.connect
    with Site(*files) as site:
        there = {"port": site.server_port}
        monkeypatch.setattr(http.client.HTTPSConnection, "connect", lambda self: self.__dict__.update(there) or connect(self))
        monkeypatch.setattr(ssl, "create_default_context", lambda cafile: trust(cafile=authority))
        assert commit.answer_to("/") == 200
        monkeypatch.setattr(ssl, "create_default_context", lambda cafile: trust(cafile=stranger))
        with pytest.raises(commit.Refused, match="does not answer.*verify failed"):
            commit.answer_to("/")
