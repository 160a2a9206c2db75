"""The version of the code that a checkout holds, or that a web host was provisioned with."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from stacklab import __version__

# What of a checkout goes to the web host; there the package lies in lib/.
FOLDERS = ("app", "provision/templates", "provision/files")
FILES = ("commit-settings", "changing.py", "live.py", "first-settings", "build-site", "web.sh", "certificates.sh", "own_pip.py",
         "packages.txt", "no-main-cluster", "requirements.lock")
MODULES = ("__init__.py", "errors.py", "files.py", "settings.py", "site.py", "version.py", "stack/__init__.py", "stack/render.py")


def modules(package: Path) -> list[str]:
    """What of the package the web host runs, as paths below it."""
    return [*MODULES, *sorted(f"stack/services/{path.name}" for path in (package / "stack/services").glob("*.py"))]


def _files(root: Path, package: Path) -> Iterator[tuple[str, Path]]:
    for folder in FOLDERS:
        for path in (root / folder).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                yield path.relative_to(root).as_posix(), path
    for name in FILES:
        yield f"provision/{name}", root / "provision" / name
    for name in modules(package):
        yield f"stacklab/{name}", package / name


def code_version(root: Path, package: Path | None = None) -> str:
    """'0.1.0+<digest>' over everything under `root` that the web host runs. Two equal ones run the same code."""
    digest = hashlib.sha256()
    for name, path in sorted(_files(root, package or root / "stacklab")):
        digest.update(f"{name}\0".encode() + path.read_bytes() + b"\0")
    return f"{__version__}+{digest.hexdigest()[:10]}"
