"""The running machine: systemd-nspawn with a whole Debian under it, found and stopped by its own cgroup.

The cgroup is the truth: it lists every process of the machine, holds none of anybody else, and stays right when
a process id is used again, when systemd-nspawn alone is killed (the machine then runs on), or when the command
that started it is. On a computer that runs systemd the cgroup is a service's; elsewhere it is made here. Without
one of their own, two machines would share a cgroup, and each would take the other's services for its own.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import time
from pathlib import Path

from stacklab.errors import LabError
from stacklab.labs.storage import MOUNTINFO, remove_tree, run
from stacklab.surroundings import own

SYSTEMD = Path("/run/systemd/system")  # exists where systemd is PID 1: sd_booted(3)
NSPAWN = Path("/run/systemd/nspawn")
HALT_TIMEOUT_S = 20
KILL_TIMEOUT_S = 5
HALT_SIGNAL = signal.SIGRTMIN + 3  # systemd(1): shut down
UNIFIED = "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY"  # cgroup v2 inside, also where this computer mixes v1 and v2


def cgroup_mounts() -> dict[Path, bool]:
    """{where each cgroup hierarchy that systemd uses is mounted (v2, or v1's name=systemd, or both): is it read-only?}"""
    mounts = {}
    for line in MOUNTINFO.read_text().splitlines():
        mount, _, filesystem = line.partition(" - ")
        kind, _, options = filesystem.split(" ", 2)
        if kind == "cgroup2" or (kind == "cgroup" and "name=systemd" in options.split(",")):
            point, mount_options = mount.split()[4:6]
            mounts[Path(point)] = "ro" in mount_options.split(",")
    return mounts


def cgroups(machine: str) -> list[Path]:
    """The machine's folder in each of these hierarchies."""
    inside = Path("system.slice", f"{machine}.service") if SYSTEMD.exists() else Path(machine)
    return [mount / inside for mount in cgroup_mounts()]


def processes(machine: str) -> set[int]:
    """The ids of all processes of the machine, systemd-nspawn's own included. Empty: it does not run."""
    found = set()
    for top in cgroups(machine):
        for folder, _, _ in os.walk(top):
            try:
                found.update(int(line) for line in Path(folder, "cgroup.procs").read_text().split())
            except OSError:
                pass  # a service that ended while we looked
    return found - {0}


def leader(machine: str) -> int | None:
    """The id, on this computer, of the machine's PID 1."""
    return next((pid for pid in processes(machine) if _inner_pids(pid)[1:] == [1]), None)


def runs(machine: str) -> bool:
    """Whether the machine is up. Where /proc hides other people's processes (hidepid), having any is all that can be seen."""
    pids = processes(machine)
    return leader(machine) is not None or (bool(pids) and not any(Path("/proc", str(pid)).exists() for pid in pids))


def supervisor(machine: str) -> int | None:
    """The id of systemd-nspawn. None with a leader there: it was killed, and the machine runs on without it."""
    return next((pid for pid in processes(machine) if len(_inner_pids(pid)) == 1), None)


def boots(machine: str, root: Path) -> bool:
    """Is it the machine in `root` that runs under this name?"""
    pid = supervisor(machine)
    return pid is not None and f"--directory={root}" in Path("/proc", str(pid), "cmdline").read_text().split("\0")


def _inner_pids(pid: int) -> list[int]:
    """The process's id in each PID namespace from ours inwards; empty if it is gone."""
    try:
        status = Path("/proc", str(pid), "status").read_text()
    except OSError:
        return []
    line = next((line for line in status.splitlines() if line.startswith("NSpid:")), "")
    return [int(word) for word in line.split()[1:]]


def start(machine: str, root: Path, cable: str, cpus: list[int] | None, console: Path) -> None:
    """Boot the machine in `root`, on `cpus` only, its end of `cable` called host0. Does not wait for it."""
    open_files = highest_open_files()
    command = [
        "systemd-nspawn", "--quiet", "--boot", f"--directory={root}", f"--machine={machine}",
        f"--network-veth-extra={cable}:host0",
        # No bus and no journal of this computer: neither need be there.
        "--register=no", "--keep-unit", "--link-journal=no", "--resolv-conf=off", "--timezone=off",
        f"--rlimit=NOFILE=1024:{open_files}",
    ]
    if cpus:
        command.append(f"--cpu-affinity={','.join(map(str, cpus))}")
    if SYSTEMD.exists():
        _start_service(machine, command, open_files, console)
    else:
        _start_process(machine, command, console)


def _start_service(machine: str, command: list[str], open_files: int, console: Path) -> None:
    """As a service, so that the machine outlives the login that started it."""
    properties = ("Delegate=yes", "KillMode=mixed", "TasksMax=infinity", f"LimitNOFILE={open_files}",
                  f"StandardOutput=truncate:{console}", "StandardError=inherit")
    run(
        ["systemd-run", "--quiet", "--collect", f"--unit={machine}.service", f"--setenv={UNIFIED}=1"]
        + [f"--property={value}" for value in properties] + command,
        "systemd-run cannot start the machine",
    )


def _start_process(machine: str, command: list[str], console: Path) -> None:
    """As a process in a session and cgroups of its own."""
    folders = cgroups(machine)
    if not folders:
        raise LabError("no cgroup filesystem is mounted here, so no container can boot; use 'vagrant up' instead")
    for folder in folders:
        folder.mkdir(exist_ok=True)

    def enter_cgroups() -> None:
        for folder in folders:
            (folder / "cgroup.procs").write_text(str(os.getpid()))

    with open(console, "wb") as output:
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
            env=own(**{UNIFIED: "1"}), preexec_fn=enter_cgroups,
        )


def stop(machine: str, root: Path) -> None:
    """Shut the machine in `root` down in order; what is left after 20 s is killed. Clears away what nspawn leaves."""
    if pid := leader(machine):
        _signal({pid}, HALT_SIGNAL)
        _wait_empty(machine, HALT_TIMEOUT_S)
    deadline = time.monotonic() + KILL_TIMEOUT_S
    while left := processes(machine):
        if time.monotonic() > deadline:
            raise LabError(f"processes of {machine} do not end: {sorted(left)}; look at them with 'ps'")
        _signal(left, signal.SIGKILL)
        _wait_empty(machine, 0.2)
    if not SYSTEMD.exists():  # there systemd removes the service's cgroup
        for folder in cgroups(machine):
            _remove_cgroup(folder)
    for kind in ("propagate", "unix-export"):  # a killed nspawn leaves them, and the next one refuses to start
        remove_tree(NSPAWN / kind / machine)
    if root.exists():
        (NSPAWN / "locks" / f"inode-{root.stat().st_dev}:{root.stat().st_ino}").unlink(missing_ok=True)


def _remove_cgroup(top: Path) -> None:
    """Remove a cgroup without processes. The kernel refuses for a moment after the last of them is gone."""
    deadline = time.monotonic() + KILL_TIMEOUT_S
    while top.exists():
        for folder, _, _ in os.walk(top, topdown=False):
            try:
                os.rmdir(folder)
            except OSError as error:
                if time.monotonic() > deadline:
                    raise LabError(f"the cgroup {folder} cannot be removed: {error.strerror}") from error
        time.sleep(0.02)


def _signal(pids: set[int], number: int) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


def _wait_empty(machine: str, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while processes(machine) and time.monotonic() < deadline:
        time.sleep(0.05)


def highest_open_files() -> int:
    """The highest limit of open files this computer lets us give (RLIMIT_NOFILE, hard)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = int(Path("/proc/sys/fs/nr_open").read_text())
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, most))
    except (ValueError, OSError):
        return hard  # a container that may not raise it
    return most
