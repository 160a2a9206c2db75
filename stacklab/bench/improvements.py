"""What each improvement is worth against stock: the same chat on each alone and on all together, and three faults."""

from __future__ import annotations

from stacklab.bench.events import Event
from stacklab.bench.plan import CHAT, Experiment, Point, named
from stacklab.settings import IMPROVEMENTS
from stacklab.workload import ChatLoad

LEAVE_S = 5
ALONE = {name: {name: LEAVE_S if name == "daphne_drain_s" else True} for name in IMPROVEMENTS}
ALL = {name: value for changes in ALONE.values() for name, value in changes.items()}
FEWEST_BLOCKS = 6  # in which a difference can be told (Wilcoxon's test of pairs)


def improvements(quick: bool = False, repeats: int | None = None, seed: int = 1) -> Experiment:
    """Stock, each improvement alone, and all together, under one chat in rooms of ten: whole runs, in blocks."""
    load = ChatLoad(
        clients=100 if quick else 1000, rooms=10 if quick else 100, messages_per_s=1.0 if quick else 0.2,
        duration_s=6 if quick else 30, ramp_s=2 if quick else 20,
    )  # fmt: skip
    points = [Point("stock", CHAT, load), *(Point(name, CHAT.replace(**changes), load) for name, changes in ALONE.items())]
    points.append(Point("all", CHAT.replace(**ALL), load))
    return named("improvements", points, quick, repeats, seed, usual=FEWEST_BLOCKS if quick else 8)


def improvement_outages(quick: bool = False, repeats: int | None = None, seed: int = 1) -> Experiment:
    """What clients feel when an instance is killed, another one told to stop, and Redis stopped for three seconds."""
    load = ChatLoad(
        clients=60 if quick else 300, rooms=6 if quick else 30, messages_per_s=0.5, duration_s=40 if quick else 70,
        ramp_s=3 if quick else 10,
    )  # fmt: skip
    kill, stop, redis = (3, 13, 25) if quick else (8, 25, 45)
    events = (
        Event(kill, kill="daphne@2"), Event(stop, stop="daphne@3", for_s=3), Event(redis, stop="redis-server", for_s=3),
    )  # fmt: skip
    base, core = CHAT, CHAT.replace(channel_layer="core")
    cases = {
        "stock": base, "stock, core": core, "layer_reconnects": base.replace(layer_reconnects=True),
        "layer_reconnects, core": core.replace(layer_reconnects=True),
        "daphne_drain_s": base.replace(daphne_drain_s=LEAVE_S), "chat_resume": base.replace(chat_resume=True),
        "all": base.replace(**ALL),
    }
    points = [Point(label, settings, load, events) for label, settings in cases.items()]
    return named("improvement-outages", points, quick, repeats, seed)
