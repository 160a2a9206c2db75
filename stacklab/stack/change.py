"""The stack on the web host: `provision`, `apply`, `current`, `observe`. One path for every change of a setting.

The host does the work (provision/web.sh, provision/commit-settings); this side renders, sends and
reads the outcome. A change is made by one SSH command, which a broken connection does not stop.
"""

from __future__ import annotations

import io
import json
import shlex
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from stacklab.errors import ApplyError, HostError, LabError, SettingsError
from stacklab.files import ROOT
from stacklab.labs.host import Host
from stacklab.settings import IMPROVEMENTS, NEEDS_LAYER, StackSettings
from stacklab.site import LAB, Site
from stacklab.stack.render import render
from stacklab.stack.sandboxes import exposure
from stacklab.stack.services import SERVICES
from stacklab.version import code_version

SENT = ("app", "provision", "stacklab")
SCRIPT = "/opt/stacklab/provision/commit-settings"
COMMIT = f"/usr/bin/python3 {SCRIPT}"
SOURCE = "/opt/stacklab/source"


@dataclass(frozen=True)
class Applied:
    """What a change did. `changed` holds file paths, `reloaded` units, `durations_s` seconds by step."""

    changed: tuple[str, ...] = ()
    diff: str = ""
    reloaded: tuple[str, ...] = ()
    durations_s: dict[str, float] = field(default_factory=dict)
    observed: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Its fields, ready for JSON."""
        return asdict(self)


def _archive() -> bytes:
    """The part of the checkout that the web host needs, as a gzipped tar."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as archive:
        for folder in SENT:
            archive.add(ROOT / folder, folder, filter=_plain)
    return buffer.getvalue()


def _plain(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Neither compiled files nor boxes; root's, and with modes of ours: the checkout's own say nothing."""
    if "__pycache__" in entry.name or entry.name.startswith(("provision/box", "provision/docker", "provision/image")):
        return None
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    entry.mode = 0o755 if entry.isdir() else 0o644
    return entry


def provision(host: Host) -> Applied:
    """Make the machine the web host: packages, users, secrets, certificates, site, units, and its settings.

    Idempotent: `changed` names what had to change, and is empty the second time. Raises LabError with
    the last words of provision/web.sh if it fails; running it again goes on where it stopped.
    """
    unpack = f"rm -rf {SOURCE} && mkdir -p {SOURCE} && tar -xzf - -C {SOURCE}"
    host.run(unpack, sudo=True, timeout_s=300, input=_archive())
    try:
        command = f"STACKLAB_ADDRESS={shlex.quote(host.web_address)} bash {SOURCE}/provision/web.sh 2>&1"
        output = host.run(command, sudo=True, timeout_s=1800)
    except HostError as error:
        tail = "\n".join(error.stderr.splitlines()[-15:])
        raise LabError(
            f"provisioning {host.name} stopped; 'fab provision' goes on where it stopped. Its last words:\n{tail}"
        ) from error
    changed = tuple(line.removeprefix("changed: ") for line in output.splitlines() if line.startswith("changed: "))
    return Applied(changed=changed)


def apply(
    host: Host, settings: StackSettings, expect: StackSettings | None = None, anew: Sequence[str] = (), site: Site | None = None
) -> Applied:
    """Make `settings` the settings of the stack, proven from its live state, or leave it as it was.

    `expect`: the settings this change was based on; if others are applied by now, nothing changes. `anew`: services
    (nginx, uwsgi, daphne) that take their settings up again in any case, with new processes. `site`: the one that is to
    serve from now on, which lies on the host already; by default the one that does.
    Raises ApplyError with the service's own words; the old settings, and the site before, are serving then.
    """
    serving = site_of(host)
    site = site or serving
    require_effect(site, settings)
    request = {
        "settings": settings.to_dict(),
        "files": [file.to_dict() for file in render(settings, site)],
        "site": site.to_dict(),
        "place": site.place,
        "instead_of": serving.place,
        "expect": expect.to_dict() if expect else None,
        "restart": list(anew),
    }
    try:
        outcome = json.loads(host.run(COMMIT, sudo=True, timeout_s=1800, input=json.dumps(request)))
    except HostError:
        require_provisioned(host)
        raise
    if not outcome["ok"]:
        kept = "The old settings are in force." if site.place == serving.place else "The site before serves on."
        now = kept if outcome.get("restored", True) else "Not everything is as it was: look with 'fab status'."
        raise ApplyError(
            f"{outcome['message']}. {now}",
            unit=outcome["unit"], journal=outcome["journal"], diff=outcome["diff"],
        )
    return Applied(
        tuple(outcome["changed"]), outcome["diff"], tuple(outcome["reloaded"]), outcome["durations_s"], outcome["observed"]
    )


def state(host: Host) -> dict[str, Any]:
    """{"applied": the record of the last commit, "observed": the live state, "changing": a change is being applied
    now, "unfinished": one was cut off and not yet undone, "leaving": how many nginx workers still finish what they have}."""
    require_provisioned(host)
    return json.loads(host.run(f"{COMMIT} --observe", sudo=True))


def status(host: Host, exposed: bool = False) -> dict[str, Any]:
    """{"url", "site", "settings", "observed", "changing", "unfinished", "leaving", "version", "checkout_version"} of the stack;
    `exposed`: with "exposure". Of a host without one {"settings": None}.
    """
    if not is_provisioned(host):
        return {"settings": None}
    seen = state(host)
    applied = seen["applied"]
    return {
        "url": host.url, "site": applied.get("site") or LAB.to_dict(), "settings": applied["settings"],
        **{name: seen[name] for name in ("observed", "changing", "unfinished")}, "leaving": seen.get("leaving", 0),
        "version": applied["version"], "checkout_version": code_version(ROOT),
        **({"exposure": exposure(host)} if exposed else {}),
    }  # fmt: skip


def current(host: Host) -> StackSettings:
    """The settings that are applied, as the host itself records them."""
    return _recorded(host, lambda record: StackSettings.from_dict(record["settings"]))


def site_of(host: Host) -> Site:
    """The site under test, as the host itself records it; the lab's own where it was never another."""
    return _recorded(host, lambda record: Site.from_dict(record["site"]) if record.get("site") else LAB)


def _recorded(host: Host, read: Callable[[dict[str, Any]], Any]) -> Any:
    """What `read` makes of the record of the last commit."""
    try:
        return read(json.loads(host.run("cat /etc/stacklab/settings.json")))
    except HostError:
        require_provisioned(host)
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise LabError(f"{host.name} has settings that this checkout cannot read ({error}); run 'fab provision'") from error


# What only the lab's own chat takes up, or has the code for.
OF_THE_LABS_SITE = tuple(dict.fromkeys(("channel_layer", *NEEDS_LAYER, *IMPROVEMENTS)))


def require_effect(site: Site, settings: StackSettings) -> None:
    """SettingsError, by name, for a setting that another site than the lab's knows nothing of."""
    for name in () if site.is_labs else OF_THE_LABS_SITE:
        if getattr(settings, name) != (usual := StackSettings.default(name)):
            raise SettingsError(
                f"{name}={getattr(settings, name)!r} would have no effect: it is the lab's own chat's, and {site.name} is "
                f"under test; leave it at {usual!r}, or go back by 'fab provision --site lab'"
            )
    if not site.is_labs and settings.database != site.database:
        raise SettingsError(
            f"database={settings.database!r} would have no effect: {site.name} has {site.database!r}, as its stacklab.toml says; "
            "change it there and run 'fab provision --site' again, or go back by 'fab provision --site lab'"
        )


def fitting(settings: StackSettings, site: Site) -> StackSettings:
    """`settings` as they are on `site`: another than the lab's says itself which database it has."""
    usual = settings.database == StackSettings.default("database")
    return settings.replace(database=site.database) if usual and not site.is_labs else settings


def observe(host: Host) -> dict[str, Any]:
    """The live state of the services (not their files), under the names of the settings where there is one."""
    return state(host)["observed"]


def ca_certificate(host: Host) -> str:
    """The lab's own CA certificate, as PEM: what a client must trust to reach the site."""
    require_provisioned(host)
    return host.run("cat /etc/stacklab/tls/ca.crt")


def versions(host: Host) -> dict[str, str]:
    """The versions of what runs on the web host: {"nginx": "1.26.3", …}."""
    output = host.run(VERSIONS)
    return dict(line.split("=", 1) for line in output.splitlines() if "=" in line)


OF_THE_SITE = ("django", "channels", "channels-redis", "twisted", "psycopg")
PACKAGES = (*OF_THE_SITE, *(package for service in SERVICES.values() for package in service.packages))
VERSIONS = r"""
. /etc/os-release; echo "os=$PRETTY_NAME"
echo "kernel=$(uname -r)"
echo "nginx=$(/usr/sbin/nginx -v 2>&1 | sed 's|.*/||')"
echo "postgresql=$(/opt/stacklab/postgresql/bin/postgres --version 2>/dev/null | sed -E 's/.* ([0-9.]+) .*/\1/')"
echo "redis=$(redis-server --version | sed -E 's/.*v=([0-9.]+).*/\1/')"
/opt/stacklab/site/venv/bin/python -I -c '
import importlib.metadata, platform
print("python=" + platform.python_version())
for name in PACKAGES:
    try:
        print(f"{name}={importlib.metadata.version(name)}")
    except importlib.metadata.PackageNotFoundError:
        pass
'
""".replace("PACKAGES", json.dumps(PACKAGES))


def is_provisioned(host: Host) -> bool:
    """Whether the stack was set up on this machine."""
    return host.run(f"test -e {SCRIPT} && test -e /etc/stacklab/settings.json && echo yes || true").strip() == "yes"


def require_provisioned(host: Host) -> None:
    """One clear line where the machine runs and the stack was never set up on it."""
    if not is_provisioned(host):
        raise LabError(f"{host.name} runs, but the stack is not set up on it; run 'fab provision'")
