"""One measurer a lab: the lock names who measures, is given back when its holder dies, and keeps everybody else out."""

import json
import os
import re
import signal
import socket
import time
from contextlib import contextmanager

import pytest
from here import wait_until
from local_host import LocalHost

from stacklab.bench import measuring as module
from stacklab.bench.measuring import by_whom, measured_by, measuring, who
from stacklab.errors import HostError, LabError
from stacklab.files import ROOT


@pytest.fixture(autouse=True)
def lock(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LOCK", str(tmp_path / "lock"))
    return tmp_path / "lock"


def test_a_second_measurer_is_told_in_one_line_who_the_first_is():
    with measuring(LocalHost(), "fab http"):
        with pytest.raises(LabError) as refused, measuring(LocalHost(), "fab chat"):
            pass
        said = str(refused.value)
        assert re.fullmatch(r"the lab web is being measured by .+ \(fab http\), for \d+ s now; wait for it to end", said)
        assert f"on {socket.gethostname()} from {ROOT} (" in said
        asked = measured_by(LocalHost())
        assert re.sub(r"\d+ s now", "", asked) == re.sub(r"\d+ s now", "", said.removesuffix("; wait for it to end"))
    assert measured_by(LocalHost()) is None


def test_the_next_may_measure_once_the_first_has_ended_also_after_an_error():
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), measuring(LocalHost(), "one"):
            raise ZeroDivisionError
    with measuring(LocalHost(), "two") as hold:
        assert not hold.lost and not hold.problems


def test_nobody_measures_where_nobody_ever_did():
    assert measured_by(LocalHost()) is None


def test_a_measurer_that_is_killed_has_given_the_lab_back():
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        with measuring(LocalHost(), "doomed"):
            os.write(write, b"held")
            time.sleep(60)
        os._exit(0)
    os.read(read, 4)
    with pytest.raises(LabError, match=r"\(doomed\)"), measuring(LocalHost(), "mine"):
        pass
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    wait_until(lambda: measured_by(LocalHost()) is None, "the lab is given back")
    with measuring(LocalHost(), "mine"):
        pass


def test_a_desk_that_says_nothing_has_given_it_back_and_takes_it_again_when_nobody_has_it(monkeypatch):
    monkeypatch.setattr(module, "SILENCE_S", 1)
    monkeypatch.setattr(module, "HEARTBEAT_S", 60)
    with measuring(LocalHost(), "asleep") as hold:
        wait_until(lambda: hold.lost, "it is given back")
        assert "broke during the run" in hold.problems[0]
        monkeypatch.setattr(module, "SILENCE_S", 60)
        with measuring(LocalHost(), "awake"), pytest.raises(LabError, match=r"\(awake\)"):
            hold.take()
        hold.take()
        assert not hold.lost and "(asleep)" in measured_by(LocalHost())


def test_a_heartbeat_keeps_it(monkeypatch):
    monkeypatch.setattr(module, "SILENCE_S", 10)
    monkeypatch.setattr(module, "HEARTBEAT_S", 0.2)
    with measuring(LocalHost(), "alive") as hold:
        time.sleep(12)
        assert not hold.lost


def test_a_host_on_which_nothing_can_be_held_is_an_error_of_its_own(monkeypatch):
    class Closed(LocalHost):
        @contextmanager
        def stream(self, command, sudo=False):
            with super().stream("read -r _; exit 1") as stream:
                stream.stderr = "sudo: a password is required"
                yield stream

    with pytest.raises(HostError, match="web cannot be kept from others: sudo: a password"), measuring(Closed(), "x"):
        pass


@pytest.mark.parametrize("record", ["", "{}", "[]", "null", "no json"])
def test_a_record_that_says_nothing_still_makes_a_sentence(record):
    assert by_whom("the lab web", record, "3") == "the lab web is being measured, for 3 s now"


def test_what_is_said_stays_on_one_line_whatever_folder_it_comes_from(monkeypatch):
    monkeypatch.setattr(module, "ROOT", "/home/a/R&D (내 것)\n'x'")
    assert "\n" not in who("x") and json.loads(who("x"))["checkout"].endswith("'x'")
    assert "from /home/a/R&D (내 것) 'x' (x)" in by_whom("it", who("x"))
    with measuring(LocalHost(), "x"):
        assert "R&D (내 것)" in measured_by(LocalHost())
