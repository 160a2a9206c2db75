"""`CLAIMS`: what the post says, each with the comparisons of runs that can decide it. Data; `analysis.judge` judges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Test:
    """One thing that must be so if a claim holds: `metric` of runs with the settings `of` is `expect` …

    "less" or "more" than that of runs with the settings `than`, in pairs; or "at most" or "at least"
    the number `than`.
    """

    __test__ = False  # not one of pytest's

    metric: str
    expect: str
    of: Mapping[str, Any]
    than: Mapping[str, Any] | float


@dataclass(frozen=True)
class Claim:
    """A statement of CLAIMS. It holds if all `tests` do, for `each` value of that factor by itself (None: pooled).

    `note` says where to look if it has no tests: no comparison of runs can decide it.
    """

    id: str
    sentence: str
    tests: tuple[Test, ...] = ()
    each: str | None = None
    note: str = ""


def _fastest_case() -> tuple[Test, ...]:
    best = {"nginx_worker_connections": 4000, "uwsgi_processes": 10}
    others = [(1024, 5), (1024, 10), (4000, 5)]
    return tuple(
        Test("p50_s", "less", best, {"nginx_worker_connections": connections, "uwsgi_processes": processes})
        for connections, processes in others
    )


CLAIMS: tuple[Claim, ...] = (
    Claim("C1", "nginx serves at most worker_processes × worker_connections clients",
          note="Raise the number of users past the limit and look at the errors: a proxied client takes two connections."),
    Claim("C2", "nginx's worker_processes should equal the number of CPUs",
          note="Needs a web host with more than one core."),
    Claim("C3", "raising nginx's worker_connections carries more traffic",
          (Test("throughput_per_s", "more", {"nginx_worker_connections": 4000}, {"nginx_worker_connections": 1024}),)),
    Claim("C4", "uWSGI gains from more processes",
          (Test("throughput_per_s", "more", {"uwsgi_processes": 10}, {"uwsgi_processes": 5}),)),
    Claim("C5", "4000 connections with 10 processes answers fastest of the cases, at each load",
          _fastest_case(), each="users"),
    Claim("C6", "Daphne's -v N starts N workers", note="Look at the processes: -v is verbosity."),
    Claim("C7", "ASGI_THREADS sets the number of threads for synchronous code",
          note="Look at the threads of an instance under synchronous load."),
    Claim("C8", "several instances behind a reverse proxy are the way to scale Channels",
          note="See the experiments on the number of instances and on balancing."),
    Claim("C9", "three balanced Daphnes use less CPU and memory than one under the same load",
          (Test("cpu_s_daphne", "less", {"daphne_instances": 3, "balance": "round_robin"}, {"daphne_instances": 1}),
           Test("pss_peak_bytes_daphne", "less", {"daphne_instances": 3, "balance": "round_robin"}, {"daphne_instances": 1}))),
    Claim("C10", "three Daphne services started at once sometimes leave one not running",
          note="Start them many times, and tell running from listening."),
    Claim("C11", "round robin spreads sockets evenly",
          (Test("busiest_share", "at most", {"balance": "round_robin", "daphne_instances": 3}, 1.1),)),
    Claim("C12", "sockets of several clients show up on all three instances",
          (Test("instances_silent", "at most", {"balance": "round_robin", "daphne_instances": 3}, 0),)),
)  # fmt: skip
"""The claims of CLAIMS, with the tests that runs can decide."""
