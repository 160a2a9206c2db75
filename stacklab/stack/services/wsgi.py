"""What the WSGI servers have in common: some worker processes that share one unix socket, and the same site to serve. Pure.

A setting chooses one of them. What each reads of its workers, `told`, it says in its own file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from stacklab.settings import WSGI_SERVERS
from stacklab.stack.services.service import Check, Machine, Seen, Service, Template

TARGET, SYSCTL = "/etc/systemd/system/stacklab.target", "/etc/sysctl.d/90-stacklab.conf"


def somaxconn_needed(listen: int) -> int:
    """`net.core.somaxconn`: the kernel cuts a longer listen backlog down to it, silently. Linux's own default is 4096."""
    return max(4096, listen)


def socket_of(server: str) -> str:
    """The unix socket on which nginx reaches a server."""
    return f"/run/{server}/stacklab.sock"


def _running(machine: Machine) -> str | None:
    """The server that runs; all their names, should it be more than one."""
    return " and ".join(name for name in WSGI_SERVERS if machine.units.get(name, ("",))[0] == "active") or None


def wsgi_server(
    name: str, label: str, colour: str, *, package: str, config: Template, check: Check,
    told: Callable[[Machine], Mapping[int, Mapping[str, Any]]], workers: Callable[[Machine], set[int]],
) -> Service:
    """A WSGI server as a service. `told`: {pid of a worker: {"threads": how many, "database": which}}, of all that there are."""

    def limits(machine: Machine, settings: Mapping[str, Any]) -> str:
        now, wanted = list(told(machine)), settings["uwsgi_processes"]
        # Before it has any, those of the server whose place it takes say what one needs.
        known = now or [pid for server in WSGI_SERVERS for pid in machine.children(machine.main_pid(server))]
        if not known or wanted <= len(now):
            return ""
        each, available = max(map(machine.rss_bytes, known)), machine.memory_available()
        needed = (wanted - len(now)) * each
        if needed <= available * 0.8:
            return ""
        return (
            f"uwsgi_processes={wanted} needs about {needed >> 20} MiB more memory ({each >> 20} MiB a process) "
            f"and {available >> 20} MiB are available; take fewer"
        )

    reread, verify = ("systemctl", "daemon-reload"), ("systemd-analyze", "verify", "--man=no", "--recursive-errors=no")
    return Service(
        name=name, label=label, unit=name, colour=colour, roles=("master", "worker"), packages=(package,),
        target="stacklab.target", chosen_by="wsgi_server", socket=socket_of(name),
        settings={
            "wsgi_server": Seen(_running),
            "uwsgi_processes": Seen(lambda machine: len(told(machine))),
            "uwsgi_threads": Seen(lambda machine: max((worker["threads"] for worker in told(machine).values()), default=0)),
            "database": Seen(lambda machine: next((worker["database"] for worker in told(machine).values()), None)),
            "uwsgi_listen": Seen(lambda machine: machine.backlog(socket_of(name))),
        },
        shows={"somaxconn": lambda machine: int(machine.text_of("/proc/sys/net/core/somaxconn"))},
        templates=(
            Template("sysctl.conf", SYSCTL, "sysctl", command=("sysctl", "-q", "-p", SYSCTL)),
            config,
            Template("stacklab.target", TARGET, "stacklab.target", command=reread),
        ),
        checks=(check, Check("stacklab.target", "systemd-analyze verify", (*verify, "{stage}" + TARGET))),
        workers=workers, limits=limits,
    )  # fmt: skip
