"""`processes`: every process of the stack on the web host, as the machine itself lists them."""

from __future__ import annotations

import re

import pandas as pd

from stacklab.labs.host import Host

COLUMNS = ("service", "role", "pid", "parent", "user", "threads", "rss_bytes", "ports")
SERVICES = {"nginx.service": "nginx", "uwsgi.service": "uwsgi", "redis-server.service": "redis"}
# `ps` knows which systemd unit a process belongs to; only root sees whose port it is.
COMMAND = "ps -eo unit:60,pid,ppid,user:20,nlwp,rss,args --no-headers; echo; ss -tlnpH"


def processes(host: Host) -> pd.DataFrame:
    """One row a process: service (nginx, uwsgi, daphne@1 …, redis), role, pid, parent, user, threads, rss_bytes, ports.

    `role` is "master" or "worker" for nginx and uWSGI ("leaving" for an nginx worker that a reload told
    to finish what it has), else "instance" or "server". `ports` are the TCP ports it listens on.
    LabNotRunning if the host does not answer.
    """
    listed, _, sockets = host.run(COMMAND, sudo=True).partition("\n\n")
    rows = [line.split(None, 6) for line in listed.splitlines()]
    parents = {int(pid): int(parent) for _, pid, parent, *_ in rows}
    services = {int(pid): _service(unit) for unit, pid, *_ in rows}
    ports = _ports(sockets, parents)
    found = [
        (service, _role(service, title, services.get(int(parent)) == service), int(pid), int(parent), user,
         int(threads), int(rss_kib) * 1024, ports.get(int(pid), ()))
        for unit, pid, parent, user, threads, rss_kib, title in rows
        if (service := _service(unit))
    ]  # fmt: skip
    return pd.DataFrame(sorted(found, key=lambda row: (_order(row[0]), *row[1:3])), columns=list(COLUMNS))


def _service(unit: str) -> str | None:
    if found := re.fullmatch(r"(daphne@\d+)\.service", unit):
        return found[1]
    return SERVICES.get(unit)


def _ports(sockets: str, parents: dict[int, int]) -> dict[int, tuple[int, ...]]:
    """{pid: the ports it listens on}, from `ss -tlnpH`. A port that a master shares with its workers is the master's."""
    ports: dict[int, set[int]] = {}
    for line in sockets.splitlines():
        owners = {int(pid) for pid in re.findall(r"pid=(\d+)", line)}
        for pid in owners:
            if parents.get(pid) not in owners:
                ports.setdefault(pid, set()).add(int(line.split()[3].rpartition(":")[2]))
    return {pid: tuple(sorted(found)) for pid, found in ports.items()}


def _role(service: str, title: str, is_child: bool) -> str:
    if service == "redis":
        return "server"
    if service.startswith("daphne@"):
        return "instance"
    if "shutting down" in title:
        return "leaving"
    return "worker" if is_child else "master"


def _order(service: str) -> tuple[int, int]:
    family, _, number = service.partition("@")
    return ("nginx", "uwsgi", "daphne", "redis").index(family), int(number or 0)
