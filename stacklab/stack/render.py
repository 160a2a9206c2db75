"""`render`: settings in, the text of every configuration file out. Pure but for reading the templates.

The web host runs this too, at its first provisioning: it needs nothing but Jinja2.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateError

from stacklab.errors import SettingsError
from stacklab.settings import StackSettings

# In a checkout: provision/templates. On the web host: /opt/stacklab/provision/templates.
TEMPLATES = Path(__file__).resolve().parents[2] / "provision" / "templates"


@dataclass(frozen=True)
class ConfigFile:
    """One file that depends on a setting: where it goes, what it says, and what must happen when it changes.

    `on_change` is "reload" (the unit takes it up while it serves) or "roll" (its instances are
    restarted one at a time).
    """

    path: str
    text: str
    unit: str
    on_change: str = "reload"

    def to_dict(self) -> dict[str, str]:
        """{path, text, unit, on_change}, ready for JSON."""
        return {"path": self.path, "text": self.text, "unit": self.unit, "on_change": self.on_change}


# template, path on the web host, unit, what a change asks for
FILES = (
    ("sysctl.conf", "/etc/sysctl.d/90-stacklab.conf", "sysctl", "reload"),
    ("daphne.env", "/etc/stacklab/daphne.env", "daphne", "roll"),
    ("daphne@.service", "/etc/systemd/system/daphne@.service", "daphne", "roll"),
    ("daphne.target", "/etc/systemd/system/daphne.target", "daphne.target", "reload"),
    ("uwsgi.ini", "/etc/uwsgi/stacklab.ini", "uwsgi", "reload"),
    ("nginx.conf", "/etc/nginx/nginx.conf", "nginx", "reload"),
    ("site.conf", "/etc/nginx/conf.d/stacklab.conf", "nginx", "reload"),
)

# An open file for each connection a worker may hold, and some for logs, static files and listening sockets.
SPARE_OPEN_FILES = 512


def open_files_needed(settings: StackSettings) -> int:
    """`worker_rlimit_nofile`: without it nginx stays at the soft limit, however many worker_connections it has."""
    return max(1024, settings.nginx_worker_connections + SPARE_OPEN_FILES)


def somaxconn_needed(settings: StackSettings) -> int:
    """`net.core.somaxconn`: the kernel cuts a longer listen backlog down to it, silently. Linux's own default is 4096."""
    return max(4096, settings.uwsgi_listen)


def daphne_command(settings: StackSettings) -> str:
    """Daphne's own command; the launcher on it where an improvement of the server itself is on."""
    improved = settings.daphne_drain_s or settings.bounded_sockets
    return "python -m improvements.server" if improved else "daphne"


TLS_FILES = ":privateKey=/etc/stacklab/tls/daphne.key:certKey=/etc/stacklab/tls/daphne.crt"


@cache
def _environment(templates: Path) -> Environment:
    return Environment(
        loader=FileSystemLoader(templates), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        keep_trailing_newline=True, autoescape=False,
    )


def render(settings: StackSettings, templates: Path = TEMPLATES) -> tuple[ConfigFile, ...]:
    """Every file of the stack that depends on `settings`, in the order in which changes are taken up.

    Raises SettingsError, naming the template, if one cannot be rendered (a name it does not know, say).
    """
    names = {
        "s": settings,
        "open_files": open_files_needed(settings),
        "somaxconn": somaxconn_needed(settings),
        "daphne_ports": settings.daphne_ports(),
        "daphne_command": daphne_command(settings),
        "asgi": "improvements.asgi:application" if settings.app_improved() else "config.asgi:application",
        "tls_files": TLS_FILES,
    }
    files = []
    for template, path, unit, on_change in FILES:
        try:
            text = _environment(templates).get_template(f"{template}.j2").render(names)
        except TemplateError as error:
            raise SettingsError(f"the template {template}.j2 cannot be rendered: {error}") from error
        files.append(ConfigFile(path, text, unit, on_change))
    return tuple(files)
