"""nginx: in front of everything, TLS to the clients, one connection each to them and to what stands behind."""

from __future__ import annotations

import re

from stacklab.stack.services.service import Check, Machine, Seen, Service, Template

CONF, SITE = "/etc/nginx/nginx.conf", "/etc/nginx/conf.d/stacklab.conf"
# An open file for each connection a worker may hold, and some for logs, static files and listening sockets.
SPARE_OPEN_FILES = 512
METHODS = {"least_conn": "least_conn;", "ip_hash": "ip_hash;", "hash": "hash $room", "random_two": "random two"}


def open_files_needed(connections: int) -> int:
    """`worker_rlimit_nofile`: without it nginx stays at the soft limit, however many worker_connections it has."""
    return max(1024, connections + SPARE_OPEN_FILES)


def workers(machine: Machine) -> set[int]:
    """Those that take new connections: not those that a reload has told to finish."""
    return {pid for pid in machine.children(machine.main_pid("nginx")) if machine.title(pid) == "nginx: worker process"}


def leaving(machine: Machine) -> int:
    """How many workers a reload has told to finish, which still have sockets open."""
    return sum("shutting down" in machine.title(pid) for pid in machine.children(machine.main_pid("nginx")))


def directive(config: str, name: str) -> int | None:
    """The number after a directive; None where it does not stand."""
    found = re.search(rf"^\s*{name}\s+(\d+);", config, re.MULTILINE)
    return int(found[1]) if found else None


def _config(machine: Machine) -> str:
    """What the workers were started with. nginx does not tell, so: its files, unless one is newer than a worker."""
    started = [machine.started_s(pid) for pid in workers(machine)]
    if not started or max(machine.written_s(CONF), machine.written_s(SITE)) > min(started) + 1:
        return ""
    return machine.nginx_config


def _upstream(machine: Machine) -> str:
    found = re.search(r"^upstream daphne-server \{(.*?)^\}", _config(machine), re.DOTALL | re.MULTILINE)
    return re.sub("#.*", "", found[1]) if found else ""


def _balance(machine: Machine) -> str | None:
    upstream = _upstream(machine)
    lines = [line.strip() for line in upstream.splitlines()]  # "random two least_conn;" has another's words in it
    found = (name for name, words in METHODS.items() if any(line.startswith(words) for line in lines))
    return next(found, "round_robin" if upstream else None)


def _balance_zone(machine: Machine) -> bool | None:
    upstream = _upstream(machine)
    return "zone " in upstream if upstream else None


def _of_servers(words: str) -> Seen:
    def read(machine: Machine) -> int | None:
        found = set(re.findall(rf"{words}=(\d+)", _upstream(machine)))
        return int(found.pop()) if len(found) == 1 else None

    return Seen(read, of_instances=True)


def _open_files(machine: Machine) -> int:
    return min((machine.open_files_limit(pid)[0] for pid in workers(machine)), default=0)


def _limits(machine: Machine, settings) -> str:
    wanted = open_files_needed(settings["nginx_worker_connections"])
    hard = machine.open_files_limit(machine.main_pid("nginx"))[1]
    if not hard or wanted <= hard:
        return ""
    return (
        f"nginx_worker_connections={settings['nginx_worker_connections']} needs {wanted} open files in each worker, "
        f"and this machine's hard limit is nofile={hard}; take at most {hard - SPARE_OPEN_FILES}, or more nginx_worker_processes"
    )


def _unproven(settings, observed) -> str:
    needed, has = open_files_needed(settings["nginx_worker_connections"]), observed["nginx_open_files_limit"]
    return f"nginx was to have nofile={needed} and has {has}" if has < needed else ""


NGINX = Service(
    name="nginx", label="nginx", unit="nginx", colour="#0072B2", roles=("master", "worker", "leaving"),
    settings={
        "nginx_worker_processes": Seen(lambda machine: len(workers(machine))),
        "nginx_worker_connections": Seen(lambda machine: directive(_config(machine), "worker_connections")),
        "balance": Seen(_balance, of_instances=True),
        "balance_zone": Seen(_balance_zone, of_instances=True),
        "balance_max_fails": _of_servers("max_fails"),
        "balance_fail_timeout_s": _of_servers("fail_timeout"),
    },
    shows={"nginx_open_files_limit": _open_files},
    templates=(Template("nginx.conf", CONF, "nginx"), Template("site.conf", SITE, "nginx")),
    # It warns, and goes on, where a limit makes the setting void: "… exceed open file resource limit".
    checks=(Check("nginx", "nginx -t", ("nginx", "-t", "-q", "-c", "{stage}" + CONF), void="exceed"),),
    workers=workers, patience_s=15.0, limits=_limits, unproven=_unproven,
    logs=("/var/log/nginx/requests.jsonl", "/var/log/nginx/error.log"), words="/var/log/nginx/error.log",
)  # fmt: skip
