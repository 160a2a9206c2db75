"""`CLAIMS`: what the post says, each with the comparisons that can decide it, and the experiments that measure them. Data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Test:
    """One thing that must be so if a claim holds: `metric` of runs with the settings `of` is `expect` …

    "less" or "more" than that of runs with the settings `than`, in pairs; or "not less" or "not more" than it, by more
    than the margin; or "at most" or "at least" the number `than`; or happens "sometimes": of many tries (the column
    `tries`) at least once, where never, in so many that it is rarer than the share `than`, contradicts it.
    `experiment` measures it; where its runs cannot decide, as on a web host of one CPU, `otherwise` is what to do.
    """

    __test__ = False  # not one of pytest's

    metric: str
    expect: str
    of: Mapping[str, Any]
    than: Mapping[str, Any] | float
    experiment: str = ""
    tries: str = ""
    otherwise: str = ""


@dataclass(frozen=True)
class Claim:
    """A statement of CLAIMS. It holds if all `tests` do, for `each` value of that factor by itself (None: pooled).

    `besides` are tests of what else one should know; they are shown, and decide nothing. `note` says how to read it.
    """

    id: str
    sentence: str
    tests: tuple[Test, ...] = ()
    each: str | None = None
    besides: tuple[Test, ...] = ()
    note: str = ""


def _fastest_case() -> tuple[Test, ...]:
    best = {"nginx_worker_connections": 4000, "uwsgi_processes": 10}
    others = [(1024, 5), (1024, 10), (4000, 5)]
    return tuple(
        Test("p50_s", "less", best, {"nginx_worker_connections": c, "uwsgi_processes": p}, "eight-cases") for c, p in others
    )


def _threads(path: str) -> Test:
    """Two threads in each of five workers, against one."""
    two, one = ({"uwsgi_threads": n, "uwsgi_processes": 5, "path": path} for n in (2, 1))
    return Test("throughput_per_s", "not more", two, one, "uwsgi-workers")


BUSY = {"clients": 200, "messages_per_s": 0.8}  # keeps one process busy half of the time
ONE, THREE = {"daphne_instances": 1, "asgi_threads": None}, {"daphne_instances": 3, "balance": "round_robin"}
RARE = 0.05  # a start in twenty

CLAIMS: tuple[Claim, ...] = (
    Claim("C1", "nginx serves at most worker_processes × worker_connections clients",
          (Test("held_of_limit", "at most", {}, 1.0, "clients-held"),), each="nginx_worker_processes",
          besides=(Test("held_of_half", "at most", {}, 1.0, "clients-held"),),
          note="A bound that is never reached supports the claim too: a proxied client takes two connections, so look at "
               "how near to half of the product it came."),
    Claim("C2", "nginx's worker_processes should equal the number of CPUs",
          (Test("throughput_per_s", "more", {"workers_per_cpu": 1.0}, {"workers_per_cpu": 0.5}, "nginx-workers",
                otherwise="needs two CPUs for the web host: fab halt, fab up --no-pin, fab experiment nginx-workers "
                          "--generator wrk"),
           Test("throughput_per_s", "not less", {"workers_per_cpu": 1.0}, {"workers_per_cpu": 2.0}, "nginx-workers")),
          note="With one CPU there are no fewer workers than CPUs. Without pinning, the web host shares all of the computer's "
               "with the load: wrk takes little of it."),
    Claim("C3", "raising nginx's worker_connections carries more traffic",
          (Test("throughput_per_s", "more", {"nginx_worker_connections": 4000}, {"nginx_worker_connections": 1024},
                "eight-cases"),),
          besides=(Test("throughput_per_s", "more", {"nginx_worker_connections": 4000, "users": 100},
                        {"nginx_worker_connections": 128, "users": 100}, "connections-limit"),),
          note="Judged by the post's eight cases, where the limit does not bind; beside it, a case in which it does."),
    Claim("C4", "uWSGI gains from more processes, hardly from threads",
          (Test("throughput_per_s", "more", {"uwsgi_processes": 10, "path": "/"}, {"uwsgi_processes": 5, "path": "/"},
                "eight-cases"), _threads("/")),
          besides=(Test("throughput_per_s", "more", {"uwsgi_processes": 10, "path": "/io/?ms=50"},
                        {"uwsgi_processes": 5, "uwsgi_threads": 1, "path": "/io/?ms=50"}, "uwsgi-workers"),
                   _threads("/io/?ms=50"))),
    Claim("C5", "4000 connections with 10 processes answers fastest of the cases, at each load",
          _fastest_case(), each="users"),
    Claim("C6", "Daphne's -v N starts N workers",
          (Test("daphne_processes", "at least", {"verbosity": 2}, 2, "daphne-verbosity"),
           Test("daphne_processes", "at least", {"verbosity": 3}, 3, "daphne-verbosity")),
          note="-v is verbosity."),
    Claim("C7", "ASGI_THREADS sets the number of threads for synchronous code (by default CPUs × 5), and more are not always "
                "faster",
          (Test("sync_threads", "at most", {"asgi_threads": 4}, 4, "asgi-threads"),
           Test("sync_of_default", "at most", {"asgi_threads": None}, 1, "asgi-threads"),
           Test("sync_per_s", "not more", {"asgi_threads": 16}, {"asgi_threads": 4}, "asgi-threads")),
          note="Sixteen requests at once for a page that waits: as many threads as the setting says, or one a request?"),
    Claim("C8", "Channels cannot be scaled from inside one process: several instances behind a reverse proxy are the way",
          (Test("latency_p50_s", "not less", {"daphne_instances": 1, "asgi_threads": 16} | BUSY, ONE | BUSY, "one-process"),
           Test("latency_p50_s", "less", {"daphne_instances": 3, "balance": "hash"} | BUSY, ONE | BUSY, "one-process")),
          note="At a load that keeps one process busy half of the time. On a web host with one CPU, instances have no more of it "
               "than one had."),
    Claim("C9", "three balanced Daphnes use less CPU and memory than one under the same load",
          (Test("cpu_s_daphne_per_1000_deliveries", "less", THREE, {"daphne_instances": 1}, "one-vs-three"),
           Test("pss_peak_bytes_daphne", "less", THREE, {"daphne_instances": 1}, "one-vs-three")), each="clients"),
    Claim("C10", "three Daphne services started at once sometimes leave one not running",
          (Test("left_not_running", "sometimes", {"ready": False}, RARE, "starts", tries="starts"),),
          besides=(Test("active_not_listening", "sometimes", {"ready": False}, RARE, "starts", tries="starts"),),
          note="Running is not listening: what looks dead may only be on its way."),
    Claim("C11", "round robin spreads sockets evenly",
          (Test("busiest_share", "at most", THREE, 1.1, "socket-shares"),)),
    Claim("C12", "sockets of several clients show up on all three instances",
          (Test("instances_met_share", "at least", THREE, 1, "socket-shares"),)),
)  # fmt: skip
"""The claims of CLAIMS, with the tests that runs can decide."""


def claim_experiments() -> list[str]:
    """The names of the experiments that decide the claims, those of many claims' first."""
    named = [test.experiment for claim in CLAIMS for test in (*claim.tests, *claim.besides)]
    return sorted(dict.fromkeys(named), key=lambda name: (-named.count(name), named.index(name)))
