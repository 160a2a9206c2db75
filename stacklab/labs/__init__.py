"""Labs: sets of machines with a life cycle. `open_lab` gives the one that is asked for.

Kinds: `container` (a Debian machine on this computer, the default), `vagrant`, `ssh` (any Debian host).
"""

from __future__ import annotations

import os
from typing import Any, Protocol

from stacklab.errors import HostRefused, LabNotRunning, Refusal
from stacklab.labs.host import Host

DEFAULT_LAB = "container"


class Lab(Protocol):
    """What every lab can do. Each call is safe to repeat, also after it was cut off half-way."""

    name: str
    kind: str
    how_to_start: str
    """What to do where it is not up, as an imperative that ends a sentence."""

    def up(self, pin: bool = True) -> Host:
        """Make and boot the machine if need be, and wait until it answers on SSH.

        `pin` keeps it and the load generator on different CPUs, where there are two or more and the lab can.
        """

    def web(self) -> Host:
        """The machine under test; LabNotRunning if it is not up."""

    def halt(self) -> None:
        """Shut the machine down; its disk stays."""

    def destroy(self) -> None:
        """Remove the machine and everything of it."""

    def status(self) -> dict[str, Any]:
        """{"lab", "kind", "state": "absent" | "halted" | "running" | a word of `Refusal`, "why", "address", "pinned_cpus",
        "generator_cpus", "client_addresses"}. `why` is what was found where it is not running, None if there is no more to
        say; CPUs are None without pinning; `client_addresses` are this computer's own addresses from which load can reach
        the machine."""


def require_running(lab: Lab, status: dict[str, Any]) -> None:
    """LabNotRunning, which says how the lab is started, if its `status` is that it is not up; HostRefused if it is refused."""
    state, why = status["state"], status.get("why")
    if state in list(Refusal):
        raise HostRefused(why, Refusal(state))
    if state != "running":
        raise LabNotRunning(f"the lab {lab.name} is {state}; {lab.how_to_start}" + (f" ({why})" if why else ""))


def open_lab(spec: str | None = None) -> Lab:
    """The lab that `spec`, else the environment variable STACKLAB_LAB, asks for; by default the container lab.

    `container` or `vagrant`; with an @ an SSH host (`user@host[:port]`); anything else names a container lab.
    """
    from stacklab.labs.container import ContainerLab
    from stacklab.labs.ssh import SshLab
    from stacklab.labs.vagrant import VagrantLab, on_desk

    spec = spec or os.environ.get("STACKLAB_LAB") or ("vagrant" if on_desk() else DEFAULT_LAB)
    if "@" in spec:
        return SshLab(spec)
    if spec == "vagrant":
        return VagrantLab()
    return ContainerLab() if spec == "container" else ContainerLab(spec)
