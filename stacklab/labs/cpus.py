"""This computer's CPUs: which of them are one core, which are weaker, and who gets which.

`look` reads them from /sys; `split` and `beside` are pure. Where /sys says nothing (macOS, some containers) each CPU
counts as a core of its own, and all as alike.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

SYS = Path("/sys")
WEAKER = 0.8  # of the strongest core's capacity, or frequency; favoured cores of one kind differ by less
DYNAMIC_DRIVERS = ("intel_pstate", "amd-pstate-epp")  # whose "powersave" still goes as high as the load wants


@dataclass(frozen=True)
class Cpu:
    """One CPU as the kernel counts them: `siblings` are those of its physical core, itself among them."""

    number: int
    siblings: frozenset[int]
    node: int = 0
    efficient: bool = False


def allowed() -> set[int]:
    """The CPUs that this process may use, by its affinity and its control group; all of them where no system tells."""
    return set(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))


def look(numbers: Iterable[int], sys: Path = SYS) -> list[Cpu]:
    """Those CPUs, as the kernel describes them."""
    cpus, numbers = sys / "devices/system/cpu", sorted(numbers)
    weak = _numbers(_text(sys / "devices/cpu_atom/cpus"))  # Intel's name for its efficiency cores
    force = {number: _force(cpus / f"cpu{number}") for number in numbers}
    strongest = max(force.values(), default=0)
    return [
        Cpu(
            number,
            _numbers(_text(cpus / f"cpu{number}/topology/thread_siblings_list")) or frozenset({number}),
            next((int(node.name[4:]) for node in sorted((cpus / f"cpu{number}").glob("node[0-9]*"))), 0),
            number in weak or 0 < force[number] < WEAKER * strongest,
        )
        for number in numbers
    ]


def split(cpus: Sequence[Cpu]) -> tuple[list[int] | None, list[int] | None]:
    """(CPUs of the web host, CPUs of the load generator): whole cores of one kind, about half each, the web host's first.

    The web host's lie in one NUMA node where that leaves it about half. Efficiency cores are nobody's where there are two
    others: what else the computer does has room there. (None, None) where there is only one core: nothing can be kept apart.
    """
    strong = _cores(cpu for cpu in cpus if not cpu.efficient)
    cores = strong if len(strong) > 1 else _cores(cpus)
    if len(cores) < 2:
        return None, None
    nodes = [core[0].node for core in cores]
    cores.sort(key=lambda core: (core[0].efficient, -nodes.count(core[0].node), core[0].node, core[0].number))
    half = len(cores) // 2
    ends = [n for n in range(1, half + 1) if cores[n - 1][0].node != cores[n][0].node]
    cut = max(ends, default=half)
    web, generator = (sorted(cpu.number for core in part for cpu in core) for part in (cores[:cut], cores[cut:]))
    return web, generator


def beside(cpus: Sequence[Cpu], others: Iterable[int]) -> list[int]:
    """The CPUs that share no core with `others`."""
    taken = set(others)
    return [cpu.number for cpu in cpus if not cpu.siblings & taken]


def describe(cpus: Sequence[Cpu]) -> dict[str, Any]:
    """What a run keeps of them: {"cores", "threads", "nodes", "efficiency_cores"}."""
    cores = _cores(cpus)
    return {
        "cores": len(cores), "threads": len(cpus), "nodes": len({cpu.node for cpu in cpus}),
        "efficiency_cores": sum(core[0].efficient for core in cores),
    }  # fmt: skip


def power(sys: Path = SYS) -> dict[str, Any]:
    """How the CPUs are driven: {"governor", "driver", "turbo", "on_battery"}; what cannot be known is left out."""
    cpus = sys / "devices/system/cpu"
    found: dict[str, Any] = {}
    for name, file in (("governor", "scaling_governor"), ("driver", "scaling_driver")):
        if said := sorted({_text(path) for path in cpus.glob(f"cpu[0-9]*/cpufreq/{file}")}):
            found[name] = ", ".join(said)
    if off := _text(cpus / "intel_pstate/no_turbo"):
        found["turbo"] = off == "0"
    elif on := _text(cpus / "cpufreq/boost"):
        found["turbo"] = on == "1"
    mains = [_text(supply / "online") for supply in (sys / "class/power_supply").glob("*") if _text(supply / "type") == "Mains"]
    if any(_text(supply / "type") == "Battery" for supply in (sys / "class/power_supply").glob("*")) and mains:
        found["on_battery"] = "1" not in mains
    return found


def power_words(seen: dict[str, Any]) -> list[str]:
    """What of `power` makes a computer slower than it could be, a sentence each."""
    words = []
    if seen.get("on_battery"):
        words.append("The computer ran on its battery.")
    if seen.get("governor") == "powersave" and seen.get("driver") not in DYNAMIC_DRIVERS:
        words.append("The governor powersave kept the CPUs at their lowest frequency.")
    return words


@contextmanager
def out_of_the_way(web: Sequence[int] | None, generator: Sequence[int] | None) -> Iterator[None]:
    """This process (`fab`, or a notebook's kernel) leaves the web host's cores alone while the block runs.

    It goes where nobody measures, or to the generator's where nothing else is left. Every thread, and those begun meanwhile;
    each gets back what it had. Nothing happens where the web host has no CPUs of its own, or the system has no such call.
    """
    had: dict[int, set[int]] = {}
    if web and hasattr(os, "sched_setaffinity"):
        cpus = look(allowed())
        room = beside(cpus, {*web, *(generator or ())}) or beside(cpus, web)
        for thread in _threads() if room else ():
            with suppress(OSError):  # it has just ended
                had[thread] = os.sched_getaffinity(thread)
                os.sched_setaffinity(thread, room)
    before = had.get(os.getpid())
    try:
        yield
    finally:
        for thread in _threads() if before else ():
            with suppress(OSError):
                os.sched_setaffinity(thread, had.get(thread, before))


def _threads() -> list[int]:
    return [thread.id for thread in psutil.Process().threads()]


def _cores(cpus: Iterable[Cpu]) -> list[list[Cpu]]:
    cores: dict[int, list[Cpu]] = {}
    for cpu in cpus:
        cores.setdefault(min(cpu.siblings), []).append(cpu)
    return list(cores.values())


def _force(cpu: Path) -> int:
    """How much it can do, on the kernel's own scale; 0 where that is not told."""
    return int(_text(cpu / "cpu_capacity") or _text(cpu / "cpufreq/cpuinfo_max_freq") or 0)


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _numbers(ranges: str) -> frozenset[int]:
    """'0-3,8' as {0, 1, 2, 3, 8}."""
    ends = [part.partition("-") for part in ranges.split(",") if part]
    return frozenset(number for low, _, high in ends for number in range(int(low), int(high or low) + 1))
