"""Somebody's own site on the web host: sent there, built beside the site that serves, proven, and only then switched to.

The host does the work (provision/build-site, then the one commit of every change); this side packs, sends, and says in
the site's own words what stood in the way.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path

from stacklab.errors import ApplyError, LabError
from stacklab.labs.host import Host
from stacklab.settings import StackSettings
from stacklab.site import FILE, LAB, Project, Site
from stacklab.stack.change import OF_THE_LABS_SITE, Applied, apply, current, site_of
from stacklab.stack.wheels import fetch

BUILD = "/usr/bin/python3 /opt/stacklab/provision/build-site"
SUM_LENGTH = 10
MOST_BYTES = 200_000_000
# What nobody's site needs to run, wherever it lies: histories, caches, compiled files, and this computer's own packages.
PASSED_OVER = (".git", ".hg", ".svn", "__pycache__", "*.pyc", "node_modules", ".tox", ".nox", ".*_cache", ".idea", FILE)
STANDS = "The site before serves on."
ENVIRONMENT_MARK = "pyvenv.cfg"  # in a folder that is a Python environment


def use_site(host: Host, project: Project | None) -> Applied:
    """Have `project` be the site under test; None: the lab's own. The settings stay, the site before is gone afterwards.

    LabError or ApplyError, with the site's own words, if it cannot be built or does not serve; the site before serves on.
    """
    try:
        return _switch(host, LAB) if project is None else _use(host, project)
    finally:
        host.run(f"{BUILD} --tidy", sudo=True, timeout_s=120)


def _use(host: Host, project: Project) -> Applied:
    packed, code = pack(project)
    site = replace(project.site, code=code)
    if site_of(host).place == site.place:
        return Applied()
    try:
        built = _build(host, project, site, packed)
        applied = _switch(host, replace(site, static_url=built["static_url"]))
    except ApplyError as error:
        error.args, error.journal = (project.hidden(error.args[0]),), project.hidden(error.journal)
        raise
    return replace(applied, changed=(*built["changed"], *applied.changed), durations_s=built["durations_s"] | applied.durations_s)


def _build(host: Host, project: Project, site: Site, packed: bytes) -> dict:
    host.run(f"{BUILD} --unpack {site.place}/code", sudo=True, timeout_s=300, input=packed)
    request = {
        "site": site.to_dict(), "place": site.place, "requirements": project.requirements, "static_root": project.static_root,
        "migrate": project.migrate, "requires_python": project.requires_python, "environment": dict(project.environment),
    }  # fmt: skip
    lacks = _outcome(host, site, f"{BUILD} --lacks", request)
    if lacks["python"]:
        wheels = fetch(project, lacks["python"], lacks["platforms"])
        host.run(f"{BUILD} --unpack {site.place}/wheels", sudo=True, timeout_s=600, input=wheels)
    return _outcome(host, site, BUILD, request)


def _outcome(host: Host, site: Site, command: str, request: dict) -> dict:
    """What build-site made of a request; ApplyError, in the site's own words, if nothing."""
    outcome = json.loads(host.run(command, sudo=True, timeout_s=1800, input=json.dumps(request)))
    if not outcome["ok"]:
        raise ApplyError(f"the site {site.name}: {outcome['message']}. {STANDS}", journal=outcome["words"])
    return outcome


def _switch(host: Host, site: Site) -> Applied:
    """Have `site` serve, with the settings there are, as far as it knows them."""
    own = {} if site.is_labs else {name: StackSettings.default(name) for name in OF_THE_LABS_SITE}
    if not (site.is_labs and site_of(host).is_labs):  # the lab's own has the database that is set, another its own
        own["database"] = site.database
    return apply(host, current(host).replace(**own), site=site)


# ---------------------------------------------------------------- packing


def pack(project: Project) -> tuple[bytes, str]:
    """The project as a gzipped tar, and the sum of all that makes it the site it is: its files and its stacklab.toml.

    LabError for a link that leads out of the project, a file that cannot be read, and for more than MOST_BYTES.
    """
    digest, size, buffer = hashlib.sha256((project.root / FILE).read_bytes()), 0, io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as archive:
        for path in _sent(project):
            name = path.relative_to(project.root).as_posix()
            entry = tarfile.TarInfo(name)
            if path.is_symlink():
                entry.type, entry.linkname, content = tarfile.SYMTYPE, os.path.relpath(path.resolve(), path.parent), b""
            else:
                content = _content(path)
                entry.size, entry.mtime = len(content), int(path.stat().st_mtime)
                entry.mode = 0o770 if os.access(path, os.X_OK) else 0o660
            digest.update(f"{name}\0{entry.mode}\0{entry.linkname}\0{len(content)}\0".encode() + content)
            size += len(content)
            if size > MOST_BYTES:
                raise LabError(
                    f"{project.root} holds more than {MOST_BYTES // 1_000_000} MB; name in [site] leave_out of its {FILE} what "
                    f"the site needs not to run, such as leave_out = ['media'] ({path.parent} was being read)"
                )
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue(), digest.hexdigest()[:SUM_LENGTH]


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise LabError(f"{path} cannot be read ({error.strerror}); make it readable, or name it in leave_out") from None


def _sent(project: Project) -> Iterator[Path]:
    """The files and links of the project that go to the web host, in an order of their own."""
    left_out = {project.root / path for path in (*project.leave_out, *filter(None, [project.static_root]))}

    def stays(path: Path) -> bool:
        return path in left_out or any(fnmatch(path.name, pattern) for pattern in PASSED_OVER)

    for folder, folders, files in os.walk(project.root):
        here = Path(folder)
        links = [name for name in folders if (here / name).is_symlink()]
        folders[:] = sorted(
            name for name in folders
            if name not in links and not stays(here / name) and not (here / name / ENVIRONMENT_MARK).exists()
        )  # fmt: skip
        for path in sorted(here / name for name in [*files, *links]):
            if stays(path):
                continue
            if path.is_symlink():
                if not path.exists():
                    continue  # it leads nowhere: an editor's lock, say
                if not path.resolve().is_relative_to(project.root):
                    raise LabError(
                        f"{path} leads out of the project, to {path.resolve()}: put a copy in its place, or name it in leave_out"
                    )
                yield path
            elif path.is_file():
                yield path
