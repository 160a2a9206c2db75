"""Made-up runs that look like measured ones: a closed loop of users before one server, chat rooms, samples.

They are written with `writing_run`, exactly as an experiment writes them, so tests read what the lab would.
"""

from __future__ import annotations

import heapq
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from stacklab.runs.draft import writing_run
from stacklab.runs.results import Run
from stacklab.runs.tables import write_table
from stacklab.runs.validity import check
from stacklab.settings import StackSettings
from stacklab.workload import ChatLoad, HttpLoad, Workload

START_S = 1_763_800_000.0
OFFSET_S = 0.25  # what the web host's clock shows more than the desk's
ENVIRONMENT = {
    "versions": {"nginx": "1.26.3", "uwsgi": "2.0.30", "daphne": "4.2.3", "redis": "8.0.2", "django": "5.2.19"},
    "web": {"os": "Debian GNU/Linux 13", "cpus": 1, "memory_bytes": 4 << 30},
    "desk": {"os": "Debian GNU/Linux 12", "cpus": 2},
    "lab": "stacklab",
    "kind": "container",
    "pinned_cpus": [0],
    "generator_cpus": [1],
}


def observed(settings: StackSettings) -> dict:
    """What a healthy web host says of itself."""
    names = ("nginx_worker_processes", "nginx_worker_connections", "uwsgi_processes", "uwsgi_threads", "uwsgi_listen",
             "daphne_instances", "channel_layer", "balance")  # fmt: skip
    units = ["nginx", "uwsgi", "redis-server", *(f"{settings.asgi_server}@{n + 1}" for n in range(settings.daphne_instances))]
    return {name: getattr(settings, name) for name in names} | {
        "daphne_ports": settings.daphne_ports(),
        "units": {unit: "active" for unit in units},
    }


def closed_loop(workload: HttpLoad, per_s: float, rng: np.random.Generator, start_s: float = START_S) -> pd.DataFrame:
    """Requests of `users` in a closed loop before one server that does `per_s` a second, in order of arrival."""
    counting_from = start_s + workload.ramp_s + workload.warmup_s
    waiting = [(start_s + workload.ramp_s * user / workload.users, user) for user in range(workload.users)]
    heapq.heapify(waiting)
    free_at, rows, counted = start_s, [], 0
    while counted < workload.requests:
        begin, user = heapq.heappop(waiting)
        free_at = max(free_at, begin) + rng.gamma(4, 1 / per_s / 4)
        end = free_at + rng.gamma(2, 0.001)
        warmup = begin < counting_from
        counted += not warmup
        rows.append((begin, end - begin, warmup))
        heapq.heappush(waiting, (end + workload.wait_s + 1e-4, user))
    table = pd.DataFrame(rows, columns=["start_s", "duration_s", "warmup"])
    return table.assign(
        status=np.int32(200), bytes=np.int64(5120), error=pd.Series([None] * len(table), dtype="str"), name=workload.path,
        scheduled_s=np.nan, retried=False,
    )  # fmt: skip


def server_view(requests: pd.DataFrame) -> pd.DataFrame:
    """The same requests as nginx would log them."""
    seen = (requests["duration_s"] - 0.0015).clip(lower=0.0005).round(3)
    return pd.DataFrame(
        {
            "end_s": (requests["start_s"] + requests["duration_s"] + OFFSET_S).round(3),
            "duration_s": seen,
            "upstream_s": (seen - 0.001).clip(lower=0),
            "upstream_addr": "unix:/run/uwsgi/stacklab.sock",
            "status": requests["status"],
            "path": requests["name"],
            "client": "10.77.0.1",
            "bytes": requests["bytes"],
        }
    )


def samples(start_s: float, end_s: float, shares: dict[str, float], pss: dict[str, float], rng) -> pd.DataFrame:
    """Samples of each service every 0.5 s, memory every 2 s, on the web host's clock."""
    times = np.arange(start_s - 1, end_s + 1, 0.5) + OFFSET_S
    busy = np.clip((times - OFFSET_S > start_s) * np.minimum(1, (times - OFFSET_S - start_s) / 3), 0, 1)
    tables = []
    for service, share in shares.items():
        used = np.cumsum(0.5 * share * busy * rng.normal(1, 0.08, len(times)).clip(0.5)) + 12.5
        memory = np.where(np.arange(len(times)) % 4 == 0, pss[service] * (1 + 0.05 * busy), np.nan)
        tables.append(
            pd.DataFrame(
                {"time_s": times, "service": service, "cpu_s": used, "pss_bytes": memory, "rss_bytes": memory * 1.6,
                 "threads": np.where(np.isnan(memory), np.nan, 5.0), "open_files": np.where(np.isnan(memory), np.nan, 40.0)}
            )
        )  # fmt: skip
    return pd.concat(tables, ignore_index=True).sort_values("time_s", ignore_index=True)


def gauges(start_s: float, end_s: float, steal: float = 0.0) -> pd.DataFrame:
    """The machine's own figures, on the web host's clock."""
    times = np.arange(start_s - 1, end_s + 1, 0.5)
    cumulative = {"machine_cpu_s": 0.95, "host_cpu_s": 1.5, "host_steal_s": 1.5 * steal / (1 - steal), "sampler_cpu_s": 0.02}
    level = {"host_load_1": 1.1, "nginx_active": 100.0, "uwsgi_busy_workers": 5.0, "uwsgi_listen_queue": 90.0}
    rows = [(times + OFFSET_S, name, (times - times[0]) * rate) for name, rate in cumulative.items()]
    rows += [(times + OFFSET_S, name, np.full(len(times), value)) for name, value in level.items()]
    return pd.concat([pd.DataFrame({"time_s": t, "name": n, "value": v}) for t, n, v in rows], ignore_index=True)


def generator(start_s: float, end_s: float, cpu: float = 0.4, lag_s: float = 0.0005) -> pd.DataFrame:
    """The load generator's own figures, on the desk's clock."""
    times = np.arange(start_s, end_s + 0.5, 0.5)
    parts = {"generator_cpu": cpu, "generator_cpu_busiest": cpu, "generator_lag_s": lag_s, "generator_rss_bytes": 90e6}
    return pd.concat([pd.DataFrame({"time_s": times, "name": n, "value": v}) for n, v in parts.items()], ignore_index=True)


def save(folder: Path, name: str, tables: dict[str, pd.DataFrame], settings: StackSettings, workload: Workload,
         start_s: float, end_s: float, **place) -> Run:  # fmt: skip
    """Write a run as an experiment does: tables, then the check, then run.json."""
    with writing_run(folder, name) as draft:
        for table, rows in tables.items():
            write_table(pa.Table.from_pandas(rows, preserve_index=False), draft.path / f"{table}.parquet")
        run = Run(
            path=draft.path, settings=settings, workload=workload,
            **{"environment": ENVIRONMENT, "observed": observed(settings), "experiment": folder.name, "run": name,
               "started_s": start_s - 5, "ended_s": end_s + 2, "under_load_s": end_s - start_s, "clock_offset_s": OFFSET_S,
               "clock_error_s": 0.002}
            | place,
        )  # fmt: skip
        draft.record(replace(run, validity=check(run)))
    return draft.run


def http_run(folder: Path, name: str, settings: StackSettings | None = None, workload: HttpLoad | None = None, *,
             per_s: float = 900.0, seed: int = 0, fail: int = 0, steal: float = 0.0, generator_cpu: float = 0.4,
             tables_without: tuple[str, ...] = (), start_s: float = START_S, **place) -> Run:  # fmt: skip
    """One HTTP run; `fail` counted requests meet a 502 quickly."""
    settings = settings or StackSettings()
    workload = workload or HttpLoad(requests=1000, users=20, ramp_s=1.0, warmup_s=0.5)
    rng = np.random.default_rng(seed)
    requests = closed_loop(workload, per_s, rng, start_s)
    if fail:
        failing = requests.index[~requests["warmup"]][:fail]
        requests.loc[failing, "status"] = 502
        requests.loc[failing, "error"] = "HTTP 502"
    end_s = (requests["start_s"] + requests["duration_s"]).max()
    shares = {"nginx": 0.16, "uwsgi": 0.76, "redis": 0.004} | {f"daphne@{n + 1}": 0.003 for n in range(settings.daphne_instances)}
    pss = {"nginx": 9e6, "uwsgi": 9e6 + 21e6 * settings.uwsgi_processes, "redis": 6e6}
    pss |= {f"daphne@{n + 1}": 52e6 for n in range(settings.daphne_instances)}
    tables = {
        "requests": requests,
        "server": server_view(requests),
        "resources": samples(start_s, end_s, shares, pss, rng),
        "gauges": gauges(start_s, end_s, steal),
        "generator": generator(start_s, end_s, generator_cpu),
    }
    tables = {name: table for name, table in tables.items() if name not in tables_without}
    return save(folder, name, tables, settings, workload, start_s, end_s, **place)


def with_table(run: Run, tmp_path, name: str, change) -> Run:
    """The run with one table changed (and the others as they were), as if it was not saved yet."""
    for file in run.path.glob("*.parquet"):
        (tmp_path / file.name).symlink_to(file)
    table = change(run.table(name))
    (tmp_path / f"{name}.parquet").unlink()
    if table is not None:
        table.to_parquet(tmp_path / f"{name}.parquet", index=False)
    return replace(run, path=tmp_path)


def eight_cases(root: Path, repeats: int = 3, requests: int = 1000, spread: float = 0.05, seed: int = 1) -> list[Run]:
    """Eight cases that do not differ but by chance, in shuffled order within each repeat."""
    folder, rng, runs, at = root / "eight-cases", np.random.default_rng(seed), [], START_S
    cases = [(users, c, p) for users in (100, 200) for c in (1024, 4000) for p in (5, 10)]
    for repeat in range(1, repeats + 1):
        for position, index in enumerate(rng.permutation(len(cases)), 1):
            users, connections, processes = cases[index]
            run = http_run(
                folder, f"r{repeat}-{position:02}-users-{users}-connections-{connections}-processes-{processes}",
                StackSettings(nginx_worker_connections=connections, uwsgi_processes=processes),
                HttpLoad(requests=requests * users // 100, users=users),
                per_s=500 * float(np.exp(rng.normal(0, spread))), seed=int(rng.integers(1 << 30)), start_s=at,
                point=f"{users} users, {connections}/{processes}",
                repeat=repeat, position=position, **(dict(fail=7, steal=0.15) if (repeat, position) == (1, 2) else {}),
            )  # fmt: skip
            at = run.ended_s + 10
            runs.append(run)
    return runs


def chat_run(folder: Path, name: str, settings: StackSettings | None = None, workload: ChatLoad | None = None, *,
             latency_s: float = 0.010, lose: float = 0.0, cost: float = 0.35, seed: int = 0, kill_s: float | None = None,
             start_s: float = START_S, **place) -> Run:  # fmt: skip
    """One chat run. `kill_s` after the ramp the last instance dies; its clients are back after 1–3 s."""
    settings, workload = settings or StackSettings(), workload or ChatLoad(clients=60, rooms=6, duration_s=20, ramp_s=5)
    rng = np.random.default_rng(seed)
    clients = np.arange(workload.clients)
    load_s, end_s = start_s + workload.ramp_s, start_s + workload.ramp_s + workload.duration_s
    begun = start_s + workload.ramp_s * clients / workload.clients
    rooms = clients % workload.rooms
    key = rooms if settings.balance == "hash" else clients
    instances = np.array([f"{settings.asgi_server}@{k % settings.daphne_instances + 1}" for k in key])
    away = np.full((len(clients), 2), np.inf)
    connections = pd.DataFrame(
        {"client": [f"c{c}" for c in clients], "room": [f"room-{r}" for r in rooms], "source_address": "10.77.0.1",
         "instance": instances, "connect_start_s": begun, "connect_s": rng.gamma(4, 0.004, len(clients)), "end_s": end_s + 1,
         "close_code": 1000.0, "error": pd.Series([None] * len(clients), dtype="str"), "attempt": 1}
    )  # fmt: skip
    if kill_s is not None:
        hit = instances == f"{settings.asgi_server}@{settings.daphne_instances}"
        back = load_s + kill_s + rng.uniform(1, 3, len(clients))
        away[hit] = np.column_stack([np.full(hit.sum(), load_s + kill_s), back[hit]])
        again = connections[hit].assign(connect_start_s=back[hit], attempt=2, instance=f"{settings.asgi_server}@1")
        connections.loc[hit, ["end_s", "close_code"]] = [load_s + kill_s, 1006.0]
        connections = pd.concat([connections, again], ignore_index=True)

    count = rng.poisson(workload.messages_per_s * workload.duration_s, len(clients))
    sender = np.repeat(clients, count)
    sent = rng.uniform(load_s, end_s, count.sum())
    members = [clients[rooms == r] for r in range(workload.rooms)]
    receivers = [members[rooms[s]] for s in sender]
    rows = np.repeat(np.arange(len(sender)), [len(r) for r in receivers])
    receiver = np.concatenate([np.array([], dtype=int), *receivers])
    latency = latency_s * rng.lognormal(0, 0.5, len(rows))
    connected = ~((sent[rows] + latency > away[receiver, 0]) & (sent[rows] < away[receiver, 1]))
    lost = (rng.random(len(rows)) < lose) | ~connected
    messages = pd.DataFrame(
        {"room": [f"room-{r}" for r in rooms[receiver]], "message_id": [f"m{m}" for m in rows],
         "sender": [f"c{s}" for s in sender[rows]], "n": rows, "sent_s": sent[rows], "receiver": [f"c{r}" for r in receiver],
         "received_s": np.where(lost, np.nan, sent[rows] + latency), "latency_s": np.where(lost, np.nan, latency),
         "copies": np.where(lost, 0, 1), "in_order": np.where(lost, None, True), "via": instances[sender[rows]],
         "instance": np.where(lost, None, instances[receiver]), "receiver_connected": connected, "warmup": False}
    )  # fmt: skip
    names = [f"{settings.asgi_server}@{n + 1}" for n in range(settings.daphne_instances)]
    shares = {"nginx": 0.05, "redis": 0.06, "uwsgi": 0.001} | {n: cost / len(names) for n in names}
    pss = {"nginx": 9e6, "redis": 6e6, "uwsgi": 110e6} | {n: 60e6 + 6e4 * len(clients) / len(names) for n in names}
    resources = samples(start_s, end_s, shares, pss, rng)
    grown = np.clip((resources["time_s"] - OFFSET_S - start_s) / workload.ramp_s, 0, 1)
    daphne = resources["service"].str.startswith(settings.asgi_server) & resources["pss_bytes"].notna()
    resources.loc[daphne, "pss_bytes"] = 60e6 + 6e4 * grown[daphne] * len(clients) / len(names)
    if kill_s is not None:
        what = f"kill {settings.asgi_server}@{settings.daphne_instances}"
        happened = {"what": what, "began_s": load_s + kill_s, "ended_s": load_s + kill_s}
        place["events"] = [happened]
    tables = {"messages": messages, "connections": connections, "resources": resources, "gauges": gauges(start_s, end_s),
              "generator": generator(start_s, end_s)}  # fmt: skip
    return save(folder, name, tables, settings, workload, start_s, end_s, **place)


def one_vs_three(root: Path, repeats: int = 3) -> list[Run]:
    """One Daphne, three in turn, three by room: the first trials' picture."""
    folder, rng, runs, at = root / "one-vs-three", np.random.default_rng(3), [], START_S
    cases = {
        "one": (StackSettings(daphne_instances=1), dict(latency_s=0.017, cost=0.28)),
        "three, round robin": (StackSettings(), dict(latency_s=0.4, cost=0.47, lose=0.02)),
        "three, by room": (StackSettings(balance="hash"), dict(latency_s=0.009, cost=0.3)),
    }
    for repeat in range(1, repeats + 1):
        for position, (point, (settings, figures)) in enumerate(cases.items(), 1):
            figures = figures | {"cost": figures["cost"] * float(np.exp(rng.normal(0, 0.05)))}
            name = f"r{repeat}-{position:02}-{point.replace(', ', '-').replace(' ', '-')}"
            run = chat_run(folder, name, settings, seed=repeat * 10 + position, start_s=at, point=point, repeat=repeat,
                           position=position, **figures)  # fmt: skip
            at = run.ended_s + 10
            runs.append(run)
    return runs
