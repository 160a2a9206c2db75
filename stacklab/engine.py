"""Docker's engine: what it says of itself, and what of it stands between this computer and `vagrant up`.

`look` asks and changes nothing; the rest is pure, and says what provision/vagrant/engine.rb says.
"""

from __future__ import annotations

import ipaddress
import json
import re
import subprocess
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stacklab.surroundings import VAGRANTS, own

OLDEST = "20.10"  # the first that gives a container control groups of its own (--cgroupns)
DISK_BYTES = 5 * 10**9
LABEL = "stacklab.folder"  # of a container: the folder whose lab it is


@dataclass(frozen=True)
class Engine:
    """What `docker info` tells. Where `fault` says why the engine cannot be used, nothing else is known."""

    fault: str | None = None
    version: str = ""
    desktop: bool = False  # Docker Desktop: it has a machine, networks and limits of its own
    memory_bytes: int = 0
    root: str = ""  # where it keeps its data
    networks: tuple[tuple[str, str, str], ...] = ()  # (name, "192.168.56.0/24", interface)
    addresses: tuple[tuple[str, str], ...] = ()  # (address, container), of containers that are not this lab's


def look(folder: Path) -> Engine | None:
    """The engine that `docker` has to do with; None where there is no `docker`. `folder` is the lab's own."""
    done = _ask("info", "--format", "{{json .}}")
    if done is None:
        return None
    printed, errors = done
    info = _parsed(printed) or {}
    if fault := _fault(info, errors):
        return Engine(fault)
    return Engine(
        version=info["ServerVersion"],
        desktop=info.get("OperatingSystem") == "Docker Desktop",
        memory_bytes=info["MemTotal"],
        root=info["DockerRootDir"],
        networks=tuple(_networks()),
        addresses=tuple(_addresses(folder.resolve())),
    )


def _fault(info: dict[str, Any], errors: str) -> str | None:
    if info.get("OSType") not in ("linux", "", None):
        return f"it runs containers for {info['OSType']}"
    if info.get("ServerVersion"):
        return None
    return next(iter(info.get("ServerErrors") or []), errors.strip().rpartition("\n")[2])


def _ask(*words: str) -> tuple[str, str] | None:
    """What `docker` prints, and its errors; None without it. One that hangs has said nothing."""
    try:
        done = subprocess.run(
            ["docker", *words], capture_output=True, text=True, errors="replace", timeout=30, stdin=subprocess.DEVNULL,
            env=own(VAGRANTS),
        )
    except subprocess.TimeoutExpired:
        return "", "it does not answer"
    except OSError:
        return None
    return done.stdout, done.stderr


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _inspected(kind: str, ids: Collection[str]) -> list[dict[str, Any]]:
    return _parsed((_ask(kind, "inspect", *ids) or ("", ""))[0]) or [] if ids else []


def _networks() -> Iterator[tuple[str, str, str]]:
    for each in _inspected("network", (_ask("network", "ls", "--quiet") or ("", ""))[0].split()):
        bridge = (each.get("Options") or {}).get("com.docker.network.bridge.name") or f"br-{each['Id'][:12]}"
        for config in (each.get("IPAM") or {}).get("Config") or []:
            if "." in config.get("Subnet", ""):
                yield each["Name"], config["Subnet"], bridge


def _addresses(folder: Path) -> Iterator[tuple[str, str]]:
    # (A container that an older checkout made has no label, and one of a folder that was renamed an old one.)
    known = {file.read_text().strip() for file in folder.glob(".vagrant/machines/*/docker/id")}
    for each in _inspected("container", (_ask("ps", "--all", "--quiet") or ("", ""))[0].split()):
        if (each["Config"].get("Labels") or {}).get(LABEL) == folder.as_posix() or each["Id"] in known:
            continue
        for network in (each["NetworkSettings"].get("Networks") or {}).values():
            if address := (network.get("IPAMConfig") or {}).get("IPv4Address") or network.get("IPAddress"):
                yield address, each["Name"].lstrip("/")


def too_old(engine: Engine) -> bool:
    """Is it older than `OLDEST`?"""
    return _numbers(engine.version) < _numbers(OLDEST)


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)[:2]]


def network_name(subnet: str) -> str:
    """What the lab's own network is called."""
    return f"stacklab-{subnet.replace('/', '-')}"


def bridge(engine: Engine, subnet: str) -> str | None:
    """The interface of the lab's own network, where the engine has no machine of its own."""
    return next((interface for name, _, interface in engine.networks if name == network_name(subnet)), None)


def clash(engine: Engine, subnet: str) -> str | None:
    """Words for the network or container of the engine's that has what the machines want; None if none has."""
    wanted = ipaddress.ip_network(subnet)
    for name, other, _ in engine.networks:
        if name != network_name(subnet) and ipaddress.ip_network(other).overlaps(wanted):
            return f"Docker's network {name} ({other})"
    for address, container in engine.addresses:
        if ipaddress.ip_address(address) in wanted:
            return f"the container {container} ({address}), of another folder's lab,"
    return None
