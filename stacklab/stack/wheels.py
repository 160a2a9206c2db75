"""`fetch`: a project's packages, as wheels for the web host's Python. (A container lab has no way out, and needs none.)"""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

from stacklab.errors import ApplyError
from stacklab.files import ROOT
from stacklab.site import Project

WORDS = 12  # lines of pip's


def fetch(project: Project, python: str, platforms: Sequence[str]) -> bytes:
    """What the project's requirements name, downloaded here by a person's own configuration of pip, as a gzipped tar.

    `python` is the web host's version ("3.13"), `platforms` its tags. ApplyError, in pip's words, where there is no wheel.
    """
    requirements = project.root / project.requirements
    hashes = ["--require-hashes"] if b"--hash=" in requirements.read_bytes() else []
    tags = [word for platform in platforms for word in ("--platform", platform)]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-I", str(ROOT / "provision" / "own_pip.py"), "download", "-q", "-d", folder, "--only-binary=:all:",
             "--python-version", python, "--implementation", "cp", *tags, *hashes, "-r", str(requirements)],
            cwd=project.root, capture_output=True, text=True, errors="replace",
        )  # fmt: skip
        if done.returncode:
            raise ApplyError(
                f"the site {project.site.name}: its {project.requirements} cannot be fetched as wheels for Python {python}, the "
                "web host's. The site before serves on.",
                journal="\n".join((done.stdout + done.stderr).strip().splitlines()[-WORDS:]),
            )
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as archive:
            for wheel in sorted(Path(folder).iterdir()):
                archive.add(wheel, wheel.name)
    return buffer.getvalue()
