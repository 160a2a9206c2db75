"""What a test takes for itself of this computer, how it waits for it, however busy it is, and what it leaves for later."""

import base64
import shutil
import socket
import time
from collections.abc import Callable
from typing import Any, TypeVar

import pytest

Seen = TypeVar("Seen")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
"""The browser that is here, if one is."""

_taken: dict[str, socket.socket] = {}


def wait_until(holds: Callable[[], Seen], what: str, within_s: float = 60) -> Seen:
    """Wait until `holds()`, and return what it saw; AssertionError, which says what was waited for, if it never does."""
    end_s = time.monotonic() + within_s
    while not (seen := holds()):
        assert time.monotonic() < end_s, f"not within {within_s:g} s: {what}"
        time.sleep(0.05)
    return seen


def take(name: str) -> bool:
    """Take `name` for this process until it ends; False if another has it.

    To look for what is free and to take it later is a race. An abstract socket is looked for and taken in one, leaves
    nothing on the disk, and is, like a network or a port, one of this network namespace.
    """
    if name not in _taken:
        sign = socket.socket(socket.AF_UNIX)
        try:
            sign.bind(f"\0stacklab-test {name}")
        except OSError:
            sign.close()
            return False
        _taken[name] = sign
    return True


def slowly(*values: Any) -> list:
    """Those of a test's values that `make test` leaves to `make faults`."""
    return [pytest.param(value, marks=pytest.mark.faults) for value in values]


PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n")[:10].decode()


def all_drawn(notebook: Any) -> int:
    """How many pictures an executed notebook holds; each of its cells that ends in a picture, for which a `;` stands, has one."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    images = [[out.data["image/png"] for out in cell.outputs if "image/png" in out.get("data", {})] for cell in cells]
    assert [cell.source for cell, of in zip(cells, images, strict=True) if cell.source.endswith(";") and not of] == []
    assert all(image.startswith(PNG) for of in images for image in of)
    return sum(map(len, images))
