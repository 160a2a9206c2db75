"""ASGI servers side by side: an experiment, and two looks: how many clients one instance bears, and how it stops."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stacklab.bench.load import from_networks, run_load
from stacklab.bench.onsite import load_on
from stacklab.bench.plan import SLOPE_RAMP_S, Experiment, Point, named
from stacklab.bench.room import Room
from stacklab.errors import LoadError
from stacklab.labs.host import Host
from stacklab.runs.validity import MAX_GENERATOR_SHARE
from stacklab.settings import ASGI_SERVERS, StackSettings
from stacklab.stack.limits import raised_for
from stacklab.workload import DELIVERED_SHARE, P95_S, ChatLoad, Look, Workload

if TYPE_CHECKING:
    from stacklab.bench.experiment import Bench

LATE_S = P95_S / 10  # by which a generator may be late that judges this
FIRST, MOST = 100, 3200  # clients that the search begins with, and never goes beyond
BORNE = ChatLoad(clients=FIRST, rooms=FIRST // 10, messages_per_s=0.5, duration_s=6, ramp_s=4)
STOPPED_UNDER = 60  # sockets, in rooms of ten


def servers(quick: bool = False, repeats: int | None = None, seed: int = 1) -> Experiment:
    """Server × channel layer × size of the rooms, as many deliveries a second in each; one case without TLS between nginx and
    the server, as that is much of a connection's memory; and for each server the two looks.

    Small rooms: many messages, each to few. Large ones: few messages, each to many. Quick: these with pubsub alone.
    """
    clients, ramp_s, duration_s, per_s = (120, SLOPE_RAMP_S, 6, 5) if quick else (1000, 25, 30, 2)
    base, one = raised_for(clients, StackSettings()), raised_for(MOST, StackSettings(daphne_instances=1))
    small, large = 10, 40 if quick else 100
    cases = [("core", small, True), ("pubsub", small, True), ("pubsub", large, True), ("pubsub", small, False)]
    cases += [] if quick else [("core", large, True)]
    points = []
    for server in ASGI_SERVERS:
        for layer, size, tls in cases:
            load = ChatLoad(
                clients=clients, rooms=clients // size, messages_per_s=per_s / size, ramp_s=ramp_s, duration_s=duration_s
            )
            settings = base.replace(asgi_server=server, channel_layer=layer, daphne_tls=tls)
            points.append(Point(f"{server}, {layer}, rooms of {size}{'' if tls else ', no TLS'}", settings, load))
        alone = one.replace(asgi_server=server)
        points.append(Point(f"{server}, most clients", alone, Look(sight="most_clients", rounds=5 if quick else 8)))
        points.append(Point(f"{server}, stops", alone, Look(sight="server_stops")))
    return named("servers", points, quick, repeats, seed)


def searched(bears: Callable[[int], bool], rounds: int, first: int = FIRST, most: int = MOST) -> int:
    """The largest number that is borne, as far as so many trials tell: doubled until one is not, then halved in between."""
    low, high, number = 0, most + 1, first
    for _ in range(rounds):
        if bears(number):
            low = number
        else:
            high = number
        if high - low <= max(1, low // 20):  # within a twentieth: no nearer than the load itself repeats
            break
        number = min(2 * low, most) if high > most and low else (low + high) // 2
    return low


def most_clients(on: Bench, settings: StackSettings, look: Look) -> list[dict[str, Any]]:
    """One row a trial: clients, deliveries_per_s (due), connected (the share that came in), p95_s, delivered_share,
    generator_cores (the busiest process, while they talk), generator_lag_s, borne; error where the load failed, which is not
    borne. `problem` where the generator may be what the search ended at. LoadError where the first load fails: the site does
    not answer at all.
    """
    rows: list[dict[str, Any]] = []

    def bears(clients: int) -> bool:
        load = BORNE.replace(clients=clients, rooms=math.ceil(clients / 10), ramp_s=max(BORNE.ramp_s, clients / 100))
        load = load_on(load, on.site)
        due_per_s = load.messages_per_s * sum(size**2 for size in load.room_sizes())
        rows.append({"clients": clients, "deliveries_per_s": due_per_s} | tried(on, load, _borne, bool(rows)))
        return rows[-1]["borne"]

    searched(bears, look.rounds, look.first)
    return doubted(rows, "clients", "clients")


def tried(on: Bench, load: Workload, told: Callable[[Path, Workload], dict[str, Any]], may_fail: bool) -> dict[str, Any]:
    """What the tables of `load` tell; with `error`, a sentence, where it failed. LoadError where it may not."""
    failed = {}
    with tempfile.TemporaryDirectory() as out:
        try:
            run_load(
                load, on.host.url, Path(out), on.ca, cpus=on.generator_cpus,
                client_addresses=from_networks(on.client_addresses, load), site=on.site,
            )
        except LoadError as error:
            if not may_fail:
                raise
            failed = {"error": error.args[0]}  # a sentence, without the generator's log
        return told(Path(out), load) | failed


def _borne(out: Path, load: ChatLoad) -> dict[str, Any]:
    """Of the tables of a load; nothing is borne where it left none, as the generator failed."""
    import pandas as pd

    if not (out / "connections.parquet").exists():
        return {"borne": False}
    messages, connections = (pd.read_parquet(out / f"{of}.parquet") for of in ("messages", "connections"))
    counted = messages[~messages["warmup"].astype(bool)]
    connected = connections.loc[connections["connect_s"].notna(), "client"].nunique() / load.clients
    p95_s, share = float(counted["latency_s"].quantile(0.95)), float((counted["copies"] > 0).mean())
    return {
        "connected": connected, "p95_s": p95_s, "delivered_share": share, **generator_of(out, counted["sent_s"]),
        "borne": min(connected, share) >= DELIVERED_SHARE and p95_s <= P95_S,
    }  # fmt: skip


def generator_of(out: Path, begun_s: Any) -> dict[str, float]:
    """Of the load generator, from the first to the last of the times in `begun_s`: generator_cores of its busiest process, and
    generator_lag_s, by which it was late itself one time in twenty.
    """
    import pandas as pd

    gauges = pd.read_parquet(out / "generator.parquet")
    of = gauges[gauges["time_s"].between(begun_s.min(), begun_s.max())].set_index("name")["value"]
    cores, lag_s = of.loc[of.index == "generator_cpu_busiest"], of.loc[of.index == "generator_lag_s"]
    return {"generator_cores": float(cores.mean()), "generator_lag_s": float(lag_s.quantile(0.95))}


def doubted(rows: list[dict[str, Any]], number: str, what: str) -> list[dict[str, Any]]:
    """The trials, with a `problem` at the least that was not borne where that was perhaps for the load generator's sake."""
    least = min((row for row in rows if not row["borne"]), key=lambda row: row[number], default=None)
    if least and "generator_cores" not in least:
        least["problem"] = f"The load generator failed at {least[number]} {what}: {str(least.get('error')).rstrip('.')}."
    elif least and least["generator_cores"] > MAX_GENERATOR_SHARE:
        least["problem"] = (
            f"At {least[number]} {what}, the fewest that were not borne, the load generator's busiest process used "
            f"{least['generator_cores']:.0%} of a core: it may be what limited them."
        )
    elif least and least["generator_lag_s"] > LATE_S:
        least["problem"] = (
            f"At {least[number]} {what}, the fewest that were not borne, the load generator itself was "
            f"{least['generator_lag_s']:.2g} s late, one time in twenty: it may be what was slow."
        )
    return rows


def server_stops(on: Bench, settings: StackSettings, look: Look) -> list[dict[str, Any]]:
    """`systemctl stop` of the one instance under open sockets. One row a socket: number, code (1006: none came; None: it is
    open still); last, stop_s, and `problem` where clients were refused before.
    """
    unit = f"{settings.asgi_server}@1"
    try:
        with Room(on.host.url, on.ca, on.site) as room:
            refused = [error for number in range(STOPPED_UNDER) if (error := room.enter(f"stop-{number % 6}"))]
            room.say_something()
            stop_s = _stop(on.host, unit)
            codes = room.ends()
    finally:
        on.host.run(f"systemctl start {unit}", sudo=True, timeout_s=600)
    rows = [{"number": number, "code": code} for number, code in enumerate(codes, start=1)]
    problem = f"{len(refused)} of {STOPPED_UNDER} clients were refused before the stop: {refused[0]}." if refused else None
    return [*rows, {"stop_s": stop_s} | ({"problem": problem} if problem else {})]


def _stop(host: Host, unit: str) -> float:
    """Stop it; how long that took there, without the way to the host and back."""
    script = (
        "import subprocess, time; began = time.monotonic();"
        f"subprocess.run(['systemctl', 'stop', '{unit}']); print(time.monotonic() - began)"
    )
    return float(host.run("python3 -", sudo=True, input=script, timeout_s=400))
