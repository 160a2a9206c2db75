"""`ContainerLab`: a Debian machine on this computer, booted by systemd-nspawn and reached by SSH alone."""

from __future__ import annotations

import os
import re
import time
from typing import Any

from stacklab.errors import LabError, LabNotRunning
from stacklab.labs import nspawn, require_running
from stacklab.labs.asroot import as_root
from stacklab.labs.host import Host
from stacklab.labs.machine import ADMIN, Machine, machine_name
from stacklab.labs.network import Subnet

NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")
LOGIN_TIMEOUT_S = 15


class ContainerLab:
    """The container lab `name`. `up`, `halt` and `destroy` need root and take it through sudo; the rest does not."""

    kind = "container"
    how_to_start = "start it with 'fab up'"

    def __init__(self, name: str = "stacklab"):
        if not NAME.fullmatch(name):
            raise LabError(
                f"lab name {name!r} is not allowed: a small letter first, then up to 30 small letters, digits or "
                "hyphens (an SSH host is user@host[:port])"
            )
        self.name = name
        self._machine = Machine(name)

    def up(self, pin: bool = True) -> Host:
        """Make and boot the machine if need be; the Host answers. `pin`: see `labs.machine.split_cpus`.

        A machine that runs with other CPUs than asked for is booted again.
        """
        as_root("up", self.name, pin=pin)
        host = self.web()
        deadline = time.monotonic() + LOGIN_TIMEOUT_S
        while True:
            try:
                host.run("true")
                return host
            except LabNotRunning:  # while it boots, its port answers some time before it lets users in
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def web(self) -> Host:
        """The machine; LabNotRunning if it is not up."""
        require_running(self, self.status())
        if not os.access(self._machine.key_path, os.R_OK):
            raise LabError(f"the keys of lab {self.name} belong to another user; 'fab up' gives them to you")
        subnet = Subnet(self._machine.record()["index"])
        return Host(
            subnet.web_address, ADMIN, name=self.name,
            key_path=self._machine.key_path, known_hosts_path=self._machine.known_hosts_path,
        )

    def halt(self) -> None:
        """Shut the machine down."""
        if self.status()["state"] == "running":
            as_root("halt", self.name)

    def destroy(self) -> None:
        """Remove the machine and all that was made for it, whatever state it is in."""
        if self._machine.exists:
            as_root("destroy", self.name)

    def status(self) -> dict[str, Any]:
        """See `Lab.status`."""
        record = self._machine.record()
        status = {
            "lab": self.name, "kind": self.kind, "state": "absent", "address": None, "pinned_cpus": None,
            "generator_cpus": None, "client_addresses": [],
        }
        if not record or not record["image"]:
            return status
        subnet = Subnet(record["index"])
        running = nspawn.runs(machine_name(subnet))
        return {
            **status,
            "state": "running" if running else "halted",
            "address": subnet.web_address,
            "pinned_cpus": record["pinned_cpus"] if running else None,
            "generator_cpus": record["generator_cpus"] if running else None,
            "client_addresses": subnet.client_addresses if running else [],
        }
