"""What looks saw, in numbers: one row of a summary a look. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from stacklab.runs.results import Run
from stacklab.runs.seen import read_seen

TOLD = (1001, 1012)  # going away, restarting: codes by which a client knows to come back
THREADS_PER_CPU = 5  # that the post gives ASGI_THREADS by default

Rows = Sequence[Mapping[str, Any]]


def summarize_look(run: Run) -> dict[str, Any]:
    """The columns that a look adds to its row of `summarize`.

    clients_held: `clients_held` at once, `first_refused` (number of the first that did not come in), and the held as a
    multiple of worker_processes × worker_connections, `held_of_limit`, and of half of that, `held_of_half`.
    daphne_processes: `daphne_processes`, `daphne_threads`.
    sync_threads: `sync_threads` (those that came with the requests), `sync_of_default` (as a multiple of CPUs × 5), `pool_per_s`,
    `sync_per_s` (answers a second).
    starts: `starts` made; of these `left_not_running` (an instance did not listen in the end) and `active_not_listening`
    (systemd called all active, and not all listened).
    socket_shares: as of a chat run, by the instances' own access logs: `busiest_share`, `instances_met_share`;
    `lines_per_socket` (each said one thing: 2, of its opening, means that messages are not logged).
    most_clients: `clients_borne` (hardly one kept out, hardly a message lost, p95 within 250 ms), `first_not_borne` (NaN where
    even the most that are tried were borne).
    most_requests: the same of requests a second, `requests_borne_per_s`, `first_not_borne_per_s`.
    server_stops: `stop_s`, and the share of the sockets that were told why: `told_share` (1001 or 1012).
    """
    return _SUMMARIES[run.workload.sight](run, read_seen(run.path))


def _clients_held(run: Run, rows: Rows) -> dict[str, Any]:
    limit = run.settings.nginx_worker_processes * run.settings.nginx_worker_connections
    [held] = [row["held"] for row in rows if "held" in row]
    refused = [row["number"] for row in rows if row.get("error")]
    first = min(refused, default=np.nan)
    return {"clients_held": held, "first_refused": first, "held_of_limit": held / limit, "held_of_half": 2 * held / limit}


def _daphne_processes(run: Run, rows: Rows) -> dict[str, Any]:
    if not any(row["listens"] for row in rows):
        return {}  # it did not start: nothing was seen
    return {"daphne_processes": len(rows), "daphne_threads": sum(row["threads"] for row in rows)}


def _sync_threads(run: Run, rows: Rows) -> dict[str, Any]:
    pages = {page: [row for row in rows if row.get("page", "io") == page] for page in ("io", "pool")}
    per_s = {page: _answers_per_s(of_page) for page, of_page in pages.items()}
    threads = [row["threads"] for row in pages["io"] if "threads" in row]
    cpus = next(row["cpus"] for row in rows if "cpus" in row)
    if not per_s["io"]:
        return {}
    grown = max(threads) - threads[0]
    seen = {"sync_threads": grown, "sync_of_default": grown / (THREADS_PER_CPU * cpus), "sync_per_s": per_s["io"]}
    return seen | ({"pool_per_s": per_s["pool"]} if per_s["pool"] else {})


def _answers_per_s(rows: Rows) -> float | None:
    answers = [row for row in rows if row.get("status") == 200]
    if not answers:
        return None
    spent_s = max(row["start_s"] + row["duration_s"] for row in answers) - min(row["start_s"] for row in answers)
    return len(answers) / spent_s


def _starts(run: Run, rows: Rows) -> dict[str, Any]:
    asked = run.settings.daphne_instances
    return {
        "starts": len(rows),
        "left_not_running": sum(row["listening"] < asked for row in rows),
        "active_not_listening": sum(row["active"] == asked and row["listening_at_return"] < asked for row in rows),
    }


def _socket_shares(run: Run, rows: Rows) -> dict[str, Any]:
    logs, instances = [row for row in rows if "log" in row], run.settings.daphne_instances
    sockets = np.array([row["sockets"] for row in logs])
    if not sockets.sum():
        return {}
    return {
        "busiest_share": sockets.max() / sockets.sum() * instances,
        "instances_met_share": (sockets > 0).sum() / instances,
        "lines_per_socket": sum(row["lines"] for row in logs) / sockets.sum(),
    }


def _most_clients(run: Run, rows: Rows) -> dict[str, Any]:
    beyond = [row["clients"] for row in rows if not row["borne"]]
    return {
        "clients_borne": max((row["clients"] for row in rows if row["borne"]), default=0),
        "first_not_borne": min(beyond, default=np.nan),
    }


def _most_requests(run: Run, rows: Rows) -> dict[str, Any]:
    beyond = [row["requests_per_s"] for row in rows if not row["borne"]]
    return {
        "requests_borne_per_s": max((row["requests_per_s"] for row in rows if row["borne"]), default=0),
        "first_not_borne_per_s": min(beyond, default=np.nan),
    }


def _server_stops(run: Run, rows: Rows) -> dict[str, Any]:
    codes = [row["code"] for row in rows if "code" in row]
    told = sum(code in TOLD for code in codes) / len(codes) if codes else np.nan
    return {"stop_s": rows[-1]["stop_s"], "told_share": told}


_SUMMARIES: dict[str, Callable[[Run, Rows], dict[str, Any]]] = {
    "clients_held": _clients_held, "daphne_processes": _daphne_processes, "sync_threads": _sync_threads,
    "starts": _starts, "socket_shares": _socket_shares, "most_clients": _most_clients, "most_requests": _most_requests,
    "server_stops": _server_stops,
}  # fmt: skip
