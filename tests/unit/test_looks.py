"""Clients at the desk's own pace, and what is looked at with them, against a local chat server."""

import socket
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from certificates import make_ca
from chat_site import ChatSite
from here import wait_until

from stacklab import stack
from stacklab.bench import looks
from stacklab.bench import room as room_module
from stacklab.bench.experiment import Bench
from stacklab.bench.looks import gained
from stacklab.bench.room import Room
from stacklab.labs import cpus
from stacklab.runs.seen import read_seen
from stacklab.settings import StackSettings
from stacklab.site import LAB
from stacklab.workload import Look


@pytest.fixture
def site(certificates):
    with ChatSite(*certificates[1:]) as site:
        yield site


def test_clients_come_in_stay_and_speak(site, certificates):
    with Room(site.url, certificates[0]) as room:
        assert [room.enter("a"), room.enter("b")] == [None, None]
        room.say_something()
        assert room.held() == 2
    wait_until(lambda: site.heard, "what was sent arrives")
    assert {frame["text"] for frame in site.heard} == {"look"} and site.origins == {site.url}


def test_who_is_refused_or_loses_the_socket_is_not_held(site, certificates):
    site.refuse, site.close_after = {2}, {1: 1012}
    with Room(site.url, certificates[0]) as room:
        assert room.enter("a") is None
        assert "503" in room.enter("a")
        assert room.enter("b") is None
        room.say_something()  # the first is closed for it
        wait_until(lambda: room.held() == 1, "the end of the first is noticed")


def test_how_each_socket_ended_is_told_apart(site, certificates, monkeypatch):
    monkeypatch.setattr(room_module, "ENDED_WITHIN_S", 0.3)
    site.close_after = {1: 1012}
    with Room(site.url, certificates[0]) as room:
        assert [room.enter(name) for name in ("told", "open", "cut")] == [None] * 3
        room.say_something()
        [cut] = site.members["cut"]
        cut.socket.shutdown(socket.SHUT_RDWR)
        assert room.ends() == [1012, None, 1006]


def test_a_certificate_of_another_ca_is_refused_whatever_the_environment_says(site, certificates, tmp_path, monkeypatch):
    monkeypatch.setenv("WEBSOCKET_CLIENT_CA_BUNDLE", str(certificates[0]))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    wrong, _, _ = make_ca(tmp_path, "another")
    with Room(site.url, wrong) as room:
        assert "CERTIFICATE_VERIFY_FAILED" in room.enter("a")
    with Room(site.url, certificates[0]) as room:
        assert room.enter("a") is None


@pytest.mark.parametrize(("most", "held", "tried"), [(10, 10, 10), (30, 12, 12 + looks.REFUSED_IN_A_ROW)])
def test_clients_are_tried_past_the_limit_or_until_enough_were_refused(site, certificates, most, held, tried, monkeypatch):
    monkeypatch.setattr(looks, "BEYOND", most / 64)
    site.refuse = set(range(13, 99))
    on = SimpleNamespace(host=SimpleNamespace(url=site.url), ca=certificates[0], site=LAB)
    rows = looks.SIGHTS["clients_held"](on, StackSettings(nginx_worker_connections=64), Look(sight="clients_held"))
    assert rows[-1] == {"held": held} and len(rows) == tried + 1


@pytest.mark.parametrize(("in_force", "mains", "reason"), [
    (StackSettings(), "no", []),
    (StackSettings(uwsgi_processes=9), "no", ["The settings were changed by somebody else during the run."]),
    (StackSettings(), "yes", ["The computer's power changed meanwhile: mains was no, then yes."]),
])  # fmt: skip
def test_what_bears_against_a_look_is_a_reason_not_to_decide_by_it(tmp_path, monkeypatch, in_force, mains, reason):
    rows = [{"number": 1}, {"number": 2, "problem": "It may be the generator."}]
    monkeypatch.setitem(looks.SIGHTS, "starts", lambda on, settings, look: rows)
    monkeypatch.setattr(stack, "apply", lambda host, settings, anew: SimpleNamespace(observed={}))
    monkeypatch.setattr(stack, "current", lambda host: in_force)
    monkeypatch.setattr(cpus, "power", lambda: {"mains": mains})
    hold = Mock(problems=["Another measured."])
    on = Bench(None, None, hold, None, {"desk": {"power": {"mains": "no"}}}, None, ())
    run = looks.look_at(on, StackSettings(), Look(), folder=tmp_path, name="one", point="", repeat=1, position=1)
    assert set(run.validity.reasons) == {"Another measured.", "It may be the generator.", *reason} and not run.validity.valid
    assert read_seen(run.path) == rows and hold.take.called


def test_a_log_that_is_new_counts_from_its_first_line():
    rows = gained({"daphne1.log": (5, 10)}, {"daphne1.log": (7, 14), "daphne2.log": (3, 6)})
    assert rows == [{"log": "daphne1.log", "sockets": 2, "lines": 4}, {"log": "daphne2.log", "sockets": 3, "lines": 6}]
