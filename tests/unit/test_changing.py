"""One changes a web host at a time: the others wait, and who only looks is in nobody's way."""

import io
import json
import os
import signal
import sys
import threading
import time

import pytest


def test_a_change_waits_for_another_and_says_for_how_long_it_did(commit):
    assert not commit.changing.under_way()
    with commit.locked():
        assert commit.changing.under_way()
        began = time.monotonic()
        told = r"another change is under way, and has not ended within 0\.3 s; look with 'fab status', and try again"
        with pytest.raises(commit.Refused, match=told), commit.locked(patience_s=0.3):
            pass
        assert time.monotonic() - began >= 0.3
    assert not commit.changing.under_way()
    with commit.locked(patience_s=0):
        pass


@pytest.mark.parametrize("what", ["--recover", "--recover-files", "--commit"])
def test_commit_and_recovery_wait_until_another_change_has_ended(commit, monkeypatch, what):
    begun, ended = threading.Event(), []

    def other():
        with commit.locked():
            begun.set()
            time.sleep(0.4)
            ended.append(time.monotonic())

    stale = {"settings": {}, "files": [], "site": {"asgi": None}, "place": "", "expect": {"uwsgi_processes": 5}}
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(stale)))
    thread = threading.Thread(target=other)
    thread.start()
    begun.wait()
    commit.main([what])
    assert ended and time.monotonic() >= ended[0]
    thread.join()


def test_who_looks_keeps_no_change_from_beginning(commit):
    end = threading.Event()

    def look():
        while not end.is_set():
            commit.changing.under_way()

    looking = threading.Thread(target=look)
    looking.start()
    try:
        for _ in range(2000):
            with commit.locked(patience_s=0):
                pass
    finally:
        end.set()
        looking.join()


def test_a_lock_dies_with_its_holder(commit):
    ready, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        with commit.locked():
            os.write(tell, b"x")
            signal.pause()
    os.read(ready, 1)
    assert commit.changing.under_way()
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(ready)
    os.close(tell)
    assert not commit.changing.under_way()
