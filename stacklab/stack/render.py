"""`render`: settings in, the text of every configuration file out. Pure but for reading the templates.

The web host runs this too, at its first provisioning: it needs nothing but Jinja2.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateError

from stacklab.errors import SettingsError
from stacklab.settings import StackSettings
from stacklab.site import LAB, Site
from stacklab.stack.services import in_force
from stacklab.stack.services.nginx import open_files_needed
from stacklab.stack.services.wsgi import somaxconn_needed

# In a checkout: provision/templates. On the web host: /opt/stacklab/provision/templates.
TEMPLATES = Path(__file__).resolve().parents[2] / "provision" / "templates"


@dataclass(frozen=True)
class ConfigFile:
    """One file that depends on a setting: where it goes, what it says, and which part of the stack takes it up."""

    path: str
    text: str
    unit: str

    def to_dict(self) -> dict[str, str]:
        """{path, text, unit}, ready for JSON."""
        return {"path": self.path, "text": self.text, "unit": self.unit}


# Key and certificate of what stands behind nginx.
PEM = "/etc/stacklab/tls/daphne.pem"


def daphne_command(settings: StackSettings) -> str:
    """Daphne's own command; the launcher on it where an improvement of the server itself is on."""
    improved = settings.daphne_drain_s or settings.bounded_sockets
    return "python -m improvements.server" if improved else "daphne"


def room_pattern(site: Site) -> str | None:
    """What nginx finds the room's name in a WebSocket's path by; None where no room stands in it."""
    if site.websocket is None:
        return None
    before, room, after = site.chat_path("{room}").partition("?")[0].partition("{room}")
    return f"^{re.escape(before)}(?<name>[^/]+){re.escape(after.rstrip('/'))}/?$" if room else None


@cache
def _environment(templates: Path) -> Environment:
    return Environment(
        loader=FileSystemLoader(templates), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        keep_trailing_newline=True, autoescape=False,
    )


def render(settings: StackSettings, site: Site = LAB, templates: Path = TEMPLATES) -> tuple[ConfigFile, ...]:
    """Every file of the stack that depends on `settings` or on the site, in the order in which changes are taken up.

    Raises SettingsError, naming the template, if one cannot be rendered (a name it does not know, say).
    """
    services = in_force(settings.to_dict())
    names = {
        "s": settings,
        "site": site,
        "room_pattern": room_pattern(site),
        "label": services[settings.asgi_server].label,
        "open_files": open_files_needed(settings.nginx_worker_connections),
        "somaxconn": somaxconn_needed(settings.uwsgi_listen),
        "wsgi_socket": services[settings.wsgi_server].socket,
        "daphne_ports": settings.daphne_ports() if site.asgi else [],
        "daphne_command": daphne_command(settings),
        "asgi": "improvements.asgi:application" if settings.app_improved() else site.asgi or "",
        "pem": PEM,
    }
    files = []
    for file in (file for service in reversed(services.values()) for file in service.templates):
        try:
            text = _environment(templates).get_template(f"{file.name}.j2").render(names)
        except TemplateError as error:
            raise SettingsError(f"the template {file.name}.j2 cannot be rendered: {error}") from error
        files.append(ConfigFile(file.path, text, file.part))
    return tuple(files)
