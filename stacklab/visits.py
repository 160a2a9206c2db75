"""`Visits`: what the visitors of a site do, as a small TOML file says it (loadtests/visits.toml has every word). Pure: no I/O."""

from __future__ import annotations

import random
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from stacklab.errors import SettingsError
from stacklab.settings import Checked, Rule, decimal, number, switch, text

WEIGHT = Rule("how often, against the others", 0, 1_000_000, kind=float)
TEXT = Rule("what is filled in", kind=str)


@dataclass(frozen=True, kw_only=True)
class Visit(Checked):
    """Somebody comes, has no cookies yet, looks at some pages, and goes."""

    pages_per_visit: int = number(8, 1, 10_000, "pages and forms of a visit, besides the login")
    think_s: float = decimal(5.0, 0, 3600, "seconds between two of them, in the mean; at random, as pauses of people are")
    with_files: bool = switch(True, "whether a visitor also gets the stylesheets, scripts and images of its pages, each once")


@dataclass(frozen=True, kw_only=True)
class Form(Checked):
    """A page with a form: it is asked for, filled in, and sent with what is hidden in it, such as Django's token."""

    path: str = text("", "the page's path")
    weight: float = decimal(1.0, 0, 1_000_000, WEIGHT.help)


@dataclass(frozen=True, kw_only=True)
class Login(Checked):
    """A form that a visit begins with."""

    path: str = text("", "the page's path")
    share: float = decimal(1.0, 0, 1, "share of the visitors")


@dataclass(frozen=True, kw_only=True)
class Chatting(Checked):
    """What those do who also chat, from the beginning of their visit to its end. In the protocol of the lab's own chat."""

    share: float = decimal(0.2, 0, 1, "share of the visitors")
    rooms: int = number(10, 1, 60_000, "rooms, filled evenly")
    messages_per_min: float = decimal(6.0, 0, 900, "messages a minute of each of them")
    size_bytes: int = number(100, 1, 4096, "length of a message's text")


@dataclass(frozen=True, kw_only=True)
class Arrivals(Checked):
    """Visits that begin at random, however many are under way: an open load. A burst takes the place of the rate, for a while."""

    per_s: float = decimal(1.0, 0.001, 10_000, "visits that begin each second")
    rise_s: float = decimal(0.0, 0, 3600, "seconds over which that is reached, evenly from none")
    burst_at_s: float | None = decimal(None, 0, 86_400, "seconds after which a burst begins")
    burst_s: float = decimal(5.0, 0.1, 3600, "how long it lasts")
    burst_per_s: float | None = decimal(None, 0.001, 10_000, "visits that begin each second of it")

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.burst_at_s is None) != (self.burst_per_s is None):
            raise SettingsError("burst_at_s and burst_per_s are not allowed without each other: give both, or none")

    def per_s_at(self, at_s: float) -> float:
        """How many begin each second, so long after the load began."""
        if self.burst_at_s is not None and self.burst_at_s <= at_s < self.burst_at_s + self.burst_s:
            return self.burst_per_s
        return self.per_s * min(1.0, at_s / self.rise_s) if self.rise_s else self.per_s

    def instants(self, draw: random.Random) -> Iterator[float]:
        """When each begins, in seconds: a Poisson process of that rate, by thinning (Lewis and Shedler 1979)."""
        most = max(self.per_s, self.burst_per_s or 0.0)
        at_s = 0.0
        while True:
            at_s += draw.expovariate(most)
            if draw.random() * most < self.per_s_at(at_s):
                yield at_s


@dataclass(frozen=True)
class Visits:
    """`steps`: a path to be asked for, or a form to be sent, with how often each is chosen against the others."""

    visit: Visit
    steps: Mapping[str | Form, float]
    fields: Mapping[str, Mapping[str, str]]  # of each form, by its page's path
    login: Login | None
    chat: Chatting | None
    arrivals: Arrivals | None


Part = TypeVar("Part", bound=Checked)


def parse(source: str) -> Visits:
    """What such a file says. SettingsError, in one line with the field's name, if that cannot be."""
    try:
        tables = tomllib.loads(source)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"this is not TOML ({error}); put a text and a path in quotes, and one key on a line") from None
    pages, forms = tables.pop("pages", {}), tables.pop("forms", [])
    login, chat, arrivals = (tables.pop(name, None) for name in ("login", "chat", "arrivals"))
    fields: dict[str, Mapping[str, str]] = {}
    steps: dict[str | Form, float] = {}
    for path, weight in _table("pages", pages).items():
        _in("pages", WEIGHT.check, path, weight)
        steps[_path("pages", path)] = weight
    for given in forms if isinstance(forms, list) else [forms]:
        form = _form(Form, "forms", given, fields)
        steps[form] = form.weight
    if not any(steps.values()):
        raise SettingsError('[pages] is missing: it says how often each path is asked for, against the others, as in "/" = 5')
    return Visits(
        visit=Visit.from_dict(tables),
        steps=steps,
        fields=fields,
        login=None if login is None else _form(Login, "login", login, fields),
        chat=None if chat is None else _in("chat", Chatting.from_dict, _table("chat", chat)),
        arrivals=None if arrivals is None else _in("arrivals", Arrivals.from_dict, _table("arrivals", arrivals)),
    )


def _form(of: type[Part], name: str, given: Any, fields: dict[str, Mapping[str, str]]) -> Part:
    table = dict(_table(name, given))
    filled_in = _table(f"{name}.fields", table.pop("fields", {}))
    for field, value in filled_in.items():
        _in(f"{name}.fields", TEXT.check, field, value)
    form = _in(name, of.from_dict, table)
    if _path(name, form.path) in fields:
        raise SettingsError(f"[{name}] {form.path!r} is told twice: one form of a page is filled in")
    if not filled_in:
        raise SettingsError(f"[{name}] fields is missing: it says what is filled in, and which form of the page is meant")
    fields[form.path] = filled_in
    return form


def _table(name: str, given: Any) -> Mapping[str, Any]:
    if not isinstance(given, dict):
        raise SettingsError(f"{name}={given!r} is not allowed: write [{name}] on a line of its own, and what it says below")
    return given


def _path(name: str, path: str) -> str:
    if not path.startswith("/") or any(each.isspace() for each in path):
        raise SettingsError(f"[{name}] {path!r} is not allowed: a path starts with / and holds no white space")
    return path


def _in(name: str, check: Any, *values: Any) -> Any:
    """What `check` makes of the values; its complaint names the table."""
    try:
        return check(*values)
    except SettingsError as error:
        raise SettingsError(f"[{name}] {error}") from None
