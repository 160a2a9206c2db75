"""`Machine`: a container lab's machine on this computer: its folder, its record, and how root makes and boots it.

    /var/lib/stacklab/labs/NAME/lab.json      the record, readable by all
                                checkout      a link to the folder that made it: what `make clean` there removes
                                ssh/          the client's key and the machine's pinned host key; the user's own
                                machine/      root's alone: the machine's root/ and console.log

What is true is read from the computer (is it running, is its root there); the record holds only what must be
remembered, and is written after it became true. Each step goes on from wherever a killed one stopped.
"""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stacklab.errors import LabError
from stacklab.files import ROOT, write_json
from stacklab.labs import cpus, network, nspawn, storage
from stacklab.labs.image import ensure_image, image_name, image_path
from stacklab.labs.keys import new_key
from stacklab.labs.network import Subnet
from stacklab.labs.storage import (
    discard,
    locked,
    read_json,
    remove_tree,
    require_free,
    run,
    say,
)

RECORD_FORMAT = 1
ADMIN = "stacklab"
UNPACKED_BYTES = 1_500_000_000
BOOT_TIMEOUT_S = 30

SSHD_CONFIG = """# Keys only. There is one host key, made for this machine.
HostKey /etc/ssh/ssh_host_ed25519_key
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin no
# A load test opens many connections from few addresses; that is no attack.
PerSourcePenalties no
MaxStartups 100
MaxSessions 100
"""

PERSONALISE = f"""
useradd --create-home --shell /bin/bash {ADMIN}
chown -R {ADMIN}: /home/{ADMIN}
mkdir -p /run/sshd
# Debian 12's sshd counts no penalties, and does not start if told about them.
sshd -t -o 'PerSourcePenalties no' || sed -i /PerSourcePenalties/d /etc/ssh/sshd_config.d/stacklab.conf
sshd -t
systemctl enable --quiet systemd-networkd
"""


@dataclass(frozen=True)
class Machine:
    """The machine of the container lab `name`."""

    name: str

    @property
    def folder(self) -> Path:
        """Everything of this lab."""
        return storage.LABS / self.name

    @property
    def exists(self) -> bool:
        """Is there anything of this lab on the disk, be it the rest of a removal that was killed?"""
        return self.folder.exists() or (storage.REMOVED / self.name).exists()

    @property
    def private(self) -> Path:
        """What only root may look into: programs in there are set-uid, and not kept up to date."""
        return self.folder / "machine"

    @property
    def root(self) -> Path:
        """The machine's root directory."""
        return self.private / "root"

    @property
    def console(self) -> Path:
        """What the machine wrote on its console since it booted."""
        return self.private / "console.log"

    @property
    def key_path(self) -> Path:
        """The private key that the machine lets in."""
        return self.folder / "ssh" / "id_ed25519"

    @property
    def known_hosts_path(self) -> Path:
        """The machine's own key, pinned."""
        return self.folder / "ssh" / "known_hosts"

    def record(self) -> dict[str, Any]:
        """lab.json: {"format", "name", "project", "index", "image" (None: not made yet), "pinned_cpus",
        "generator_cpus"}; empty if there is no such lab."""
        record = read_json(self.folder / "lab.json") or {}
        if record and record.get("format") != RECORD_FORMAT:
            raise LabError(
                f"lab {self.name} was made by another version of StackLab (format {record.get('format')}); "
                "remove it with 'fab destroy' and build it anew"
            )
        return record

    def write_record(self, record: dict[str, Any]) -> None:
        """Replace lab.json."""
        write_json(self.folder / "lab.json", record)


def machine_name(subnet: Subnet) -> str:
    """The name nspawn, the service and the cgroup go by."""
    return subnet.interface


def up(name: str, *, pin: bool, owner: int) -> None:
    """Make the machine if it is not there, boot it if it does not run, and wait until its SSH port answers.

    The files in ssh/ are given to the user id `owner`. Root only.
    """
    machine = Machine(name)
    with locked(f"lab-{name}"):
        record = _reserve(machine)
        subnet = Subnet(record["index"])
        if not record["image"]:
            record = _make(machine, record, subnet)
        elif record["image"] != image_name():
            say(f"lab {name} is of an older base image; 'fab destroy', then 'fab up' makes it of the present one")
        _give_keys(machine, owner)
        pinned, generator = cpus.split(cpus.look(cpus.allowed())) if pin else (None, None)
        if _must_boot(machine_name(subnet), pinned):
            record = {**record, "pinned_cpus": pinned, "generator_cpus": generator}
            _boot(machine, record, subnet)
        _wait(machine, subnet, "has no network", lambda: network.configure(subnet))
        _wait(machine, subnet, "does not answer on SSH", lambda: _answers(subnet))


def halt(name: str) -> None:
    """Shut the machine down. Root only."""
    machine = Machine(name)
    with locked(f"lab-{name}"):
        if record := machine.record():
            _stop(machine, Subnet(record["index"]))


def destroy(name: str) -> None:
    """Shut the machine down and delete all of it. Root only."""
    machine = Machine(name)
    with locked(f"lab-{name}"):
        for index in _indices(machine):
            _stop(machine, Subnet(index))
        discard(machine.folder)


def _indices(machine: Machine) -> list[int]:
    """The number of the lab, whatever version wrote its record; from what runs, where the record is damaged."""
    try:
        record = read_json(machine.folder / "lab.json")
        return [record["index"]] if record else []
    except (LabError, KeyError, TypeError):
        every = range(len(network.SUBNETS))
        return [index for index in every if nspawn.boots(machine_name(Subnet(index)), machine.root)]


def _reserve(machine: Machine) -> dict[str, Any]:
    """The lab's record; for a new lab one that takes the first free subnet."""
    if record := machine.record():
        return record
    with locked("subnets"):
        taken = {index for folder in storage.LABS.glob("*") for index in _indices(Machine(folder.name))}
        subnet = network.free_subnet(taken, network.used_networks())
        machine.folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        record = {
            "format": RECORD_FORMAT, "name": machine.name, "project": str(ROOT), "index": subnet.index,
            "image": None, "pinned_cpus": None, "generator_cpus": None,
        }
        (machine.folder / "checkout").unlink(missing_ok=True)
        (machine.folder / "checkout").symlink_to(ROOT)
        machine.write_record(record)
    return record


def _make(machine: Machine, record: dict[str, Any], subnet: Subnet) -> dict[str, Any]:
    """Unpack the base image and make a machine of its own of it. The new root gets its name when it is whole."""
    image = ensure_image()
    require_free(UNPACKED_BYTES, f"the machine of lab {machine.name}")
    say(f"making the machine of lab {machine.name} ({subnet.web_address})")
    new = machine.private / "root.new"
    machine.private.mkdir(mode=0o700, exist_ok=True)
    remove_tree(machine.root)
    remove_tree(new)
    new.mkdir(mode=0o755)
    run(
        ["tar", "--extract", f"--file={image_path(image)}", f"--directory={new}", "--numeric-owner", "--xattrs",
         "--xattrs-include=*"],
        "cannot unpack the base image",
    )
    _personalise(machine, new, subnet)
    new.rename(machine.root)
    record = {**record, "image": image}
    machine.write_record(record)
    return record


def _personalise(machine: Machine, root: Path, subnet: Subnet) -> None:
    """Give a fresh root its name, its address, its keys and its admin user, and write ssh/ to match."""
    host_private, host_public = new_key(machine.name)
    user_private, user_public = new_key(f"stacklab {machine.name}")
    files = {
        "etc/hostname": "web\n",
        "etc/machine-id": uuid.uuid4().hex + "\n",
        "etc/ssh/sshd_config.d/stacklab.conf": SSHD_CONFIG,
        "etc/ssh/ssh_host_ed25519_key": host_private,
        "etc/ssh/ssh_host_ed25519_key.pub": host_public,
        f"etc/sudoers.d/{ADMIN}": f"{ADMIN} ALL=(ALL:ALL) NOPASSWD: ALL\n",
        f"home/{ADMIN}/.ssh/authorized_keys": user_public,
        **network.machine_files(subnet),
    }
    modes = {"etc/ssh/ssh_host_ed25519_key": 0o600, f"etc/sudoers.d/{ADMIN}": 0o440}
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
        (root / path).chmod(modes.get(path, 0o644))
    run(["chroot", str(root), "/bin/sh", "-euc", PERSONALISE], "cannot set up the machine")

    ssh = machine.folder / "ssh"
    new = machine.private / "ssh.new"
    remove_tree(new)
    remove_tree(ssh)
    new.mkdir(mode=0o700)
    (new / "id_ed25519").touch(mode=0o600)
    (new / "id_ed25519").write_text(user_private)
    (new / "known_hosts").write_text(f"{subnet.web_address} {host_public}")
    new.rename(ssh)


def _give_keys(machine: Machine, owner: int) -> None:
    """The files in ssh/ belong to the user who works with the lab."""
    if not machine.key_path.is_file() or not machine.known_hosts_path.is_file():
        raise LabError(f"the SSH key of lab {machine.name} is gone from {machine.folder}; 'fab destroy', then 'fab up'")
    for path in (machine.folder / "ssh", machine.key_path, machine.known_hosts_path):
        os.chown(path, owner, -1, follow_symlinks=False)


def _must_boot(name: str, pinned: list[int] | None) -> bool:
    """True unless the machine runs, whole and on the CPUs that are asked for."""
    pid = nspawn.leader(name)
    if pid is None or nspawn.supervisor(name) is None:
        return True
    asked = set(pinned) if pinned else os.sched_getaffinity(0)
    return os.sched_getaffinity(pid) != asked


def _boot(machine: Machine, record: dict[str, Any], subnet: Subnet) -> None:
    """Boot the machine as `record` says, after what is left of an earlier boot is gone."""
    _stop(machine, subnet)
    if clash := subnet.clash(network.used_networks()):
        raise LabError(
            f"the network of lab {machine.name}, {subnet.network}, is now used by {clash}; "
            "'fab destroy', then 'fab up' makes the lab anew on a free one"
        )
    machine.write_record(record)
    nspawn.start(machine_name(subnet), machine.root, subnet.interface, record["pinned_cpus"], machine.console)


def _stop(machine: Machine, subnet: Subnet) -> None:
    nspawn.stop(machine_name(subnet), machine.root)
    network.remove(subnet)


def _answers(subnet: Subnet) -> bool:
    """Does the machine's SSH port take connections? Asked from the cable's own address: without a cable nobody answers."""
    try:
        socket.create_connection((subnet.web_address, 22), timeout=0.5, source_address=(subnet.host_address, 0)).close()
    except OSError:
        return False
    return True


def _wait(machine: Machine, subnet: Subnet, complaint: str, ready: Callable[[], bool]) -> None:
    """Wait until the booting machine is `ready`; LabError, with its last words, if it dies or takes too long."""
    deadline = time.monotonic() + BOOT_TIMEOUT_S
    while True:
        is_ready = ready()
        # Looked at last: a machine that died at once may have had its cable for a moment, or another answers for it.
        if not nspawn.processes(machine_name(subnet)):
            raise LabError(f"the machine of lab {machine.name} did not boot:\n{_last_words(machine)}")
        if is_ready:
            return
        if time.monotonic() > deadline:
            raise LabError(
                f"the machine of lab {machine.name} ({subnet.web_address}) {complaint} after {BOOT_TIMEOUT_S} s:\n"
                f"{_last_words(machine)}"
            )
        time.sleep(0.05)


def _last_words(machine: Machine) -> str:
    text = machine.console.read_text(errors="replace") if machine.console.exists() else ""
    return "\n".join(text.splitlines()[-15:]) or "(nothing on its console)"
