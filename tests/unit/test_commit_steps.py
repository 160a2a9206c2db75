"""commit-settings without a host: how a service takes its file up, and how a change is seen to be there."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from stacklab.settings import StackSettings
from stacklab.stack.services.service import Check, Service


@pytest.fixture
def clock(commit, monkeypatch):
    """The script's own clock, on which a second passes wherever it waits."""
    clock = SimpleNamespace(now_s=1000.0, time=lambda: 1.0)
    clock.monotonic = lambda: clock.now_s

    def sleep(seconds):
        clock.now_s += 1

    clock.sleep = sleep
    monkeypatch.setattr(commit, "time", clock)
    return clock


@pytest.fixture
def host(commit, monkeypatch, clock):
    """What runs: `alive`, `started_s`, and of the workers that are ready one set after the other; and what it was told."""
    host = SimpleNamespace(
        told=[], alive=True, ready=[], started=50.0, unit_written=40.0, main_pid=lambda unit: 7, words="the journal's words"
    )
    host.started_s = lambda pid: host.started
    host.unit_written_s = lambda unit: host.unit_written
    monkeypatch.setattr(commit, "machine", lambda: host)
    monkeypatch.setattr(commit, "call", lambda *command, **more: host.told.append(" ".join(command)) or host.words)
    monkeypatch.setattr(commit, "is_active", lambda unit: host.alive)
    monkeypatch.setattr(commit, "journal_of", lambda part: host.words if part else "")
    monkeypatch.setattr(commit.live, "words_of", lambda *command: host.told.append(" ".join(command)) or "")
    return host


def a_service(host) -> Service:
    def workers(machine):
        return host.ready.pop(0) if len(host.ready) > 1 else host.ready[0]

    return Service(name="one", label="One", unit="one-unit", colour="", roles=("server",), workers=workers, patience_s=20.0)


def test_of_what_a_program_said_the_end_is_kept_without_the_places_in_its_code(commit):
    said = "Traceback (most recent call last):\n  File x\n" + "".join(f"line {n}\n" for n in range(12))
    assert commit.last_words(said) == "\n".join(f"line {n}" for n in range(2, 12))


def test_what_never_happens_is_refused_with_how_long_it_was_waited_for(commit, host, clock):
    answers = iter([False, False, True])
    commit.wait_for("a thing", "nginx", lambda: next(answers), 5)
    assert clock.now_s == 1002
    with pytest.raises(commit.Refused, match=r"^a thing did not happen within 5 s$") as caught:
        commit.wait_for("a thing", "nginx", lambda: False, 5)
    assert (caught.value.unit, caught.value.journal, caught.value.serving) == ("nginx", host.words, True)
    assert clock.now_s == 1002 + 6


def test_a_reload_is_done_once_all_workers_are_new_ones(commit, host, clock):
    host.ready = [set(), {1, 2}, {1, 2}, {1, 2}, {2, 3}, set(), {3, 4}]
    commit.reload(a_service(host))
    assert host.told == ["systemctl reload one-unit"] and clock.now_s == 1000 + 1 + 3


def test_a_service_that_is_as_old_as_its_unit_is_reloaded(commit, host):
    host.ready, host.unit_written = [{5}, {5}, {6}], 50.0
    commit.reload(a_service(host))
    assert host.told == ["systemctl reload one-unit"]


def test_a_service_that_was_started_by_an_older_unit_starts_anew(commit, host):
    host.ready, host.unit_written = [{5}], 50.1
    commit.reload(a_service(host))
    assert host.told == ["systemctl reset-failed one-unit", "systemctl restart one-unit"]


def test_a_service_that_answers_nobody_starts_anew(commit, host, clock):
    host.ready = [*[set()] * 62, {5}]
    commit.reload(a_service(host))
    assert host.told == ["systemctl reset-failed one-unit", "systemctl restart one-unit"]


def test_a_service_that_ends_meanwhile_is_refused_at_once(commit, host, clock):
    host.ready, host.alive = [set()], False
    with pytest.raises(commit.Refused, match="^One ended when it was to take up its file$") as caught:
        commit.reload(a_service(host))
    assert host.told == ["systemctl reset-failed one-unit", "systemctl restart one-unit"] and clock.now_s == 1000
    assert (caught.value.unit, caught.value.journal) == ("one", host.words)


def test_workers_that_stay_are_no_reload(commit, host, clock):
    host.ready = [{1}]
    with pytest.raises(commit.Refused, match=r"^new One workers did not happen within 20 s$"):
        commit.reload(a_service(host))


def test_instances_start_as_many_at_once_as_there_are_cpus(commit, host, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})
    commit.begin(a_service(host), ["a@1", "a@2", "a@3"])
    assert host.told == ["systemctl start a@1 a@2", "systemctl start a@3"]


# ---------------------------------------------------------------- validate


@pytest.fixture
def checked(commit, host, monkeypatch, tmp_path):
    """What the checks of one service were told, and its own words; `checked(check)` validates with it."""

    def run(check: Check, **more):
        one = Service(name="one", label="One", unit="one", colour="", roles=("server",), checks=(check,), **more)
        monkeypatch.setattr(commit, "in_force", lambda settings: {"one": one})
        files = [{"path": "/etc/one.conf", "text": f"log /var/run-of-it/log; {commit.SITE}/code\n", "unit": "one"}]
        commit.validate({}, files, {"one"}, "/sites/new")

    monkeypatch.setattr(commit, "STAGE", tmp_path / "stage")
    monkeypatch.setattr(commit, "shutil", SimpleNamespace(chown=lambda path, user: host.told.append(f"chown to {user}")))
    return run


def test_a_checker_reads_the_staged_file_and_the_new_sites_folder(commit, host, checked):
    checked(Check("one", "one -t", ("one", "-c", "{stage}/etc/one.conf", "{site}/code")))
    assert host.told == [f"one -c {commit.STAGE}/etc/one.conf /sites/new/code"]
    assert "log /var/run-of-it/log" in (commit.STAGE / "etc/one.conf").read_text()
    checked(Check("another", "another -t", ("another",)))
    assert len(host.told) == 1, "whose files did not change"


def test_a_checker_runs_as_the_units_user(host, checked):
    checked(Check("one", "one -t", ("one", "-t"), user="daphne"))
    assert host.told == ["setpriv --reuid=daphne --regid=daphne --init-groups one -t"]


def test_a_warning_that_a_setting_is_void_is_a_refusal(commit, host, checked):
    checked(Check("one", "one -t", ("one",), void="exceed"))
    host.words = "1024 worker_connections exceed open file resource limit"
    with pytest.raises(commit.Refused, match="^one would accept the setting and not give it$") as caught:
        checked(Check("one", "one -t", ("one",), void="exceed"))
    assert (caught.value.unit, caught.value.journal) == ("one", host.words)


def test_a_checker_that_would_meet_the_running_service_has_a_folder_of_its_own(commit, host, checked, monkeypatch):
    seen = []
    monkeypatch.setattr(commit, "call", lambda *command, **more: seen.append((command[-1], Path(command[-1]).read_text())) or "")
    checked(Check("one", "one -t", ("one", "{trial}/etc/one.conf"), user="one", instead_of="/var/run-of-it/"))
    [(path, text)] = seen
    assert text == f"log {path.removesuffix('etc/one.conf')}log; /sites/new/code\n" and host.told == ["chown to one"]


def test_what_this_machine_cannot_give_is_refused_before_anything_else(commit, host, monkeypatch):
    one = Service(name="one", label="One", unit="one", colour="", roles=(), limits=lambda here, settings: settings["words"])
    monkeypatch.setattr(commit, "in_force", lambda settings: {"one": one})
    commit.check_limits({"words": ""})
    with pytest.raises(commit.Refused, match="^too much$") as caught:
        commit.check_limits({"words": "too much"})
    assert caught.value.unit == "one"


# ---------------------------------------------------------------- verify

LAB = {"name": "lab", "asgi": "a:b", "health": "/healthz", "websocket": "/ws/", "chat": None, "host": None}


@pytest.fixture
def verified(commit, host, monkeypatch):
    """`verified(observed, …)` verifies the default settings against what is observed, one after the other; the answers given."""
    settings = StackSettings().to_dict()
    right = settings | {"nginx_open_files_limit": 10**6, "daphne_ports": [8443, 8444, 8445]}
    asked = []

    def answer(path, headers=None):
        asked.append((path, (headers or {}).get("Origin")))
        status = host.answers.pop(0) if len(host.answers) > 1 else host.answers[0]
        if isinstance(status, Exception):
            raise status
        return status

    def run(*observed: dict, site=LAB, **more):
        states = [right | one for one in observed] or [right]
        monkeypatch.setattr(commit, "observe", lambda: states.pop(0) if len(states) > 1 else states[0])
        return commit.verify(settings, site, **more)

    host.answers = [200]
    monkeypatch.setattr(commit, "answer_to", answer)
    run.asked, run.right = asked, right
    return run


def test_a_change_is_there_once_it_is_seen_and_the_site_answers(commit, host, verified, clock):
    assert verified({"uwsgi_processes": 1}, {"uwsgi_processes": 1}, {}) == verified.right
    assert clock.now_s == 1002 and verified.asked == [("/healthz", None)]


def test_what_is_not_seen_within_half_a_minute_is_refused_by_name(commit, host, verified, clock):
    with pytest.raises(commit.Refused, match=r"^uwsgi_processes=5 was asked, and 4 is what runs$") as caught:
        verified({"uwsgi_processes": 4})
    assert (caught.value.unit, caught.value.journal) == ("uwsgi", host.words) and clock.now_s == 1031


def test_what_was_accepted_and_not_given_is_refused(commit, host, verified):
    with pytest.raises(commit.Refused, match="^nginx was to have nofile="):
        verified({"nginx_open_files_limit": 100})


def test_a_site_that_does_not_answer_at_once_is_asked_again_for_half_a_minute(commit, host, verified, clock):
    host.answers = [502, commit.Refused("does not answer"), 200]
    verified()
    assert clock.now_s == 1002 and len(verified.asked) == 3
    host.answers = [502]
    with pytest.raises(commit.Refused, match="^https://localhost/healthz answers 502$") as caught:
        verified()
    assert (caught.value.unit, clock.now_s) == ("uwsgi", 1002 + 31)


@pytest.mark.parametrize(("status", "taken"), [(101, True), (403, True), (404, False), (200, False)])
def test_of_a_new_site_a_handshake_is_asked_for(commit, host, verified, status, taken):
    host.answers = [200, status]
    other = LAB | {"name": "theirs", "chat": {"path": "/chat/{room}/"}, "host": "example.org"}
    if taken:
        verified(site=other, anew=True)
    else:
        with pytest.raises(commit.Refused, match=rf"^the WebSocket /chat/{{room}}/ answers {status} to a handshake$") as caught:
            verified(site=other, anew=True)
        assert caught.value.unit == "daphne"
    assert verified.asked[-1] == ("/chat/load_0/", "https://example.org")


@pytest.mark.parametrize(("changes", "anew"), [
    ({"name": "theirs"}, False), ({}, True), ({"name": "theirs", "websocket": None}, True),
])  # fmt: skip
def test_where_there_is_no_new_websocket_none_is_asked_for(verified, changes, anew):
    verified(site=LAB | changes, anew=anew)
    assert verified.asked == [("/healthz", None)]


def test_a_site_without_a_chat_of_its_own_is_asked_at_its_websocket_by_its_own_name(host, verified):
    host.answers = [200, 101]
    verified(site=LAB | {"name": "theirs"}, anew=True)
    assert verified.asked[-1] == ("/ws/", "https://localhost")


def test_a_step_tells_how_long_it_took(commit, clock):
    steps = commit.Steps()
    with steps("one"):
        clock.now_s += 1.23456
    assert steps.durations_s == {"one": 1.235}


def test_what_was_put_back_is_said_to_be(commit):
    assert commit.failure("no")["restored"] is True and commit.failure("no", serving=False)["restored"] is False
    commit.JOURNAL.write_text("{}")
    assert commit.failure("no") == {"ok": False, "message": "no", "unit": "", "journal": "", "diff": "", "restored": False}
