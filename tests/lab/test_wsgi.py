"""gunicorn in uWSGI's place: it serves what uWSGI serves, takes and gives up its place without a dropped request, comes back."""

import re
import ssl

import pytest
from strangers import Site
from under_load import changes_under_load, enough_s

from stacklab import stack
from stacklab.errors import ApplyError
from stacklab.settings import StackSettings
from stacklab.stack.processes import processes

GUNICORN = StackSettings(wsgi_server="gunicorn")
BACK_AND_FORTH = (
    {"nginx_worker_connections": 4000},  # what a slow machine lets wait meanwhile takes two each
    {"wsgi_server": "gunicorn"}, {"uwsgi_processes": 8}, {"uwsgi_listen": 2048, "uwsgi_threads": 2}, {"wsgi_server": "uwsgi"},
    {"wsgi_server": "gunicorn"},
)  # fmt: skip


@pytest.fixture(scope="module")
def reached(host):
    return Site(host.address, ssl.create_default_context(cadata=stack.ca_certificate(host)))


@pytest.fixture
def served(host):
    """The host with gunicorn, at the defaults; uWSGI is back afterwards."""
    stack.apply(host, GUNICORN)
    yield host
    stack.apply(host, StackSettings())


def workers(host):
    table = processes(host)
    return table[(table["service"] == "gunicorn") & (table["role"] == "worker")]


def test_it_serves_the_pages_with_as_many_processes_threads_and_places_in_its_queue_as_asked(served, site):
    assert site("/")[0] == site("/cpu/?ms=1")[0] == site("/db/")[0] == site("/healthz")[0] == 200
    assert site("/static/chat")[0] == 301 and site("/no/such/page")[0] == 404
    observed = stack.apply(served, GUNICORN.replace(uwsgi_processes=3, uwsgi_threads=4, uwsgi_listen=77)).observed
    names = ("wsgi_server", "uwsgi_processes", "uwsgi_threads", "uwsgi_listen")
    assert [observed[name] for name in names] == ["gunicorn", 3, 4, 77]
    assert observed["units"]["gunicorn"] == "active" and "uwsgi" not in observed["units"]
    assert len(workers(served)) == 3
    assert re.search(r"LISTEN +0 +77 +/run/gunicorn/stacklab.sock", served.run("ss -xlH"))
    assert not served.run("pgrep -x uwsgi || true").strip(), "uWSGI has ended"
    assert stack.apply(served, stack.current(served)).reloaded == ()


def test_it_has_the_daemons_user_and_sandbox_and_starts_at_boot(served):
    assert set(workers(served)["user"]) == {"uwsgi"}
    shown = served.run("systemctl show gunicorn -p NoNewPrivileges,ProtectSystem,PrivateTmp,ProtectHome,LimitNOFILE")
    assert set(shown.split()) == {
        "LimitNOFILE=65536", "NoNewPrivileges=yes", "PrivateTmp=yes", "ProtectHome=yes", "ProtectSystem=strict",
    }  # fmt: skip
    assert stack.exposure(served)["gunicorn.service"] <= 3.0
    booted = served.run("systemctl list-dependencies --plain multi-user.target")
    assert "gunicorn.service" in booted and "uwsgi.service" not in booted


@pytest.mark.faults
def test_no_request_is_dropped_while_one_takes_the_others_place(at_defaults, lab, tmp_path):
    seconds = enough_s(at_defaults, BACK_AND_FORTH, 30)
    seen = changes_under_load(at_defaults, lab, tmp_path, seconds, requests_per_s=100, changes=BACK_AND_FORTH)
    assert seen.counted == 100 * seconds
    assert not seen.errors
    assert sum(count > 20 for count in seen.requests_during) >= 3, "the changes fell into the time of the load"


def test_one_that_cannot_start_leaves_uwsgi_serving(at_defaults, site):
    program = "/opt/stacklab/venv/bin/gunicorn"
    for broken in ("echo no such thing >&2; exit 3", 'case "$*" in *--check-config*) exit 0;; esac; echo not today >&2; exit 3'):
        text = f"#!/bin/sh\n{broken}\n"
        at_defaults.run(f"mv {program} {program}.away; cat > {program}; chmod 755 {program}", sudo=True, input=text)
        try:
            with pytest.raises(ApplyError, match="The old settings are in force") as refused:
                stack.apply(at_defaults, GUNICORN)
        finally:
            at_defaults.run(f"mv {program}.away {program}", sudo=True)
        assert refused.value.unit == "gunicorn" and re.search("no such thing|not today", refused.value.journal)
        observed = stack.observe(at_defaults)
        assert observed["wsgi_server"] == "uwsgi" and "gunicorn" not in observed["units"] and site("/")[0] == 200


@pytest.mark.fault("kill -9 of gunicorn's main process and a worker", "web")
def test_a_worker_and_a_master_that_are_killed_are_back(served, site):
    worker = workers(served)["pid"].iloc[0]
    master = served.run("systemctl show -P MainPID gunicorn").strip()
    served.run(f"kill -KILL {worker}", sudo=True)
    served.run("systemctl kill --kill-whom=main --signal=KILL gunicorn", sudo=True)
    back = "p=$(systemctl show -P MainPID gunicorn); test $p != 0 -a $p != {master} && systemctl is-active -q gunicorn"
    served.run(f"until {back.format(master=master)}; do sleep 0.1; done", timeout_s=60)
    assert site("/")[0] == 200 and worker not in set(workers(served)["pid"])
    observed = stack.apply(served, GUNICORN).observed
    assert observed["uwsgi_processes"] == 5


def test_fab_shows_and_changes_it(at_defaults, fab):
    said = fab("set", "--wsgi-server", "gunicorn").stdout
    assert "taken up by gunicorn, nginx, stacklab.target" in said and "drain uwsgi" in said
    lines = [line.split() for line in fab("status").stdout.splitlines()]
    assert ["wsgi_server", "gunicorn", "gunicorn"] in lines
    assert ["gunicorn", "active"] in lines and ["uwsgi", "active"] not in lines


def test_it_takes_every_head_and_every_body_that_nginx_does(served, reached):
    # As test_sizes.py has it of uWSGI: 8 KB a line, some 20 KB in all, 1 MB of a body that no page reads.
    line = 8192 - len("GET /? HTTP/1.1\r\n")
    rest = "Host: localhost\nConnection: close\n"
    for more, statuses in ((100, {414}), (0, {200, 414}), (-2, {200}), (-500, {200})):
        assert reached.status(f"GET /?{'a' * (line + more)} HTTP/1.1\n{rest}\n".encode()) in statuses, more
    for size in (4_000, 8_000, 8_100):
        head = f"GET / HTTP/1.1\nHost: localhost\nConnection: close\nCookie: a={'b' * size}\nX-More: {'c' * 8000}\n\n"
        assert reached.status(head.encode()) == 200, size
    many = "".join(f"x-{number}:\n" for number in range(900))
    assert reached.status(f"GET / HTTP/1.1\nHost: localhost\nConnection: close\n{many}\n".encode()) == 200
    for method, status in (("GET", 200), ("POST", 405)):
        for size in (100_000, 500_000, 1_000_000):
            for _ in range(5):
                data = f"{method} / HTTP/1.1\nHost: localhost\nConnection: close\nContent-Length: {size}\n\n".encode()
                assert reached.status(data + b"x" * size) == status, (method, size)


def test_what_a_client_says_of_its_own_connection_counts_for_nothing(served, reached):
    forged = ("X-Forwarded-Proto: http", "X-Forwarded-Ssl: off", "X-Forwarded-Protocol: http", "Script-Name: x", "Script_Name: x")
    for header in forged:
        assert reached.status(f"GET / HTTP/1.1\nHost: localhost\nConnection: close\n{header}\n\n".encode()) == 200, header
