"""The experiments there are, by name. Each is a function of quick, repeats and seed, and returns an Experiment."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from stacklab.bench.events import Event
from stacklab.bench.plan import Experiment, Point
from stacklab.errors import SettingsError
from stacklab.settings import BALANCE_METHODS, StackSettings
from stacklab.stack.limits import raised_for
from stacklab.workload import ChatLoad, HttpLoad


def _named(name: str, points: list[Point], quick: bool, repeats: int | None, seed: int, **slices: float) -> Experiment:
    """Three repeats, or QUICK_BLOCKS or BLOCKS of slices; in quick mode one, under a name of its own."""
    default = (QUICK_BLOCKS if quick else BLOCKS) if slices else 1 if quick else 3
    return Experiment(
        name=f"{name}-quick" if quick else name, points=tuple(points), repeats=default if repeats is None else repeats,
        seed=seed, **slices,
    )


BLOCKS, QUICK_BLOCKS = 18, 5

# With nginx's limit at 1024 the 512th chat client is refused, whatever stands behind it: a proxied client takes two.
CHAT = StackSettings(nginx_worker_connections=4096)


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
    return _named("eight-cases", points, quick, repeats, seed, slice_s=3.0)


def one_vs_three(quick: bool = False, repeats: int | None = None, seed: int = 1) -> Experiment:
    """One Daphne against three, at two loads: the post's round robin, and `hash` by room beside it."""
    points = []
    for clients in (300,) if quick else (300, 1000):
        load = chat_load(clients, quick)
        for instances, balance in ((1, "round_robin"), (3, "round_robin"), (3, "hash")):
            stands = f"{instances} × {balance}" if instances > 1 else "1 instance"
            label = f"{load.clients} clients, {stands}"
            points.append(Point(label, CHAT.replace(daphne_instances=instances, balance=balance), load))
    return _named("one-vs-three", points, quick, repeats, seed)


def instances(quick: bool = False, repeats: int | None = None, seed: int = 1) -> Experiment:
    """How many instances: 1, 2, 3, 4, 6, 8, everybody in a room on one of them."""
    load = chat_load(600, quick)
    counts = (1, 2, 4) if quick else (1, 2, 3, 4, 6, 8)
    points = [Point(f"instances: {n}", CHAT.replace(daphne_instances=n, balance="hash"), load) for n in counts]
    return _named("instances", points, quick, repeats, seed)


def balancing(quick: bool = False, repeats: int | None = None, seed: int = 1) -> Experiment:
    """Each balancing method over three instances; ip_hash also with all clients in one /24."""
    load = chat_load(600, quick)
    points = [Point(method, CHAT.replace(balance=method), load) for method in BALANCE_METHODS]
    points.append(Point("ip_hash, one /24", CHAT.replace(balance="ip_hash"), load.replace(networks=1)))
    return _named("balancing", points, quick, repeats, seed)


def channel_layers(quick: bool = False, repeats: int | None = None, seed: int = 1) -> Experiment:
    """The channel layer, one factor at a time from the default: core, its capacity and pool, pubsub, memory."""
    load = chat_load(1000, quick)
    base = CHAT
    points = [
        Point("pubsub", base, load),
        Point("core", base.replace(channel_layer="core"), load),
        Point("core, capacity 1000", base.replace(channel_layer="core", channel_capacity=1000), load),
        Point("core, pool 10", base.replace(channel_layer="core", redis_pool=10), load),
        Point("core, pool 200", base.replace(channel_layer="core", redis_pool=200), load),
        Point("memory", base.replace(channel_layer="memory"), load),
    ]
    return _named("channel-layers", [p for p in points if not quick or "," not in p.label], quick, repeats, seed)


def failover(quick: bool = False, repeats: int | None = None, seed: int = 1) -> Experiment:
    """One of three instances is killed under load: how long until its clients are back, and what is lost."""
    load = chat_load(300, quick, messages_per_s=0.5).replace(duration_s=15 if quick else 30)
    kill = (Event(3 if quick else 8, kill="daphne@2"),)
    points = [
        Point("round_robin", CHAT, load, kill),
        Point("hash", CHAT.replace(balance="hash"), load, kill),
        Point("hash, chat_resume", CHAT.replace(balance="hash", chat_resume=True), load, kill),
    ]
    return _named("failover", [p for p in points if not quick or p.label != "round_robin"], quick, repeats, seed)


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
    return _named("outages", [p for p in points if not quick or p.label != "all killed, max_fails 0"], quick, repeats, seed)


def scaling(quick: bool = False, repeats: int | None = None, seed: int = 1) -> Experiment:
    """One instance, then three, then one again, under load: what a client feels of it."""
    load = chat_load(300, quick, messages_per_s=0.5).replace(ramp_s=10 if quick else 20, duration_s=20 if quick else 30)
    # The new instances come while clients still arrive: sockets that are open stay where they are.
    up = Event(2, change=(("daphne_instances", 3),), phase="ramp")
    down = Event(6, change=(("daphne_instances", 1),))
    events = (up, down)
    base = CHAT.replace(daphne_instances=1)
    points = [Point("as it is", base, load, events), Point("chat_resume", base.replace(chat_resume=True), load, events)]
    return _named("scaling", points, quick, repeats, seed)


def sockets(quick: bool = False, repeats: int | None = None, seed: int = 1) -> Experiment:
    """Open sockets that say nothing, more and more of them: what each costs, and where it ends."""
    counts = (100, 300, 600) if quick else (1000, 2500, 5000, 10_000)
    settings = raised_for(max(counts), CHAT)
    points = [
        Point(
            f"{clients} sockets", settings,
            ChatLoad(clients=clients, rooms=clients // 10, messages_per_s=0, duration_s=5 if quick else 10, ramp_s=clients / 60),
        )
        for clients in counts
    ]
    return _named("sockets", points, quick, 1 if repeats is None else repeats, seed)


EXPERIMENTS: dict[str, Callable[..., Experiment]] = {
    "eight-cases": eight_cases,
    "one-vs-three": one_vs_three,
    "instances": instances,
    "balancing": balancing,
    "channel-layers": channel_layers,
    "failover": failover,
    "outages": outages,
    "scaling": scaling,
    "sockets": sockets,
}
"""The experiments by name: each takes quick, repeats and seed."""


def experiment_named(name: str, quick: bool = False, repeats: int | None = None, seed: int = 1) -> Experiment:
    """The experiment `name`; SettingsError, naming those there are, if there is none of that name."""
    if name not in EXPERIMENTS:
        raise SettingsError(f"there is no experiment {name!r}; there are {', '.join(EXPERIMENTS)}")
    return EXPERIMENTS[name](quick=quick, repeats=repeats, seed=seed)
