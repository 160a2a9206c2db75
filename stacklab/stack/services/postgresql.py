"""PostgreSQL: the database of the pages, where it is chosen; a unit and a cluster of the lab's own, on a unix socket alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stacklab.stack.services.service import Machine, Service

UNIT = "stacklab-postgresql"
# Of provision/files/postgresql.conf: max_connections is twice this and some, as gunicorn's old workers and new ones overlap.
MOST_CONNECTIONS = 450


def _limits(machine: Machine, settings: Mapping[str, Any]) -> str:
    wanted = settings["uwsgi_processes"] * settings["uwsgi_threads"]
    if wanted <= MOST_CONNECTIONS:
        return ""
    return (
        f"uwsgi_processes={settings['uwsgi_processes']} × uwsgi_threads={settings['uwsgi_threads']} may hold {wanted} "
        f"connections to PostgreSQL, and its max_connections are for {MOST_CONNECTIONS}; take fewer"
    )


def _unproven(settings: Mapping[str, Any], observed: Mapping[str, Any]) -> str:
    state = observed["units"].get(UNIT)
    return "" if state == "active" else f"PostgreSQL was to run and is {state}"


POSTGRESQL = Service(
    name="postgresql", label="PostgreSQL", unit=UNIT, colour="#332288", roles=("server", "process"),
    target="stacklab.target", chosen_by="database", limits=_limits, unproven=_unproven,
    prepare=("bash", "/opt/stacklab/provision/web.sh", "tables"),
)  # fmt: skip
