"""What is really running on this machine, read from /proc, systemd and sockets. What it means for a service, that knows.

Standard library only: it runs on the web host. Nothing here trusts a configuration file.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from functools import cached_property
from pathlib import Path

SETTINGS = Path("/etc/stacklab/settings.json")
WRITTEN = Path("/run/stacklab-written.json")


def words_of(*command: str) -> str:
    """The standard output of a command; empty if it fails."""
    return subprocess.run(command, capture_output=True, text=True).stdout


def uptime_s() -> float:
    """For how long this machine has run: no clock that is set changes it."""
    return float(Path("/proc/uptime").read_text().split()[0])


def notes() -> dict[str, list[list[float]]]:
    """{path: [[its time of change in ns, the uptime at which it was written]]}, of the last two writings of each."""
    try:
        return json.loads(WRITTEN.read_text())
    except (OSError, ValueError):
        return {}


def note_written(paths: list[Path]) -> None:
    """Remember by the uptime when files were written. Gone with the next boot, as the processes are that have read them."""
    noted, now_s = notes(), uptime_s()
    for path in paths:
        noted[str(path)] = [*noted.get(str(path), []), [os.lstat(path).st_mtime_ns, now_s]][-2:]
    new = WRITTEN.with_suffix(".new")
    new.write_text(json.dumps(noted))
    os.replace(new, WRITTEN)


def applied() -> dict:
    """The record of the last commit: {"format", "settings", "version", "site", "applied_s"}; empty before the first."""
    try:
        return json.loads(SETTINGS.read_text())
    except (OSError, ValueError):
        return {}


class Machine:
    """This machine. Units and nginx's configuration are asked for once, so have a new one for a new look at them."""

    def __init__(self, patterns: list[str]):
        self._patterns = patterns

    @cached_property
    def units(self) -> dict[str, tuple[str, int]]:
        """{unit: (its state, its main process, 0 without one)} of the units and instances that the patterns name, in order."""
        said = words_of("systemctl", "show", "-p", "Id,ActiveState,MainPID", *(f"{one}.service" for one in self._patterns))
        found = {}
        for lines in said.strip().split("\n\n"):
            values = dict(line.split("=", 1) for line in lines.splitlines())
            if values:
                found[values["Id"].removesuffix(".service")] = values["ActiveState"], int(values.get("MainPID") or 0)
        return dict(sorted(found.items(), key=lambda item: (len(item[0]), item[0])))  # x@2 before x@10

    @cached_property
    def nginx_config(self) -> str:
        """nginx's own dump of what its files say."""
        return words_of("nginx", "-T")

    def main_pid(self, unit: str) -> int:
        """The main process of a unit; 0 if it does not run."""
        return self.units.get(unit, ("inactive", 0))[1]

    def children(self, pid: int) -> list[int]:
        """The processes that `pid` started."""
        try:
            tasks = Path(f"/proc/{pid}/task").iterdir()
            return [int(child) for task in tasks for child in (task / "children").read_text().split()]
        except OSError:
            return []

    def title(self, pid: int) -> str:
        """How a process calls itself, as `ps` shows it."""
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            return ""

    def open_files_limit(self, pid: int) -> tuple[int, int]:
        """A process's soft and hard limit of open files (0, 0 if it is gone)."""
        try:
            lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
        except OSError:
            return 0, 0
        soft, hard = next(line for line in lines if line.startswith("Max open files")).split()[3:5]
        return int(soft), int(hard)

    def environment(self, pid: int) -> dict[str, str]:
        """The environment a process was started with."""
        try:
            pairs = Path(f"/proc/{pid}/environ").read_text().split("\0")
        except OSError:
            return {}
        return dict(pair.split("=", 1) for pair in pairs if "=" in pair)

    def started_s(self, pid: int) -> float:
        """When a process began, in seconds since the epoch; now, if it is gone."""
        try:
            ticks = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
        except OSError:
            return time.time()
        return time.time() - uptime_s() + ticks / os.sysconf("SC_CLK_TCK")

    def unit_written_s(self, unit: str) -> float:
        """When the files that make up a unit were last written."""
        said = words_of("systemctl", "show", "-P", "FragmentPath", "-P", "DropInPaths", unit).split()
        return max(map(self.written_s, said), default=0.0)

    def rss_bytes(self, pid: int) -> int:
        """The memory that a process has in use, what it shares included."""
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def memory_available(self) -> int:
        """Bytes that programs may still take, as the kernel reckons."""
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable"))

    def text_of(self, path: str) -> str:
        """What stands in a file; nothing if it is not there."""
        try:
            return Path(path).read_text()
        except OSError:
            return ""

    def written_s(self, path: str) -> float:
        """When a file was written, by the clock as it is now; 0 if it is not there, or if nobody noted it, and a clock that
        was set back has put it into the future.
        """
        try:
            mtime_ns = os.lstat(path).st_mtime_ns
        except OSError:
            return 0.0
        if at := [at_s for noted_ns, at_s in notes().get(str(path), ()) if noted_ns == mtime_ns]:
            return time.time() - uptime_s() + at[-1]
        return mtime_ns / 1e9 if mtime_ns / 1e9 <= time.time() else 0.0

    def answer(self, path: str) -> bytes:
        """All that a server says to whoever connects to its unix socket. Raises OSError."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(2)
            connection.connect(path)
            return b"".join(iter(lambda: connection.recv(65536), b""))

    def backlog(self, path: str) -> int:
        """The true length limit of a listening unix socket's queue (Send-Q of `ss -xl`); 0 if nobody listens."""
        for line in words_of("ss", "-xlH").splitlines():
            fields = line.split()
            if path in fields:
                return int(fields[3])
        return 0

    def connections(self, path: str) -> int:
        """How many are connected to a listening unix socket, those that wait to be accepted included."""
        return len(words_of("ss", "-xH", "src", path).splitlines())

    def listening_ports(self) -> set[int]:
        """The TCP ports on which somebody listens."""
        return {int(line.split()[3].rsplit(":", 1)[1]) for line in words_of("ss", "-tlnH").splitlines()}
