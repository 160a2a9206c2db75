"""gunicorn: the Django site over HTTP, which nginx passes on as HTTP. Each worker writes down that it is ready, and with what."""

from __future__ import annotations

import json
from typing import Any

from stacklab.stack.services.service import Check, Machine, Template
from stacklab.stack.services.wsgi import wsgi_server

CONFIG, READY = "/etc/gunicorn/stacklab.py", "/run/gunicorn/ready"


def told(machine: Machine) -> dict[int, dict[str, Any]]:
    """{pid: {"threads": …, "database": …}} of each worker that has loaded the site."""
    notes = {child: machine.text_of(f"{READY}/{child}") for child in machine.children(machine.main_pid("gunicorn"))}
    return {pid: json.loads(note) for pid, note in notes.items() if note}


def workers(machine: Machine) -> set[int]:
    """The workers, if every one of them is ready; otherwise none."""
    ready = set(told(machine))
    return ready if ready == set(machine.children(machine.main_pid("gunicorn"))) else set()


GUNICORN = wsgi_server(
    "gunicorn", "gunicorn", "#8C564B", package="gunicorn", told=told, workers=workers,
    config=Template("gunicorn.py", CONFIG, "gunicorn"),
    check=Check("gunicorn", "gunicorn --check-config",
                ("env", "-C", "{site}/code", "{site}/venv/bin/gunicorn", "--check-config", "--config", "{stage}" + CONFIG),
                user="uwsgi", environment=("{site}/site.env",)),
)  # fmt: skip
