"""A classroom lab for the test: `vagrant` in a clean clone of the project, with a network and ports of its own.

What differs between providers is in libvirt_lab.py and docker_lab.py.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import socket
import ssl
import subprocess
import time
import urllib.request
from dataclasses import dataclass, field
from ipaddress import ip_interface, ip_network
from pathlib import Path
from typing import Any

import psutil
import pytest
from here import take

ROOT = Path(__file__).resolve().parents[2]


class CannotRunHere(Exception):
    """This computer cannot run the test; the message is why."""


class StepFailed(AssertionError):
    """A command of the test failed; the message is what it printed."""


def run(*command: str | Path, timeout_s: float = 1800, **options) -> str:
    """What `command` prints (both streams). StepFailed with its last lines if it fails."""
    done = subprocess.run(
        [str(word) for word in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        stdin=subprocess.DEVNULL,
        timeout=timeout_s,
        **options,
    )
    text = "\n".join(line for line in re.split(r"[\r\n]+", done.stdout) if "Progress:" not in line)
    if done.returncode != 0:
        raise StepFailed(f"{' '.join(map(str, command))} failed with exit code {done.returncode}:\n{text[-6000:]}")
    return text


def stolen_s() -> float:
    """CPU time that this computer, if it is itself a virtual machine, wanted and did not get: steal in /proc/stat."""
    return getattr(psutil.cpu_times(), "steal", 0.0)


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def free_network() -> str:
    """The first three numbers of a network that VirtualBox, too, would allow, that this computer has not and no other test."""
    taken = [
        ip_interface(f"{each.address}/{each.netmask}").network
        for addresses in psutil.net_if_addrs().values() for each in addresses if each.family == socket.AF_INET
    ]  # fmt: skip
    candidates = (f"192.168.{third}" for third in range(63, 56, -1))
    free = (each for each in candidates if not any(ip_network(f"{each}.0/24").overlaps(other) for other in taken))
    return next(each for each in free if take(each))


@dataclass
class ClassroomLab:
    """`vagrant` in a clean clone. `times_s` is the transcript: how long each command took."""

    folder: Path
    network: str = field(default_factory=free_network)
    jupyter_port: int = field(default_factory=free_port)
    site_port: int = field(default_factory=free_port)
    times_s: dict[str, float] = field(default_factory=dict)
    provider = ""

    @classmethod
    def make(cls, folder: Path) -> ClassroomLab:
        """Clone HEAD into `folder`. CannotRunHere if the provider cannot run on this computer."""
        run("git", "clone", "--quiet", ROOT, folder)
        return cls(folder)

    @property
    def environment(self) -> dict[str, str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("STACKLAB_", "VAGRANT_"))}
        return {
            **clean,
            "VAGRANT_HOME": str(self.folder.parent / "vagrant-home"),
            "VAGRANT_DEFAULT_PROVIDER": self.provider,
            "VAGRANT_NO_COLOR": "1",
            "STACKLAB_NETWORK": self.network,
            "STACKLAB_JUPYTER_PORT": str(self.jupyter_port),
            "STACKLAB_SITE_PORT": str(self.site_port),
            "STACKLAB_LAB": "vagrant",
        }

    @property
    def web(self) -> str:
        return f"{self.network}.10"

    def status(self) -> dict[str, Any]:
        """What `fab status` says on desk."""
        return json.loads(self.on_desk("fab status --json"))

    def answer(self, path: str, name: str = "127.0.0.1") -> tuple[int, Any, str]:
        """The site's answer through the forwarded port: (status, headers, text), TLS verified by the lab's own CA."""
        trust = ssl.create_default_context(cadata=self.on("web", "cat /etc/stacklab/tls/ca.crt"))
        request = urllib.request.Request(
            f"https://127.0.0.1:{self.site_port}{path}", headers={"Host": f"{name}:{self.site_port}"}
        )
        with urllib.request.urlopen(request, context=trust, timeout=60) as response:
            return response.status, response.headers, response.read().decode()

    def jupyterlab(self, said: str) -> str:
        """JupyterLab's address as `vagrant up` printed it."""
        return re.search(rf"http://127\.0\.0\.1:{self.jupyter_port}/lab\?token=(\w+)", said).group()

    def vagrant(self, *words: str, timed: str | None = None, timeout_s: float = 1800) -> str:
        command = ("vagrant", *words)
        if timed:
            return self._timed(timed, *command, timeout_s=timeout_s, cwd=self.folder, env=self.environment)
        return run(*command, timeout_s=timeout_s, cwd=self.folder, env=self.environment)

    def fab(self, *words: str) -> str:
        """What the lab's own checkout prints of a task, on this computer."""
        return run(ROOT / ".venv/bin/fab", *words, cwd=self.folder, env={**self.environment, "PYTHONPATH": str(self.folder)})

    def on_desk(self, command: str, timed: str | None = None, timeout_s: float = 1800) -> str:
        """What `command` prints for the student on desk, in the folder that JupyterLab shows."""
        # With something left to do after the command, bash stays, and says so if a signal ended it.
        script = "sudo -u student -H bash -lc " + shlex.quote(f"cd ~/stacklab && {command}; exit $?")
        return self.vagrant("ssh", "desk", "--command", script, timed=timed, timeout_s=timeout_s)

    def on(self, machine: str, command: str) -> str:
        return self.vagrant("ssh", machine, "--command", command)

    def _timed(self, name: str, *command, **options) -> str:
        start, stolen_before_s = time.monotonic(), stolen_s()
        try:
            return run(*command, **options)
        finally:
            self.times_s[name] = time.monotonic() - start
            stolen = (stolen_s() - stolen_before_s) / (self.times_s[name] * psutil.cpu_count())
            print(f"\n{name}: {self.times_s[name]:.0f} s ({stolen:.0%} of this computer's CPUs were others')", flush=True)


def make(kind: type[ClassroomLab], folder: Path) -> ClassroomLab:
    """A lab of this kind. A computer that cannot run it skips the test and says why."""
    try:
        return kind.make(folder)
    except CannotRunHere as error:
        pytest.skip(f"NO `vagrant up` BY {kind.provider.upper()} HERE: {error}")
