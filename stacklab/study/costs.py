"""What each piece of work costs the stack, by service: CPU, bytes and memory, of a block's runs, with intervals over blocks.

Work is a "page" (a request that Django answers), a "message" that is sent, a "delivery" of it to one in the room, a "socket"
that is open and says nothing, a "connect". A "process" costs memory before it does anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import optimize, stats

from stacklab.runs.disturbance import load_window
from stacklab.runs.results import Run
from stacklab.settings import ASGI_SERVERS
from stacklab.stack.services import SERVICES
from stacklab.study import analysis, words
from stacklab.study.effects import CONFIDENCE
from stacklab.study.summary import cpu_between, kin

CPU, BYTES, MEMORY, BUSY = "cpu_s", "bytes", "pss_bytes", "busy_s"
PROCESSES = {
    "nginx": "nginx_worker_processes", "uwsgi": "uwsgi_processes", "gunicorn": "uwsgi_processes", "daphne": "daphne_instances",
}  # fmt: skip
"""{service: the setting that tells how many processes it has}; others have one."""
LINES = {
    ("page", CPU): ("CPU a request, µs", 1e6),
    ("page", BUSY): ("Time of a process a request, ms", 1e3),
    ("page", BYTES): ("Bytes a request", 1),
    ("message", CPU): ("CPU a message sent, µs", 1e6),
    ("delivery", CPU): ("and each time it is delivered, µs", 1e6),
    ("delivery", BYTES): ("Bytes a delivered message", 1),
    ("connect", CPU): ("CPU a connect, µs", 1e6),
    ("socket", CPU): ("CPU an idle socket, µs a second", 1e6),
    ("socket", MEMORY): ("Memory an open socket, KiB", 1 / words.KIB),
    ("process", MEMORY): ("Memory a process, MiB", 1 / words.MIB),
}
"""{(work, quantity): (its line in the table, what makes the unit of that)}."""
SHOWN = ("nginx", "uwsgi", "gunicorn", "daphne", "redis", "postgresql")

HOW = (
    "Pages come at random arrivals (Poisson); a message costs what does not grow with its room, and each delivery of it. An "
    "objective is met where 95 of 100 are in time, and one in a hundred lost at most."
)
NOTE = (
    "In brackets the 95 % interval over sound blocks, by Student's t on logarithms. Bytes are of bodies, without TLS and "
    "headers. A service's CPU is that of all its processes, what it uses by itself included."
)


@dataclass(frozen=True)
class Figure:
    """A figure with the ends of its interval; NaN where blocks are too few for one."""

    estimate: float
    low: float
    high: float

    def to_dict(self) -> dict[str, float | None]:
        """Ready for JSON."""
        return {name: None if np.isnan(value) else float(value) for name, value in vars(self).items()}


def figure(values: Iterable[float], ahead: bool = False) -> Figure:
    """The middle of the blocks' `values` by Student's t-interval on their logarithms (on themselves, where one is not positive).

    `ahead`: the interval is that in which one block more would lie, not that of the middle.
    """
    given = np.asarray(list(values), dtype=float)
    given = given[~np.isnan(given)]
    n = len(given)
    if not n:
        return Figure(np.nan, np.nan, np.nan)
    logs = bool((given > 0).all())
    scaled = np.log(given) if logs else given
    middle, half = float(scaled.mean()), np.nan
    if n > 1:
        half = stats.t.ppf((1 + CONFIDENCE) / 2, n - 1) * scaled.std(ddof=1) * np.sqrt(1 / n + ahead)
    ends = middle, middle - half, middle + half
    return Figure(*(float(end) for end in (np.exp(ends) if logs else np.maximum(ends, 0.0))))


def costs(runs: Sequence[Run]) -> pd.DataFrame:
    """One row a run and cost: experiment, repeat, valid, room_size (of messages, else NaN), work, service, quantity, value.

    Of messages the CPU is that of a message sent, with all its deliveries (work "sent"), and `receivers` how many these were.
    """
    rows = []
    for run in runs:
        if run.has("resources"):
            about = {"experiment": run.experiment, "repeat": run.repeat, "valid": run.validity.valid}
            rows += [about | row for row in run.once("costs", lambda run=run: _of_run(run))]
    return pd.DataFrame(
        rows, columns=["experiment", "repeat", "valid", "room_size", "receivers", "work", "service", "quantity", "value"]
    )


def _of_run(run: Run) -> list[dict[str, Any]]:
    if run.kind == "http" and run.workload.requests_per_s:
        return _of_pages(run)
    if run.kind == "chat" and run.has("connections"):
        return _of_messages(run) if run.workload.messages_per_s else _of_sockets(run)
    return []


def _cost(work: str, service: str, quantity: str, value: float, **about: float) -> dict[str, Any]:
    return {"work": work, "service": service, "quantity": quantity, "value": float(value)} | about


def _cpu(run: Run, work: str, begin_s: float, end_s: float, number: float, **about: float) -> list[dict[str, Any]]:
    used = cpu_between(run, begin_s, end_s)
    return [_cost(work, service, CPU, cpu_s / number, **about) for service, cpu_s in used.items()]


def _of_pages(run: Run) -> list[dict[str, Any]]:
    counted = run.table("requests")
    counted = counted[~counted["warmup"].astype(bool)]
    if counted.empty:
        return []
    rows = _cpu(run, "page", *load_window(run), len(counted))
    logged = run.table("server") if run.has("server") else pd.DataFrame({"status": []})
    logged = logged[logged["status"] == 200]
    if len(logged):
        rows.append(_cost("page", "nginx", BYTES, logged["bytes"].mean()))
        rows.append(_cost("page", run.settings.wsgi_server, BUSY, logged["upstream_s"].astype(float).mean()))
    memory = run.table("resources").dropna(subset=["pss_bytes"])
    peaks = memory.assign(service=memory["service"].map(kin)).groupby(["time_s", "service"])["pss_bytes"].sum()
    for service, peak in peaks.groupby("service").max().items():
        rows.append(_cost("process", service, MEMORY, peak / getattr(run.settings, PROCESSES.get(service, ""), 1)))
    return rows


def _of_messages(run: Run) -> list[dict[str, Any]]:
    table = run.table("messages")
    counted = table[~table["warmup"].astype(bool)]
    sent, arrived = len(counted[["sender", "n"]].drop_duplicates()), int((counted["copies"] > 0).sum())
    if not arrived:
        return []
    about = {"room_size": run.workload.clients / run.workload.rooms, "receivers": arrived / sent}
    rows = _cpu(run, "sent", *load_window(run), sent, **about)
    if run.has("server"):  # nginx logs what it sent on a socket when that ends: of all that was said, warm-up too
        logged, every = run.table("server"), int((table["copies"] > 0).sum())
        rows.append(_cost("delivery", "nginx", BYTES, logged.loc[logged["status"] == 101, "bytes"].sum() / every))
    return rows


def _of_sockets(run: Run) -> list[dict[str, Any]]:
    """Of sockets that say nothing: their coming, then their being there."""
    table = run.table("connections")
    opened, (begin_s, end_s) = table[table["connect_s"].notna()], load_window(run)
    if opened.empty:
        return []
    rows = _cpu(run, "connect", float(opened["connect_start_s"].min()), begin_s, len(opened))
    rows += _cpu(run, "socket", begin_s, end_s, opened["client"].nunique() * (end_s - begin_s))
    for service, families in (("nginx", ("nginx",)), ("daphne", ASGI_SERVERS)):
        memory = analysis.bytes_per_socket(analysis.sockets([run], families))
        rows.append(_cost("socket", service, MEMORY, max(memory, 0.0)))
    return rows


def by_block(table: pd.DataFrame) -> pd.DataFrame:
    """Of `costs`: one row a block, one column a (work, service, quantity), from its sound runs; NaN where none tells.

    What a message takes and what each of its deliveries takes are a line through the block's sizes of rooms, neither below 0.
    """
    sound = table[table["valid"].astype(bool)]
    blocks = {}
    for block, rows in sound.groupby(["experiment", "repeat"]):
        alone = rows[rows["work"] != "sent"]
        costs_of = alone.groupby(["work", "service", "quantity"])["value"].mean().to_dict()
        for service, mine in rows[rows["work"] == "sent"].groupby("service"):
            if mine["room_size"].nunique() > 1:
                design = np.column_stack([np.ones(len(mine)), mine["receivers"]])
                (message, delivery), _ = optimize.nnls(design, mine["value"].to_numpy(dtype=float))
                costs_of |= {("message", service, CPU): message, ("delivery", service, CPU): delivery}
        blocks[block] = costs_of
    return pd.DataFrame.from_dict(blocks, orient="index")


def lines(runs: Sequence[Run]) -> list[dict[str, str]]:
    """The table of costs in words: a line a piece of work, a column a service, each with its interval over the sound blocks.
    Where no run is sound the disturbed speak, and are called so.
    """
    table = costs(runs)
    sound = table["valid"].astype(bool).any()
    table = table if sound else table.assign(valid=True)
    blocks = by_block(table)
    shown = [name for name in SHOWN if name in set(table["service"])]
    told = []
    for (work, quantity), (line, unit) in LINES.items():
        mine = {name: blocks[work, name, quantity] for name in shown if (work, name, quantity) in blocks}
        told += _line(line, mine, unit, quantity == CPU, shown)
    sent = table[(table["work"] == "sent") & table["valid"].astype(bool)]
    for size, rows in sent.groupby("room_size"):
        each = rows.assign(value=rows["value"] / rows["receivers"])
        mine = {name: mine.set_index(["experiment", "repeat"])["value"] for name, mine in each.groupby("service")}
        told += _line(f"CPU a delivered message in rooms of {size:g}, µs", mine, 1e6, True, shown)
    return told if sound else [line | {"blocks": f"{line['blocks']} (disturbed)"} for line in told]


def _line(line: str, mine: dict[str, pd.Series], unit: float, summed: bool, shown: Sequence[str]) -> list[dict[str, str]]:
    if not mine:
        return []
    cells = {SERVICES[name].label: in_words(figure(mine[name] * unit)) if name in mine else words.NOTHING for name in shown}
    total = in_words(figure(sum(mine.values()) * unit)) if summed else words.NOTHING
    blocks = max(values.notna().sum() for values in mine.values())
    return [{"cost": line, "blocks": f"{blocks}"} | cells | {"all": total}]


def in_words(of: Figure) -> str:
    """"1.20 (1.10–1.31)"."""
    ends = "" if np.isnan(of.low) else f" ({words.number(of.low)}–{words.number(of.high)})"
    return words.number(of.estimate) + ends
