"""The base image: the root that every container lab starts from, built once and kept by the hash of what goes in."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import time
from pathlib import Path

from stacklab.errors import LabError
from stacklab.files import ROOT, flush
from stacklab.labs import storage
from stacklab.labs.storage import locked, remove_tree, require_free, run, say

PROVISION = ROOT / "provision"
BUILD = PROVISION / "image" / "build"
INGREDIENTS = (
    BUILD,
    PROVISION / "image" / "customize",
    PROVISION / "no-main-cluster",
    PROVISION / "image" / "packages.txt",
    PROVISION / "own_pip.py",
    PROVISION / "packages.txt",
    PROVISION / "requirements.lock",
)
# What a build that went well before ends with, one day: (its words, what that means and how to refresh).
WORN_OUT = (
    (
        "NO_PUBKEY|EXPKEYSIG|KEYEXPIRED|is not signed|sqv returned an error",
        "this computer's keyring does not know the keys that Debian signs with now: "
        "'sudo apt-get update && sudo apt-get install debian-archive-keyring'",
    ),
    (
        "Release file .* (is expired|is not valid yet)",
        "the mirror of Debian's packages lags behind, or this computer's clock is wrong ('date'): try again later",
    ),
    (
        "does not have a Release file|404 +Not Found",
        "the mirror of Debian's packages no longer has that suite or package: try again later, and if Debian has put "
        "the suite away, name the present one in provision/image/build",
    ),
    (
        "certificate is not yet valid|certificate has expired",
        "this computer's clock is wrong ('date'), or the certificate of whoever answers for PyPI has run out",
    ),
    (
        "CERTIFICATE_VERIFY_FAILED",
        "whoever answers for PyPI, a proxy perhaps, is not trusted here: put its CA into /usr/local/share/ca-certificates "
        "and say 'sudo update-ca-certificates'",
    ),
    (
        "Temporary failure|Could not (resolve|connect)|Connection (timed out|refused)|Failed to establish a new connection",
        "no network, or the mirror does not answer: try again when it does",
    ),
    (
        "DO NOT MATCH THE HASHES|No matching distribution found|Could not find a version",
        "a package that provision/requirements.lock names was withdrawn or is another one now: 'make lock' names those of today",
    ),
)
BUILD_BYTES = 2_000_000_000
KEPT = 3


def suite() -> str:
    """The Debian of the machine: Debian 13, or what the environment variable STACKLAB_SUITE names (bookworm is Debian 12)."""
    return os.environ.get("STACKLAB_SUITE", "trixie")


def image_name() -> str:
    """The image that this checkout asks for: it changes when any ingredient, the architecture or the suite does."""
    digest = hashlib.sha256(f"{platform.machine()} {suite()}".encode())
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
    try:
        command = ["env", f"TMPDIR={folder}", f"STACKLAB_SUITE={suite()}", "sh", str(BUILD), str(output)]
        run(command, "cannot build the base image")
    except LabError as error:
        raise LabError(f"{worn_out(str(error))}{error}") from error
    flush(output)
    output.rename(image_path(name))
    remove_tree(folder)
    say(f"base image built in {time.monotonic() - started:.0f} s")


def worn_out(words: str) -> str:
    """The line, if these are words of a source of packages that is no longer what it was; else nothing."""
    return next((f"{meaning}\n" for pattern, meaning in WORN_OUT if re.search(pattern, words)), "")


def _forget_old() -> None:
    """Keep the images used last; older ones came from packages or locks that changed since."""
    images = sorted(storage.IMAGES.glob("*.tar"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in images[KEPT:]:
        path.unlink()
