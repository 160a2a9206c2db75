"""The experiments there are, by name. Each is a function of quick, repeats and seed, and returns an Experiment."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from stacklab.bench.capacity import capacity
from stacklab.bench.events import Event
from stacklab.bench.generators import generators
from stacklab.bench.improvements import improvement_outages, improvements
from stacklab.bench.plan import CHAT, SLICE_S, SLOPE_RAMP_S, Experiment, Point, named
from stacklab.bench.plans import plan_load
from stacklab.bench.servers import servers
from stacklab.errors import SettingsError
from stacklab.files import ROOT
from stacklab.settings import BALANCE_METHODS, DATABASES, WSGI_SERVERS, StackSettings
from stacklab.stack.limits import raised_for
from stacklab.study.claims import claim_experiments
from stacklab.workload import ChatLoad, HttpLoad, Look, PlanLoad

CHURN_PER_S = 30.0  # clients that leave, and others that come: as before a lesson; quick: half as many


def chat_load(clients: int, quick: bool, messages_per_s: float = 0.2, networks: int = 16) -> ChatLoad:
    """Chat in rooms of ten, as the first trials had it. Quick: a fifth of the clients for ten seconds."""
    if quick:
        clients = max(20, clients // 5)
    return ChatLoad(
        clients=clients, rooms=clients // 10, messages_per_s=messages_per_s, networks=networks,
        duration_s=10 if quick else 30, ramp_s=3 if quick else max(10, clients / 50),
    )


def eight_cases(quick: bool = False, repeats: int | None = None, seed: int = 1) -> Experiment:
    """The post's eight cases: connections 1024/4000 × processes 5/10 × 100 or 200 users on `/`, in slices of three seconds.

    A slice holds several thousand requests; BLOCKS of them are more than the post's 10,000 and 20,000. Quick: QUICK_BLOCKS.
    """
    points = []
    for users in (100, 200):
        load = HttpLoad(path="/", users=users)
        for connections, processes in itertools.product((1024, 4000), (5, 10)):
            settings = StackSettings(nginx_worker_connections=connections, uwsgi_processes=processes)
            points.append(Point(f"{users} users, {connections}/{processes}", settings, load))
    return named("eight-cases", points, quick, repeats, seed, slice_s=SLICE_S)


POST_PLAN, PAGE_PLAN = ROOT / "loadtests" / "post.jmx", ROOT / "loadtests" / "page.lua"


def eight_cases_by_jmeter(quick: bool = False, repeats: int | None = None, seed: int = 1) -> Experiment:
    """The same eight cases by the post's own tool and its plan: whole runs in blocks, for JMeter has no load that goes on while
    settings change. Users × 100 requests, as the post had them; quick: × 50.
    """
    def load(point: Point) -> PlanLoad:
        return plan_load(POST_PLAN, f"threads={point.workload.users},loops={50 if quick else 100}")

    points = [replace(point, workload=load(point)) for point in eight_cases().points]
    return named("eight-cases-jmeter", points, quick, repeats, seed)


def one_vs_three(quick: bool = False, repeats: int | None = None, seed: int = 1) -> Experiment:
    """One Daphne against three, at two loads: the post's round robin, and `hash` by room beside it."""
    points = []
    for clients in (300,) if quick else (300, 1000):
        load = chat_load(clients, quick)
        for instances, balance in ((1, "round_robin"), (3, "round_robin"), (3, "hash")):
            stands = f"{instances} × {balance}" if instances > 1 else "1 instance"
            label = f"{load.clients} clients, {stands}"
            points.append(Point(label, CHAT.replace(daphne_instances=instances, balance=balance), load))
    return named("one-vs-three", points, quick, repeats, seed)


def instances(quick: bool = False, repeats: int | None = None, seed: int = 1) -> Experiment:
    """How many instances: 1, 2, 3, 4, 6, 8, everybody in a room on one of them."""
    load = chat_load(600, quick)
    counts = (1, 2, 4) if quick else (1, 2, 3, 4, 6, 8)
    points = [Point(f"instances: {n}", CHAT.replace(daphne_instances=n, balance="hash"), load) for n in counts]
    return named("instances", points, quick, repeats, seed)


def balancing(quick: bool = False, repeats: int | None = None, seed: int = 1) -> Experiment:
    """Each balancing method over three instances; ip_hash also with all clients in one /24."""
    load = chat_load(600, quick)
    points = [Point(method, CHAT.replace(balance=method), load) for method in BALANCE_METHODS]
    points.append(Point("ip_hash, one /24", CHAT.replace(balance="ip_hash"), load.replace(networks=1)))
    return named("balancing", points, quick, repeats, seed)


def channel_layers(quick: bool = False, repeats: int | None = None, seed: int = 1) -> Experiment:
    """The channel layer, one factor at a time from the default: core, its capacity and pool, pubsub, memory; and each layer
    once more while clients leave and others come, as they do in every chat.
    """
    load = chat_load(1000, quick)
    base = CHAT
    layers = {
        "pubsub": base,
        "core": base.replace(channel_layer="core"),
        "core, capacity 1000": base.replace(channel_layer="core", channel_capacity=1000),
        "core, pool 10": base.replace(channel_layer="core", redis_pool=10),
        "core, pool 200": base.replace(channel_layer="core", redis_pool=200),
        "memory": base.replace(channel_layer="memory"),
    }
    points = [Point(label, settings, load) for label, settings in layers.items() if not quick or "," not in label]
    churn = load.replace(churn_per_s=CHURN_PER_S / (2 if quick else 1))
    changing = ("pubsub", "core", "memory") if quick else ("pubsub", "core", "core, capacity 1000", "memory")
    points += [Point(f"{label}, coming and going", layers[label], churn) for label in changing]
    return named("channel-layers", points, quick, repeats, seed)


def crowds(quick: bool = False, repeats: int | None = None, seed: int = 1) -> Experiment:
    """What many at once do to each other: one large room beside small ones, one who speaks to all, a burst to all, clients
    that do not read, everybody back at once.
    """
    clients, seconds, large = (100, 10, 40) if quick else (300, 30, 100)
    even = ChatLoad(clients=clients, rooms=clients // 10, duration_s=seconds, ramp_s=3 if quick else 10)
    to_all = even.replace(rooms=1, messages_per_s=0.02)
    burst = to_all.replace(burst_at_s=seconds / 2)
    many = burst.replace(burst_messages=clients // 2)
    # The kernels between hold much for a client that does not read. It takes a while to fill that with few deliveries.
    long = ChatLoad(clients=10, rooms=1, messages_per_s=8, size_bytes=4000, duration_s=40, ramp_s=2)
    killed = (Event(seconds / 5, kill="nginx"),)
    core = CHAT.replace(channel_layer="core")
    points = [
        Point("rooms of ten", CHAT, even),
        Point(f"one room of {large}", CHAT, even.replace(largest_room=large, rooms=1 + (clients - large) // 10)),
        Point("one speaks to all", CHAT, to_all.replace(listeners=clients - 1, messages_per_s=2)),
        Point("burst of 1", CHAT, burst),
        Point(f"burst of {clients // 2}", CHAT, many),
        Point(f"burst of {clients // 2}, core", core, many),
        Point(f"burst of {clients // 2}, core, capacity 20", core.replace(channel_capacity=20), many),
        Point("4 of 10 only listen", CHAT, long.replace(listeners=4)),
        Point("4 of 10 do not read", CHAT, long.replace(slow_readers=4)),
        Point("4 of 10 do not read, bounded_sockets", CHAT.replace(bounded_sockets=True), long.replace(slow_readers=4)),
        Point("all cut off", CHAT, even.replace(storm_at_s=seconds / 5)),
        Point("nginx killed", CHAT, even, killed),
    ]
    return named("crowds", points, quick, repeats, seed)


def failover(quick: bool = False, repeats: int | None = None, seed: int = 1) -> Experiment:
    """One of three instances is killed under load: how long until its clients are back, and what is lost."""
    load = chat_load(300, quick, messages_per_s=0.5).replace(duration_s=15 if quick else 30)
    kill = (Event(3 if quick else 8, kill="daphne@2"),)
    points = [
        Point("round_robin", CHAT, load, kill),
        Point("hash", CHAT.replace(balance="hash"), load, kill),
        Point("hash, chat_resume", CHAT.replace(balance="hash", chat_resume=True), load, kill),
    ]
    return named("failover", [p for p in points if not quick or p.label != "round_robin"], quick, repeats, seed)


def outages(quick: bool = False, repeats: int | None = None, seed: int = 1) -> Experiment:
    """All instances killed at once, and Redis stopped for three seconds: the service is back by itself, but when?

    An instance that failed gets one connection in `balance_fail_timeout_s` until one of those has ended, and chat
    sockets do not end: after all have failed, clients come back drop by drop. With `balance_max_fails=0` none counts as
    failed, and nginx simply asks the next one.
    """
    load = chat_load(300, quick, messages_per_s=0.5).replace(duration_s=25 if quick else 45)
    at_s = 3 if quick else 8
    killed, stopped = Event(at_s, kill="daphne@1 daphne@2 daphne@3"), Event(at_s, stop="redis-server", for_s=3)
    base = CHAT.replace(balance="hash")
    soon = base.replace(balance_max_fails=0)
    points = [
        Point("all killed", base, load, (killed,)),
        Point("all killed, max_fails 0", soon, load, (killed,)),
        Point("all killed, max_fails 0, chat_resume", soon.replace(chat_resume=True), load, (killed,)),
        Point("Redis stopped", base, load, (stopped,)),
    ]
    return named("outages", [p for p in points if not quick or p.label != "all killed, max_fails 0"], quick, repeats, seed)


def scaling(quick: bool = False, repeats: int | None = None, seed: int = 1) -> Experiment:
    """One instance, then three, then one again, under load: what a client feels of it."""
    load = chat_load(300, quick, messages_per_s=0.5).replace(ramp_s=10 if quick else 20, duration_s=20 if quick else 30)
    # The new instances come while clients still arrive: sockets that are open stay where they are.
    up = Event(2, change=(("daphne_instances", 3),), phase="ramp")
    down = Event(6, change=(("daphne_instances", 1),))
    events = (up, down)
    base = CHAT.replace(daphne_instances=1)
    points = [
        Point("as it is", base, load, events), Point("drained", base.replace(daphne_drain_s=5), load, events),
        Point("chat_resume", base.replace(chat_resume=True), load, events),
    ]  # fmt: skip
    return named("scaling", points, quick, repeats, seed)


def sockets(quick: bool = False, repeats: int | None = None, seed: int = 1) -> Experiment:
    """Open sockets that say nothing, more and more of them: what each costs, and where it ends."""
    counts = (100, 300, 600) if quick else (1000, 2500, 5000, 10_000)
    settings = raised_for(max(counts), CHAT)
    points = [
        Point(
            f"{clients} sockets", settings,
            ChatLoad(clients=clients, rooms=clients // 10, messages_per_s=0, duration_s=5 if quick else 10,
                     ramp_s=max(SLOPE_RAMP_S, clients / 60)),
        )
        for clients in counts
    ]  # fmt: skip
    return named("sockets", points, quick, repeats, seed, usual=1)


def connections_limit(quick: bool = False, repeats: int | None = None, seed: int = 1) -> Experiment:
    """Where nginx's connections bind: 100 users, who take two each, against 128 of them and against 4000. In slices."""
    load = HttpLoad(users=100)
    points = [Point(f"{n} connections", StackSettings(nginx_worker_connections=n), load) for n in (128, 4000)]
    return named("connections-limit", points, quick, repeats, seed, slice_s=SLICE_S)


def nginx_workers(quick: bool = False, repeats: int | None = None, seed: int = 1) -> Experiment:
    """1, 2 and 4 nginx workers (and 8), to be held against the web host's CPUs, on a page that costs Django little. In slices."""
    load = HttpLoad(users=100, path="/healthz")
    counts = (1, 2, 4) if quick else (1, 2, 4, 8)
    points = [Point(f"{n} workers", StackSettings(nginx_worker_processes=n), load) for n in counts]
    return named("nginx-workers", points, quick, repeats, seed, slice_s=SLICE_S)


def nginx_workers_by_wrk(quick: bool = False, repeats: int | None = None, seed: int = 1) -> Experiment:
    """The same numbers of workers, on a file that nginx itself sends, under wrk: light enough to share the web host's CPUs, where
    there are no others (`fab up --no-pin`). Whole runs in blocks.
    """
    load = plan_load(PAGE_PLAN, f"users=100,duration_s={5 if quick else 8},path=/static/chat/chat.js")
    points = [replace(point, workload=load) for point in nginx_workers(quick).points]
    return named("nginx-workers-wrk", points, quick, repeats, seed, usual=4 if quick else 8)


COMPUTES_AND_WAITS = ("/", "/io/?ms=50")


def _on_pages(
    name: str, pages: Sequence[str], cases: Mapping[str, StackSettings], quick: bool, repeats: int | None, seed: int
) -> Experiment:
    """Each of these settings, by label, on each of these pages, under fifty users. In slices."""
    points = [
        Point(f"{page}, {label}", settings, HttpLoad(users=50, path=page)) for page in pages for label, settings in cases.items()
    ]
    return named(name, points, quick, repeats, seed, slice_s=SLICE_S)


def uwsgi_workers(quick: bool = False, repeats: int | None = None, seed: int = 1) -> Experiment:
    """Five processes, ten, and five of two threads each, on a page that computes and on one that waits. In slices."""
    counts = ((5, 1), (10, 1), (5, 2))
    cases = {f"{n} × {threads}": StackSettings(uwsgi_processes=n, uwsgi_threads=threads) for n, threads in counts}
    return _on_pages("uwsgi-workers", COMPUTES_AND_WAITS, cases, quick, repeats, seed)


def wsgi_servers(quick: bool = False, repeats: int | None = None, seed: int = 1) -> Experiment:
    """uWSGI and gunicorn, each with five processes, on a page that computes and on one that waits. In slices."""
    cases = {server: StackSettings(wsgi_server=server) for server in WSGI_SERVERS}
    return _on_pages("wsgi-servers", COMPUTES_AND_WAITS, cases, quick, repeats, seed)


def databases(quick: bool = False, repeats: int | None = None, seed: int = 1) -> Experiment:
    """sqlite and PostgreSQL, under a page that reads and one that writes. In slices."""
    cases = {database: StackSettings(database=database) for database in DATABASES}
    return _on_pages("databases", ("/db/", "/visit/"), cases, quick, repeats, seed)


def one_process(quick: bool = False, repeats: int | None = None, seed: int = 1) -> Experiment:
    """A chat that keeps one Daphne busy half of the time: what threads within it can do, and what three instances can. Nearer to
    its ceiling a moment of a slower CPU decides, and latencies of milliseconds become seconds.
    """
    load = ChatLoad(clients=200, rooms=20, messages_per_s=0.8, duration_s=8 if quick else 20, ramp_s=4)
    one = CHAT.replace(daphne_instances=1)
    points = [
        Point("1 instance", one, load),
        Point("1 instance, 16 threads", one.replace(asgi_threads=16), load),
        Point("3 instances by room", CHAT.replace(balance="hash"), load),
    ]
    return named("one-process", points, quick, repeats, seed)


LOOKS = 3  # of each point, in quick mode too: they are short


def clients_held(quick: bool = False, repeats: int | None = None, seed: int = 1) -> Experiment:
    """How many chat clients nginx holds at once, of one worker and of two: one comes in after the other, past the limit."""
    look = Look(sight="clients_held")
    cases = ((1, 128), (2, 128)) if quick else ((1, 128), (1, 256), (2, 128), (2, 256))
    points = [
        Point(f"{n} × {connections}", StackSettings(nginx_worker_processes=n, nginx_worker_connections=connections), look)
        for n, connections in cases
    ]
    return named("clients-held", points, quick, repeats, seed, usual=LOOKS)


def daphne_verbosity(quick: bool = False, repeats: int | None = None, seed: int = 1) -> Experiment:
    """What `daphne -v N` starts, beside the instances there are."""
    points = [Point(f"-v {n}", StackSettings(), Look(sight="daphne_processes", verbosity=n)) for n in (1, 2, 3)]
    return named("daphne-verbosity", points, quick, repeats, seed, usual=LOOKS)


def asgi_threads(quick: bool = False, repeats: int | None = None, seed: int = 1) -> Experiment:
    """Threads of one Daphne under sixteen synchronous requests at once, and how soon these are answered, by ASGI_THREADS."""
    points = [
        Point(f"ASGI_THREADS {'not set' if n is None else n}", StackSettings(asgi_threads=n), Look(sight="sync_threads"))
        for n in (None, 4, 16)
    ]
    return named("asgi-threads", points, quick, repeats, seed, usual=5)


def starts(quick: bool = False, repeats: int | None = None, seed: int = 1) -> Experiment:
    """Three Daphnes started at once, again and again: as a plain unit would be, and with readiness as the lab has it."""
    # Three times 24 starts without a fault are what it takes to call one rare (Clopper and Pearson, below 5 %).
    rounds = {"plain": 24 if quick else 40, "with readiness": 4 if quick else 10}
    points = [
        Point(label, StackSettings(), Look(sight="starts", ready=label != "plain", rounds=n)) for label, n in rounds.items()
    ]
    return named("starts", points, quick, repeats, seed, usual=LOOKS)


def socket_shares(quick: bool = False, repeats: int | None = None, seed: int = 1) -> Experiment:
    """Sixty clients and what three instances write of them into their access logs, by round robin and by room."""
    look = Look(sight="socket_shares")
    points = [Point(method, CHAT.replace(balance=method), look) for method in ("round_robin", "hash")]
    return named("socket-shares", points, quick, repeats, seed, usual=5)


def freeze(quick: bool = False, repeats: int | None = None, seed: int = 1) -> Experiment:
    """All of uWSGI stands still for some seconds: what a closed loop of users sees of it, and what a schedule does.

    Both ask about a hundred times a second. In the loop everybody waits while nothing is answered, and asks nothing: the
    seconds of standstill are ten requests of thousands. A schedule asks on, as people do who know nothing of each other.
    """
    seconds = 15 if quick else 40
    standstill = (Event(4 if quick else 10, freeze="uwsgi", for_s=2 if quick else 4),)
    count = 100 * seconds
    points = [
        Point("closed loop", StackSettings(), HttpLoad(requests=count, users=10, wait_s=0.1), standstill),
        Point("even schedule", StackSettings(), HttpLoad(requests=count, users=10, requests_per_s=100.0), standstill),
        Point("Poisson arrivals", StackSettings(),
              HttpLoad(requests=count, users=10, requests_per_s=100.0, arrivals="poisson"), standstill),
    ]  # fmt: skip
    return named("freeze", points, quick, repeats, seed)


EXPERIMENTS: dict[str, Callable[..., Experiment]] = {
    "eight-cases": eight_cases,
    "one-vs-three": one_vs_three,
    "instances": instances,
    "balancing": balancing,
    "channel-layers": channel_layers,
    "crowds": crowds,
    "failover": failover,
    "outages": outages,
    "scaling": scaling,
    "sockets": sockets,
    "freeze": freeze,
    "connections-limit": connections_limit,
    "nginx-workers": nginx_workers,
    "uwsgi-workers": uwsgi_workers,
    "wsgi-servers": wsgi_servers,
    "databases": databases,
    "one-process": one_process,
    "clients-held": clients_held,
    "daphne-verbosity": daphne_verbosity,
    "asgi-threads": asgi_threads,
    "starts": starts,
    "socket-shares": socket_shares,
    "servers": servers,
    "generators": generators,
    "capacity": capacity,
    "improvements": improvements,
    "improvement-outages": improvement_outages,
}
"""The experiments by name: each takes quick, repeats and seed."""


BY_GENERATOR = {"jmeter": {"eight-cases": eight_cases_by_jmeter}, "wrk": {"nginx-workers": nginx_workers_by_wrk}}
"""The experiments that another generator than Locust can put the load on for."""

CLAIMS = "claims"
"""What `fab experiment` calls all those together that decide a claim."""
ENOUGH = 3  # repeats of whole runs, without which there is no interval worth the name


def enough_to_judge(quick: bool = False, repeats: int | None = None, seed: int = 1) -> list[Experiment]:
    """The experiments that decide the claims, with as many repeats as that takes."""
    plans = [EXPERIMENTS[name](quick=quick, repeats=repeats, seed=seed) for name in claim_experiments()]
    return [plan if repeats else replace(plan, repeats=max(plan.repeats, ENOUGH)) for plan in plans]


def plans_of(
    name: str, quick: bool = False, repeats: int | None = None, seed: int = 1, generator: str = "locust"
) -> list[Experiment]:
    """What `fab experiment NAME` measures: one experiment; all of the claims'; for improvements, the two about them."""
    if generator != "locust":
        return [_by(generator, name)(quick=quick, repeats=repeats, seed=seed)]
    if name == CLAIMS:
        return enough_to_judge(quick, repeats, seed)
    names = [name, "improvement-outages"] if name == "improvements" else [name]
    return [experiment_named(each, quick, repeats, seed) for each in names]


def _by(generator: str, name: str) -> Callable[..., Experiment]:
    """The experiment `name` under another generator's load; SettingsError if there is none."""
    there = BY_GENERATOR.get(generator, {})
    if name not in there:
        able = "; ".join(f"{other} for {', '.join(names)}" for other, names in BY_GENERATOR.items())
        raise SettingsError(f"generator={generator!r} is not allowed for {name}: it takes locust, or {able}")
    return there[name]


def experiment_named(name: str, quick: bool = False, repeats: int | None = None, seed: int = 1) -> Experiment:
    """The experiment `name`; SettingsError, naming those there are, if there is none of that name."""
    if name not in EXPERIMENTS:
        raise SettingsError(f"there is no experiment {name!r}; there are {', '.join(EXPERIMENTS)}, and {CLAIMS}")
    return EXPERIMENTS[name](quick=quick, repeats=repeats, seed=seed)
