"""`Site`: the Django project under test; `read_project`: what somebody's `stacklab.toml` says of theirs. It only reads.

Every mistake in a stacklab.toml is one LabError that names the file, the key, the value and what to do. What stands in
`[site.environment]` may be secret: it is in no message, and in nothing that `Site.to_dict` gives away.
"""

from __future__ import annotations

import dataclasses
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stacklab.errors import LabError
from stacklab.settings import DATABASES

FILE = "stacklab.toml"
SERVERS_OWN = ("UWSGI_", "GUNICORN_")  # how variables begin that a WSGI server takes for its options
HEARD_BY = ("room", "sender", "all")
LAB_NAME = "lab"
LAB_PAGES = ("/", "/healthz", "/io/", "/cpu/", "/db/", "/visit/")
"""What the lab's own experiments and notebooks ask for (app/pages/urls.py), whatever their query."""


@dataclass(frozen=True, kw_only=True)
class Chat:
    """How people talk on a site's WebSocket, so that a load can: `{room}` and `{text}` are what the load puts in.

    `heard_by`: who hears a message: the sender's "room", "all", or the "sender" alone (an echo).
    """

    path: str
    join: str | None = None
    send: str
    heard_by: str = "room"


@dataclass(frozen=True, kw_only=True)
class Site:
    """What stack and load must know of the site under test. The web host keeps it beside the settings, and each run does.

    `code` is the sum of all that was brought there: two equal ones are the same site. `asgi` None: no Channels, no Daphne.
    `host`: by which name nginx asks the site (None: by the client's own). `static_url` None: nginx serves no static files.
    `pages`: which of LAB_PAGES it has, beside pages of its own; the others' place is taken by `health`.
    """

    name: str
    code: str
    wsgi: str
    asgi: str | None = None
    health: str
    websocket: str | None = None
    host: str | None = None
    static_url: str | None = None
    database: str = "sqlite"
    pages: tuple[str, ...] = ()
    chat: Chat | None = None

    @property
    def is_labs(self) -> bool:
        """Whether it is the lab's own site."""
        return self.name == LAB_NAME

    @property
    def place(self) -> str:
        """Its folder on the web host: code/, venv/, static/, site.env."""
        return f"/var/lib/stacklab/sites/{self.name}" + ("" if self.is_labs else f"-{self.code}")

    def page(self, path: str) -> str:
        """`path`, or the health page where it is one of the lab's own pages and this site has none such."""
        asked = path.partition("?")[0]
        return path if self.is_labs or asked not in LAB_PAGES or asked in self.pages else self.health

    def chat_path(self, room: str) -> str:
        """The path of a room's WebSocket; LabError if the site has none."""
        if self.websocket is None:
            raise LabError(
                f"the site {self.name} has no WebSocket: its {FILE} names no websocket, so there is nothing to chat on; "
                "name one and its asgi, then run 'fab provision --site' again"
            )
        own = self.websocket if not self.is_labs else "/ws/chat/{room}/"
        return (self.chat.path if self.chat else own).replace("{room}", room)

    @property
    def load_path(self) -> str:
        """How the path of each WebSocket begins that a load opens."""
        before, room, _ = self.chat_path("{room}").partition("{room}")
        return f"{before}load" if room else before

    def to_dict(self) -> dict[str, Any]:
        """Its fields, ready for JSON; nothing secret is among them."""
        return dataclasses.asdict(self) | {"pages": list(self.pages)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Site:
        """The inverse of `to_dict`. What a later version added is passed over."""
        known = {f.name: values[f.name] for f in dataclasses.fields(cls) if f.name in values}
        chat = Chat(**known["chat"]) if known.get("chat") else None
        return cls(**known | {"pages": tuple(known.get("pages", ())), "chat": chat})

    def __str__(self) -> str:
        return f"{self.name} ({self.code})" if self.code else self.name


LAB = Site(
    name=LAB_NAME, code="", wsgi="config.wsgi:application", asgi="config.asgi:application", health="/healthz",
    websocket="/ws/", static_url="/static/", pages=LAB_PAGES,
)  # fmt: skip
"""The lab's own site, in app/. Its code is the lab's, and has the lab's version. How one talks in its chat, the load knows
by itself (loadtests/labchat.py)."""


@dataclass(frozen=True, kw_only=True)
class Project:
    """A project on this disk: the site that it is to become, and what it takes to set that up. `environment` is hidden."""

    root: Path
    site: Site
    requirements: str | None = None
    static_root: str | None = None
    migrate: bool = True
    requires_python: str | None = None
    leave_out: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)

    def hidden(self, words: str) -> str:
        """`words` without what the environment holds: what a program of the site says may repeat it."""
        secrets = [value for name, value in self.environment.items() if name != "DJANGO_SETTINGS_MODULE" and len(value) > 3]
        for value in sorted(secrets, key=len, reverse=True):
            words = words.replace(value, "…")
        return words


# ---------------------------------------------------------------- reading a stacklab.toml


class Mistake(Exception):
    """What is wrong with a value, and what to do: the rest of a sentence that begins with the key and the value."""


def read_project(root: Path) -> Project:
    """The project in the folder `root`, as its stacklab.toml describes it. LabError for whatever is wrong with that."""
    root = root.resolve()
    file = root / FILE
    if file.is_file() and not (root / "manage.py").is_file():
        raise LabError(f"{root} has no manage.py: {FILE} belongs beside it, into the root of the Django project")
    if not file.is_file():
        raise LabError(f"{root} has no {FILE}: put one there that says what the lab must know (docs/your-site.md has one)")
    try:
        tables = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise LabError(f"{file}: is not TOML ({error}); put a text in quotes, and one key on a line") from None
    unknown = [name for name in tables if name not in ("site", "chat")]
    if unknown:
        raise LabError(f"{file}: [{unknown[0]}] is not known; there are [site], [site.environment] and [chat]")
    site = _values(file, "site", tables.get("site", {}), SITE_KEYS, root)
    if "asgi" not in site and "websocket" in site:
        raise LabError(f"{file}: [site] websocket={site['websocket']!r} needs asgi: name the application that Daphne is to serve")
    chat = _chat(file, tables["chat"], site, root) if "chat" in tables else None
    about = {name: site.pop(name) for name in PROJECT_KEYS if name in site}
    return Project(
        root=root, **about, requires_python=_requires_python(root),
        site=Site(**{"name": _name_of(root), "host": "localhost"} | site, code="", chat=chat),
    )  # fmt: skip


def _values(file: Path, table: str, given: Any, known: Mapping[str, tuple[bool, Callable]], root: Path) -> dict[str, Any]:
    """The values of a table, each checked; LabError for the first that is wrong, unknown or missing."""
    if not isinstance(given, dict):
        raise LabError(f"{file}: {table}={given!r} must be a table: write [{table}] on a line of its own, its keys below")
    for name in given:
        if name not in known:
            raise LabError(f"{file}: [{table}] {name} is not known: take it out, or one of {', '.join(known)}")
    for name, (needed, _) in known.items():
        if needed and name not in given:
            raise LabError(f"{file}: [{table}] lacks {name}: add it (docs/your-site.md says what it is)")
    values = {}
    for name, value in given.items():
        try:
            values[name] = known[name][1](value, root)
        except Mistake as mistake:
            said = "" if name == "environment" else f"={value!r}"
            raise LabError(f"{file}: [{table}] {name}{said} {mistake}") from None
    return values


def _chat(file: Path, given: Any, site: Mapping[str, Any], root: Path) -> Chat:
    if "websocket" not in site:
        raise LabError(f"{file}: [chat] needs websocket in [site]: the path below which the WebSockets are, such as '/ws/'")
    values = {"path": site["websocket"]} | _values(file, "chat", given, CHAT_KEYS, root)
    chat = Chat(**values)
    if not chat.path.startswith(site["websocket"]):
        raise LabError(
            f"{file}: [chat] path={chat.path!r} is not below websocket={site['websocket']!r}, which is all that nginx hands to "
            "Daphne: make one of them fit"
        )
    rooms = "{room}" in chat.path + (chat.join or "")
    if rooms != (chat.heard_by == "room"):
        tell = "let path or join say {room}, or heard_by who hears it: all, sender" if not rooms else "take {room} out"
        said = f"heard_by={chat.heard_by!r} does not go with path={chat.path!r} and join={chat.join!r}"
        raise LabError(f"{file}: [chat] {said}: {tell}")
    return chat


def _name_of(root: Path) -> str:
    """What the site is called: as its folder, in letters that a folder's name, a file and a web host all take."""
    name = re.sub(r"[^a-z0-9]+", "-", root.name.lower()).strip("-")[:40] or "site"
    return f"{name}-site" if name == LAB_NAME else name


def _requires_python(root: Path) -> str | None:
    """`requires-python` of the project's own pyproject.toml, if it has one."""
    try:
        project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8")).get("project", {})
    except (OSError, ValueError):
        return None  # that file is not ours to judge
    asked = project.get("requires-python") if isinstance(project, dict) else None
    return asked if isinstance(asked, str) else None


# ---------------------------------------------------------------- what each key may be


def _text(value: Any, root: Path | None = None) -> str:
    if not isinstance(value, str) or not value.strip():
        raise Mistake("must be a text: put it in quotes")
    if any(ord(letter) < 32 for letter in value):
        raise Mistake("holds a line break or another control character: take it out")
    return value


def _application(value: Any, root: Path) -> str:
    module, _, name = _text(value).partition(":")
    if not all(part.isidentifier() for part in [*module.split("."), name or "application"]):
        raise Mistake("must be a module and its application, such as 'mysite.wsgi:application'")
    return f"{module}:{name or 'application'}"


def _path(value: Any, root: Path | None = None) -> str:
    """A path of the site, as nginx, Django and a load write it."""
    if not re.fullmatch(r"/[A-Za-z0-9._~!$&'()*+,=:@%/{}?-]*", _text(value)):
        raise Mistake(
            "must be a path of the site, such as '/hello/': it begins with /, names no host and no port, and what is not "
            "ASCII in it is percent-encoded"
        )
    return value


def _prefix(value: Any, root: Path | None = None) -> str:
    if _path(value) == "/":
        raise Mistake("would hand every page to Daphne: name the path below which the WebSockets are, such as '/ws/'")
    if not re.fullmatch(r"(/[A-Za-z0-9._-]+)+/?", value):
        raise Mistake("must be a plain path, such as '/ws/': no query and no pattern ([chat] path takes {room})")
    return value


def _pages(value: Any, root: Path) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise Mistake("must be a list of paths, such as ['/', '/hello/']")
    return tuple(_path(page) for page in value)


def _within(value: Any, root: Path) -> str:
    """A path inside the project, with every link followed."""
    if Path(_text(value)).is_absolute() or not (inner := (root / value).resolve()).is_relative_to(root) or inner == root:
        raise Mistake("lies outside the project: name what is inside it, by a path relative to its root")
    return inner.relative_to(root).as_posix()


def _file(value: Any, root: Path) -> str:
    if not (root / (inner := _within(value, root))).is_file():
        raise Mistake("is not there: name a file of the project, or leave the key out for what the lab's own site has")
    return inner


def _inner_paths(value: Any, root: Path) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise Mistake("must be a list of paths inside the project, such as ['media', 'docs/build']")
    return tuple(Path(_text(path)).as_posix() for path in value)


def _flag(value: Any, root: Path) -> bool:
    if not isinstance(value, bool):
        raise Mistake("must be true or false, without quotes")
    return value


def _one_of(choices: tuple[str, ...]) -> Callable[[Any, Path], str]:
    def check(value: Any, root: Path) -> str:
        if value not in choices:
            raise Mistake(f"must be one of {', '.join(choices)}")
        return value

    return check


def _host(value: Any, root: Path) -> str:
    if not re.fullmatch(r"[A-Za-z0-9.-]{1,253}", _text(value)):
        raise Mistake("must be a host name alone, such as 'www.example.org': one of the site's ALLOWED_HOSTS, without a port")
    return value


def _name(value: Any, root: Path) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,39}", _text(value)) or value == LAB_NAME:
        raise Mistake(f"must be of a to z, 0 to 9 and -, at most 40 of them, and not '{LAB_NAME}', which is the lab's own")
    return value


def _environment(value: Any, root: Path) -> dict[str, str]:
    if not isinstance(value, dict):
        raise Mistake("must be a table: write [site.environment] on a line of its own, the variables below")
    for name, word in value.items():
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) or name.startswith(SERVERS_OWN):
            not_these = "… or ".join(SERVERS_OWN)
            take = f"take letters, digits and _, and no {not_these}…, which servers take for options"
            raise Mistake(f"has the variable {name!r}: {take}")
        if not isinstance(word, str) or any(ord(letter) < 32 for letter in word):
            raise Mistake(f"has {name}, which must be a text of one line: put it in quotes")
    return value


def _template(value: Any, root: Path) -> str:
    if "{text}" not in _text(value):
        raise Mistake("must say {text} where the text of a message goes, as in '{\"message\": \"{text}\"}'")
    return value


# {key: (whether it must be there, what checks it)}
SITE_KEYS: dict[str, tuple[bool, Callable]] = {
    "name": (False, _name), "wsgi": (True, _application), "asgi": (False, _application), "requirements": (False, _file),
    "static_root": (False, _within), "health": (True, _path), "websocket": (False, _prefix), "migrate": (False, _flag),
    "database": (False, _one_of(DATABASES)), "host": (False, _host), "pages": (False, _pages),
    "leave_out": (False, _inner_paths), "environment": (False, _environment),
}  # fmt: skip
PROJECT_KEYS = ("requirements", "static_root", "migrate", "leave_out", "environment")
CHAT_KEYS: dict[str, tuple[bool, Callable]] = {
    "path": (False, _path), "join": (False, _text), "send": (True, _template), "heard_by": (False, _one_of(HEARD_BY)),
}  # fmt: skip
