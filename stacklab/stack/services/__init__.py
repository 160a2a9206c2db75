"""The services of the stack, a file each: units, templates, settings and how these are seen alive, logs, colours. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from stacklab.errors import LabError
from stacklab.stack.services.daphne import DAPHNE
from stacklab.stack.services.granian import GRANIAN
from stacklab.stack.services.gunicorn import GUNICORN
from stacklab.stack.services.hypercorn import HYPERCORN
from stacklab.stack.services.nginx import NGINX
from stacklab.stack.services.postgresql import POSTGRESQL
from stacklab.stack.services.redis import REDIS
from stacklab.stack.services.service import Service
from stacklab.stack.services.uvicorn import UVICORN
from stacklab.stack.services.uwsgi import UWSGI

SERVICES: dict[str, Service] = {service.name: service for service in (
    NGINX, UWSGI, GUNICORN, DAPHNE, UVICORN, HYPERCORN, GRANIAN, REDIS, POSTGRESQL,
)}  # fmt: skip
"""{name: the service}, in the order in which a request meets them. A change is taken up from back to front."""

SERVICE_COLOURS = {name: service.colour for name, service in SERVICES.items()}
"""{service: its colour on every plot}, after Okabe and Ito's palette, which colour-blind people can tell apart."""


def in_force(settings: Mapping[str, Any]) -> dict[str, Service]:
    """Those of SERVICES that are part of the stack under these settings."""
    return {name: service for name, service in SERVICES.items() if service.runs(settings)}


def observable(settings: Mapping[str, Any]) -> dict[str, str]:
    """{setting: the part that takes it up} of all that can be seen in what runs under these settings."""
    found = {}
    for service in in_force(settings).values():
        for name, seen in service.settings.items():
            if settings.get("daphne_instances", 1) or not (service.instances or seen.of_instances):
                found[name] = seen.part or service.name
    return found


def family(name: str) -> str:
    """"daphne" for daphne@1 …; other services are their own family."""
    return name.partition("@")[0]


def number_of(name: str) -> int:
    """2 for daphne@2; 0 for what has no instances."""
    number = name.rpartition("@")[2]
    return int(number) if number.isdigit() else 0


def order_of(name: str) -> tuple[int, int]:
    """Sorts services and their instances in the order of SERVICES; what is none of them comes last."""
    known = list(SERVICES)
    return known.index(family(name)) if family(name) in known else len(known), number_of(name)


def service_of(unit: str) -> str | None:
    """"redis" for redis-server, "daphne@1" for daphne@1 (with or without ".service"); None for a unit of somebody else."""
    unit = unit.removesuffix(".service")
    for service in SERVICES.values():
        if unit == service.unit:
            return service.name
        if service.instances and re.fullmatch(rf"{service.name}@\d+", unit):
            return unit
    return None


def unit_of(name: str) -> str:
    """The systemd unit (or pattern) of a service; LabError, naming the services, if there is no such service."""
    if name in SERVICES:
        return SERVICES[name].unit
    if service_of(name) == name:
        return name
    raise LabError(f"there is no service {name!r}; there are {', '.join(SERVICES)} and an instance, such as daphne@1")


def journal_units() -> str:
    """The services' units as options of journalctl."""
    return " ".join(f"-u '{service.unit}'" for service in SERVICES.values())
