"""Pages as a network of queues: what a page cost at light loads, put through chance, foretells loads that nobody has seen.

A request takes nginx some CPU, waits for a free process of uWSGI, and holds that while it computes in it, and while it waits
for something else there. All that computes shares the host's CPUs: each does one piece of work at a time, in the order in which
they came. How long a piece takes is drawn from an exponential distribution with the mean that was measured. Nothing is fitted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from urllib.parse import parse_qs, urlsplit

import numpy as np
import simpy

from stacklab.runs.results import Run
from stacklab.study.costs import CPU, by_block, costs
from stacklab.workload import P95_S

TRIAL_S = 3.0  # as long as one of `capacity`'s searches: a queue that grows has no more time to
ENOUGH = 1.02  # the ratio of two loads at which a search for the knee ends
CLOSED_REQUESTS = 2000
USUAL_MS = {"/io/": 50, "/cpu/": 20}  # of app/pages: what they take where nobody says


@dataclass(frozen=True)
class Page:
    """What one request takes, in the mean: CPU seconds of nginx, CPU seconds of a process, seconds that a process waits."""

    front_s: float
    process_s: float
    wait_s: float = 0.0

    def at(self, path: str) -> Page:
        """The page of the lab's site at `path`, when this is one that neither waits nor computes on purpose."""
        asked = urlsplit(path)
        given = parse_qs(asked.query).get("ms")
        waits_s, computes_s = (
            float(given[0] if given else usual_ms) / 1000 if asked.path == of else 0.0 for of, usual_ms in USUAL_MS.items()
        )
        return replace(self, wait_s=self.wait_s + waits_s, process_s=self.process_s + computes_s)


@dataclass(frozen=True)
class Host:
    """What serves it: so many CPUs, and so many processes of uWSGI."""

    cpus: int
    processes: int


class _Network:
    def __init__(self, page: Page, host: Host, seed: int) -> None:
        self.page, self.chance = page, np.random.default_rng(seed)
        self.now = simpy.Environment()
        self.cpus = simpy.Resource(self.now, host.cpus)
        self.processes = simpy.Resource(self.now, host.processes)

    def compute(self, mean_s: float) -> Iterator[simpy.Event]:
        with self.cpus.request() as cpu:
            yield cpu
            yield self.now.timeout(self.chance.exponential(mean_s))

    def request(self) -> Iterator[simpy.Event]:
        yield from self.compute(self.page.front_s)
        with self.processes.request() as process:
            yield process
            yield from self.compute(self.page.process_s)
            yield self.now.timeout(self.page.wait_s)


def response_times(page: Page, host: Host, per_s: float, requests: int, seed: int = 1) -> np.ndarray:
    """Seconds that each of so many requests takes, where they come at random (Poisson), `per_s` in the mean."""
    network, taken = _Network(page, host, seed), []

    def arrive():
        for _ in range(requests):
            yield network.now.timeout(network.chance.exponential(1 / per_s))
            network.now.process(answer())

    def answer():
        begun_s = network.now.now
        yield from network.request()
        taken.append(network.now.now - begun_s)

    network.now.process(arrive())
    network.now.run()
    return np.array(taken)


@cache
def throughput(page: Page, host: Host, users: int, requests: int = CLOSED_REQUESTS, seed: int = 1) -> float:
    """Requests a second in a closed loop, in which each of so many users asks again as soon as it has its answer."""
    network, left = _Network(page, host, seed), iter(range(requests))

    def ask():
        for _ in left:
            yield from network.request()

    for _ in range(users):
        network.now.process(ask())
    network.now.run()
    return requests / network.now.now


@cache
def knee(page: Page, host: Host, p95_s: float = P95_S) -> float:
    """Up to how many requests a second 95 of 100 are answered in time, in trials as short as those that measure it; 0 where
    that is not so even of requests that meet nobody.
    """
    def met(per_s: float) -> bool:
        return np.quantile(response_times(page, host, per_s, int(per_s * TRIAL_S) + 1), 0.95) <= p95_s

    low = high = host.cpus / (page.front_s + page.process_s)
    least = low / 100
    while not met(low):
        low /= 1.5
        if low < least:
            return 0.0
    while met(high):
        high *= 1.5
    while high / low > ENOUGH:
        middle = float(np.sqrt(low * high))
        low, high = (middle, high) if met(middle) else (low, middle)
    return float(np.sqrt(low * high))


def measured(runs: Sequence[Run]) -> Page | None:
    """What a page cost in the middle of the sound blocks of `capacity`; None where none tells."""
    blocks = by_block(costs([run for run in runs if run.kind == "http"]))
    front, process = (
        [blocks["page", name, CPU].median() for name in names if ("page", name, CPU) in blocks]
        for names in (("nginx",), ("uwsgi", "gunicorn", "postgresql"))
    )
    known = front and process and all(np.isfinite([*front, *process]))
    return Page(sum(front), sum(process)) if known else None


def host_of(runs: Sequence[Run]) -> Host:
    """The host on which `capacity` searched the knee of pages."""
    searched = next(run for run in runs if run.kind == "look" and run.workload.sight == "most_requests")
    return Host(searched.environment["web"]["cpus"], searched.settings.uwsgi_processes)
