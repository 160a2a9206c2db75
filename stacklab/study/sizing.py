"""How many machines a `Demand` takes, from the costs and knees of `capacity`. Arithmetic alone; nothing is measured here.

Each sound block gives an answer of its own, all of it from that block's costs, so that what made a whole block slow does so
in every figure. The interval of a figure is that in which the answer of one block more would lie, by Student's t on the
logarithms of the blocks' answers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from stacklab.errors import ResultsError
from stacklab.files import RESULTS
from stacklab.runs.results import Run, load_runs
from stacklab.study import knees
from stacklab.study.costs import BUSY, BYTES, CPU, MEMORY, Figure, by_block, costs, figure
from stacklab.study.knees import MESSAGES, PAGES
from stacklab.workload import ChatLoad, Demand, HttpLoad

ROLES = {"front": ("nginx",), "pages": ("uwsgi", "gunicorn"), "chat": ("daphne",), "redis": ("redis",)}
"""{role: the services that it is made of}."""
PARTS = {"front": "workers", "pages": "processes", "chat": "instances", "redis": "servers"}
"""{role: what its processes are called}; each uses one core at most."""
FEWEST_BLOCKS = 3
OPEN_FILES = 65_536  # of a process, as the units have it; nginx takes two for each client, and 1/16 it keeps free
PORTS = 28_232  # from which nginx connects to one instance: Linux' own range
LINK_BITS_PER_S = 1e9
LIMITS = {
    "cpu": "CPU", "memory": "memory", "open_files": "open files", "ports": "ports to one instance",
    "bandwidth": f"a link of {LINK_BITS_PER_S / 1e9:g} Gbit/s",
}  # fmt: skip

Costs = Mapping[tuple[str, str, str], float]


@dataclass(frozen=True)
class Block:
    """What one block tells: its costs {(work, service, quantity): value}, and its knees {"pages", "messages": a second}."""

    costs: Costs
    knees: Mapping[str, float]

    def cost(self, work: str, services: Sequence[str], quantity: str) -> float:
        """Of these services together; 0 where nothing is told of them."""
        return sum(self.costs.get((work, service, quantity), 0.0) for service in services)


@dataclass(frozen=True)
class Measured:
    """The host that was measured, and the most that it was seen to do at once: `most`, by the names of `Demand`'s properties."""

    cpus: int
    memory_bytes: float
    instances: int
    most: Mapping[str, float]


def host_of(measured: Measured, demand: Demand) -> Measured:
    """The hosts that are asked for: as the one that was measured, where nothing else is said."""
    memory_bytes = measured.memory_bytes if demand.host_memory_gib is None else demand.host_memory_gib * 2**30
    return replace(measured, cpus=demand.host_cpus or measured.cpus, memory_bytes=memory_bytes)


def kept(root: Path = RESULTS) -> list[Run]:
    """The runs of `capacity` on disk; those of its small version, where there are no others."""
    runs: list[Run] = []
    for name in ("capacity", "capacity-quick"):
        runs = runs or (load_runs(root / name) if (root / name).is_dir() else [])
    return runs


def size(runs: Sequence[Run], demand: Demand) -> dict[str, Any]:
    """`sized`, from the runs of `capacity`. ResultsError where they tell too little, or the objective has no knee in them."""
    table, trials = costs(runs), knees.trials(runs, demand.p95_ms)
    needed = [PAGES, *([MESSAGES] if demand.sockets else [])]
    of_knees = {of: knees.found(trials, of, demand.p95_ms) for of in needed}
    told = by_block(table)
    blocks = [
        Block(row.dropna().to_dict(), {of: each[block] for of, each in of_knees.items()})
        for block, row in told.iterrows() if all(block in each for each in of_knees.values())
    ]  # fmt: skip
    works = ["page", *(["delivery", "socket"] if demand.sockets else [])]
    whole = [block for block in blocks if all(any(work == key[0] and key[2] == CPU for key in block.costs) for work in works)]
    if len(whole) < FEWEST_BLOCKS:
        every = len({(run.experiment, run.repeat) for run in runs})
        raise ResultsError(
            f"of {every} blocks of capacity {len(whole)} are sound in all that is needed, and {FEWEST_BLOCKS} are the fewest "
            "that make an interval: there is no figure. Measure more: 'fab experiment capacity --repeats 5'"
        )
    return sized(whole, _measured(runs, trials), demand)


def _measured(runs: Sequence[Run], trials: Any) -> Measured:
    """Of sound runs and trials."""
    sound = trials[trials["valid"].astype(bool)]
    most = {f"{of}_per_s": float(sound.loc[sound["of"] == of, "load_per_s"].max()) for of in (PAGES, MESSAGES)}
    chats = [run.workload for run in runs if isinstance(run.workload, ChatLoad) and run.validity.valid]
    pages = [run.workload.requests_per_s or 0 for run in runs if isinstance(run.workload, HttpLoad) and run.validity.valid]
    seen = {
        "requests_per_s": max([most["pages_per_s"], *pages]), "deliveries_per_s": most["messages_per_s"],
        "sockets": max((load.clients for load in chats), default=0),
        "room_size": max((load.clients / load.rooms for load in chats if load.messages_per_s), default=0),
    }  # fmt: skip
    web = runs[0].environment["web"]
    return Measured(web["cpus"], web["memory_bytes"], runs[0].settings.daphne_instances, seen)


def sized(blocks: Sequence[Block], measured: Measured, demand: Demand) -> dict[str, Any]:
    """{"roles", "first_limit", "extrapolated", "usable_share", "blocks", "asked", "host", "measured_on"}, ready for JSON.

    A role: role, hosts, low, high (whole hosts, each as `host` has it), limit (what makes it so many), what its processes
    are called (workers, processes, instances, servers), cores, memory_bytes and, of the front, bits_per_s, each with its ends.
    """
    answers = [_answer(block, measured, demand) for block in blocks]
    roles = [_role(role, [answer[role] for answer in answers], demand) for role in ROLES]
    shares = {of: figure((_usable(block, of, measured.cpus) for block in blocks), ahead=True) for of in blocks[0].knees}
    tightest = max(roles, key=lambda role: max(np.mean([answer[role["role"]][limit] for answer in answers]) for limit in LIMITS))
    asked = {name: getattr(demand, name) for name in ("requests_per_s", "sockets", "deliveries_per_s", "room_size")}
    more = {"hosts": sum(role["hosts"] for role in roles), "redis_servers": roles[-1][PARTS["redis"]]["estimate"]}
    beyond = {name: value / measured.most[name] for name, value in asked.items() if value > measured.most.get(name, 0) > 0}
    host = host_of(measured, demand)
    more |= {"cpus": host.cpus / measured.cpus, "speed": max(demand.host_speed, 1 / demand.host_speed)}
    return {
        "roles": roles,
        "first_limit": {"role": tightest["role"], "limit": tightest["limit"]},
        "extrapolated": beyond | {name: float(number) for name, number in more.items() if number > 1},
        "usable_share": {of: share.to_dict() for of, share in shares.items()},
        "blocks": len(blocks),
        "asked": asked | {"p95_ms": demand.p95_ms, "spare": demand.spare},
        "host": {"cpus": host.cpus, "memory_bytes": host.memory_bytes, "speed": demand.host_speed},
        "measured_on": {"cpus": measured.cpus, "memory_bytes": measured.memory_bytes},
    }


def _usable(block: Block, of: str, cpus: int) -> float:
    """The share of the host's CPU that was in use at the knee: so much of it may be used, and the objective is still met.

    The messages of that search were in rooms of ten: each is sent once for ten deliveries.
    """
    every = [service for services in ROLES.values() for service in services]
    each = {"page": 1.0} if of == PAGES else {"delivery": 1.0, "message": 0.1}
    used = sum(times * block.cost(work, every, CPU) for work, times in each.items()) * block.knees[of]
    return min(1.0, used / cpus)


def _answer(block: Block, measured: Measured, demand: Demand) -> dict[str, dict[str, float]]:
    """Of one block, of each role: cores, parts, memory_bytes, bits_per_s, and hosts by each limit."""
    works = {
        "page": demand.requests_per_s, "message": demand.messages_per_s, "delivery": demand.deliveries_per_s,
        "socket": demand.sockets,
    }  # fmt: skip
    shares = {of: _usable(block, of, measured.cpus) for of in block.knees}
    of_chat = shares.get(MESSAGES, 1.0)
    usable = {"front": min(shares.values()), "pages": shares[PAGES], "chat": of_chat, "redis": of_chat}
    bits_per_s = 8 * sum(works[work] * block.cost(work, ("nginx",), BYTES) for work in ("page", "delivery"))
    sockets = {"front": demand.sockets, "chat": demand.sockets}
    host, answers = host_of(measured, demand), {}
    for role, services in ROLES.items():
        used = sum(number * block.cost(work, services, CPU) for work, number in works.items())
        cores, held = used / usable[role] / (1 - demand.spare) / demand.host_speed, sockets.get(role, 0.0)
        files = held * {"front": 2 * 16 / 15, "chat": 1}.get(role, 0) / OPEN_FILES
        ports = held / PORTS if role == "chat" else 0.0
        # Little's law; what of it is waiting for others no quicker core makes shorter.
        waits = demand.requests_per_s * block.cost("page", services, BUSY) / (1 - demand.spare) / min(1.0, demand.host_speed)
        parts = max(cores, files, ports, waits if role == "pages" else 0.0)
        memory = math.ceil(parts) * block.cost("process", services, MEMORY) + held * block.cost("socket", services, MEMORY)
        answers[role] = {
            "cores": cores, "parts": parts, "memory_bytes": memory, "bits_per_s": bits_per_s if role == "front" else 0.0,
            "cpu": cores / host.cpus, "memory": memory / host.memory_bytes / (1 - demand.spare),
            # A host holds as many processes as it has cores, or as were measured on it: so many share its files and ports.
            "open_files": files / max(host.cpus, host.instances), "ports": ports / max(host.cpus, host.instances),
            "bandwidth": bits_per_s / LINK_BITS_PER_S / (1 - demand.spare) if role == "front" else 0.0,
        }  # fmt: skip
    return answers


def _role(role: str, answers: Sequence[Mapping[str, float]], demand: Demand) -> dict[str, Any]:
    limit = max(LIMITS, key=lambda name: np.mean([answer[name] for answer in answers]))
    hosts = figure((max(answer[name] for name in LIMITS) for answer in answers), ahead=True)
    told = {name: figure((answer[name] for answer in answers), ahead=True) for name in ("cores", "memory_bytes", "bits_per_s")}
    parts = whole(figure((answer["parts"] for answer in answers), ahead=True))
    return {
        "role": role, **dict(zip(("hosts", "low", "high"), whole(hosts).values(), strict=True)), "limit": limit,
        PARTS[role]: parts, **{name: of.to_dict() for name, of in told.items() if role == "front" or name != "bits_per_s"},
    }  # fmt: skip


def whole(of: Figure) -> dict[str, int]:
    """Of things that there are no parts of: the next whole number of each."""
    return {name: math.ceil(value - 1e-9) for name, value in vars(of).items()}


def text(seen: Mapping[str, Any]) -> str:
    """`sized`, for people."""
    asked, host, on = seen["asked"], seen["host"], seen["measured_on"]
    speed = "" if host["speed"] == 1 else f", each {host['speed']:g} times as quick as one that was measured"
    said = [
        f"asked: {asked['requests_per_s']:,.0f} requests/s, {asked['sockets']:,.0f} sockets, {asked['deliveries_per_s']:,.0f} "
        f"deliveries/s in rooms of {asked['room_size']:g};",
        f"95 of 100 within {asked['p95_ms']:g} ms, {asked['spare']:.0%} to spare",
        f"a host: {host['cpus']} CPUs, {host['memory_bytes'] / 2**30:.1f} GiB{speed}; measured, in {seen['blocks']} blocks: "
        f"{on['cpus']} CPUs, {on['memory_bytes'] / 2**30:.1f} GiB",
        "",
        f"{'':<8}{'hosts':>16}{'processes':>30}{'cores':>22}{'memory, GiB':>24}  most of it for",
    ]
    for role in seen["roles"]:
        part = PARTS[role["role"]]
        ends = {name: role[name] for name in (part, "cores", "memory_bytes")}
        hosts = f"{role['hosts']:,} ({role['low']:,}–{role['high']:,})"
        said.append(
            f"{role['role']:<8}{hosts:>16}{_ends(ends[part], 1, ',.0f') + ' ' + part:>30}{_ends(ends['cores'], 1, ',.2f'):>22}"
            f"{_ends(ends['memory_bytes'], 2**-30, ',.2f'):>24}  {LIMITS[role['limit']]}"
        )
    front = seen["roles"][0]
    first = seen["first_limit"]
    said += ["", f"bandwidth: {_ends(front['bits_per_s'], 1e-6, ',.1f')} Mbit/s, without TLS and headers"]
    said.append(f"what gives way first: {LIMITS[first['limit']]} of {first['role']}")
    for of, share in seen["usable_share"].items():
        said.append(f"{of}: the objective held until {_ends(share, 100, '.0f')} % of the host's CPU were in use")
    names = {
        "hosts": "hosts, and what several of them cost each other",
        "redis_servers": "Redis servers, which share nothing by themselves",
        "cpus": "CPUs of a host, and what they cost each other", "speed": "a core's speed, by one kind of work",
    }  # fmt: skip
    said.append("beyond what one host was seen to do:" + ("" if seen["extrapolated"] else " nothing"))
    said += [f"  {names.get(name, name.replace('_', ' '))}: × {times:.3g}" for name, times in seen["extrapolated"].items()]
    return "\n".join(said)


def _ends(of: Mapping[str, float], unit: float, form: str) -> str:
    estimate, low, high = (format(of[name] * unit, form) for name in ("estimate", "low", "high"))
    return f"{estimate} ({low}–{high})"
