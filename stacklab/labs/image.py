"""The base image: the root that every container lab starts from, built once and kept by the hash of what goes in."""

from __future__ import annotations

import hashlib
import os
import platform
import time
from pathlib import Path

from stacklab.files import ROOT
from stacklab.labs import storage
from stacklab.labs.storage import locked, remove_tree, require_free, run, say

PROVISION = ROOT / "provision"
BUILD = PROVISION / "image" / "build"
INGREDIENTS = (
    BUILD,
    PROVISION / "image" / "customize",
    PROVISION / "image" / "packages.txt",
    PROVISION / "packages.txt",
    PROVISION / "requirements.lock",
)
BUILD_BYTES = 2_000_000_000
KEPT = 3


def image_name() -> str:
    """The image that this checkout asks for: it changes when any ingredient, or the architecture, does."""
    digest = hashlib.sha256(platform.machine().encode())
    for path in INGREDIENTS:
        digest.update(b"\0" + path.read_bytes())
    return f"web-{platform.machine()}-{digest.hexdigest()[:12]}"


def image_path(name: str) -> Path:
    """Where the image is kept: a tar of the whole root."""
    return storage.IMAGES / f"{name}.tar"


def ensure_image() -> str:
    """The name of an image that is there, built first if need be (about a minute, from Debian's packages)."""
    name = image_name()
    storage.IMAGES.mkdir(mode=0o755, parents=True, exist_ok=True)
    with locked("images"):
        if not image_path(name).exists():
            _build(name)
            _forget_old()
        os.utime(image_path(name))  # last used, for _forget_old
    return name


def _build(name: str) -> None:
    """Build into a folder of its own, then rename: a half-built image is never taken for a whole one."""
    say("building the base image from Debian's packages: once, about a minute")
    started = time.monotonic()
    require_free(BUILD_BYTES, "building the base image")
    folder = storage.IMAGES / "building"
    remove_tree(folder)  # of a build that was killed
    folder.mkdir()
    output = folder / "root.tar"
    run(["env", f"TMPDIR={folder}", str(BUILD), str(output)], "cannot build the base image")
    output.rename(image_path(name))
    remove_tree(folder)
    say(f"base image built in {time.monotonic() - started:.0f} s")


def _forget_old() -> None:
    """Keep the images used last; older ones came from packages or locks that changed since."""
    images = sorted(storage.IMAGES.glob("*.tar"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in images[KEPT:]:
        path.unlink()
