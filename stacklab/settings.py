"""`StackSettings`: every tunable of the stack, the factors of an experiment. Pure: no I/O.

The static range of each setting is checked here. Limits of one host (open files, somaxconn,
memory) are checked on the host, by provision/commit-settings, from its live state.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

from stacklab.errors import SettingsError

BALANCE_METHODS = ("round_robin", "least_conn", "ip_hash", "hash", "random_two")
CHANNEL_LAYERS = ("core", "pubsub", "memory")
WSGI_SERVERS = ("uwsgi", "gunicorn")
DATABASES = ("sqlite", "postgresql")
ASGI_SERVERS = ("daphne", "uvicorn", "hypercorn", "granian")
# What one server alone knows: with another it would do nothing, and is refused.
NEEDS_SERVER = {"daphne_drain_s": ("daphne",), "asgi_threads": ("daphne",), "bounded_sockets": ("daphne",)}
# What is better than stock, in the site and in its server (app/improvements); `daphne_drain_s` is one too, above 0.
APP_IMPROVEMENTS = ("lean_dispatch", "tidy_channels", "one_subscription", "layer_reconnects", "chat_resume")
IMPROVEMENTS = (*APP_IMPROVEMENTS, "bounded_sockets", "daphne_drain_s")
# Where a setting does something; with another layer it is refused.
NEEDS_LAYER = {
    "one_subscription": ("pubsub",), "layer_reconnects": ("core", "pubsub"), "chat_resume": ("core", "pubsub"),
    "channel_capacity": ("core", "memory"), "redis_pool": ("core",),
}  # fmt: skip
MAX_DAPHNE_INSTANCES = 16
FIRST_DAPHNE_PORT = 8443


@dataclass(frozen=True)
class Rule:
    """What one field accepts: whole numbers from `low` to `high`, one of `choices`, or yes/no."""

    help: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    optional: bool = False
    kind: type = int

    def allowed(self) -> str:
        """The range in words, for messages and for `fab set --help`."""
        if self.choices:
            words = "one of " + ", ".join(self.choices)
        elif self.kind is bool:
            words = "true or false"
        elif self.kind is str:
            words = "text"
        elif self.kind is float:
            words = f"a number from {self.low:g} to {self.high:g}"
        else:
            words = f"a whole number from {self.low} to {self.high}"
        return words + (", or none" if self.optional else "")

    def check(self, name: str, value: Any) -> None:
        """Raise SettingsError, with the field's name and range, unless `value` fits."""
        if value is None and self.optional:
            return
        if self.choices:
            fits = value in self.choices
        elif self.kind is bool:
            fits = isinstance(value, bool)
        elif self.kind is str:
            fits = isinstance(value, str)
        else:
            numbers = (int,) if self.kind is int else (int, float)
            fits = isinstance(value, numbers) and not isinstance(value, bool) and self.low <= value <= self.high
        if not fits:
            raise SettingsError(f"{name}={value!r} is not allowed: {name} takes {self.allowed()}")

    def parse(self, name: str, text: str) -> Any:
        """The value that `text` (from a command line) stands for; SettingsError if it stands for none."""
        word = text.strip().lower()
        if self.optional and word == "none":
            return None
        value: Any = text
        try:
            if self.choices:
                value = word
            elif self.kind is bool:
                value = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}[word]
            elif self.kind is not str:
                value = self.kind(word)
        except (KeyError, ValueError):
            pass  # `check` says what is wrong with it, in the same words as everywhere else
        self.check(name, value)
        return value


def number(default: int | None, low: int, high: int, help: str) -> Any:
    """A field that holds a whole number from `low` to `high` (or None, where that is the default)."""
    return field(default=default, metadata={"rule": Rule(help, low, high, optional=default is None)})


def decimal(default: float | None, low: float, high: float, help: str) -> Any:
    """A field that holds a number from `low` to `high` (or None, where that is the default)."""
    return field(default=default, metadata={"rule": Rule(help, low, high, optional=default is None, kind=float)})


def choice(default: str, choices: tuple[str, ...], help: str) -> Any:
    """A field that holds one of `choices`."""
    return field(default=default, metadata={"rule": Rule(help, choices=choices)})


def switch(default: bool, help: str) -> Any:
    """A field that is true or false."""
    return field(default=default, metadata={"rule": Rule(help, kind=bool)})


def text(default: str, help: str) -> Any:
    """A field that holds text; the class checks its form."""
    return field(default=default, metadata={"rule": Rule(help, kind=str)})


class Checked:
    """What settings and workloads share: checked on creation, flat, to and from a dict or command-line text."""

    def __post_init__(self) -> None:
        for name, rule in self.rules().items():
            rule.check(name, getattr(self, name))

    @classmethod
    def rules(cls) -> dict[str, Rule]:
        """{field name: Rule}, in the order of the fields."""
        return {f.name: f.metadata["rule"] for f in fields(cls)}

    @classmethod
    def _known(cls, changes: Mapping[str, Any]) -> None:
        unknown = [name for name in changes if name not in cls.rules()]
        if unknown:
            raise SettingsError(
                f"{cls.__name__} has no field {', '.join(unknown)}; its fields are {', '.join(cls.rules())}"
            )

    def replace(self, **changes: Any) -> Self:
        """A copy with `changes`; SettingsError if a field is unknown or a value is not allowed."""
        self._known(changes)
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """{field name: value}, ready for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`. A field that is missing takes its default; an unknown one is refused."""
        cls._known(values)
        return cls(**values)

    @classmethod
    def parse(cls, texts: Mapping[str, str | None]) -> dict[str, Any]:
        """{field name: text from a command line} → {field name: value}. None (not given) is left out."""
        cls._known(texts)
        return {name: cls.rules()[name].parse(name, value) for name, value in texts.items() if value is not None}


def _before_improvements(values: Mapping[str, Any]) -> dict[str, Any]:
    """A whole record of the lab's first code, whose chat had most of the improvements built in."""
    layer = values.get("channel_layer", "pubsub")
    built_in = dict.fromkeys(("lean_dispatch", "bounded_sockets", "one_subscription", "layer_reconnects"), True)
    read = {**values, **built_in}
    return read | {name: StackSettings.default(name) for name, layers in NEEDS_LAYER.items() if layer not in layers}


@dataclass(frozen=True, kw_only=True)
class StackSettings(Checked):
    """The settings of nginx, uWSGI, Daphne and the channel layer. The defaults are the lab's.

    Raises SettingsError with the field's name and its range.
    """

    nginx_worker_processes: int = number(1, 1, 64, "nginx: worker processes")
    nginx_worker_connections: int = number(1024, 64, 60_000, "nginx: connections a worker may hold, two a proxied client")
    wsgi_server: str = choice("uwsgi", WSGI_SERVERS, "WSGI: the server of the pages (where a name says uwsgi, it is meant)")
    uwsgi_processes: int = number(5, 1, 64, "WSGI: worker processes")
    uwsgi_threads: int = number(1, 1, 64, "WSGI: threads in each worker process")
    uwsgi_listen: int = number(1024, 1, 65_535, "WSGI: requests that may wait in the socket's queue (backlog)")
    database: str = choice("sqlite", DATABASES, "database: of the pages that read and write (sqlite is a file)")
    asgi_server: str = choice("daphne", ASGI_SERVERS, "ASGI: the server of the instances (where a name says daphne, it is meant)")
    daphne_instances: int = number(3, 1, MAX_DAPHNE_INSTANCES, "ASGI: instances behind nginx")
    daphne_tls: bool = switch(True, "ASGI: TLS between nginx and each instance")
    daphne_drain_s: int = number(0, 0, 300, "Daphne: seconds that sockets may live on when their instance stops; then 1012 "
                                 "(0: Daphne's own way, which drops them)")
    asgi_threads: int | None = number(None, 1, 256, "Daphne: threads of the event loop's own pool (none: as Python has it)")
    balance: str = choice("round_robin", BALANCE_METHODS, "nginx: how a WebSocket is given an instance")
    balance_zone: bool = switch(True, "nginx: balancing state shared by all workers")
    balance_max_fails: int = number(1, 0, 100, "nginx: failures before an instance is passed over (0: never)")
    balance_fail_timeout_s: int = number(10, 1, 3600, "nginx: seconds in which they count, and for which it is passed over")
    channel_layer: str = choice("pubsub", CHANNEL_LAYERS, "Channels: the layer between instances (memory is wrong on purpose)")
    channel_capacity: int = number(100, 1, 100_000, "Channels: messages a channel holds before new ones are dropped")
    redis_pool: int | None = number(None, 2, 1000, "Channels: connections to Redis that the core layer of an instance may open "
                                    "(none: redis-py's own 100)")
    lean_dispatch: bool = switch(False, "chat: no thread for each message")
    tidy_channels: bool = switch(False, "Channels: what a layer keeps for a socket goes with the socket")
    one_subscription: bool = switch(False, "Channels: pubsub subscribes once a room, not once more for each socket")
    layer_reconnects: bool = switch(False, "Channels: the layer outlives a restart of Redis")
    bounded_sockets: bool = switch(False, "Daphne: a client that does not read, or floods, costs an instance little")
    chat_resume: bool = switch(False, "chat: room history in Redis, so that a client that was away loses nothing")

    def __post_init__(self) -> None:
        super().__post_init__()
        for chooser, needs, why in (
            ("channel_layer", NEEDS_LAYER, "where it would do nothing"),
            ("asgi_server", NEEDS_SERVER, "which knows no such setting"),
        ):
            chosen = getattr(self, chooser)
            for name, fitting in needs.items():
                value, usual = getattr(self, name), self.default(name)
                if value != usual and chosen not in fitting:
                    raise SettingsError(
                        f"{name}={value} is not allowed with {chooser}={chosen!r}, {why}: "
                        f"take {chooser} {' or '.join(fitting)}, or leave {name} at {usual}"
                    )

    @classmethod
    def default(cls, name: str) -> Any:
        """The default of a field."""
        return cls.__dataclass_fields__[name].default

    def app_improved(self) -> bool:
        """Whether an improvement of the site itself is on, beside those of its server."""
        return any(getattr(self, name) for name in APP_IMPROVEMENTS)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`. A field that is missing takes its default; an unknown one is refused.

        A record of before the improvements were settings says so by what it lacks: it is read as what its code did.
        """
        if "redis_pool" in values and "lean_dispatch" not in values:
            values = _before_improvements(values)
        return super().from_dict(values)

    @classmethod
    def post(cls) -> Self:
        """The values of the post under test (CLAIMS: 1024 connections, 5 processes, three Daphnes, round robin).

        It names no backlog and no channel layer options, so uWSGI's and channels-redis' own defaults
        stand: listen 100, the core layer with capacity 100.
        """
        return cls(uwsgi_listen=100, channel_layer="core")

    def daphne_ports(self) -> list[int]:
        """The port of each instance: 8443 for the first, then upwards."""
        return [FIRST_DAPHNE_PORT + n for n in range(self.daphne_instances)]
