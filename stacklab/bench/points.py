"""Two points from what somebody typed: `--uwsgi-processes 5,10 --path / --users 50`. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stacklab.bench.plan import Point
from stacklab.errors import SettingsError
from stacklab.settings import Checked, StackSettings
from stacklab.stack.limits import raised_for
from stacklab.workload import ChatLoad, HttpLoad

# Short enough for a block to be repeated, long enough for a p95: chat keeps whole runs.
SHORT_CHAT = ChatLoad(clients=100, rooms=10, duration_s=8, ramp_s=2)


def two_points(now: StackSettings, flags: Mapping[str, Any], chat: bool = False) -> tuple[Point, Point]:
    """A and B: the settings `now`, or a usual load, with what `flags` say; where one has two values, A has the first.

    SettingsError for a flag with more than two values, for two flags that do not belong to the load, and where nothing
    has two values.
    """
    load: ChatLoad | HttpLoad = SHORT_CHAT if chat else HttpLoad(users=50)
    given = {name: str(value).split(",") for name, value in flags.items() if value is not None}
    for name, values in given.items():
        if len(values) > 2:
            raise SettingsError(f"{name}={flags[name]!r} is not allowed: compare takes one value, or two joined by a comma")
        if name not in StackSettings.rules() and name not in type(load).rules():
            other, word = ("HTTP", "leave --chat out") if chat else ("chat", "add --chat")
            raise SettingsError(f"{name} is a flag of {other} load: {word}, or leave it away")
    if not any(len(values) == 2 for values in given.values()):
        raise SettingsError("nothing to compare: give one flag two values, joined by a comma, as in --uwsgi-processes 5,10")
    points = []
    for side in (0, 1):
        texts = {name: values[side if len(values) == 2 else 0] for name, values in given.items()}
        settings, workload = (_with(thing, texts) for thing in (now, load))
        label = ", ".join(f"{name}={values[side]}" for name, values in given.items() if len(values) == 2)
        points.append(Point(label, raised_for(workload.clients, settings) if chat else settings, workload))
    if (points[0].settings, points[0].workload) == (points[1].settings, points[1].workload):
        points = [Point(f"{p.label} ({name})", p.settings, p.workload) for p, name in zip(points, "AB", strict=True)]
    return points[0], points[1]


def _with(thing: Checked, texts: Mapping[str, str]) -> Any:
    """The settings or the load with those of `texts` that are its own."""
    return thing.replace(**type(thing).parse({name: text for name, text in texts.items() if name in type(thing).rules()}))
