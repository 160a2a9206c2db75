"""The services of the stack: their units, their families, their colours. Pure."""

from __future__ import annotations

import re

from stacklab.errors import LabError

SERVICES = {"nginx": "nginx", "uwsgi": "uwsgi", "daphne": "daphne@*", "redis": "redis-server"}
"""{service: its systemd unit, or the pattern of its units}."""

SERVICE_COLOURS = {"nginx": "#0072B2", "uwsgi": "#E69F00", "daphne": "#009E73", "redis": "#D55E00"}
"""{service: its colour on every plot}, of Okabe and Ito's palette, which colour-blind people can tell apart."""


def family(service: str) -> str:
    """"daphne" for daphne@1 …; other services are their own family."""
    return service.partition("@")[0]


def unit_of(service: str) -> str:
    """The systemd unit (or pattern) of a service; LabError, naming the services, if there is no such service."""
    if re.fullmatch(r"daphne@\d+", service):
        return service
    if service not in SERVICES:
        raise LabError(f"there is no service {service!r}; there are {', '.join(SERVICES)} and daphne@1, daphne@2 …")
    return SERVICES[service]
