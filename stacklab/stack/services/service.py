"""What a service is to the lab: one frozen `Service` holds all that is known of it. Pure; the web host imports it too."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stacklab.settings import StackSettings

# What a service's functions are given to look at: `Machine` of provision/live.py, which is the web host itself.
Machine = Any


@dataclass(frozen=True)
class Template:
    """A file that depends on settings: provision/templates/NAME.j2, where it goes, and what a change of it takes.

    `part` is who takes it up.
    `command`: what makes the system read it first, or all that it takes where the part is no service.
    """

    name: str
    path: str
    part: str
    command: tuple[str, ...] = ()


@dataclass(frozen=True)
class Check:
    """A service's own checker: the `command` reads a part's staged files below {stage} and fails where they are wrong.

    {site} is the folder of the site it is to serve. `user` and `environment` (files in /etc/stacklab; staged ones first) are
    those of the unit. `void`: a word of a warning
    that means the setting would be accepted and not given. `instead_of`: a folder in place of which the checker uses one of
    its own, {trial}, where the staged files lie too; so nothing meets the service that runs.
    """

    part: str
    says: str
    command: tuple[str, ...]
    user: str = ""
    environment: tuple[str, ...] = ()
    void: str = ""
    instead_of: str = ""


@dataclass(frozen=True)
class Seen:
    """How a value is read from what runs. `part`: who takes up a change of it, the service itself by default.

    `of_instances`: it is there only where the site has instances (of Daphne and its like).
    """

    read: Callable[[Machine], Any]
    part: str = ""
    of_instances: bool = False


@dataclass(frozen=True)
class Service:
    """One service of the stack.

    `settings` are its own, each with how it is seen alive; `shows` is what else is told of it under `observed`. `workers`
    are the processes that are ready, all new once a reload counts as taken up, which may take `patience_s`. `limits`
    (machine, settings) and `unproven` (settings, observed) say in a sentence what this machine cannot give, and what does
    not run as asked; else nothing. `roles`: its processes', the first the one that systemd starts. `logs` are files, of
    which `words` has what the journal has not. `packages`: in provision/requirements.lock. `target` starts what the
    settings chose at boot. `chosen_by`: the setting that says, by this service's name, whether it runs at all. `socket`: the
    unix socket on which nginx reaches it. `prepare`: what makes it ready for the lab's site, each time a change started it.
    """

    name: str
    label: str
    unit: str
    colour: str
    roles: tuple[str, ...]
    settings: Mapping[str, Seen] = field(default_factory=dict)
    shows: Mapping[str, Callable[[Machine], Any]] = field(default_factory=dict)
    templates: tuple[Template, ...] = ()
    checks: tuple[Check, ...] = ()
    workers: Callable[[Machine], set[int]] | None = None
    patience_s: float = 180.0
    limits: Callable[[Machine, Mapping[str, Any]], str] = lambda machine, settings: ""
    unproven: Callable[[Mapping[str, Any], Mapping[str, Any]], str] = lambda settings, observed: ""
    logs: tuple[str, ...] = ()
    words: str = ""
    packages: tuple[str, ...] = ()
    target: str = ""
    chosen_by: str = ""
    socket: str = ""
    prepare: tuple[str, ...] = ()

    @property
    def instances(self) -> bool:
        """Whether its unit is a pattern: an instance is NAME@1, NAME@2 …"""
        return self.unit.endswith("@*")

    def runs(self, settings: Mapping[str, Any]) -> bool:
        """Whether it is part of the stack under these settings; one that an older record lacks has its default."""
        return not self.chosen_by or settings.get(self.chosen_by, StackSettings.default(self.chosen_by)) == self.name

    def wanted(self, settings: Mapping[str, Any]) -> list[str]:
        """The units that run under these settings."""
        if not self.runs(settings):
            return []
        return [f"{self.name}@{n + 1}" for n in range(settings.get("daphne_instances", 1))] if self.instances else [self.unit]

    def role(self, title: str, is_child: bool) -> str:
        """A process's role, by how it calls itself and whether another of the service started it."""
        if "leaving" in self.roles and "shutting down" in title:
            return "leaving"
        return self.roles[1] if is_child and len(self.roles) > 1 else self.roles[0]

    def commands(self, parts: Sequence[str] | set[str]) -> dict[tuple[str, ...], str]:
        """{command: the part that it is for} of the templates of some parts, each command once."""
        return {one.command: one.part for one in self.templates if one.command and one.part in parts}
