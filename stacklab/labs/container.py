"""`ContainerLab`: a Debian machine on this computer, booted by systemd-nspawn and reached by SSH alone."""

from __future__ import annotations

import os
import re
import time
from typing import Any

from stacklab.errors import HostRefused, LabError, LabNotRunning, Refusal
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
        """Make and boot the machine if need be; the Host answers. `pin`: see `labs.cpus.split`.

        A machine that runs with other CPUs than asked for is booted again.
        """
        as_root("up", self.name, pin=pin)
        host = self.web()
        deadline = time.monotonic() + LOGIN_TIMEOUT_S
        while True:
            try:
                host.run("true")
                return host
            except (LabNotRunning, HostRefused) as error:
                # While it boots, its port answers some time before it lets users in; another refusal will not pass.
                if getattr(error, "why", Refusal.WRONG_LOGIN) != Refusal.WRONG_LOGIN or time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def web(self) -> Host:
        """The machine; LabNotRunning if it is not up, HostRefused if it is somebody else's."""
        require_running(self, self.status())
        subnet = Subnet(self._machine.record()["index"])
        return Host(
            subnet.web_address, ADMIN, name=self.name,
            key_path=self._machine.key_path, known_hosts_path=self._machine.known_hosts_path,
        )

    def halt(self) -> None:
        """Shut the machine down."""
        record = self._machine.record()
        if record and nspawn.runs(machine_name(Subnet(record["index"]))):
            as_root("halt", self.name)

    def destroy(self) -> None:
        """Remove the machine and all that was made for it, whatever state it is in."""
        if self._machine.exists:
            as_root("destroy", self.name)

    def status(self) -> dict[str, Any]:
        """See `Lab.status`."""
        record = self._machine.record()
        status = {
            "lab": self.name, "kind": self.kind, "state": "absent", "why": None, "address": None, "pinned_cpus": None,
            "generator_cpus": None, "client_addresses": [],
        }
        if not record or not record["image"]:
            return status
        subnet = Subnet(record["index"])
        running = nspawn.runs(machine_name(subnet))
        state = {"state": "running" if running else "halted"}
        if running and not os.access(self._machine.key_path, os.R_OK):
            keys = f"the keys of lab {self.name} belong to another user; 'fab up' gives them to you"
            state = HostRefused(keys, Refusal.NO_RIGHT).as_state()
        return {
            **status, **state,
            "address": subnet.web_address,
            "pinned_cpus": record["pinned_cpus"] if running else None,
            "generator_cpus": record["generator_cpus"] if running else None,
            "client_addresses": subnet.client_addresses if running else [],
        }
