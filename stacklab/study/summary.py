"""One row a run: what it answered, what it cost. Percentiles are of the raw rows, by linear interpolation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from stacklab.runs.disturbance import load_window
from stacklab.runs.foreign.telling import LINEAR
from stacklab.runs.results import OF_REQUESTS, Run
from stacklab.runs.validity import disconnects
from stacklab.settings import ASGI_SERVERS
from stacklab.stack.services import family
from stacklab.study.analysis import FACTORS, labels_of, response_s
from stacklab.study.figures import ALL, figures
from stacklab.study.looks import summarize_look
from stacklab.workload import SLOW_READER

METRIC_NAMES = {
    "throughput_per_s": "throughput",
    "mean_s": "mean response time",
    "p50_s": "median response time",
    "p95_s": "95th percentile of the response time",
    "p99_s": "99th percentile of the response time",
    "latency_p50_s": "median latency",
    "latency_p95_s": "95th percentile of the latency",
    "latency_p99_s": "99th percentile of the latency",
    "delivered_share": "share delivered",
    "burst_p50_s": "median time from a burst to a receiver",
    "burst_last_s": "time from a burst until the last receiver had it",
    "burst_delivered_share": "share of a burst delivered",
    "left": "clients that left and made room for others",
    "slow_readers_cut": "slow readers that the server cut off",
    "away_p50_s": "median time until a client was back",
    "away_max_s": "longest time until a client was back",
    "silence_max_s": "longest time in which nobody received anything",
    "cpu_s": "CPU seconds of all services",
    "cpu_s_daphne": "CPU seconds of all instances",
    "cpu_s_per_1000_requests": "CPU seconds per 1000 requests",
    "cpu_s_nginx_per_1000_requests": "nginx's CPU seconds per 1000 requests",
    "cpu_s_uwsgi_per_1000_requests": "uWSGI's CPU seconds per 1000 requests",
    "cpu_s_gunicorn_per_1000_requests": "gunicorn's CPU seconds per 1000 requests",
    "cpu_s_per_1000_deliveries": "CPU seconds per 1000 deliveries",
    "cpu_s_daphne_per_1000_deliveries": "instances' CPU seconds per 1000 deliveries",
    "error_share": "share of failed requests",
    "pss_peak_bytes": "peak memory of all services",
    "pss_peak_bytes_daphne": "peak memory of all instances",
    "busiest_share": "sockets on the busiest instance, as a multiple of an even share",
    "instances_silent": "instances that no socket met",
    "instances_met_share": "share of the instances that sockets met",
    "held_of_limit": "clients held, as a multiple of worker_processes × worker_connections",
    "held_of_half": "clients held, as a multiple of half that",
    "daphne_processes": "processes of one Daphne",
    "sync_threads": "threads that came with sixteen synchronous requests",
    "sync_of_default": "these, as a multiple of CPUs × 5",
    "sync_per_s": "synchronous answers a second",
    "pool_per_s": "answers a second of what waits in the event loop's own threads",
    "left_not_running": "share of starts that left an instance not running",
    "active_not_listening": "share of starts after which an active instance did not listen yet",
    "clients_borne": "clients that one instance bears with p95 within 250 ms",
    "first_not_borne": "the fewest that it does not bear",
    "requests_borne_per_s": "requests a second that are borne with p95 within 250 ms",
    "first_not_borne_per_s": "the fewest a second that are not",
    "stop_s": "seconds until it has stopped",
    "told_share": "share of its sockets that were told to come back",
    "instances_per_room": "instances that a room is spread over",
    "crossed_share": "deliveries that crossed between instances",
}
"""Columns of `summarize` in words, for titles and sentences."""

PERCENTILES = (50, 95, 99)


def summarize(runs: Sequence[Run]) -> pd.DataFrame:
    """One row a run, in the order given.

    All runs: the columns of a tidy table, `position`, `started_s`, `kind`, `reasons`, `steal_share`; from the samples
    `cpu_s` (CPU seconds under load, all services), `cpu_s_<service>` (nginx, uwsgi, redis, and daphne: all
    instances, whatever their server), `pss_peak_bytes`, `pss_peak_bytes_<service>`.

    HTTP, and plans: `counted`, `errors`, `error_share`, `retried`, `load_s` (first counted start to last counted
    end), `throughput_per_s` (counted successes / load_s), `mean_s`, `p50_s`, `p95_s`, `p99_s` of the
    successful counted requests, `server_p50_s` … of nginx's own times, `cpu_s_per_1000_requests`,
    `cpu_s_<service>_per_1000_requests`.

    Chat: `clients_connected` (with those who came later), `left` (and made room for others), `disconnects`,
    `connect_p95_s`, `away_p50_s`, `away_max_s` (from a socket's early end until its client is connected again),
    `instances_silent` (instances that no socket met), `instances_met_share`, `busiest_share` (sockets of the busiest
    instance × instances: 1.0 is even), `deliveries` (expected), `arrived`, `delivered_share`, `lost`
    (receiver connected), `lost_while_away`, `duplicated`, `out_of_order`, `silence_max_s` (longest time
    in which nobody received anything), `latency_p50_s` …, `cpu_s_per_1000_deliveries` (of those that arrived) …. Of a burst
    `burst_p50_s`, `burst_last_s`, `burst_delivered_share`; where there are such, `slow_readers_cut` (by the server).

    Looks: see `summarize_look`.

    Of another tool's file: `of_tool`, and of HTTP's what it tells; `times_of` is "successes", or "all" where they are not apart.
    """
    rows = [run.once("summary", lambda run=run: _summary(run)) for run in runs]
    return pd.concat([labels_of(runs, FACTORS), pd.DataFrame(rows)], axis=1)


def percentiles(seconds: pd.Series, prefix: str = "") -> dict[str, float]:
    """{"p50_s": …, "p95_s": …, "p99_s": …} of raw values; NaN if there are none."""
    values = seconds.dropna().to_numpy(dtype=float)
    found = np.percentile(values, PERCENTILES) if len(values) else [np.nan] * len(PERCENTILES)
    return {f"{prefix}p{q}_s": float(value) for q, value in zip(PERCENTILES, found, strict=True)}


def _summary(run: Run) -> dict[str, Any]:
    row = {"kind": run.kind, "position": run.position, "started_s": run.started_s}
    row |= {"reasons": " ".join(run.validity.reasons), "steal_share": run.validity.numbers.get("steal_share", np.nan)}
    row |= SUMMARIES[run.kind](run)
    return row | _summarize_resources(run, row.get("counted") or row.get("arrived"))


def _summarize_http(run: Run) -> dict[str, Any]:
    if not run.has("requests"):
        return (_summarize_foreign(run) | _summarize_server(run)) if run.has("stated") else {}
    table = run.table("requests")
    counted = table[~table["warmup"].astype(bool)]
    good = counted[counted["error"].isna()]
    start, end = load_window(run)
    waited_s = response_s(good)
    row = {
        "counted": len(counted),
        "errors": len(counted) - len(good),
        "error_share": 1 - len(good) / len(counted) if len(counted) else np.nan,
        "retried": int(counted["retried"].astype(bool).sum()),
        "load_s": end - start,
        "throughput_per_s": len(good) / (end - start) if end > start else np.nan,
        "mean_s": waited_s.mean(),
        **percentiles(waited_s),
    }
    return row | _summarize_server(run)


def _summarize_server(run: Run) -> dict[str, float]:
    if not run.has("server"):
        return {}
    (start, end), logged = load_window(run), run.table("server")
    began = logged["end_s"] - logged["duration_s"] - (run.clock_offset_s or 0.0)
    fine = logged["status"].between(200, 399) & began.between(start - (run.clock_error_s or 0.0), end)
    return percentiles(logged.loc[fine, "duration_s"], "server_")


def _summarize_foreign(run: Run) -> dict[str, Any]:
    row: dict[str, Any] = {"of_tool": run.workload.tool}
    if ALL not in (known := figures(run)):
        return row
    one = known[ALL]
    times, of = (one.successes, "successes") if one.successes.samples is not None else (one.all, "all")
    definition = LINEAR if LINEAR in times.definitions else None
    row |= {f"p{q}_s": times.percentile(f"p{q}", definition) for q in PERCENTILES}
    row |= {"counted": one.samples, "errors": one.failures, "error_share": one.error_share, "load_s": one.duration_s}
    row |= {"throughput_per_s": one.throughput_per_s and one.throughput_per_s * (1 - (one.error_share or 0.0))}
    return {name: np.nan if value is None else value for name, value in (row | {"mean_s": times.mean_s, "times_of": of}).items()}


def _summarize_chat(run: Run) -> dict[str, Any]:
    row: dict[str, Any] = {}
    if run.has("connections"):
        table = run.table("connections")
        opened = table[table["connect_s"].notna()]
        met = opened["instance"].dropna().value_counts()
        row |= {
            "clients_connected": opened["client"].nunique(),
            "left": int(table["left"].sum()) if run.workload.churn_per_s else np.nan,
            "disconnects": len(disconnects(table)),
            "connect_p95_s": percentiles(opened["connect_s"])["p95_s"],
            "away_p50_s": _away_s(opened).median(),
            "away_max_s": _away_s(opened).max(),
            "instances_silent": max(0, run.settings.daphne_instances - len(met)),
            "instances_met_share": len(met) / run.settings.daphne_instances,
            "busiest_share": met.max() / met.sum() * run.settings.daphne_instances if len(met) else np.nan,
        }
        slow = opened[opened["role"] == SLOW_READER]
        row |= {"slow_readers_cut": len(disconnects(slow))} if len(slow) else {}
    if run.has("messages"):
        table = run.table("messages")
        counted = table[~table["warmup"].astype(bool)]
        row |= _summarize_burst(counted[counted["burst"].astype(bool)])
        lost = counted["copies"] == 0
        present = counted["receiver_connected"].astype(bool)
        row |= {
            "deliveries": len(counted),
            "arrived": int((~lost).sum()),
            "delivered_share": 1 - lost.mean() if len(counted) else np.nan,
            "lost": int((lost & present).sum()),
            "lost_while_away": int((lost & ~present).sum()),
            "duplicated": int((counted["copies"] > 1).sum()),
            "out_of_order": int((counted["in_order"] == False).sum()),  # noqa: E712 (null is neither)
            "silence_max_s": counted["received_s"].dropna().sort_values().diff().max(),
            **percentiles(counted["latency_s"], "latency_"),
        }
    return row


def _summarize_burst(rows: pd.DataFrame) -> dict[str, float]:
    if rows.empty:
        return {}
    took_s = rows["received_s"] - rows["sent_s"].min()
    return {
        "burst_p50_s": took_s.median(), "burst_last_s": took_s.max(), "burst_delivered_share": (rows["copies"] > 0).mean(),
    }  # fmt: skip


def _away_s(opened: pd.DataFrame) -> pd.Series:
    """For each socket that ended early and whose client came back: the seconds until it was connected again."""
    ordered = opened.sort_values(["client", "connect_start_s"])
    back_s = (ordered["connect_start_s"] + ordered["connect_s"]).groupby(ordered["client"]).shift(-1)
    return (back_s - ordered["end_s"]).dropna().clip(lower=0)


def _summarize_resources(run: Run, counted: int | None) -> dict[str, Any]:
    if not run.has("resources"):
        return {}
    samples = run.table("resources")
    samples["family"] = samples["service"].map(kin)
    cpu_s = cpu_between(run, *load_window(run))
    memory = samples.dropna(subset=["pss_bytes"]).groupby(["time_s", "family"])["pss_bytes"].sum()
    row = {"cpu_s": sum(cpu_s.values())} | {f"cpu_s_{name}": value for name, value in cpu_s.items()}
    if counted:
        work = "requests" if run.kind in OF_REQUESTS else "deliveries"
        used = {name: value for name, value in row.items() if name.startswith("cpu_s")}
        row |= {f"{name}_per_1000_{work}": value / counted * 1000 for name, value in used.items()}
    if len(memory):
        row["pss_peak_bytes"] = memory.groupby("time_s").sum().max()
        row |= {f"pss_peak_bytes_{name}": peak for name, peak in memory.groupby("family").max().items()}
    return row


def cpu_between(run: Run, begin_s: float, end_s: float) -> dict[str, float]:
    """{service (nginx, uwsgi, redis, daphne: all instances …): its CPU seconds} between two moments of the desk's clock."""
    samples = run.table("resources").sort_values("time_s")
    window = np.array([begin_s, end_s]) + (run.clock_offset_s or 0.0)
    cpu_s: dict[str, float] = {}
    for service, rows in samples.groupby("service"):
        cpu_s[kin(service)] = cpu_s.get(kin(service), 0.0) + _used(rows, window)
    return cpu_s


def kin(service: str) -> str:
    """Its family; the instances of each ASGI server are daphne's, as in the names of the settings."""
    return "daphne" if family(service) in ASGI_SERVERS else family(service)


def _used(samples: pd.DataFrame, window: np.ndarray) -> float:
    """CPU seconds of one service within `window`, between its cumulative readings; restarts count from 0."""
    readings = samples["cpu_s"].to_numpy(dtype=float)
    steps = np.diff(readings)
    grown = np.concatenate([[0.0], np.cumsum(np.where(steps < 0, readings[1:], steps))])
    begin, end = np.interp(window, samples["time_s"].to_numpy(dtype=float), grown)
    return float(end - begin)


SUMMARIES = {
    "http": _summarize_http, "chat": _summarize_chat, "plan": _summarize_http, "look": summarize_look,
    "foreign": _summarize_foreign,
}  # fmt: skip
