"""uWSGI: the Django site over HTTP, by its own protocol; it tells of its workers itself."""

from __future__ import annotations

import json
from typing import Any

from stacklab.stack.services.service import Check, Machine, Template
from stacklab.stack.services.wsgi import wsgi_server

INI, STATS, TOLD = "/etc/uwsgi/stacklab.ini", "/run/uwsgi/stats.sock", "/run/uwsgi/told"


def listed(machine: Machine) -> list[dict[str, Any]]:
    """The workers that there are, as uWSGI itself tells of them; none if it does not answer."""
    try:
        return [worker for worker in json.loads(machine.answer(STATS))["workers"] if worker["pid"]]
    except (OSError, ValueError):
        return []


def told(machine: Machine) -> dict[int, dict[str, Any]]:
    """{pid: {"threads": …, "database": …}} of each worker."""
    note = machine.text_of(TOLD)  # by the master, as it loaded the site (provision/files/uwsgi_environment.py)
    database = json.loads(note)["database"] if note else None
    return {worker["pid"]: {"threads": len(worker["cores"]), "database": database} for worker in listed(machine)}


def workers(machine: Machine) -> set[int]:
    """The workers, if every one of them is ready; otherwise none."""
    now = listed(machine)
    return {worker["pid"] for worker in now} if all(worker["status"] in ("idle", "busy") for worker in now) else set()


UWSGI = wsgi_server(
    "uwsgi", "uWSGI", "#E69F00", package="pyuwsgi", told=told, workers=workers,
    config=Template("uwsgi.ini", INI, "uwsgi"),
    # It has no check of its own: have it read every option, load the site on sockets of its own, and end.
    check=Check("uwsgi", "uwsgi --no-server", ("{site}/venv/bin/uwsgi", "--ini", "{trial}" + INI, "--no-server"),
                user="uwsgi", environment=("{site}/site.env",), instead_of="/run/uwsgi/"),
)  # fmt: skip
