"""`capacity`: what a request, a message, a socket and a connect cost, and how many the stack bears: what `fab size` asks for."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stacklab.bench.onsite import load_on
from stacklab.bench.plan import CHAT, SLOPE_RAMP_S, Experiment, Point, named
from stacklab.bench.servers import MOST, doubted, generator_of, searched, tried
from stacklab.settings import StackSettings
from stacklab.stack.limits import raised_for
from stacklab.workload import DELIVERED_SHARE, P95_S, ChatLoad, HttpLoad, Look

if TYPE_CHECKING:
    from stacklab.bench.experiment import Bench

MOST_PER_S = 6400  # requests that the search never goes beyond
COUNTED_S = 3.0  # of a trial: that many seconds' requests
ARRIVALS = HttpLoad(users=20, ramp_s=0.5, warmup_s=0.5, requests_per_s=100.0, arrivals="poisson")
WAITS = "/io/?ms=50"


def capacity(quick: bool = False, repeats: int | None = None, seed: int = 1) -> Experiment:
    """What each piece of work costs, in runs of their own: pages at random arrivals, messages in rooms of several sizes, sockets
    that open and then say nothing. And the most that is borne, of pages and of messages, each block by a search of its own.

    In full also: pages of 1 to 8 processes, on one that computes and one that waits, by which models of growth are judged.
    """
    seconds, points = (3 if quick else 15), []
    for per_s in (100,) if quick else (50, 100, 200):
        load = ARRIVALS.replace(requests_per_s=float(per_s), requests=per_s * seconds)
        points.append(Point(f"pages, {per_s}/s", StackSettings(), load))
    clients, ramp_s, seconds, sizes = (120, 2, 4, (10, 40)) if quick else (400, 10, 20, (5, 10, 20, 50, 100))
    for size in sizes:
        load = ChatLoad(clients=clients, rooms=clients // size, messages_per_s=4 / size, ramp_s=ramp_s, duration_s=seconds)
        points.append(Point(f"messages, rooms of {size}", CHAT, load))
    idle, ramp_s, seconds = (200, SLOPE_RAMP_S, 2) if quick else (2000, 40, 20)
    silent = ChatLoad(clients=idle, rooms=idle // 10, messages_per_s=0, ramp_s=ramp_s, duration_s=seconds)
    rounds = 3 if quick else 8
    points += [
        Point(f"{idle} sockets", raised_for(idle, CHAT), silent),
        Point("most requests", StackSettings(), Look(sight="most_requests", rounds=rounds, first=400)),
        Point("most messages", raised_for(MOST, CHAT), Look(sight="most_clients", rounds=rounds, first=400)),
    ]
    for processes in () if quick else (1, 2, 3, 4, 6, 8):
        settings = StackSettings(uwsgi_processes=processes)
        points.append(Point(f"/, {processes} processes", settings, HttpLoad(requests=2000, users=50)))
        waiting = HttpLoad(path=WAITS, requests=200 * processes, users=50)
        points.append(Point(f"{WAITS}, {processes} processes", settings, waiting))
    return named("capacity", points, quick, repeats, seed, usual=3 if quick else 5)


def most_requests(on: Bench, settings: StackSettings, look: Look) -> list[dict[str, Any]]:
    """One row a trial of requests for `/` at random arrivals: requests_per_s, p95_s (from when each was due), delivered_share
    (of the requests, those that were answered well), generator_cores, generator_lag_s, borne; error and `problem` as of
    `most_clients`.
    """
    rows: list[dict[str, Any]] = []

    def bears(per_s: int) -> bool:
        load = ARRIVALS.replace(requests_per_s=float(per_s), requests=math.ceil(per_s * COUNTED_S))
        rows.append({"requests_per_s": per_s} | tried(on, load_on(load, on.site), _answered, bool(rows)))
        return rows[-1]["borne"]

    searched(bears, look.rounds, look.first, MOST_PER_S)
    return doubted(rows, "requests_per_s", "requests/s")


def _answered(out: Path, load: HttpLoad) -> dict[str, Any]:
    import pandas as pd

    from stacklab.study.analysis import response_s

    if not (out / "requests.parquet").exists():
        return {"borne": False}
    requests = pd.read_parquet(out / "requests.parquet")
    counted = requests[~requests["warmup"].astype(bool)]
    good = counted["error"].isna()
    p95_s, share = float(response_s(counted[good]).quantile(0.95)), float(good.sum()) / load.requests
    return {
        "p95_s": p95_s, "delivered_share": share, **generator_of(out, counted["start_s"]),
        "borne": share >= DELIVERED_SHARE and p95_s <= P95_S,
    }  # fmt: skip
