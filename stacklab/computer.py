"""What this computer is, as far as a lab is concerned: `gather` looks, on any system, and judges nothing."""

from __future__ import annotations

import os
import platform
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import psutil

from stacklab import engine
from stacklab.errors import SettingsError
from stacklab.files import ROOT
from stacklab.surroundings import VAGRANTS, own

# What the Vagrantfile asks for, where the environment does not say otherwise.
MACHINE_MEMORY_MB = 2048  # of each of the two; STACKLAB_MEMORY_MB
FORWARDED_PORTS = {"STACKLAB_JUPYTER_PORT": 8888, "STACKLAB_SITE_PORT": 8443}

MACHINES_NETWORK = "192.168.56"  # its first three numbers; STACKLAB_NETWORK
PUBLIC_BOXES = {
    "virtualbox": "bento/debian-13",
    "vmware_desktop": "bento/debian-13",
    "parallels": "bento/debian-13",
    "libvirt": "cloud-image/debian-13",
}

LIBVIRT_IMAGES = Path("/var/lib/libvirt/images")

# On Windows, adapters by their description: a connection may be called "Ethernet 2" whatever made it.
WINDOWS_NETWORKS = """
Get-CimInstance Win32_NetworkAdapterConfiguration -Filter IPEnabled=TRUE | ForEach-Object {
  for ($i = 0; $i -lt $_.IPAddress.Count; $i++) { $_.Description + '|' + $_.IPAddress[$i] + '|' + $_.IPSubnet[$i] }
}
"""


@dataclass(frozen=True)
class Facts:
    """What `gather` found. A version is text such as "7.1.4"; None stands for "absent" or "cannot be known"."""

    system: str = "Linux"  # as platform.system() says: Linux, Darwin, Windows
    architecture: str = "amd64"  # amd64 or arm64: of the processor, also where Python is translated
    virtualization: bool | None = True  # the processor's own virtualisation is there and switched on
    hypervisor_takes_it: bool = False  # Windows: Hyper-V (also through WSL 2 or memory integrity) runs
    kvm: str | None = None  # Linux: "usable", or why /dev/kvm is not; None without it
    libvirt: str | None = None  # "usable", or why libvirt does not answer; None where virsh is missing
    libvirt_driver: str = "kvm"  # STACKLAB_LIBVIRT_DRIVER
    vagrant: str | None = None
    vagrant_plugins: frozenset[str] = frozenset()
    providers: Mapping[str, str] = field(default_factory=dict)  # {Vagrant's name of it: version}
    chosen_provider: str | None = None  # VAGRANT_DEFAULT_PROVIDER
    made: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # {provider: those of web and desk that it has made}
    machine_memory_mb: int = MACHINE_MEMORY_MB
    memory_bytes: int = 16 * 2**30
    memory_available_bytes: int = 12 * 2**30
    disk_free_bytes: int = 100 * 10**9
    ports: Mapping[str, int] = field(default_factory=lambda: dict(FORWARDED_PORTS))  # {variable: what it asks for}
    ports_taken: frozenset[int] = frozenset()
    network: str = f"{MACHINES_NETWORK}.0/24"  # the machines' own
    networks: tuple[tuple[str, str], ...] = ()  # (interface, "192.168.1.7/24")
    docker: engine.Engine | None = None
    box_files: tuple[str, ...] = ()  # names of box and image files in the checkout, the newest last
    chosen_box: str | None = None  # STACKLAB_BOX: a name, or a file
    chosen_box_is_missing: bool = False  # it is called like a file, and there is none
    box_url: str | None = None  # STACKLAB_BOX_URL: where the public box is to be had
    public_boxes: frozenset[str] = frozenset()  # those that Vagrant has on this computer
    today: str = "2026-11-25"  # as ISO 8601 writes it
    running: frozenset[str] = frozenset()  # the machines that run, of web and desk: their ports are the lab's own


def gather(root: Path | None = None) -> Facts:
    """What there is on this computer. Asks, changes nothing, and takes a few seconds (Vagrant is slow to start).

    SettingsError when a STACKLAB_ variable that the Vagrantfile reads as a number is none.
    """
    root = root or ROOT
    ports = {variable: _from_environment(variable, port, high=65535) for variable, port in FORWARDED_PORTS.items()}
    machine_memory_mb = _from_environment("STACKLAB_MEMORY_MB", MACHINE_MEMORY_MB, high=10**6)
    system = platform.system()
    vagrant = _first_version("vagrant", "--version")
    plugins = _plugins() if vagrant else {}
    memory = psutil.virtual_memory()
    chosen_box = os.environ.get("STACKLAB_BOX") or None
    vagrant_home = Path(os.environ.get("VAGRANT_HOME") or Path.home() / ".vagrant.d")
    docker = engine.look(root)
    made = _made(root)
    box_files = [path for pattern in ("stacklab-*.box", "stacklab-*.tar.zst") for path in root.glob(pattern)]
    return Facts(
        system=system,
        architecture=_architecture(system),
        virtualization=has_virtualization(system),
        hypervisor_takes_it=system == "Windows"
        and _powershell("(Get-CimInstance Win32_ComputerSystem).HypervisorPresent") == "True",
        kvm=try_kvm() if system == "Linux" else None,
        libvirt=_try_libvirt(),
        libvirt_driver=os.environ.get("STACKLAB_LIBVIRT_DRIVER", "kvm"),
        vagrant=vagrant,
        vagrant_plugins=frozenset(plugins),
        providers=_providers(plugins) | ({} if docker is None else {"docker": docker.version}),
        chosen_provider=os.environ.get("VAGRANT_DEFAULT_PROVIDER"),
        made=made,
        machine_memory_mb=machine_memory_mb,
        memory_bytes=memory.total,
        memory_available_bytes=memory.available,
        disk_free_bytes=_disk_free_bytes(vagrant_home, *([Path(docker.root)] if docker and docker.root else [])),
        ports=ports,
        ports_taken=frozenset(port for port in ports.values() if _is_taken(port)),
        network=f"{os.environ.get('STACKLAB_NETWORK', MACHINES_NETWORK)}.0/24",
        networks=tuple(_networks(system)),
        docker=docker,
        box_files=tuple(path.name for path in sorted(box_files, key=lambda path: path.stat().st_mtime)),
        chosen_box=chosen_box,
        chosen_box_is_missing=bool(chosen_box) and chosen_box.endswith((".box", ".zst")) and not Path(chosen_box).is_file(),
        box_url=os.environ.get("STACKLAB_BOX_URL") or None,
        public_boxes=frozenset(
            name for name in PUBLIC_BOXES.values() if (vagrant_home / "boxes" / name.replace("/", "-VAGRANTSLASH-")).is_dir()
        ),
        today=date.today().isoformat(),
        running=_running(root) if made else frozenset(),
    )


def _from_environment(variable: str, default: int, high: int) -> int:
    text = os.environ.get(variable, str(default))
    if not re.fullmatch(r"[0-9]{1,9}", text) or not 1 <= int(text) <= high:
        raise SettingsError(f"{variable}={text!r} is not a whole number from 1 to {high}; unset it, and {default} is taken")
    return int(text)


def _output(*command: str, cwd: Path | None = None) -> str | None:
    """What `command` prints; None if it is missing, fails, or hangs."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=30, stdin=subprocess.DEVNULL, cwd=cwd,
            env=own(VAGRANTS),
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _powershell(expression: str) -> str | None:
    return _output("powershell", "-NoProfile", "-Command", expression)


def _first_version(*command: str) -> str | None:
    found = re.search(r"\d+\.\d+(\.\d+)?", _output(*command) or "")
    return found.group() if found else None


def _plugins() -> dict[str, str]:
    """{plugin: version}, also those that a distribution ships."""
    return dict(re.findall(r"^([\w-]+) \(([\d.]+)", _output("vagrant", "plugin", "list") or "", re.MULTILINE))


def _providers(plugins: Mapping[str, str]) -> dict[str, str]:
    found = {
        "virtualbox": _first_version("VBoxManage", "--version") or _virtualbox_on_windows(),
        "libvirt": plugins.get("vagrant-libvirt"),
        "vmware_desktop": _first_version("vmrun") or plugins.get("vagrant-vmware-desktop"),
        "parallels": _first_version("prlctl", "--version"),
    }
    return {name: version for name, version in found.items() if version}


def _virtualbox_on_windows() -> str | None:
    folder = os.environ.get("VBOX_MSI_INSTALL_PATH")
    return _first_version(str(Path(folder, "VBoxManage.exe")), "--version") if folder else None


def _architecture(system: str) -> str:
    # A Python for Intel on Apple silicon is told "x86_64"; the kernel tells that it is translated.
    translated = system == "Darwin" and _output("sysctl", "-n", "sysctl.proc_translated") == "1"
    return "arm64" if translated or platform.machine().lower() in ("arm64", "aarch64") else "amd64"


def has_virtualization(system: str) -> bool | None:
    if system == "Linux" and platform.machine() in ("x86_64", "AMD64"):
        flags = re.search(r"^flags\s*:(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
        return bool(flags and {"vmx", "svm"} & set(flags.group(1).split()))
    if system == "Darwin":
        return {"1": True, "0": False}.get(_output("sysctl", "-n", "kern.hv_support") or "")
    if system == "Windows":
        answer = _powershell("(Get-CimInstance Win32_Processor).VirtualizationFirmwareEnabled")
        # While Hyper-V runs, Windows reports the firmware's switch as off.
        running = _powershell("(Get-CimInstance Win32_ComputerSystem).HypervisorPresent") == "True"
        return running or ("True" in answer if answer else None)
    return None


def try_kvm() -> str | None:
    """Really ask KVM for a machine: /dev/kvm may be there and refuse."""
    import fcntl  # Linux only

    kvm_create_vm = 0xAE01  # <linux/kvm.h>
    try:
        device = os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"/dev/kvm: {error.strerror}"
    try:
        os.close(fcntl.ioctl(device, kvm_create_vm, 0))
    except OSError as error:
        return f"/dev/kvm does not make a machine: {error.strerror}"
    finally:
        os.close(device)
    return "usable"


def _try_libvirt() -> str | None:
    if not shutil.which("virsh"):
        return None
    ask = ["virsh", "--connect", "qemu:///system", "version"]
    done = subprocess.run(ask, env=own(), capture_output=True, text=True, timeout=30)
    return "usable" if done.returncode == 0 else done.stderr.strip().splitlines()[-1]


def _is_taken(port: int) -> bool:
    """Another program listens there, on this address or on all; or the system does not let one listen."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        pass
    else:
        return True
    with socket.socket() as listener:
        if os.name == "posix":  # on Windows this option would share the port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def _made(root: Path) -> dict[str, tuple[str, ...]]:
    """{provider: the machines of the Vagrantfile in `root` that it has made}, as Vagrant has noted it there."""
    pairs = sorted(note.parts[-3:-1] for note in (root / ".vagrant" / "machines").glob("*/*/id"))
    return {provider: tuple(machine for machine, by in pairs if by == provider) for _, provider in pairs}


def _running(root: Path) -> frozenset[str]:
    """The machines of the Vagrantfile in `root` that run. Vagrant takes a second or more to say so."""
    told = _output("vagrant", "status", "--machine-readable", cwd=root) or ""
    return frozenset(re.findall(r"^[0-9]+,([a-z]+),state,running$", told, re.MULTILINE))


def _disk_free_bytes(vagrant_home: Path, *others: Path) -> int:
    """On the fullest of the disks that boxes, and libvirt's and Docker's machines go to."""
    there = next(folder for folder in (vagrant_home, *vagrant_home.parents) if folder.is_dir())
    return min(shutil.disk_usage(folder).free for folder in (there, LIBVIRT_IMAGES, *others) if folder.is_dir())


def _networks(system: str) -> Iterator[tuple[str, str]]:
    if system == "Windows":
        yield from windows_networks(_powershell(WINDOWS_NETWORKS) or "")
        return
    for name, addresses in psutil.net_if_addrs().items():
        for address in addresses:
            if address.family == socket.AF_INET and address.netmask:
                yield name, f"{address.address}/{address.netmask}"


def windows_networks(printed: str) -> Iterator[tuple[str, str]]:
    """(adapter, "address/netmask"), of what WINDOWS_NETWORKS prints. Only IPv4."""
    for line in printed.splitlines():
        adapter, _, rest = line.strip().partition("|")
        address, _, netmask = rest.partition("|")
        if "." in address and netmask:
            yield adapter, f"{address}/{netmask}"
