"""The server's view of a run: the lines that nginx logged while it ran."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pyarrow

from stacklab.errors import LabError
from stacklab.labs.host import Host
from stacklab.runs.tables import SCHEMAS, write_table
from stacklab.stack.services import SERVICES, journal_units

REQUESTS = "/var/log/nginx/requests.jsonl"
LOGS = tuple(log for service in SERVICES.values() for log in service.logs)
RESUMED = {"r": True, ".": False}  # nginx's words; without TLS there are none
ROTATED = ".1"  # after the name of a log: what logrotate has put aside


@dataclass(frozen=True)
class Mark:
    """A place in each log: which file it is (its inode), how many bytes of it there were, and when."""

    files: dict[str, tuple[int, int]]
    time_s: float


def mark(host: Host) -> Mark:
    """Where the logs end now."""
    names = " ".join(name + end for name in LOGS for end in ("", ROTATED))
    now, *lines = host.run(f"date +%s.%N; stat -c '%n %i %s' {names} 2>/dev/null || true", sudo=True).splitlines()
    fields = [line.split() for line in lines]
    return Mark({name: (int(inode), int(size)) for name, inode, size in fields}, float(now))


def collect(host: Host, since: Mark, out: Path) -> int:
    """Write what nginx logged since `since` to out/server.parquet; how many requests that is.

    What the other logs and the services' journal gained goes to out/logs/, each under its own name.
    The lab's own checks (from loopback) are left out. LabError if nginx's log was rotated more than once meanwhile.
    """
    now = mark(host)
    count = _requests(host, since, now, out)
    logs = out / "logs"
    logs.mkdir(exist_ok=True)
    for name, place in now.files.items():
        if name.endswith(".log") and place != since.files.get(name):
            (logs / name.removeprefix("/var/log/").replace("/", "-")).write_text(_gained(host, since, now, name))
    command = f"journalctl --no-pager -o short-precise --since=@{since.time_s:.3f} {journal_units()}"
    journal = host.run(command, sudo=True, timeout_s=120)
    (logs / "journal.log").write_text(journal)
    return count


def collect_requests(host: Host, since: Mark, out: Path) -> int:
    """The same without the other logs: quick, and as easy on the web host as may be, for between two slices."""
    return _requests(host, since, mark(host), out)


def _requests(host: Host, since: Mark, now: Mark, out: Path) -> int:
    if REQUESTS not in since.files or REQUESTS not in now.files:
        raise LabError(f"{REQUESTS} is not on the web host; 'fab provision' mends it")
    lines = _gained(host, since, now, REQUESTS).split("\n")  # and not at what else Unicode takes for the end of a line
    rows = [row for row in map(parse_line, filter(None, lines)) if row["client"] != "127.0.0.1"]
    write_table(pyarrow.Table.from_pylist(rows, schema=SCHEMAS["server"]), out / "server.parquet")
    return len(rows)


def _gained(host: Host, since: Mark, now: Mark, name: str) -> str:
    """What the log `name` gained since the mark, also where logrotate put it aside meanwhile; all of it where it is new."""
    inode, size = since.files.get(name, (0, 0))
    if now.files[name][0] == inode and now.files[name][1] >= size:
        return _from(host, name, size)
    if now.files.get(name + ROTATED, (0, 0))[0] == inode:
        return _from(host, name + ROTATED, size) + _from(host, name, 0)
    if name == REQUESTS:
        raise LabError(f"{name} was rotated twice, or emptied, during the run, so its rows are not whole; measure it again")
    return _from(host, name, 0)


def _from(host: Host, name: str, size: int) -> str:
    """Whole lines. While another CPU writes, a file may be seen to end, and so a mark to stand, in the middle of one: that line
    was written before the mark.
    """
    text = host.run(f"tail -c +{max(size, 1)} {name}", sudo=True, timeout_s=600)
    if size:
        text = text.partition("\n")[2]  # from the last byte before the mark, which is the end of a line or within one
    return text[: text.rfind("\n") + 1]


def parse_line(line: str) -> dict:
    """One line of the log as a row. Where nginx tried several upstreams it lists all; the last one answered."""
    row = json.loads(line)
    row["status"] = int(row["status"])  # as text in the log: nginx writes 000 for a request it could not answer
    tried = [part.strip() for part in row["upstream_s"].replace(" : ", ", ").split(",")]
    addresses = [part.strip() for part in row["upstream_addr"].replace(" : ", ", ").split(",")]
    row["upstream_s"] = float(tried[-1]) if tried[-1] not in ("", "-") else None
    row["upstream_addr"] = addresses[-1] or None
    row["tls_resumed"] = RESUMED.get(row.get("tls_resumed"))
    return row
