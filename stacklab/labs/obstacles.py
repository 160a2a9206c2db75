"""What keeps this computer from having a container lab, and what to type about each: told before anything is begun."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from stacklab.labs.nspawn import cgroup_mounts

ELSEWHERE = "use 'vagrant up' instead (docs/classroom.md), or give an SSH host: STACKLAB_LAB=user@host"

# {command: the Debian package that has it}
TOOLS = {
    "mmdebstrap": "mmdebstrap",
    "systemd-nspawn": "systemd-container",
    "ip": "iproute2",
    "tar": "tar",
    "chroot": "coreutils",
}
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# As numbered in <linux/capability.h>: what a machine is made and booted with, and its services need.
CAPABILITIES = {"NET_ADMIN": 12, "SYS_CHROOT": 18, "SYS_PTRACE": 19, "SYS_ADMIN": 21, "MKNOD": 27}
STATUS = Path("/proc/self/status")
MACHINE_ID = Path("/etc/machine-id")
USER_NAMESPACES = Path("/proc/sys/user/max_user_namespaces")
PRIVILEGED = "start it with 'docker run --privileged --cgroupns=private …', or take a virtual machine"


def obstacles() -> Iterator[tuple[str, str]]:
    """(what is in the way, what to do), in the order in which one would mend them. Nothing: a lab is possible."""
    if sys.platform != "linux":
        yield f"a container lab needs Linux, and this is {sys.platform}", ELSEWHERE
        return
    if missing := _missing_packages():
        yield f"a container lab needs {', '.join(missing)}", f"install with 'sudo apt-get install {' '.join(missing)}'"
    if lacking := _lacking_capabilities():
        yield f"this is a container that may not boot another (it lacks {', '.join(lacking)})", PRIVILEGED
    elif read_only := [str(mount) for mount, is_read_only in cgroup_mounts().items() if is_read_only]:
        remount = " && ".join(f"sudo mount -o remount,bind,rw {mount}" for mount in read_only)
        yield f"cgroups cannot be written here: {', '.join(read_only)} is mounted read-only", f"type '{remount}'"
    if not MACHINE_ID.exists() or MACHINE_ID.read_text().strip() in ("", "uninitialized"):
        yield f"{MACHINE_ID} is empty, and systemd-nspawn wants one", "type 'sudo systemd-machine-id-setup'"
    if USER_NAMESPACES.exists() and USER_NAMESPACES.read_text().strip() == "0":
        yield (
            "user namespaces are switched off (user.max_user_namespaces), and the machine's services run in some",
            "type 'sudo sysctl user.max_user_namespaces=15000'",
        )


def _missing_packages() -> list[str]:
    missing = [package for tool, package in TOOLS.items() if not shutil.which(tool, path=SYSTEM_PATH)]
    return missing if KEYRING.exists() else [*missing, "debian-archive-keyring"]


def _lacking_capabilities() -> list[str]:
    """Those that not even root has here."""
    bounding = next(line for line in STATUS.read_text().splitlines() if line.startswith("CapBnd:"))
    mask = int(bounding.split()[1], 16)
    return [f"CAP_{name}" for name, number in CAPABILITIES.items() if not mask >> number & 1]
