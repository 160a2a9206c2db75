"""`processes`: every process of the stack on the web host, as the machine itself lists them."""

from __future__ import annotations

import re

import pandas as pd

from stacklab.labs.host import Host
from stacklab.stack.services import SERVICES, family, order_of, service_of

COLUMNS = ("service", "role", "pid", "parent", "user", "threads", "rss_bytes", "ports")
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
    services = {int(pid): service_of(unit) for unit, pid, *_ in rows}
    ports = _ports(sockets, parents)
    found = [
        (service, SERVICES[family(service)].role(title, services.get(int(parent)) == service), int(pid), int(parent), user,
         int(threads), int(rss_kib) * 1024, ports.get(int(pid), ()))
        for unit, pid, parent, user, threads, rss_kib, title in rows
        if (service := service_of(unit))
    ]  # fmt: skip
    return pd.DataFrame(sorted(found, key=lambda row: (order_of(row[0]), *row[1:3])), columns=list(COLUMNS))


def _ports(sockets: str, parents: dict[int, int]) -> dict[int, tuple[int, ...]]:
    """{pid: the ports it listens on}, from `ss -tlnpH`. A port that a master shares with its workers is the master's."""
    ports: dict[int, set[int]] = {}
    for line in sockets.splitlines():
        owners = {int(pid) for pid in re.findall(r"pid=(\d+)", line)}
        for pid in owners:
            if parents.get(pid) not in owners:
                ports.setdefault(pid, set()).add(int(line.split()[3].rpartition(":")[2]))
    return {pid: tuple(sorted(found)) for pid, found in ports.items()}
