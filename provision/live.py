"""What is really running on this machine, read from /proc, systemd, sockets and uWSGI itself.

Standard library only: it runs on the web host. Nothing here trusts a configuration file.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from pathlib import Path

UWSGI_SOCKET = "/run/uwsgi/stacklab.sock"
UWSGI_STATS = "/run/uwsgi/stats.sock"
NGINX_CONF = "/etc/nginx/nginx.conf"
SETTINGS = Path("/etc/stacklab/settings.json")
FIRST_DAPHNE_PORT = 8443
MAX_DAPHNE_INSTANCES = 16


def words_of(*command: str) -> str:
    """The standard output of a command; empty if it fails."""
    return subprocess.run(command, capture_output=True, text=True).stdout


def main_pid(unit: str) -> int:
    """The main process of a unit; 0 if it does not run."""
    return int(words_of("systemctl", "show", "-P", "MainPID", unit).strip() or 0)


def units() -> dict[str, tuple[str, int]]:
    """{unit: (its state, its main process, 0 without one)} of nginx, uwsgi, redis-server and each daphne@N, asked at once."""
    said = words_of("systemctl", "show", "-p", "Id,ActiveState,MainPID", "nginx", "uwsgi", "redis-server", "daphne@*.service")
    found = {}
    for lines in said.strip().split("\n\n"):
        values = dict(line.split("=", 1) for line in lines.splitlines())
        if values:
            found[values["Id"].removesuffix(".service")] = values["ActiveState"], int(values.get("MainPID") or 0)
    return found


def children(pid: int) -> list[int]:
    """The processes that `pid` started."""
    try:
        tasks = Path(f"/proc/{pid}/task").iterdir()
        return [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:
        return []


def title(pid: int) -> str:
    """How a process calls itself, as `ps` shows it."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def open_files_limit(pid: int) -> tuple[int, int]:
    """A process's soft and hard limit of open files (0, 0 if it is gone)."""
    try:
        lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    except OSError:
        return 0, 0
    soft, hard = next(line for line in lines if line.startswith("Max open files")).split()[3:5]
    return int(soft), int(hard)


def nginx_workers(master: int | None = None) -> list[int]:
    """The nginx workers that take new connections: not those that a reload has told to finish."""
    return [pid for pid in children(master or main_pid("nginx")) if title(pid) == "nginx: worker process"]


def nginx_leaving() -> int:
    """How many nginx workers a reload has told to finish, which still have sockets open."""
    return sum("shutting down" in title(pid) for pid in children(main_pid("nginx")))


def uwsgi_stats() -> dict:
    """What uWSGI says of itself; empty if it does not answer."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(2)
            connection.connect(UWSGI_STATS)
            return json.loads(b"".join(iter(lambda: connection.recv(65536), b"")))
    except (OSError, ValueError):
        return {}


def backlog(path: str) -> int:
    """The true length limit of a listening unix socket's queue (Send-Q of `ss -xl`); 0 if nobody listens."""
    for line in words_of("ss", "-xlH").splitlines():
        fields = line.split()
        if path in fields:
            return int(fields[3])
    return 0


def daphne_ports() -> list[int]:
    """The ports, among those that belong to Daphne, on which somebody listens on loopback."""
    wanted = range(FIRST_DAPHNE_PORT, FIRST_DAPHNE_PORT + MAX_DAPHNE_INSTANCES)
    listening = {int(line.split()[3].rsplit(":", 1)[1]) for line in words_of("ss", "-tlnH").splitlines()}
    return [port for port in wanted if port in listening]


def instances(*states: str) -> list[int]:
    """The numbers of the Daphne instances that systemd holds in one of `states`."""
    lines = words_of("systemctl", "list-units", "--plain", "--no-legend", f"--state={','.join(states)}", "daphne@*.service")
    names = (line.split()[0] for line in lines.splitlines())
    return sorted(int(name.removeprefix("daphne@").removesuffix(".service")) for name in names)


def running_instances() -> list[int]:
    """The numbers of the Daphne instances that are ready."""
    return instances("active")


def environment(pid: int) -> dict[str, str]:
    """The environment a process was started with."""
    try:
        pairs = Path(f"/proc/{pid}/environ").read_text().split("\0")
    except OSError:
        return {}
    return dict(pair.split("=", 1) for pair in pairs if "=" in pair)


def applied() -> dict:
    """The record of the last commit: {"format", "settings", "version", "applied_s"}; empty before the first."""
    try:
        return json.loads(SETTINGS.read_text())
    except (OSError, ValueError):
        return {}


def nginx_directive(text: str, name: str) -> int | None:
    """The number after a directive in nginx's own dump of its configuration."""
    for line in text.splitlines():
        if line.split()[:1] == [name]:
            return int(line.split()[1].rstrip(";"))
    return None


def started_s(pid: int) -> float:
    """When a process began, in seconds since the epoch; now, if it is gone."""
    try:
        ticks = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except OSError:
        return time.time()
    uptime_s = float(Path("/proc/uptime").read_text().split()[0])
    return time.time() - uptime_s + ticks / os.sysconf("SC_CLK_TCK")


def worker_connections(workers: list[int]) -> int | None:
    """What the workers were started with. nginx does not tell, so: its file, unless that is newer than a worker."""
    written_s = Path(NGINX_CONF).stat().st_mtime if workers else 0.0
    if not workers or any(written_s > started_s(pid) + 1 for pid in workers):
        return None
    return nginx_directive(words_of("nginx", "-T"), "worker_connections")


# Settings that a Daphne instance was started with: its environment tells.
DAPHNE_SETTINGS = {
    "daphne_tls": ("STACKLAB_DAPHNE_TLS", lambda text: text == "1"),
    "daphne_drain_s": ("STACKLAB_DAPHNE_DRAIN_S", int),
    "asgi_threads": ("ASGI_THREADS", int),
    "channel_layer": ("STACKLAB_CHANNEL_LAYER", str),
    "channel_capacity": ("STACKLAB_CHANNEL_CAPACITY", int),
    "redis_pool": ("STACKLAB_REDIS_POOL", int),
    **{
        name: (f"STACKLAB_{name.upper()}", lambda text: text == "1")
        for name in ("lean_dispatch", "tidy_channels", "one_subscription", "layer_reconnects", "bounded_sockets", "chat_resume")
    },
}


def daphne_settings(pids: list[int]) -> dict:
    """{setting: the value that all these instances were started with}; None where they differ, none runs, or none is set."""
    started = [environment(pid) for pid in pids]
    found = {}
    for name, (variable, read) in DAPHNE_SETTINGS.items():
        texts = {variables.get(variable) for variables in started}
        text = texts.pop() if len(texts) == 1 else None
        found[name] = None if text is None else read(text)
    return found


def observe() -> dict:
    """The live state, under the names of the settings where there is one. None: cannot be seen."""
    running = units()
    workers = nginx_workers(running.get("nginx", ("", 0))[1])
    stats = uwsgi_stats()
    uwsgi_workers = [worker for worker in stats.get("workers", []) if worker["pid"]]
    ready = sorted((n for n in running if n.startswith("daphne@") and running[n][0] == "active"), key=lambda n: int(n[7:]))
    return {
        "nginx_worker_processes": len(workers),
        "nginx_worker_connections": worker_connections(workers),
        "nginx_open_files_limit": min((open_files_limit(pid)[0] for pid in workers), default=0),
        "uwsgi_processes": len(uwsgi_workers),
        "uwsgi_threads": len(uwsgi_workers[0]["cores"]) if uwsgi_workers else 0,
        "uwsgi_listen": backlog(UWSGI_SOCKET),
        "daphne_instances": len(ready),
        "daphne_ports": daphne_ports(),
        **daphne_settings([running[name][1] for name in ready]),
        "somaxconn": int(Path("/proc/sys/net/core/somaxconn").read_text()),
        "cpus": len(os.sched_getaffinity(0)),
        "units": {unit: running.get(unit, ("inactive", 0))[0] for unit in ("nginx", "uwsgi", "redis-server", *ready)},
    }
