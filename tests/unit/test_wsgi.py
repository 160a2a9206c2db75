"""What is seen of the servers of the pages on a web host, and the memory that they are to have."""

import json
from types import SimpleNamespace

import pytest

from stacklab.stack.services import uwsgi
from stacklab.stack.services.wsgi import somaxconn_needed

UWSGI = uwsgi.UWSGI


def machine(*workers: dict, note: str = "", **more) -> SimpleNamespace:
    """A web host on which uWSGI tells of these workers."""
    told = {uwsgi.TOLD: note, "/proc/sys/net/core/somaxconn": "4096\n"}
    return SimpleNamespace(**{
        "answer": {uwsgi.STATS: json.dumps({"workers": workers})}.get, "text_of": lambda path: told.get(path, ""),
        "units": {"uwsgi": ("active", 7), "gunicorn": ("inactive", 0)}, "backlog": {UWSGI.socket: 128}.get,
        "rss_bytes": lambda pid: pid << 20, "memory_available": lambda: 1000 << 20, "main_pid": lambda unit: 7,
        "children": lambda pid: [90], **more,
    })  # fmt: skip


def worker(pid: int, status: str = "idle", threads: int = 1) -> dict:
    return {"pid": pid, "status": status, "cores": [{}] * threads}


def test_workers_count_as_ready_all_or_none():
    assert UWSGI.workers(machine(worker(8), worker(9, "busy"), worker(0, "cheap"))) == {8, 9}
    assert UWSGI.workers(machine(worker(8), worker(9, "sig"))) == set()


@pytest.mark.parametrize("answer", ["", "{"])
def test_a_server_that_does_not_answer_has_no_workers(answer):
    assert uwsgi.listed(machine(answer=lambda path: answer)) == []


def test_a_server_that_cannot_be_reached_has_no_workers():
    def away(path):
        raise ConnectionRefusedError

    assert uwsgi.listed(machine(answer=away)) == []


def test_settings_are_read_from_what_the_workers_are():
    host = machine(worker(8, threads=2), worker(9, threads=2), note='{"database": "sqlite"}')
    assert {name: seen.read(host) for name, seen in UWSGI.settings.items()} == {
        "wsgi_server": "uwsgi", "uwsgi_processes": 2, "uwsgi_threads": 2, "database": "sqlite", "uwsgi_listen": 128,
    }  # fmt: skip
    nobody = machine(units={})
    assert [UWSGI.settings[name].read(nobody) for name in ("wsgi_server", "uwsgi_processes", "uwsgi_threads", "database")] == [
        None, 0, 0, None,
    ]  # fmt: skip
    both = machine(units={"uwsgi": ("active", 7), "gunicorn": ("active", 8)})
    assert UWSGI.settings["wsgi_server"].read(both) == "uwsgi and gunicorn"
    assert UWSGI.shows["somaxconn"](host) == 4096


def test_the_kernels_backlog_is_never_below_its_own():
    assert [somaxconn_needed(listen) for listen in (1, 4096, 4097)] == [4096, 4096, 4097]


def test_four_fifths_of_the_memory_that_is_left_are_for_more_workers():
    """The largest of those there are has 100 MiB; 1,000 are left."""
    host = machine(worker(100), worker(50))
    assert UWSGI.limits(host, {"uwsgi_processes": 10}) == "" and UWSGI.limits(host, {"uwsgi_processes": 2}) == ""
    assert UWSGI.limits(host, {"uwsgi_processes": 11}) == (
        "uwsgi_processes=11 needs about 900 MiB more memory (100 MiB a process) and 1000 MiB are available; take fewer"
    )
    assert "needs about 900 MiB" in UWSGI.limits(machine(), {"uwsgi_processes": 10}), "as one of the server's that it replaces"
    assert UWSGI.limits(machine(children=lambda pid: []), {"uwsgi_processes": 60}) == "", "nothing is known"
    full = machine(worker(100), worker(50), memory_available=lambda: 0)
    assert UWSGI.limits(full, {"uwsgi_processes": 2}) == "", "as many as there are need no more"
