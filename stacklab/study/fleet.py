"""Many web hosts, reckoned from what one of them costs: an ordinary day, and three bad moments. What breaks first?

Time goes in steps. A host has its sockets and a backlog, the CPU seconds of work that came and is not yet done; what comes waits
as long as the backlog takes. The channel layer's Redis is such a backlog too, of one core each. A client that lost its socket
tries again as the lab's own page does: after half to all of a wait, which doubles each time it fails, as it does when the
host needs longer for it than the client has patience.

Beyond one host nothing of this was measured. What is known of one host goes in, and what is not stands in `ASSUMED`.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure as Picture

from stacklab.errors import ResultsError
from stacklab.runs.results import Run
from stacklab.study import drawing, knees, words
from stacklab.study.costs import CPU, MEMORY, by_block, costs, figure
from stacklab.workload import Fleet

FRONT, CHAT, REDIS = "nginx", "daphne", "redis"
WEB = (FRONT, "uwsgi", "gunicorn", CHAT, "postgresql")  # what each web host does; Redis is elsewhere
MEASURED_INSTANCES = 3  # among which `capacity` had its messages spread
STEP_S = 0.1
LONGEST_S = 1800.0  # what is not over after that is called so
MOST_SHOWN = 300  # points of time
FIRST_RETRY_S, LONGEST_RETRY_S = 0.5, 15.0  # of app/chat/static/chat/chat.js
BACK = 0.99  # the share that has to be back
LEAST_SHARE = 1e-9
FULL = 0.7  # of anything: more is too much on an ordinary day
SOON_S = 60.0  # later than that is too late to be back
BALANCES = ("round_robin", "least_conn")
SEARCHED_ROOM = 10  # people in a room, where `capacity` searches the knee of messages
LIMITS = {"host_cpu": "the CPU of the hosts", "redis_core": "the one core of a Redis", "memory": "the memory of the hosts"}
ASSUMED = (
    "Hosts cost each other nothing but what Redis carries; the front, the network and the database are never the limit; each "
    "host has a Daphne for each of its CPUs, and Redis CPUs as quick; a copy that Redis hands to one more instance costs as much "
    "as taking the message; members of a room are spread by chance."
)


def met(instances: float, people: float) -> float:
    """How many of so many instances have somebody of a room, in the mean, where each is on one by chance."""
    return instances * (1 - (1 - 1 / instances) ** people)


@dataclass(frozen=True)
class Costs:
    """What one host's work costs: {(work, service, quantity): value}, as `costs.by_block` tells; and how many times as quick
    the cores of those hosts are that are meant.
    """

    of: Mapping[tuple[str, str, str], float]
    speed: float = 1.0

    def cpu_s(self, work: str, services: Sequence[str]) -> float:
        """CPU seconds of one piece of work in these services together, on a host of that speed."""
        return sum(self.of.get((work, name, CPU), 0.0) for name in services) / self.speed

    def socket_bytes(self) -> float:
        return sum(self.of.get(("socket", name, MEMORY), 0.0) for name in (FRONT, CHAT))

    def process_bytes(self, name: str) -> float:
        return self.of.get(("process", name, MEMORY), 0.0)

    def copy_cpu_s(self, people: float) -> float:
        """CPU seconds of Redis for each time that it takes or hands out a message: it was measured among few instances."""
        of_message = self.cpu_s("message", [REDIS]) + people * self.cpu_s("delivery", [REDIS])
        return of_message / (1 + met(MEASURED_INSTANCES, people))


def ordinary(of: Costs, fleet: Fleet) -> dict[str, float]:
    """An ordinary day, as shares of what there is: host_cpu, redis_core (of each server, in the mean), memory. And the `copies`
    that Redis makes of a message.
    """
    copies = met(fleet.hosts * fleet.host_cpus, fleet.room_size)
    steady_s = _steady_s(of, fleet) * fleet.sockets + of.cpu_s("page", WEB) * fleet.requests_per_s
    parts = {"uwsgi": fleet.host_cpus, CHAT: fleet.host_cpus, FRONT: fleet.host_cpus}
    held = fleet.sockets / fleet.hosts * of.socket_bytes()
    held += sum(number * of.process_bytes(name) for name, number in parts.items())
    return {
        "host_cpu": steady_s / (fleet.hosts * fleet.host_cpus), "redis_core": _redis_s(of, fleet) / fleet.redis_servers,
        "memory": held / (fleet.host_memory_gib * 2**30), "copies": copies,
    }  # fmt: skip


def _steady_s(of: Costs, fleet: Fleet) -> float:
    """CPU seconds a second that a socket costs its host: being there, what it says, what it hears."""
    says_per_s = fleet.messages_per_min / 60
    hears_per_s = says_per_s * fleet.room_size
    return of.cpu_s("socket", WEB) + says_per_s * of.cpu_s("message", WEB) + hears_per_s * of.cpu_s("delivery", WEB)


def _redis_s(of: Costs, fleet: Fleet) -> float:
    """CPU seconds a second that all messages cost all Redis servers together."""
    copies = met(fleet.hosts * fleet.host_cpus, fleet.room_size)
    return fleet.messages_per_s * of.copy_cpu_s(fleet.room_size) * (1 + copies)


class _Clients:
    """Those without a socket: how many try again at which step, by how often they have failed."""

    def __init__(self, chance: np.random.Generator, steps: int) -> None:
        self.due = np.zeros((8, steps + 1), dtype=np.int64)
        self.chance = chance

    def wait(self, people: int, failed: int, now: int, after_s: float = 0.0) -> None:
        """So many try again after half to all of the wait that is due after so many failures."""
        if not people:
            return
        failed = min(failed, len(self.due) - 1)
        longest_s = min(LONGEST_RETRY_S, FIRST_RETRY_S * 2**failed)
        first = now + 1 + int((after_s + longest_s / 2) / STEP_S)
        spread = max(1, round(longest_s / 2 / STEP_S))
        for step, share in enumerate(self.chance.multinomial(people, np.full(spread, 1 / spread))):
            self.due[failed, min(first + step, self.due.shape[1] - 1)] += share


def coming_back(of: Costs, fleet: Fleet, sockets: np.ndarray, lost: int, alive: np.ndarray, seed: int = 1) -> dict[str, Any]:
    """`lost` clients look for a socket among the `alive` hosts, which have their own work to do beside, as has Redis.

    back_s (until 99 of 100 of them have one; None where that is not within half an hour), attempts (of each, in the mean),
    late_s (the longest that a message waited meanwhile, on a host and in Redis), over (time_s, without, late_s: how many had no
    socket, and how long a message waited; lists).
    """
    steps = int(LONGEST_S / STEP_S)
    chance, busy_s = np.random.default_rng(seed), _steady_s(of, fleet)
    clients, sockets = _Clients(chance, steps), sockets.astype(float).copy()
    clients.wait(lost, 0, 0)
    on_their_way, every = np.zeros((fleet.hosts, steps + 1), dtype=np.int64), np.arange(fleet.hosts)
    pages_s = of.cpu_s("page", WEB) * fleet.requests_per_s / alive.sum()
    backlog_s, of_redis_s, without, attempts, back_s, over = np.zeros(fleet.hosts), 0.0, lost, 0, None, []
    for step in range(1, steps):
        late_s = backlog_s / fleet.host_cpus + of_redis_s
        patient = late_s <= fleet.patience_s
        for failed in np.flatnonzero(clients.due[:, step]):
            tries = chance.multinomial(clients.due[failed, step], alive / alive.sum())
            attempts += tries.sum()
            backlog_s += tries * of.cpu_s("connect", WEB)  # also of those who will have gone before it is done
            of_redis_s += tries.sum() * of.cpu_s("connect", [REDIS]) / fleet.redis_servers
            arrive = np.minimum(step + (late_s / STEP_S).astype(int), steps)
            np.add.at(on_their_way, (every, arrive), tries * patient)
            clients.wait((tries * ~patient).sum(), failed + 1, step, fleet.patience_s)
        sockets += on_their_way[:, step]
        without -= on_their_way[:, step].sum()
        backlog_s = np.maximum(0.0, backlog_s + alive * (sockets * busy_s + pages_s - fleet.host_cpus) * STEP_S)
        here = sockets.sum() / fleet.sockets  # who has no socket says nothing
        of_redis_s = max(0.0, of_redis_s + (here * _redis_s(of, fleet) / fleet.redis_servers - 1) * STEP_S)
        over.append((step * STEP_S, without, late_s[alive].max()))
        if back_s is None and without <= (1 - BACK) * lost:
            back_s = step * STEP_S
        if without == 0 and backlog_s.max() + of_redis_s == 0:
            break
    times = np.array(over, dtype=float)
    shown = times[:: math.ceil(len(times) / MOST_SHOWN)]
    return {
        "back_s": back_s, "attempts": float(attempts / max(lost, 1)), "late_s": float(times[:, 2].max()),
        "over": dict(zip(("time_s", "without", "late_s"), shown.T.tolist(), strict=True)),
    }  # fmt: skip


def host_lost(of: Costs, fleet: Fleet) -> dict[str, Any]:
    """One host is gone at once, and its clients come to the others. See `coming_back`."""
    each = np.full(fleet.hosts, fleet.sockets / fleet.hosts)
    alive = np.ones(fleet.hosts, dtype=bool)
    alive[0] = False
    each[0] = 0
    return coming_back(of, fleet, each, round(fleet.sockets / fleet.hosts), alive)


def all_lost(of: Costs, fleet: Fleet) -> dict[str, Any]:
    """The front, or the network before it, was away for a moment: everybody comes back. See `coming_back`."""
    return coming_back(of, fleet, np.zeros(fleet.hosts), round(fleet.sockets), np.ones(fleet.hosts, dtype=bool))


def all_restarted(fleet: Fleet, by: str, seed: int = 1) -> dict[str, float]:
    """Host after host is restarted, and its clients come to the others, `by` "round_robin" or "least_conn".

    duration_s, moves (how often each client lost its socket, in the mean), fullest (the sockets of the fullest host, as a
    multiple of an even share).
    """
    chance, moved = np.random.default_rng(seed), 0
    sockets = np.full(fleet.hosts, round(fleet.sockets / fleet.hosts), dtype=np.int64)
    for host in range(fleet.hosts):
        gone, sockets[host] = int(sockets[host]), 0
        moved += gone
        others = np.arange(fleet.hosts) != host
        evenly = np.full(fleet.hosts - 1, 1 / (fleet.hosts - 1))
        sockets[others] += chance.multinomial(gone, evenly) if by == "round_robin" else _levelled(sockets[others], gone)
    of_all = sockets.sum()
    return {
        "duration_s": fleet.hosts * fleet.restart_s, "moves": float(moved / of_all),
        "fullest": float(sockets.max() / (of_all / fleet.hosts)),
    }  # fmt: skip


def _levelled(sockets: np.ndarray, people: int) -> np.ndarray:
    """How many of `people` each host gets, where each of them comes to the emptiest."""
    def room_below(level: int) -> np.ndarray:
        return np.maximum(0, level - sockets)

    level = bisect_right(range(int(sockets.max()) + people + 1), people, key=lambda level: room_below(level).sum()) - 1
    came = room_below(level)
    came[np.flatnonzero(sockets <= level)[: people - came.sum()]] += 1
    return came


def measured(runs: Sequence[Run], speed: float = 1.0) -> Costs:
    """In the middle of the sound blocks of `capacity`; ResultsError where these tell too little."""
    of = by_block(costs(runs)).median().dropna().to_dict()
    lacking = [work for work in ("page", "message", "connect") if not any(key[0] == work and key[2] == CPU for key in of)]
    if lacking:
        raise ResultsError(f"no sound run tells what a {' and a '.join(lacking)} costs: measure 'fab experiment capacity'")
    return Costs(of, speed)


def reckon(runs: Sequence[Run], fleet: Fleet) -> dict[str, Any]:
    """Of `capacity`'s runs: see `reckoned`; and "shown": one host's knee of messages, as reckoned so and as measured (None where
    that was not found).
    """
    of = measured(runs, fleet.host_speed)
    web = runs[0].environment["web"]
    cpus = fleet.host_cpus or web["cpus"]
    gib = web["memory_bytes"] / 2**30 if fleet.host_memory_gib is None else fleet.host_memory_gib
    told = reckoned(of, fleet.replace(host_cpus=cpus, host_memory_gib=gib))
    searched = knees.knees(knees.trials(runs), knees.MESSAGES)
    seen = figure(value for value in searched.values() if 0 < value < np.inf).to_dict()["estimate"]
    here = (*WEB, REDIS)  # the measured host has it too
    each_s = (of.cpu_s("delivery", here) + of.cpu_s("message", here) / SEARCHED_ROOM) * of.speed
    return told | {"shown": {"measured_per_s": seen, "reckoned_per_s": web["cpus"] / each_s}}


def reckoned(of: Costs, fleet: Fleet) -> dict[str, Any]:
    """{"asked", "ordinary", "breaks_first", "host_lost", "all_lost", "all_restarted", "before"}: a day and three bad moments of
    `fleet`, of which the size of a host is known; what would break first, as it grows; and what to do before, in sentences.
    The moments are None where an ordinary day is too much already.
    """
    day = ordinary(of, fleet)
    tightest = max(LIMITS, key=day.__getitem__)
    bears = max(day["host_cpu"], day["redis_core"]) < 1
    told = {
        "asked": fleet.to_dict() | {name: getattr(fleet, name) for name in ("sockets", "messages_per_s", "deliveries_per_s",
                                                                            "requests_per_s")},
        "ordinary": day, "breaks_first": {"limit": tightest, "times": 1 / max(day[tightest], LEAST_SHARE)},
        "host_lost": host_lost(of, fleet) if bears else None, "all_lost": all_lost(of, fleet) if bears else None,
        "all_restarted": {by: all_restarted(fleet, by) for by in BALANCES} if bears else None,
    }  # fmt: skip
    return told | {"before": _before(of, fleet, told)}


def _before(of: Costs, fleet: Fleet, told: Mapping[str, Any]) -> list[str]:
    day, said = told["ordinary"], []
    if day["redis_core"] > FULL:
        servers = math.ceil(day["redis_core"] * fleet.redis_servers / FULL)
        at_home = (1 + met(fleet.host_cpus, fleet.room_size)) / (1 + day["copies"])
        said.append(
            f"{servers:,} Redis servers, among which the rooms are shared out; or a room's people on one host, by consistent "
            f"hash at the front, which leaves {at_home:.0%} of Redis' work"
        )
    if day["host_cpu"] > FULL:
        said.append(f"{math.ceil(fleet.hosts * day['host_cpu'] / FULL):,} hosts for the CPU that an ordinary day takes")
    if day["memory"] > FULL:
        said.append(f"{fleet.host_memory_gib * day['memory'] / FULL:.1f} GiB of memory a host")
    if told["all_lost"] is None:
        return said
    free = fleet.hosts * fleet.host_cpus * (1 - day["host_cpu"])
    connects_s = fleet.sockets * of.cpu_s("connect", WEB)
    if (told["all_lost"]["back_s"] or LONGEST_S) > SOON_S:
        said.append(
            f"clients whose first wait is spread over {connects_s / free / FULL:,.0f} s: so long have the hosts to do with the "
            "connects of all, when everybody comes back"
        )
    fullest = {by: of_way["fullest"] for by, of_way in told["all_restarted"].items()}
    if fullest["round_robin"] > 1.2 * fullest["least_conn"]:
        said.append(
            "least_conn at the front before all are restarted: by round robin the fullest host ends with "
            f"{fullest['round_robin']:.2f} times an even share, by least_conn with {fullest['least_conn']:.2f}"
        )
    return said


def text(told: Mapping[str, Any]) -> str:
    """`reckon`, for people."""
    asked, day, first, shown = told["asked"], told["ordinary"], told["breaks_first"], told["shown"]
    plural = "s" if asked["host_cpus"] > 1 else ""
    lines = [
        f"asked: {asked['sockets']:,.0f} sockets on {asked['hosts']} hosts of {asked['host_cpus']} CPU{plural} and "
        f"{asked['host_memory_gib']:.1f} GiB; {asked['messages_per_s']:,.0f} messages/s in rooms of {asked['room_size']}, "
        f"{asked['requests_per_s']:,.0f} requests/s; {asked['redis_servers']} Redis",
        f"an ordinary day: {day['host_cpu']:.0%} of a host's CPU, {day['memory']:.0%} of its memory; "
        f"{day['redis_core']:.0%} of the core of each Redis, which hands each message to {day['copies']:.1f} instances",
        f"what breaks first as it grows: {LIMITS[first['limit']]}, at × {words.number(first['times'])} of this load",
        *_moments(told),
        "what to do before:" + ("" if told["before"] else " nothing of what is reckoned here"),
        *(f"  {sentence}" for sentence in told["before"]),
        "",
        f"Of several hosts nothing was measured. It is assumed: {ASSUMED}",
    ]
    if seen := shown["measured_per_s"]:
        times = words.number(shown["reckoned_per_s"] / seen)
        lines[-1:] = [
            f"Of one host {words.number(seen)} deliveries/s were measured, where {words.number(shown['reckoned_per_s'])} are "
            f"reckoned in this way: × {times}.", lines[-1],
        ]  # fmt: skip
    return "\n".join(lines)


def _moments(told: Mapping[str, Any]) -> list[str]:
    ways = told["all_restarted"]
    if ways is None:
        return ["an ordinary day is too much for them: nothing can be said of a bad moment"]
    fullest = ", ".join(
        f"{way['fullest']:.2f} times an even share by {by} ({way['moves']:.1f} moves a client)" for by, way in ways.items()
    )
    return [
        f"a host is lost: {_return(told['host_lost'])}",
        f"all lose their sockets at once: {_return(told['all_lost'])}",
        f"all hosts restarted in turn: {ways['round_robin']['duration_s'] / 60:,.0f} min; the fullest then has {fullest}",
    ]


def _return(of: Mapping[str, Any]) -> str:
    never = f"not back in {LONGEST_S / 60:.0f} min"
    back = never if of["back_s"] is None else f"99 of 100 are back after {of['back_s']:,.1f} s"
    return f"{back}, with {of['attempts']:.1f} tries each; a message waits {of['late_s']:,.1f} s at most"


def picture(told: Mapping[str, Any]) -> Picture:
    """How many have no socket, and how long a message waits on a host, after one host is lost and after all sockets are.
    ResultsError where an ordinary day is too much already.
    """
    if told["all_lost"] is None:
        raise ResultsError("an ordinary day is too much for these hosts: there is no picture of a bad one")
    drawn = Picture(figsize=(11.5, 4.2), layout="constrained")
    for ax, (of, title) in zip(
        drawn.subplots(1, 2), (("host_lost", "One host is lost"), ("all_lost", "All sockets are lost at once")), strict=True
    ):
        over = told[of]["over"]
        ax.plot(over["time_s"], over["without"], color=drawing.OKABE_ITO[0], label="without a socket")
        late = ax.twinx()
        late.plot(over["time_s"], over["late_s"], "--", color=drawing.OKABE_ITO[3], label="a message waits")
        late.set(ylabel="seconds that a message waits", ylim=(0, max(0.1, 1.2 * max(over["late_s"]))))
        ax.set_xlabel("seconds since then")
        ax.yaxis.set_major_formatter("{x:,.0f}")
        drawing.finish(ax, title, "clients without a socket")
        lines = ax.lines + late.lines
        ax.legend(lines, [line.get_label() for line in lines], fontsize=9, frameon=False, loc="upper right")
    return drawn
