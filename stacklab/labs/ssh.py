"""`SshLab`: any Debian or Ubuntu host that the user reaches by SSH, taken as it is: `user@host[:port]`."""

from __future__ import annotations

import getpass
import ipaddress
import os
import re
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

import paramiko

from stacklab.errors import HostError, LabError
from stacklab.labs.host import LOOK_TIMEOUT_S, Host

SPEC = re.compile(r"(?:(?P<user>[^@\s]*)@)?(?P<host>\[[0-9a-fA-F:.]+\]|[^@:\s\[\]]+)(:(?P<port>\d+))?")
NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")
SSH_CONFIG = Path("~/.ssh/config")
WEB = "STACKLAB_WEB"
HTTPS = 443


class SshLab:
    """The host `user@host[:port]`, or `@host`: as `ssh host` has it. It is somebody's machine: `up` looks at it, and `halt`
    and `destroy` refuse (`fab destroy` takes away what provisioning brought).

    The user's own agent, keys and known_hosts are used, and of the SSH configuration, as OpenSSH reads it, HostName, User,
    Port, IdentityFile, IdentityAgent and ProxyJump. A jump host is for SSH alone: the load goes straight to the host, at the
    name or address in $STACKLAB_WEB where that is another than SSH's.
    """

    kind = "ssh"
    how_to_start = "see that it is on, and that 'ssh' reaches it"

    def __init__(self, spec: str):
        self.name = spec
        self._spec = _parts(spec)
        self._web = _web(os.environ.get(WEB, ""))
        self.web()  # a configuration that does not do is told at once

    def web(self) -> Host:
        """The host. It connects when first used."""
        return _host(*self._spec, name=self.name, web_address=self._web)

    def up(self, pin: bool = True) -> Host:
        """Check that the host answers, runs Debian or Ubuntu under systemd, lets the user become root, and that load reaches
        it where SSH goes by a jump host.

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
                f"{host.user} cannot become root on {self.name} without a password ({error.stderr}); "
                "allow it in /etc/sudoers.d, or give a user who may"
            ) from error
        if self._web or host.gateway:
            _require_direct(host)
        return host

    def halt(self) -> None:
        """Refused."""
        raise LabError(f"{self.name} is not StackLab's machine: shut it down yourself")

    def destroy(self) -> None:
        """Refused."""
        raise LabError(
            f"{self.name} is not StackLab's machine, so it is not destroyed; nothing was changed. What provisioning brought is "
            "taken away by 'fab destroy'"
        )

    def status(self) -> dict[str, Any]:
        """See `Lab.status`. A host that does not answer counts as halted."""
        host = self.web()
        host.connect_timeout_s = LOOK_TIMEOUT_S
        return {
            "lab": self.name, "kind": self.kind, **host.look(), "address": host.address, "pinned_cpus": None,
            "generator_cpus": None, "client_addresses": [],
        }


def _web(said: str) -> str:
    """The name or address in $STACKLAB_WEB, which the site's certificate will be for; LabError if it is neither."""
    name = said.strip("[]")
    try:
        if ":" in name:
            ipaddress.ip_address(name)
        elif name and not NAME.fullmatch(name):
            raise ValueError
    except ValueError:
        raise LabError(f"{WEB}={said!r} is not allowed: a name or an address alone is, as web.example or [2001:db8::1]") from None
    return name


def _parts(spec: str) -> tuple[str, str, int | None]:
    """The user ("" where none is named), the host and the port of `spec`; LabError if it is none."""
    match = SPEC.fullmatch(spec)
    port = int(match["port"]) if match and match["port"] else None
    if not match or match["host"].startswith("-") or (port is not None and not 0 < port < 65536):
        raise LabError(
            f"lab {spec!r} is not allowed: an SSH host is user@host or user@host:port, or @host for the user whom ssh's "
            "configuration names; an IPv6 address stands in brackets, user@[2001:db8::1]:22"
        )
    return match["user"] or "", match["host"].strip("[]"), port


def _host(user: str, alias: str, port: int | None, before: tuple[str, ...] = (), **options: Any) -> Host:
    """The host that ssh would go to by these words, through the jump hosts that ssh would take; `before`: whom it leads to."""
    if alias in before:
        raise LabError(f"{SSH_CONFIG} leads in a circle: to {before[0]} by {', by '.join((*before[1:], alias))}")
    configured = _ssh_config(user, alias, port)
    gateway = None
    jumps = configured.get("proxyjump", "none")
    for hop in jumps.split(",") if jumps != "none" else ():
        through = _host(*_parts(hop.removeprefix("ssh://")), (*before, alias))
        through.gateway = gateway or through.gateway  # of several, each is reached by the one before it
        gateway = through
    keys = [Path(path) for path in configured.get("identityfile", []) if Path(path).exists()]
    return Host(
        _plain(configured["hostname"]), configured["user"], int(configured["port"]), key_path=keys[0] if keys else None,
        agent=_agent(configured.get("identityagent", "SSH_AUTH_SOCK")), gateway=gateway, **options,
    )


def _agent(said: str) -> bool | str:
    """The agent that IdentityAgent means: the user's own, none, or the socket of another."""
    if said in ("SSH_AUTH_SOCK", "none"):
        return said != "none"
    return os.path.expandvars(os.path.expanduser(said))


def _plain(address: str) -> str:
    """An IPv6 address as everybody writes it; else what was given."""
    return ipaddress.ip_address(address).compressed if ":" in address and "%" not in address else address


def _ssh_config(user: str, host: str, port: int | None) -> dict[str, Any]:
    """What OpenSSH makes of the user's configuration for this host: "hostname", "user", "port", "identityfile" …"""
    path = SSH_CONFIG.expanduser()
    if not shutil.which("ssh"):
        if path.exists():
            raise LabError(f"no 'ssh' here, which {path} is read by; install OpenSSH's client")
        return {"hostname": host, "user": user or getpass.getuser(), "port": port or 22}
    words = [*(["-l", user] if user else []), *(["-p", str(port)] if port else [])]
    command = ["ssh", "-T", "-G", "-F", str(path if path.exists() else os.devnull), *words, "--", host]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
    if done.returncode:
        raise LabError(f"ssh cannot go by {path}: {' '.join(done.stderr.split())}")
    # OpenSSH leaves tokens (%h, %d) as they are; paramiko reads its answer as a configuration of one host, and fills them in.
    found = paramiko.SSHConfig.from_text(f"Host *\n{done.stdout}").lookup(host)
    if found.get("proxycommand", "none") != "none":
        raise LabError(
            f"{path} reaches {host} by ProxyCommand {found['proxycommand']}, which is not run here; ProxyJump is followed: name "
            "the machine in between by that"
        )
    return found


def _require_direct(host: Host) -> None:
    """LabError if no load could reach the site from here. (A no is an answer: before provisioning nothing listens.)"""
    try:
        socket.create_connection((host.web_address, HTTPS), timeout=LOOK_TIMEOUT_S).close()
    except ConnectionRefusedError:
        pass
    except OSError as error:
        by = f"SSH goes through {host.gateway.name}, and load" if host.gateway else "Load"
        raise LabError(
            f"{by} has to reach the site on {host.name} directly: {host.web_address} port {HTTPS} does not answer from here "
            f"({error}). Set {WEB} to the name or address at which it does, or measure from a computer that reaches it"
        ) from error
