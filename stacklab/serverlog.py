"""The server's view of a run: the lines that nginx logged while it ran."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pyarrow
import pyarrow.parquet

from stacklab.errors import LabError
from stacklab.host import Host

LOG = "/var/log/nginx/requests.jsonl"

SCHEMA = pyarrow.schema([
    ("end_s", pyarrow.float64()),
    ("duration_s", pyarrow.float64()),
    ("upstream_s", pyarrow.float64()),
    ("upstream_addr", pyarrow.string()),
    ("status", pyarrow.int32()),
    ("path", pyarrow.string()),
    ("client", pyarrow.string()),
    ("bytes", pyarrow.int64()),
])  # fmt: skip
"""Columns of server.parquet. `end_s` is seconds since the epoch on the web host's clock; `upstream_s` and
`upstream_addr` are those of the last upstream that nginx tried, null if it tried none."""


@dataclass(frozen=True)
class Mark:
    """A place in the log: which file (its inode) and how many bytes of it there were."""

    inode: int
    size: int


def mark(host: Host) -> Mark:
    """Where the log ends now."""
    inode, size = host.run(f"stat -c '%i %s' {LOG}", sudo=True).split()
    return Mark(int(inode), int(size))


def collect(host: Host, since: Mark, out: Path) -> int:
    """Write what nginx logged since `since` to out/server.parquet; how many requests that is.

    The lab's own checks (from loopback) are left out. LabError if the log was rotated meanwhile.
    """
    now = mark(host)
    if now.inode != since.inode or now.size < since.size:
        raise LabError(f"{LOG} was rotated during the run, so the server's rows are not whole; measure it again")
    lines = host.run(f"tail -c +{since.size + 1} {LOG}", sudo=True, timeout_s=600).splitlines()
    rows = [row for row in map(parse_line, lines) if row["client"] != "127.0.0.1"]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, schema=SCHEMA), out / "server.parquet")
    return len(rows)


def parse_line(line: str) -> dict:
    """One line of the log as a row. Where nginx tried several upstreams it lists all; the last one answered."""
    row = json.loads(line)
    tried = [part.strip() for part in row["upstream_s"].replace(" : ", ", ").split(",")]
    addresses = [part.strip() for part in row["upstream_addr"].replace(" : ", ", ").split(",")]
    row["upstream_s"] = float(tried[-1]) if tried[-1] not in ("", "-") else None
    row["upstream_addr"] = addresses[-1] or None
    return row
