"""Who may change this web host: one at a time, by a lock that ends with its holder. Whoever only looks takes nothing.

Standard library only: it runs on the web host.
"""

from __future__ import annotations

import fcntl
import os
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK = Path("/run/stacklab-commit.lock")
WHOLE_FILE = struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)  # struct flock of <fcntl.h>


def under_way() -> bool:
    """Whether somebody changes something now. Asks the kernel: a change that begins meanwhile does not meet the question."""
    try:
        with open(LOCK, "rb") as file:
            return struct.unpack("hhqqi", fcntl.fcntl(file, fcntl.F_OFD_GETLK, WHOLE_FILE))[0] != fcntl.F_UNLCK
    except FileNotFoundError:
        return False


@contextmanager
def alone(patience_s: float) -> Iterator[None]:
    """Change something while nobody else does. TimeoutError if another does all the while."""
    end = time.monotonic() + patience_s
    with open(LOCK, "w") as file:
        while True:
            try:
                fcntl.fcntl(file, fcntl.F_OFD_SETLK, WHOLE_FILE)
                break
            except BlockingIOError:
                if time.monotonic() >= end:
                    raise TimeoutError(f"another change is under way, and has not ended within {patience_s:g} s") from None
                time.sleep(0.2)
        yield
