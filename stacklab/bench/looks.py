"""`look_at`: what no load shows is looked at, and kept like a run: raw rows, with the settings, the versions, the machine."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stacklab import stack
from stacklab.bench.capacity import most_requests
from stacklab.bench.room import Room
from stacklab.bench.servers import most_clients, server_stops
from stacklab.bench.starts import start_together
from stacklab.labs.host import Host
from stacklab.runs.draft import writing_run
from stacklab.runs.results import Run, Validity
from stacklab.runs.seen import write_seen
from stacklab.settings import StackSettings
from stacklab.workload import Look

if TYPE_CHECKING:
    from stacklab.bench.experiment import Bench

BEYOND = 1.25  # how far past the limit clients are tried …
REFUSED_IN_A_ROW = 8  # … unless so many were refused, one after the other
CLIENTS_PER_INSTANCE = 20
LOGGED_WITHIN_S = 10.0
AT_ONCE = 16  # requests for a page that waits
WAITS_MS = 100

# Both run on the web host as root. What is started there ends with it: the transient unit by `systemctl stop`.
DAPHNE_PROCESSES = r"""
import json, subprocess, sys, time

def call(*command):
    return subprocess.run(command, capture_output=True, text=True).stdout

unit = "look-daphne.service"
call("systemctl", "stop", unit)
call("systemd-run", "--collect", f"--unit={unit}", "-p", "User=daphne", "-p", "SupplementaryGroups=stacklab redis",
     "-p", "EnvironmentFile=/opt/stacklab/site/site.env", "-p", "EnvironmentFile=/etc/stacklab/daphne.env",
     "-p", "WorkingDirectory=/opt/stacklab/site/code",
     "/opt/stacklab/site/venv/bin/daphne", "-v", sys.argv[1], "-b", "127.0.0.1", "-p", "8499", sys.argv[2])
end = time.monotonic() + 60
while ":8499 " not in (listening := call("ss", "-tlnH")) and time.monotonic() < end:
    time.sleep(0.1)
time.sleep(1)  # for workers to come, if there are any
for line in call("ps", "-eo", "unit:60,pid,ppid,nlwp,args", "--no-headers").splitlines():
    name, pid, parent, threads, title = line.split(None, 4)
    if name == unit:
        print(json.dumps({"pid": int(pid), "parent": int(parent), "threads": int(threads), "title": title,
                          "listens": ":8499 " in listening}))
call("systemctl", "stop", unit)
"""

SYNC_THREADS = r"""
import http.client, json, os, re, socket, ssl, subprocess, sys, threading, time
at_once, path, authority = int(sys.argv[1]), sys.argv[2], sys.argv[3]
pid = subprocess.run(["systemctl", "show", "-P", "MainPID", "daphne@1"], capture_output=True, text=True).stdout.strip()
env = dict(line.rstrip("\n").split("=", 1) for line in open("/etc/stacklab/daphne.env") if "=" in line)
tls = ssl.create_default_context(cafile="/etc/stacklab/tls/ca.crt")
rows, lock, go, over = [], threading.Lock(), threading.Event(), threading.Event()

def threads():
    return int(re.search(r"Threads:\s+(\d+)", open(f"/proc/{pid}/status").read())[1])

def ask():
    plain = socket.create_connection(("127.0.0.1", 8443), timeout=30)
    connection = http.client.HTTPConnection("127.0.0.1")
    connection.sock = tls.wrap_socket(plain, server_hostname="daphne.stacklab") if env["STACKLAB_DAPHNE_TLS"] == "1" else plain
    go.wait()
    for _ in range(3):
        start_s, began = time.time(), time.monotonic()
        connection.request("GET", path, headers={"Host": authority, "X-Forwarded-Proto": "https"})
        answer = connection.getresponse()
        answer.read()
        with lock:
            rows.append({"start_s": start_s, "duration_s": time.monotonic() - began, "status": answer.status})

def watch():
    while not over.wait(0.02):
        rows.append({"time_s": time.time(), "threads": threads()})

rows.append({"time_s": time.time(), "threads": threads(), "cpus": os.cpu_count()})
people = [threading.Thread(target=ask) for _ in range(at_once)]
watcher = threading.Thread(target=watch)
for thread in people:
    thread.start()
time.sleep(0.5)
watcher.start()
go.set()
for thread in people:
    thread.join()
over.set()
watcher.join()
print("\n".join(map(json.dumps, rows)))
"""


def look_at(
    on: Bench, settings: StackSettings, look: Look, *, folder: Path, name: str | None, point: str, repeat: int, position: int
) -> Run:
    """Apply `settings` with new Daphnes, look, and keep what was seen as an immutable Run: its rows by `read_seen`.

    Rows, by `look.sight`:
    clients_held      one a client that came into a room, one after the other, and stayed: number, opened, error
    daphne_processes  one a process of `daphne -v N`: pid, parent, threads, title, listens
    sync_threads      AT_ONCE requests at once, thrice, for each page of daphne@1 that waits: page ("io": a synchronous view;
                      "pool": one that waits in the event loop's own threads), start_s, duration_s, status; and between them
                      time_s, threads of the process (the first: before, with the machine's cpus)
    starts            one a simultaneous start of three instances: see `start_together`
    socket_shares     one a client, which says one thing: number, instance; then one a log: log, sockets, lines
    most_clients, server_stops     see `stacklab.bench.servers`; most_requests: `stacklab.bench.capacity`
    A row's `problem`, a sentence, is a reason why the look may not decide.

    LabError, ApplyError: nothing is kept then.
    """
    on.hold.take()
    applied = stack.apply(on.host, settings, anew=("daphne",))
    with writing_run(folder, name) as draft:
        started_s = time.time()
        rows = SIGHTS[look.sight](on, settings, look)
        write_seen(draft.path, rows)
        problems = [*on.bearing(settings), *(row["problem"] for row in rows if "problem" in row)]
        ended_s = time.time()
        draft.record(Run(
            path=draft.path, settings=settings, workload=look, observed=applied.observed, environment=on.environment,
            experiment=folder.name, run=draft.name, point=point, repeat=repeat, position=position, started_s=started_s,
            ended_s=ended_s, under_load_s=ended_s - started_s, validity=Validity(tuple(problems)),
        ))  # fmt: skip
    return draft.run


def _on_web(host: Host, script: str, *words: object) -> list[dict[str, Any]]:
    said = host.run("python3 - " + " ".join(f"'{word}'" for word in words), sudo=True, input=script, timeout_s=180)
    return [json.loads(line) for line in said.splitlines()]


def _clients_held(on: Bench, settings: StackSettings, look: Look) -> list[dict[str, Any]]:
    most = math.ceil(settings.nginx_worker_processes * settings.nginx_worker_connections * BEYOND)
    rows: list[dict[str, Any]] = []
    with Room(on.host.url, on.ca, on.site) as room:
        while len(rows) < most and any(row["opened"] for row in [{"opened": True}, *rows][-REFUSED_IN_A_ROW:]):
            error = room.enter(f"look-{len(rows) % 10}")
            rows.append({"number": len(rows) + 1, "opened": error is None, "error": error})
        held = room.held()
    return [*rows, {"held": held}]


def _daphne_processes(on: Bench, settings: StackSettings, look: Look) -> list[dict[str, Any]]:
    return _on_web(on.host, DAPHNE_PROCESSES, look.verbosity, on.site.asgi)


def _sync_threads(on: Bench, settings: StackSettings, look: Look) -> list[dict[str, Any]]:
    authority = on.host.url.removeprefix("https://")
    pages = {page: _on_web(on.host, SYNC_THREADS, AT_ONCE, f"/{page}/?ms={WAITS_MS}", authority) for page in ("io", "pool")}
    return [{"page": page} | row for page, rows in pages.items() for row in rows]


def _starts(on: Bench, settings: StackSettings, look: Look) -> list[dict[str, Any]]:
    return start_together(on.host, look.rounds, look.ready, settings.daphne_instances)


def _socket_shares(on: Bench, settings: StackSettings, look: Look) -> list[dict[str, Any]]:
    clients = CLIENTS_PER_INSTANCE * settings.daphne_instances
    before = _log_lines(on.host)
    with Room(on.host.url, on.ca, on.site) as room:
        rows = [{"number": number, "error": room.enter(f"look-{number % 10}")} for number in range(1, clients + 1)]
        room.say_something()
        end_s = time.monotonic() + LOGGED_WITHIN_S
        logs = gained(before, _log_lines(on.host))
        while sum(row["sockets"] for row in logs) < clients and time.monotonic() < end_s:
            time.sleep(0.2)
            logs = gained(before, _log_lines(on.host))
    return [*rows, *logs]


def gained(before: Mapping[str, tuple[int, int]], after: Mapping[str, tuple[int, int]]) -> list[dict[str, Any]]:
    """What each log has more: {log, sockets, lines}."""
    more = {log: [now - then for now, then in zip(counts, before.get(log, (0, 0)), strict=True)] for log, counts in after.items()}
    return [{"log": log, "sockets": sockets, "lines": lines} for log, (sockets, lines) in more.items()]


def _log_lines(host: Host) -> dict[str, tuple[int, int]]:
    """{log: its lines that tell of an open socket, all its lines} of each instance there is."""
    count = """awk '/"WSCONNECT / {sockets[FILENAME]++} {lines[FILENAME]++}
        END {for (name in lines) print name, sockets[name] + 0, lines[name]}' /var/log/daphne/daphne*.log"""
    rows = [line.split() for line in host.run(count, sudo=True).splitlines()]
    return {Path(log).name: (int(sockets), int(lines)) for log, sockets, lines in rows}


SIGHTS: dict[str, Callable[[Bench, StackSettings, Look], list[dict[str, Any]]]] = {
    "clients_held": _clients_held, "daphne_processes": _daphne_processes, "sync_threads": _sync_threads,
    "starts": _starts, "socket_shares": _socket_shares, "most_clients": most_clients, "most_requests": most_requests,
    "server_stops": server_stops,
}  # fmt: skip
