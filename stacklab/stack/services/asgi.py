"""What the ASGI servers have in common: one process an instance, on port 8443 and upwards, and the same site to serve. Pure.

A setting chooses one of them; a server's unit is written when it is first chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from stacklab.settings import APP_IMPROVEMENTS, ASGI_SERVERS, FIRST_DAPHNE_PORT, MAX_DAPHNE_INSTANCES
from stacklab.stack.services.service import Check, Machine, Seen, Service, Template

ENV, TARGET = "/etc/stacklab/daphne.env", "/etc/systemd/system/daphne.target"
DIFFERENT = "not the same in all"  # what is seen of a setting in which the instances differ


def running(machine: Machine) -> list[str]:
    """The instances that are ready, in order, whichever server's they are."""
    return [unit for unit, (state, _) in machine.units.items() if state == "active" and unit.split("@")[0] in ASGI_SERVERS]


def flag(text: str) -> bool:
    """How true and false stand in the environment."""
    return text == "1"


def _the_same(found: set[Any]) -> Any:
    return DIFFERENT if len(found) > 1 else next(iter(found), None)


def started_with(variable: str, read: Callable[[str], Any]) -> Seen:
    """What all instances were started with, as their environment tells; None where it does not stand there."""

    def look(machine: Machine) -> Any:
        text = _the_same({machine.environment(machine.units[unit][1]).get(variable) for unit in running(machine)})
        return text if text in (None, DIFFERENT) else read(text)

    return Seen(look)


def _server(machine: Machine) -> str | None:
    return _the_same({unit.split("@")[0] for unit in running(machine)})


def _ports(machine: Machine) -> list[int]:
    """The ports, among those that are the instances', on which somebody listens."""
    listening = machine.listening_ports()
    return [port for port in range(FIRST_DAPHNE_PORT, FIRST_DAPHNE_PORT + MAX_DAPHNE_INSTANCES) if port in listening]


# What every server's instances are told, and how many there are.
COMMON = {
    "asgi_server": Seen(_server, "daphne.target"),
    "daphne_instances": Seen(lambda machine: len(running(machine)), "daphne.target"),
    "daphne_tls": started_with("STACKLAB_DAPHNE_TLS", flag),
    "channel_layer": started_with("STACKLAB_CHANNEL_LAYER", str),
    "channel_capacity": started_with("STACKLAB_CHANNEL_CAPACITY", int),
    "redis_pool": started_with("STACKLAB_REDIS_POOL", int),
    **{name: started_with(f"STACKLAB_{name.upper()}", flag) for name in APP_IMPROVEMENTS},
}


def asgi_server(
    name: str, label: str, colour: str, *, settings: Mapping[str, Seen] | None = None, **more: Any
) -> Service:
    """An ASGI server as a service: `settings` are those that it alone knows; its unit is the template NAME@.service."""

    def unproven(asked: Mapping[str, Any], observed: Mapping[str, Any]) -> str:
        wanted = [FIRST_DAPHNE_PORT + n for n in range(asked["daphne_instances"])]
        if set(wanted) <= set(observed["daphne_ports"]):  # more may be taken, by a program that is not ours
            return ""
        return f"{label} was to listen on {wanted} and listens on {observed['daphne_ports']}"

    unit, reread = f"/etc/systemd/system/{name}@.service", ("systemctl", "daemon-reload")
    verify = ("systemd-analyze", "verify", "--man=no", "--recursive-errors=no")
    check = ("env", "-C", "{site}/code", "{site}/venv/bin/python", "-B", "manage.py", "check")
    return Service(
        name=name, label=label, unit=f"{name}@*", colour=colour, target="daphne.target", chosen_by="asgi_server",
        settings=COMMON | dict(settings or {}), shows={"daphne_ports": _ports}, unproven=unproven,
        templates=(
            Template("daphne.env", ENV, name), Template(f"{name}@.service", unit, name, command=reread),
            Template("daphne.target", TARGET, "daphne.target", command=reread),
        ),
        checks=(
            Check(name, "manage.py check", check, user="daphne", environment=("{site}/site.env", "daphne.env")),
            Check("daphne.target", "systemd-analyze verify", (*verify, "{stage}" + TARGET)),
        ),
        **{"roles": ("instance",), "packages": (name,)} | more,
    )  # fmt: skip
