"""`fab doctor`: is this computer fit to run a lab, in a container or by Vagrant, and if not, what to do about it.

`computer.gather` looks at the computer; `diagnose` judges what was found, and is pure.
"""

from __future__ import annotations

import fnmatch
import ipaddress
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from stacklab import engine
from stacklab.computer import PUBLIC_BOXES, Facts, gather
from stacklab.errors import LabError, LabNotRunning

State = Literal["ok", "warn", "fail"]

# No public box can be had from then on: hashicorp/vagrant#13836.
REGISTRY_ENDS = "2026-12-31"
PORT_IS_FOR = {"STACKLAB_JUPYTER_PORT": ("JupyterLab", "desk"), "STACKLAB_SITE_PORT": ("the site", "web")}
DISK_BYTES = 12 * 10**9
CONTAINER_DISK_BYTES = 3 * 10**9

# The first Vagrant that knows a series of VirtualBox: Vagrant's own change log and pull requests 13513 and 13709.
VAGRANT_FOR_VIRTUALBOX = {(7, 0): (2, 3, 2), (7, 1): (2, 4, 2), (7, 2): (2, 4, 9)}
OLDEST_VAGRANT = (2, 3, 4)
VAGRANT_WITH_ARCHITECTURES = (2, 4, 0)
VIRTUALBOX_ON_APPLE_SILICON = (7, 1, 0)

# Vagrant takes the first of them that it can use: the Vagrantfile's order goes before its own.
PROVIDERS = ("virtualbox", "vmware_desktop", "parallels", "libvirt", "docker")

# How an interface is called that a provider made for its machines.
PROVIDER_INTERFACES = ("vboxnet*", "VirtualBox*", "virbr*", "vmnet*", "VMware*", "bridge1*", "vnic*", "Parallels*")

@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: `check` names it, `what` is what was found, `do` what to do about it."""

    check: str
    state: State
    what: str
    do: str = ""


def diagnose(facts: Facts | None = None) -> list[Finding]:
    """Judge `facts` (by default those of this computer), in the order in which one would mend things."""
    facts = facts or gather()
    checks = (_vagrant, _provider, _virtualization, _memory, _disk, _ports, _network, _box)
    return [finding for check in checks for finding in check(facts)]


def diagnose_container() -> list[Finding]:
    """What stands between this computer and the container lab (`make lab`)."""
    from stacklab.labs.asroot import check_possible
    from stacklab.labs.obstacles import obstacles

    if in_the_way := [Finding("container lab", "fail", what, do) for what, do in obstacles()]:
        return in_the_way
    try:
        check_possible()
    except LabError as error:
        return [Finding("container lab", "fail", str(error))]
    free = shutil.disk_usage(Path("/var/lib")).free
    if free < CONTAINER_DISK_BYTES:
        make_room = f"make room: the container lab takes {_gb(CONTAINER_DISK_BYTES)}"
        return [Finding("disk", "fail", f"{_gb(free)} free below /var/lib", make_room)]
    return [Finding("container lab", "ok", "this computer can have one: 'make lab'")]


def diagnose_lab() -> list[Finding]:
    """How it stands with the lab that `open_lab` opens here: its state, or who refuses whom."""
    from stacklab.labs import open_lab, require_running

    status = {}
    try:
        lab = open_lab()
        status = lab.status()
        require_running(lab, status)
    except LabNotRunning as error:
        return [Finding("lab", "warn" if status.get("why") else "ok", str(error))]
    except LabError as error:
        return [Finding("lab", "warn", str(error))]
    return [Finding("lab", "ok", f"the lab {lab.name} is running")]


def usable_provider(facts: Facts) -> str | None:
    """The provider that `vagrant up` would take: that of the machines there are, the chosen one, or the first of PROVIDERS."""
    return next((name for name in (*facts.made, facts.chosen_provider, *PROVIDERS) if name in facts.providers), None)


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def _vagrant(facts: Facts) -> Iterator[Finding]:
    if facts.vagrant is None:
        # Ubuntu's archive: looked up, not run.
        instead = (
            " (Ubuntu from 24.04 on has no package of it: developer.hashicorp.com/vagrant/install); "
            "or use the container lab, which needs no Vagrant: make lab"
        ) if facts.system == "Linux" else ""
        yield Finding("Vagrant", "fail", "Vagrant is not installed", f"Install Vagrant 2.4.9 or newer{instead}")
        return
    version = _version(facts.vagrant)
    if version < OLDEST_VAGRANT:
        older = f"Vagrant {facts.vagrant} is older than {_dotted(OLDEST_VAGRANT)}"
        yield Finding("Vagrant", "fail", older, "Install a newer Vagrant")
    elif facts.architecture == "arm64" and version < VAGRANT_WITH_ARCHITECTURES and usable_provider(facts) != "docker":
        cannot = f"Vagrant {facts.vagrant} cannot choose a box for arm64: it takes one for amd64"
        yield Finding("Vagrant", "fail", cannot, f"Install Vagrant {_dotted(VAGRANT_WITH_ARCHITECTURES)} or newer")
    else:
        yield Finding("Vagrant", "ok", f"Vagrant {facts.vagrant}")


def _provider(facts: Facts) -> Iterator[Finding]:
    for gone in facts.made.keys() - facts.providers.keys():
        theirs = f"{', '.join(facts.made[gone])} were made by {gone}, which is not on this computer"
        rest = "if these machines are gone, delete the folder .vagrant (what was saved of the work is in work/)"
        yield Finding("provider", "fail", theirs, f"Say 'vagrant destroy' where it can be used; {rest}")
        return
    if facts.chosen_provider and facts.chosen_provider not in facts.providers:
        not_here = f"VAGRANT_DEFAULT_PROVIDER={facts.chosen_provider}, which is not on this computer"
        yield Finding("provider", "fail", not_here, "Unset it, or install that provider")
        return
    provider = usable_provider(facts)
    if provider is None:
        advice = {
            "Linux": "Install Docker (apt-get install docker.io), VirtualBox, or libvirt with its plugin (apt-get install "
            "vagrant-libvirt libvirt-daemon-system qemu-system-x86)",
            "Darwin": "Install Docker Desktop, VirtualBox 7.1 or newer, VMware Fusion or Parallels Desktop",
        }
        nothing = "no provider: nothing on this computer can run Vagrant's machines"
        yield Finding("provider", "fail", nothing, advice.get(facts.system, "Install Docker Desktop, or VirtualBox"))
        return
    version = facts.providers[provider]
    of = {"virtualbox": _virtualbox, "libvirt": _libvirt, "docker": _docker}
    yield from of.get(provider, _plugin_provider)(facts, provider, version)


def _virtualbox(facts: Facts, provider: str, version: str) -> Iterator[Finding]:
    series = _version(version)[:2]
    needed = VAGRANT_FOR_VIRTUALBOX.get(series)
    if facts.architecture == "arm64" and _version(version) < VIRTUALBOX_ON_APPLE_SILICON:
        yield Finding(
            "provider",
            "fail",
            f"VirtualBox {version} does not run on this processor (arm64)",
            f"Install VirtualBox {_dotted(VIRTUALBOX_ON_APPLE_SILICON)} or newer",
        )
    elif series > max(VAGRANT_FOR_VIRTUALBOX):
        yield Finding(
            "provider",
            "warn",
            f"VirtualBox {version} is newer than what this check knows",
            "If Vagrant refuses it, install the newest Vagrant",
        )
    elif needed and facts.vagrant and _version(facts.vagrant) < needed:
        yield Finding(
            "provider",
            "fail",
            f"Vagrant {facts.vagrant} does not know VirtualBox {version}",
            f"Install Vagrant {_dotted(needed)} or newer",
        )
    else:
        yield Finding("provider", "ok", f"VirtualBox {version}")
    if facts.system == "Linux" and facts.kvm:
        yield Finding(
            "provider",
            "warn",
            "VirtualBox and KVM share the processor, and kernels from 6.12 give it to KVM",
            "If VirtualBox says VERR_VMX_IN_VMX_ROOT_MODE: sudo modprobe -r kvm_intel kvm_amd kvm",
        )


def _libvirt(facts: Facts, provider: str, version: str) -> Iterator[Finding]:
    if facts.libvirt == "usable":
        yield Finding("provider", "ok", f"libvirt, vagrant-libvirt {version}")
    else:
        yield Finding(
            "provider",
            "fail",
            f"libvirt does not answer: {facts.libvirt or 'virsh is missing'}",
            "sudo systemctl start libvirtd, and be in its group: sudo adduser $USER libvirt, then log in again",
        )


def _docker(facts: Facts, provider: str, version: str) -> Iterator[Finding]:
    found = facts.docker
    if found.fault:
        start = "Start Docker Desktop, with Linux containers"
        if facts.system == "Linux":
            start = "sudo systemctl start docker, and be in its group: sudo adduser $USER docker, then log in again"
        yield Finding("provider", "fail", f"Docker's engine cannot be used: {found.fault}", start)
    elif engine.too_old(found):
        yield Finding(
            "provider", "fail", f"Docker's engine {found.version} is older than {engine.OLDEST}", "Install a newer Docker"
        )
    else:
        yield Finding("provider", "ok", f"Docker {found.version}")


def _by_docker(facts: Facts) -> engine.Engine | None:
    """The engine, if `vagrant up` would take it."""
    return facts.docker if usable_provider(facts) == "docker" else None


def _plugin_provider(facts: Facts, provider: str, version: str) -> Iterator[Finding]:
    plugin = {"vmware_desktop": "vagrant-vmware-desktop", "parallels": "vagrant-parallels"}[provider]
    if plugin in facts.vagrant_plugins:
        yield Finding("provider", "ok", f"{provider} {version}, {plugin}")
    else:
        utility = " and its Vagrant VMware Utility" if provider == "vmware_desktop" else ""
        yield Finding(
            "provider",
            "fail",
            f"{provider} {version} is there, Vagrant's plugin for it is not",
            f"vagrant plugin install {plugin}{utility}",
        )


def _virtualization(facts: Facts) -> Iterator[Finding]:
    if usable_provider(facts) == "libvirt":
        yield _kvm(facts)
    elif _by_docker(facts):
        yield Finding("virtualisation", "ok", "containers need none of their own")
    elif facts.virtualization is False:
        yield Finding(
            "virtualisation",
            "fail",
            "the processor's virtualisation is switched off, or this is itself a machine",
            "Switch on VT-x (Intel) or SVM (AMD) in the firmware's set-up",
        )
    elif facts.hypervisor_takes_it:
        yield Finding(
            "virtualisation",
            "warn",
            "Hyper-V runs: VirtualBox works through it, slowly, or not at all",
            "Switch off Memory integrity (Windows Security → Device security) and the features Hyper-V and Virtual "
            "Machine Platform, run 'bcdedit /set hypervisorlaunchtype off' as administrator, and restart",
        )
    elif facts.virtualization is None:
        yield Finding(
            "virtualisation",
            "warn",
            "cannot tell whether virtualisation is switched on",
            "If the machines do not start, look in the firmware's set-up",
        )
    else:
        yield Finding("virtualisation", "ok", "the processor's virtualisation is on")


def _kvm(facts: Facts) -> Finding:
    if facts.libvirt_driver == "qemu":
        return Finding(
            "virtualisation",
            "warn",
            "QEMU emulates the processor: it works, far slower; measure nothing by it",
            "Unset STACKLAB_LIBVIRT_DRIVER where KVM works",
        )
    if facts.kvm == "usable" and facts.virtualization is False:
        return Finding(
            "virtualisation",
            "fail",
            "/dev/kvm is there, but the processor shows neither vmx nor svm: Debian's kernels hang in such a nested machine",
            "Switch on nested virtualisation outside, or emulate: export STACKLAB_LIBVIRT_DRIVER=qemu",
        )
    if facts.kvm == "usable":
        return Finding("virtualisation", "ok", "KVM works")
    return Finding(
        "virtualisation",
        "fail",
        f"KVM does not work: {facts.kvm or '/dev/kvm is not there'}",
        "Switch on VT-x or SVM in the firmware's set-up, and be in the group kvm; "
        "or emulate: export STACKLAB_LIBVIRT_DRIVER=qemu",
    )


def _memory(facts: Facts) -> Iterator[Finding]:
    if (docker := _by_docker(facts)) and docker.desktop:
        yield _desktop_memory(facts, docker.memory_bytes)
        return
    have, free = facts.memory_bytes, facts.memory_available_bytes
    need = (2 - len(facts.running)) * facts.machine_memory_mb * 2**20
    who = (f"the two machines take {_gb(need)}", f"the other machine takes {_gb(need)}", "both machines run")
    words = f"{_gb(free)} of {_gb(have)} free; {who[len(facts.running)]}"
    if not need or free >= need + 2**30:
        yield Finding("memory", "ok", words)
    elif have >= need + 2 * 2**30:
        smaller = _set(facts, "STACKLAB_MEMORY_MB", 1536)
        yield Finding("memory", "warn", words, f"Close what you do not need, or take smaller machines: {smaller}")
    else:
        smaller = _set(facts, "STACKLAB_MEMORY_MB", 1280)
        yield Finding("memory", "fail", words, f"Take smaller machines ({smaller}), or web alone: vagrant up web")


def _desktop_memory(facts: Facts, have: int) -> Finding:
    need = 2 * facts.machine_memory_mb * 2**20
    words = f"Docker's engine has {_gb(have)}; the two machines may take {_gb(need)}"
    if have >= 0.9 * need:  # it tells somewhat less than one gave it
        return Finding("memory", "ok", words)
    smaller = _set(facts, "STACKLAB_MEMORY_MB", 1280)
    more = f"Give it more (Docker Desktop: Settings → Resources), or take smaller machines: {smaller}"
    return Finding("memory", "fail", words, more)


def _disk(facts: Facts) -> Iterator[Finding]:
    docker = _by_docker(facts)
    what, need = ("the image", engine.DISK_BYTES) if docker else ("a box", DISK_BYTES)
    words = f"{_gb(facts.disk_free_bytes)} free; {what} and two machines take up to {_gb(need)}"
    if facts.running or facts.disk_free_bytes >= need:
        yield Finding("disk", "ok", words)
        return
    where = "boxes go to Vagrant's home (VAGRANT_HOME moves it), machines to the provider's own folder"
    if docker:
        where = f"Docker keeps its data in {docker.root}"
    yield Finding("disk", "fail", words, f"Make room: {where}")


def _ports(facts: Facts) -> Iterator[Finding]:
    for variable, port in facts.ports.items():
        whose, machine = PORT_IS_FOR[variable]
        if machine in facts.running or port not in facts.ports_taken:
            yield Finding("ports", "ok", f"port {port} for {whose}")
        else:
            yield Finding(
                "ports",
                "fail",
                f"port {port}, for {whose}, is taken by another program, or kept by the system",
                f"Stop that program, or take another port: {_set(facts, variable, port + 1)}",
            )


def _network(facts: Facts) -> Iterator[Finding]:
    docker = _by_docker(facts)
    clash = _interface_in(facts, docker) or (docker and engine.clash(docker, facts.network))
    if not clash:
        yield Finding("network", "ok", f"{facts.network} is free for the machines")
        return
    another = _set(facts, "STACKLAB_NETWORK", "192.168.58" if facts.network == "192.168.57.0/24" else "192.168.57")
    yield Finding(
        "network",
        "fail",
        f"{clash} is in the machines' network {facts.network}",
        f"Take another: {another} (VirtualBox allows 192.168.56 to 192.168.63)",
    )


def _interface_in(facts: Facts, docker: engine.Engine | None) -> str | None:
    """The interface of this computer that is in the machines' network, and that no provider has made for them."""
    if docker and docker.desktop:  # its networks are in a machine of its own
        return None
    own = (engine.bridge(docker, facts.network),) if docker else PROVIDER_INTERFACES
    wanted = ipaddress.ip_network(facts.network)
    for interface, address in facts.networks:
        mine = any(pattern and fnmatch.fnmatch(interface, pattern) for pattern in own)
        if not mine and ipaddress.ip_interface(address).network.overlaps(wanted):
            return f"{interface} ({address})"
    return None


def _box(facts: Facts) -> Iterator[Finding]:
    provider = usable_provider(facts) or "virtualbox"
    wanted = f"{provider}-{facts.architecture}.{'tar.zst' if _by_docker(facts) else 'box'}"
    fitting = [name for name in facts.box_files if name.endswith(f"-{wanted}")]
    if facts.chosen_box:
        yield _chosen_box(facts.chosen_box, facts.chosen_box_is_missing, wanted)
    elif fitting:
        yield Finding("box", "ok", f"{fitting[-1]}: vagrant up needs no network")
    elif _by_docker(facts):
        yield Finding("box", "ok", "no image file here: the first vagrant up builds the image, and needs a network for it")
    elif facts.box_url:
        yield Finding("box", "ok", f"STACKLAB_BOX_URL={facts.box_url}")
    elif PUBLIC_BOXES.get(provider) in facts.public_boxes:
        yield Finding("box", "ok", "the public box is on this computer already")
    else:
        yield _public_box(facts, wanted)


def _public_box(facts: Facts, wanted: str) -> Finding:
    files = f"none of {', '.join(facts.box_files)} fits" if facts.box_files else "no box file here"
    docker = f"vagrant up --provider=docker needs no box, nor does a room without a network with stacklab-…-{wanted}"
    if facts.today > REGISTRY_ENDS:
        return Finding(
            "box", "fail", f"{files}, and Vagrant's registry of public boxes ended on {REGISTRY_ENDS}",
            f"{docker}; or STACKLAB_BOX_URL names a place that has the box",
        )  # fmt: skip
    until = f"{files}: a public box will be downloaded, which works until {REGISTRY_ENDS}, when Vagrant's registry ends"
    return Finding("box", "warn", until, f"{docker}; a box that was downloaded once stays usable")


def _chosen_box(box: str, is_missing: bool, fitting: str) -> Finding:
    if is_missing:
        return Finding("box", "fail", f"STACKLAB_BOX={box}: there is no such file", "Correct its path, or unset STACKLAB_BOX")
    if re.search(r"stacklab-.*\.(box|tar\.zst)$", box) and not box.endswith(f"-{fitting}"):
        return Finding(
            "box",
            "fail",
            f"STACKLAB_BOX={box} is for another provider or processor",
            f"Take stacklab-…-{fitting}, or unset STACKLAB_BOX",
        )
    return Finding("box", "ok", f"STACKLAB_BOX={box}")


def _set(facts: Facts, variable: str, value: int | str) -> str:
    """How one sets an environment variable there."""
    return f"in PowerShell, $env:{variable} = {value}" if facts.system == "Windows" else f"export {variable}={value}"


def _gb(count: int) -> str:
    return f"{count / 10**9:.1f} GB"
