"""`SshLab`: any Debian or Ubuntu host that the user reaches by SSH, taken as it is: `user@host[:port]`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import paramiko

from stacklab.errors import HostError, LabError
from stacklab.labs.host import LOOK_TIMEOUT_S, Host

SPEC = re.compile(r"(?P<user>[^@\s]+)@(?P<host>\[[0-9a-fA-F:.]+\]|[^@:\s\[\]]+)(:(?P<port>\d+))?")
SSH_CONFIG = Path("~/.ssh/config")


class SshLab:
    """The host `user@host[:port]`. It is somebody's machine: `up` looks at it, `halt` and `destroy` refuse.

    The user's own agent, keys and known_hosts are used, and of the SSH configuration HostName, Port and
    IdentityFile. A jump host does not do: load has to reach the host directly too.
    """

    kind = "ssh"
    how_to_start = "see that it is on, and that 'ssh' reaches it"

    def __init__(self, spec: str):
        match = SPEC.fullmatch(spec)
        port = int(match["port"]) if match and match["port"] else None
        if not match or (port is not None and not 0 < port < 65536):
            raise LabError(f"lab {spec!r} is not allowed: an SSH host is user@host or user@host:port")
        configured = _ssh_config(match["host"].strip("[]"))
        self.name = spec
        self._user = match["user"]
        self._address = configured["hostname"]
        self._port = port or int(configured.get("port", 22))
        keys = [Path(path) for path in configured.get("identityfile", []) if Path(path).exists()]
        self._key_path = keys[0] if keys else None

    def web(self) -> Host:
        """The host. It connects when first used."""
        return Host(self._address, self._user, self._port, key_path=self._key_path, agent=True, name=self.name)

    def up(self, pin: bool = True) -> Host:
        """Check that the host answers, runs Debian or Ubuntu under systemd, and lets the user become root.

        LabNotRunning or LabError says which of these is not so. Nothing is pinned: the host is a machine apart.
        """
        host = self.web()
        system = host.run(". /etc/os-release; echo $ID $ID_LIKE").split()
        if "debian" not in system and "ubuntu" not in system:
            name = system[0] if system else "an unknown system"
            raise LabError(f"{self.name} runs {name}; the stack needs Debian or Ubuntu")
        try:
            host.run("test -d /run/systemd/system")
        except HostError as error:
            raise LabError(f"{self.name} does not run systemd, which the stack's services need") from error
        try:
            host.run("sudo -n true")
        except HostError as error:
            raise LabError(
                f"{self._user} cannot become root on {self.name} without a password ({error.stderr}); "
                "allow it in /etc/sudoers.d, or give a user who may"
            ) from error
        return host

    def halt(self) -> None:
        """Refused."""
        raise LabError(f"{self.name} is not StackLab's machine: shut it down yourself")

    def destroy(self) -> None:
        """Refused."""
        raise LabError(f"{self.name} is not StackLab's machine, so it is not destroyed; nothing was changed")

    def status(self) -> dict[str, Any]:
        """See `Lab.status`. A host that does not answer counts as halted."""
        host = self.web()
        host.connect_timeout_s = LOOK_TIMEOUT_S
        return {
            "lab": self.name, "kind": self.kind, **host.look(), "address": self._address, "pinned_cpus": None,
            "generator_cpus": None, "client_addresses": [],
        }


def _ssh_config(host: str) -> dict[str, Any]:
    """What the user's SSH configuration says of `host`; at least {"hostname": …}."""
    path = SSH_CONFIG.expanduser()
    try:
        config = paramiko.SSHConfig.from_path(str(path)) if path.exists() else paramiko.SSHConfig()
        found = config.lookup(host)
    except (paramiko.SSHException, UnicodeDecodeError, ValueError) as error:
        raise LabError(
            f"{path} cannot be read ({error}); OpenSSH may take more than this program does: "
            "give the host by its address, as user@address:port, under an empty HOME or with that line left out"
        ) from error
    for word in ("proxyjump", "proxycommand"):
        if found.get(word, "none") != "none":
            raise LabError(f"{path} reaches {host} by {word}={found[word]}; load has to reach it directly: give its own address")
    return found
