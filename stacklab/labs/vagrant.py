"""`VagrantLab`: the machine `web` of the Vagrantfile, from the computer that runs Vagrant, or from the desk machine.

Both know the web host by a small file of one form, {"web": {"address", "user", "port", "key_path",
"known_hosts_path"}}. On the desk the provisioning has written it; on the laptop this module does, once the machine
is there.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from contextlib import closing
from io import StringIO
from pathlib import Path
from typing import Any

import paramiko

from stacklab.errors import HostRefused, LabError, LabNotRunning, Refusal
from stacklab.files import ROOT
from stacklab.labs import cpus
from stacklab.labs.host import Host
from stacklab.surroundings import VAGRANTS, own

DESK = Path("/etc/stacklab/desk.json")
VAGRANT = ROOT / ".vagrant"
WEB = "web"
FIND_TIMEOUT_S = 3
STDERR = 2
# In the words of Vagrant (the user who made the machine is another), of Docker and libvirt (we are not in their group), of Ruby.
SOMEBODY_ELSES = re.compile(r"created with a user|permission denied|authentication unavailable|EACCES", re.IGNORECASE)

# Vagrant's own SSH is how we first learn of the machine; from then on its key is pinned.
ASK = "cat /etc/ssh/ssh_host_ed25519_key.pub && hostname -I"
ITS_CPUS = "python3 -c 'import os; print(*sorted(os.sched_getaffinity(0)))'"


def on_desk() -> bool:
    """Is this the desk machine, which has the web host for its lab?"""
    return DESK.exists()


class VagrantLab:
    """The web host that Vagrant runs. On the desk machine it can be used, but not booted or removed."""

    name = "vagrant"
    kind = "vagrant"

    @property
    def how_to_start(self) -> str:
        """See `Lab`."""
        return "say 'vagrant up web' on the computer that runs Vagrant" if on_desk() else "start it with 'fab up'"

    def up(self, pin: bool = True) -> Host:
        """`vagrant up web`; the Host answers. Nothing is pinned: the machine has CPUs of its own."""
        if on_desk():
            host = self.web()
            host.run("true")
            return host
        _vagrant("up", WEB)
        host = self.web()
        host.run("true")
        return host

    def web(self) -> Host:
        """The web host; LabNotRunning if Vagrant has not made it."""
        known = _read(DESK)[WEB] if on_desk() else self._known()
        return Host(
            known["address"], known["user"], known["port"], name=WEB,
            key_path=Path(known["key_path"]), known_hosts_path=Path(known["known_hosts_path"]),
        )

    def halt(self) -> None:
        """`vagrant halt web`."""
        _only_outside("halt")
        if _machine_id():
            _vagrant("halt", WEB)

    def destroy(self) -> None:
        """`vagrant destroy web`, without asking."""
        _only_outside("destroy")
        if _machine_id():
            _vagrant("destroy", "--force", WEB)
        shutil.rmtree(VAGRANT / "stacklab", ignore_errors=True)

    def status(self) -> dict[str, Any]:
        """See `Lab.status`."""
        status = {
            "lab": self.name, "kind": self.kind, "state": "running", "why": None, "address": None, "pinned_cpus": None,
            "generator_cpus": None, "client_addresses": [],
        }
        try:
            status |= self.web().look() if on_desk() else {"state": self._state()}
            if status["state"] == "running":
                host = self.web()
                status["address"] = host.address
                status["pinned_cpus"], status["generator_cpus"] = _split_cpus(host)
        except HostRefused as refused:
            status |= refused.as_state()
        return status

    def _state(self) -> str:
        """What Vagrant says of the machine."""
        if not _machine_id():
            return "absent"
        lines = [line.split(",") for line in _ask_vagrant("status", WEB, "--machine-readable").splitlines()]
        state = next((line[3] for line in lines if len(line) > 3 and line[1:3] == [WEB, "state"]), "unknown")
        return {"running": "running", "not_created": "absent"}.get(state, "halted")

    def _known(self) -> dict[str, Any]:
        """What we know of the machine Vagrant has now; found out once for each machine it makes."""
        machine_id = _machine_id()
        if not machine_id:
            raise LabNotRunning("Vagrant has not made the machine 'web' yet: 'vagrant up web'")
        path = VAGRANT / "stacklab" / "web.json"
        if path.exists() and (known := _read(path)[WEB])["id"] == machine_id:
            return known
        known = _find_out(machine_id, path.parent)
        path.write_text(json.dumps({WEB: known}, indent=2) + "\n")
        return known


def _split_cpus(host: Host) -> tuple[list[int], list[int]] | tuple[None, None]:
    """The web host's CPUs and those left for the load, where both are containers of one computer; None, None elsewhere."""
    with closing(host):
        if not host.is_on_this_computer():
            return None, None
        pinned = [int(cpu) for cpu in host.run(ITS_CPUS).split()]
    left = cpus.beside(cpus.look(cpus.allowed()), pinned)
    return (pinned, left) if left else (None, None)


def _find_out(machine_id: str, folder: Path) -> dict[str, Any]:
    """Ask Vagrant for the machine's key and addresses; pin the key, and take the address that answers with it.

    HostRefused if none does and one refuses us, LabNotRunning if none answers.
    """
    config = paramiko.SSHConfig.from_file(StringIO(_ask_vagrant("ssh-config", WEB))).lookup(WEB)
    host_key, addresses = _ask_vagrant("ssh", WEB, "--command", ASK).strip().splitlines()[-2:]
    known_hosts = folder / "known_hosts"
    folder.mkdir(parents=True, exist_ok=True)
    candidates = [address for address in addresses.split() if ":" not in address]
    refused = None
    known_hosts.write_text("".join(f"{address} {host_key}\n" for address in candidates))
    for address in candidates:
        known = {
            "id": machine_id, "address": address, "user": config["user"], "port": 22,
            "key_path": config["identityfile"][0], "known_hosts_path": str(known_hosts),
        }
        host = Host(
            address, known["user"], key_path=Path(known["key_path"]), known_hosts_path=known_hosts,
            connect_timeout_s=FIND_TIMEOUT_S,
        )
        try:
            host.run("true")
            return known
        except LabNotRunning:
            continue
        except HostRefused as error:  # another machine has this address, perhaps, and ours another one
            refused = error
        finally:
            host.close()
    raise refused or LabNotRunning(
        f"the machine 'web' answers on none of its addresses ({', '.join(candidates)}); "
        "look with 'vagrant status', and at the private network in the provider's settings"
    )


def _machine_id() -> str | None:
    """Vagrant's own name for the machine `web`; None if it has not made one."""
    for path in (VAGRANT / "machines" / WEB).glob("*/id"):
        return path.read_text().strip()
    return None


def _only_outside(action: str) -> None:
    if on_desk():
        raise LabError(
            f"the desk cannot {action} the web host: run 'vagrant {action} web' on the computer that runs Vagrant"
        )


def _command(*words: str) -> list[str]:
    if not shutil.which("vagrant"):
        raise LabError("there is no 'vagrant' here: install Vagrant (docs/classroom.md), or take another lab")
    return ["vagrant", *words]


def _vagrant(*words: str) -> None:
    """Run Vagrant for the person to watch."""
    code = subprocess.run(_command(*words), cwd=ROOT, env=own(VAGRANTS), stdout=STDERR).returncode
    if code != 0:
        raise LabError(f"'vagrant {' '.join(words)}' failed with exit code {code}; its own words are above")


def _ask_vagrant(*words: str) -> str:
    """What Vagrant prints."""
    done = subprocess.run(
        _command(*words), cwd=ROOT, env=own(VAGRANTS), text=True, capture_output=True, stdin=subprocess.DEVNULL, errors="replace"
    )
    if done.returncode != 0:
        failure = f"'vagrant {' '.join(words)}' failed: {done.stderr.strip() or done.stdout.strip()}"
        raise HostRefused(failure, Refusal.NO_RIGHT) if SOMEBODY_ELSES.search(failure) else LabNotRunning(failure)
    return done.stdout


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise LabError(f"cannot read {path} ({error}); mend it with 'vagrant up --provision'") from error
