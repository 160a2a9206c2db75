"""This checkout's places on disk, and how a small file is replaced whole."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
"""The checkout: the folder that holds provision/, app/, loadtests/ and this package."""

RESULTS = Path(os.environ.get("STACKLAB_RESULTS", "").strip() or ROOT / "results").expanduser().absolute()
"""Where runs go, and are looked for."""


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Replace the file `path` in one step: a reader, or a crash, finds the old text or the new one."""
    new = path.with_name(f".{path.name}.new")
    with open(new, "w") as file:
        json.dump(content, file, indent=2)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    new.chmod(0o644)
    new.rename(path)
