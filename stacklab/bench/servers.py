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
from stacklab.workload import ChatLoad, Look

if TYPE_CHECKING:
    from stacklab.bench.experiment import Bench

P95_S, DELIVERED = 0.25, 0.99  # what a load must keep to be borne
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


def searched(bears: Callable[[int], bool], rounds: int) -> int:
    """The largest number that is borne, as far as so many trials tell: doubled until one is not, then halved in between."""
    low, high, number = 0, MOST + 1, FIRST
    for _ in range(rounds):
        if bears(number):
            low = number
        else:
            high = number
        if high - low <= max(1, low // 20):  # within a twentieth: no nearer than the load itself repeats
            break
        number = min(2 * low, MOST) if high > MOST and low else (low + high) // 2
    return low


def most_clients(on: Bench, settings: StackSettings, look: Look) -> list[dict[str, Any]]:
    """One row a trial: clients, connected (the share that came in), p95_s, delivered_share, generator_cores (the busiest
    process, while they talk), borne; error where the load failed, which is not borne. `problem` where the generator may be
    what the search ended at. LoadError where the first load fails: the site does not answer at all.
    """
    rows: list[dict[str, Any]] = []

    def bears(clients: int) -> bool:
        load = BORNE.replace(clients=clients, rooms=math.ceil(clients / 10), ramp_s=max(BORNE.ramp_s, clients / 100))
        load, failed = load_on(load, on.site), {}
        with tempfile.TemporaryDirectory() as out:
            try:
                run_load(
                    load, on.host.url, Path(out), on.ca, cpus=on.generator_cpus,
                    client_addresses=from_networks(on.client_addresses, load), site=on.site,
                )
            except LoadError as error:
                if not rows:
                    raise
                failed = {"error": error.args[0]}  # a sentence, without the generator's log
            rows.append({"clients": clients} | _borne(Path(out), clients) | failed)
        return rows[-1]["borne"]

    searched(bears, look.rounds)
    least = min((row for row in rows if not row["borne"]), key=lambda row: row["clients"], default=None)
    if least and (said := _of_the_generator(least)):
        least["problem"] = said
    return rows


def _borne(out: Path, clients: int) -> dict[str, Any]:
    """Of the tables of a load; nothing is borne where it left none, as the generator failed."""
    import pandas as pd

    if not (out / "connections.parquet").exists():
        return {"borne": False}
    messages, connections, gauges = (pd.read_parquet(out / f"{of}.parquet") for of in ("messages", "connections", "generator"))
    counted = messages[~messages["warmup"].astype(bool)]
    connected = connections.loc[connections["connect_s"].notna(), "client"].nunique() / clients
    p95_s, share = float(counted["latency_s"].quantile(0.95)), float((counted["copies"] > 0).mean())
    under_load = gauges["time_s"].between(counted["sent_s"].min(), counted["sent_s"].max())
    busiest = float(gauges.loc[under_load & (gauges["name"] == "generator_cpu_busiest"), "value"].mean())
    return {
        "connected": connected, "p95_s": p95_s, "delivered_share": share, "generator_cores": busiest,
        "borne": min(connected, share) >= DELIVERED and p95_s <= P95_S,
    }  # fmt: skip


def _of_the_generator(trial: dict[str, Any]) -> str | None:
    """A sentence where a load was perhaps not borne for the load generator's sake."""
    if "connected" not in trial:
        return f"The load generator failed at {trial['clients']} clients: {trial['error']}."
    if trial["generator_cores"] > MAX_GENERATOR_SHARE:
        return (
            f"At {trial['clients']} clients, the fewest that were not borne, the load generator's busiest process used "
            f"{trial['generator_cores']:.0%} of a core: it may be what limited them."
        )
    return None


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
