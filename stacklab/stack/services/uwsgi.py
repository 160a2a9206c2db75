"""uWSGI: the Django site over HTTP, some worker processes that share one unix socket."""

from __future__ import annotations

import json
from typing import Any

from stacklab.stack.services.service import Check, Machine, Seen, Service, Template

INI, SOCKET, STATS = "/etc/uwsgi/stacklab.ini", "/run/uwsgi/stacklab.sock", "/run/uwsgi/stats.sock"
SYSCTL = "/etc/sysctl.d/90-stacklab.conf"


def somaxconn_needed(listen: int) -> int:
    """`net.core.somaxconn`: the kernel cuts a longer listen backlog down to it, silently. Linux's own default is 4096."""
    return max(4096, listen)


def listed(machine: Machine) -> list[dict[str, Any]]:
    """The workers that there are, as uWSGI itself tells of them; none if it does not answer."""
    try:
        return [worker for worker in json.loads(machine.answer(STATS))["workers"] if worker["pid"]]
    except (OSError, ValueError):
        return []


def workers(machine: Machine) -> set[int]:
    """The workers, if every one of them is ready; otherwise none."""
    now = listed(machine)
    return {worker["pid"] for worker in now} if all(worker["status"] in ("idle", "busy") for worker in now) else set()


def _limits(machine: Machine, settings) -> str:
    now, wanted = listed(machine), settings["uwsgi_processes"]
    if not now or wanted <= len(now):
        return ""
    each = max(worker["rss"] for worker in now) or machine.rss_bytes(now[0]["pid"])
    needed, available = (wanted - len(now)) * each, machine.memory_available()
    if needed <= available * 0.8:
        return ""
    return (
        f"uwsgi_processes={wanted} needs about {needed >> 20} MiB more memory ({each >> 20} MiB a process) "
        f"and {available >> 20} MiB are available; take fewer"
    )


UWSGI = Service(
    name="uwsgi", label="uWSGI", unit="uwsgi", colour="#E69F00", roles=("master", "worker"), packages=("pyuwsgi",),
    settings={
        "uwsgi_processes": Seen(lambda machine: len(listed(machine))),
        "uwsgi_threads": Seen(lambda machine: max((len(worker["cores"]) for worker in listed(machine)), default=0)),
        "uwsgi_listen": Seen(lambda machine: machine.backlog(SOCKET)),
    },
    shows={"somaxconn": lambda machine: int(machine.text_of("/proc/sys/net/core/somaxconn"))},
    templates=(
        Template("sysctl.conf", SYSCTL, "sysctl", command=("sysctl", "-q", "-p", SYSCTL)),
        Template("uwsgi.ini", INI, "uwsgi"),
    ),
    # It has no check of its own: have it read every option, load the site on sockets of its own, and end.
    checks=(
        Check("uwsgi", "uwsgi --no-server", ("{site}/venv/bin/uwsgi", "--ini", "{trial}" + INI, "--no-server"),
              user="uwsgi", environment=("{site}/site.env",), instead_of="/run/uwsgi/"),
    ),
    workers=workers, limits=_limits,
)  # fmt: skip
