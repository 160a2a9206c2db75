#!/usr/bin/env python3
"""Samples this machine's services until its standard input ends. Runs on the web host as root, nothing installed.

    python3 -I sampler.py [--interval S] [--memory-interval S] NAME=UNIT …

Prints one JSON object a line; `stacklab.bench.sampling` reads them through SSH:

    {"ready": 1}                                             first; the version of this format
    {"time_s": T, "services": {NAME: {"cpu_s": ..., ...}}, "gauges": {NAME: VALUE}}
    {"pong": TEXT, "time_s": T}                              the answer to a line `ping TEXT` on standard input
    {"dropped": N}                                           lines lost because the reader was too slow

CPU comes from each unit's cgroup (version 2), summed over restarts of the unit. Memory is the sum over the
unit's processes of PSS and RSS in /proc/PID/smaps_rollup; it is dear, so it has an interval of its own, which
stretches where it would cost more than MEMORY_SHARE of a core. Times are this machine's, since the epoch.

Readings are taken on a fixed timetable by threads that never wait for the reader of the output. It ends when
standard input ends or says nothing for SILENT_S: the desk pings now and then, and may be gone without a word.
"""

import argparse
import collections
import glob
import http.client
import json
import os
import socket
import struct
import sys
import threading
import time

FORMAT = 1
CGROUPS = "/sys/fs/cgroup"
NGINX_STATUS = ("127.0.0.1", 8080), "/nginx_status"
UWSGI_STATS = "/run/uwsgi/stats.sock"
WSGI_SOCKETS = {b"/run/uwsgi/stacklab.sock": "uwsgi", b"/run/gunicorn/stacklab.sock": "gunicorn"}
PROBE_TIMEOUT_S = 1.0
MEMORY_SHARE = 0.02
SILENT_S = 60.0
MOST_LINES = 20_000
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def read(path):
    with open(path) as file:
        return file.read()


# -- services -----------------------------------------------------------------------------------


def find_services(units):
    """{name: cgroup folder} of the services {name: unit} that run now; of a pattern, each instance by its unit's name."""
    found = {}
    for name, unit in units.items():
        folder = "system-*.slice" if "@" in unit else ""  # systemd gathers a pattern's instances there
        for path in glob.glob(os.path.join(CGROUPS, "system.slice", folder, unit + ".service")):
            found[os.path.basename(path)[: -len(".service")] if "@" in unit else name] = path
    return found


def cpu_seconds(stat):
    """CPU seconds from the text of a cgroup's cpu.stat."""
    for line in stat.splitlines():
        if line.startswith("usage_usec "):
            return int(line.split()[1]) / 1e6
    raise ValueError("no usage_usec in cpu.stat")


class CpuMeter:
    """CPU seconds of each service, which never go back: a restarted unit begins a new cgroup at 0."""

    def __init__(self):
        self._last = {}
        self._before = collections.Counter()

    def total(self, name, cpu_s):
        if cpu_s < self._last.get(name, 0.0):
            self._before[name] += self._last[name]
        self._last[name] = cpu_s
        return self._before[name] + cpu_s


def process_memory(rollup):
    """(PSS, RSS) in bytes from the text of smaps_rollup."""
    sizes = {}
    for line in rollup.splitlines():
        name, _, rest = line.partition(":")
        if name in ("Pss", "Rss"):
            sizes[name] = int(rest.split()[0]) * 1024
    return sizes.get("Pss", 0), sizes.get("Rss", 0)


def open_files(pid):
    folder = f"/proc/{pid}/fd"
    return os.stat(folder).st_size or len(os.listdir(folder))  # the size is the number from Linux 6.2 on


def threads(stat):
    """Number of threads from the text of /proc/PID/stat; the name in it may hold spaces and brackets."""
    return int(stat.rpartition(")")[2].split()[17])


def service_memory(folder):
    """PSS, RSS, threads and open files, summed over the processes of a cgroup."""
    total = {"pss_bytes": 0, "rss_bytes": 0, "threads": 0, "open_files": 0}
    for pid in read(folder + "/cgroup.procs").split():
        try:
            pss, rss = process_memory(read(f"/proc/{pid}/smaps_rollup"))
            one = {"threads": threads(read(f"/proc/{pid}/stat")), "open_files": open_files(pid)}
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended between the list and the reading
        total["pss_bytes"] += pss
        total["rss_bytes"] += rss
        total["threads"] += one["threads"]
        total["open_files"] += one["open_files"]
    return total


# -- the machine --------------------------------------------------------------------------------


def host_cpu(stat):
    """(CPU seconds used, CPU seconds stolen) over all cores, from the text of /proc/stat."""
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, stat.split("\n", 1)[0].split()[1:9])
    return (user + nice + system + irq + softirq) / TICKS_PER_S, steal / TICKS_PER_S


def memory_kb(meminfo, field):
    for line in meminfo.splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1])
    raise ValueError(f"no {field} in /proc/meminfo")


def established(snmp):
    """TCP connections in state ESTABLISHED or CLOSE_WAIT, from the text of /proc/net/snmp."""
    names, values = [line.split() for line in snmp.splitlines() if line.startswith("Tcp:")]
    return int(values[names.index("CurrEstab")])


def machine_memory(meminfo):
    """Bytes in use by this machine alone: its cgroup's, or in a virtual machine what /proc/meminfo says."""
    try:
        return int(read(CGROUPS + "/memory.current"))
    except FileNotFoundError:
        if os.path.exists("/run/systemd/container"):
            return None  # a container without the memory controller; /proc/meminfo is the whole host's
        return 1024 * (memory_kb(meminfo, "MemTotal") - memory_kb(meminfo, "MemAvailable"))


def machine():
    """Gauges of the machine. Those named host_ are, in a container, of the whole host."""
    used_s, steal_s = host_cpu(read("/proc/stat"))
    meminfo = read("/proc/meminfo")
    gauges = {
        "machine_cpu_s": cpu_seconds(read(CGROUPS + "/cpu.stat")),
        "host_cpu_s": used_s,
        "host_steal_s": steal_s,
        "host_load_1": float(read("/proc/loadavg").split()[0]),
        "host_memory_available_bytes": 1024 * memory_kb(meminfo, "MemAvailable"),
        "established_sockets": established(read("/proc/net/snmp")),
        "sampler_cpu_s": time.process_time(),
    }
    memory = machine_memory(meminfo)
    if memory is not None:
        gauges["machine_memory_bytes"] = memory
    return gauges


# -- what the services say of themselves --------------------------------------------------------


def nginx_gauges():
    (address, port), path = NGINX_STATUS
    connection = http.client.HTTPConnection(address, port, timeout=PROBE_TIMEOUT_S)
    try:
        connection.request("GET", path)
        return parse_stub_status(connection.getresponse().read().decode())
    finally:
        connection.close()


def parse_stub_status(text):
    """Gauges from nginx's stub_status page."""
    words = text.replace(":", " ").split()
    return {
        "nginx_" + name.lower(): int(words[words.index(name) + (2 if name == "Active" else 1)])
        for name in ("Active", "Reading", "Writing", "Waiting")
    }


def uwsgi_gauges():
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stats:
        stats.settimeout(PROBE_TIMEOUT_S)
        stats.connect(UWSGI_STATS)
        return parse_uwsgi_stats(b"".join(iter(lambda: stats.recv(65536), b"")))


def parse_uwsgi_stats(text):
    """Gauges from uWSGI's stats server: workers (with threads: their threads) that serve a request now."""
    workers = json.loads(text)["workers"]
    return {"uwsgi_busy_workers": sum(core["in_request"] for worker in workers for core in worker["cores"])}


# Linux's sock_diag(7): what `ss -xl` asks, without starting a process for it.
NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY, DUMP = 4, 20, 0x301
NLMSG_ERROR, NLMSG_DONE = 2, 3
LISTENING = 1 << 10
SHOW_NAME, SHOW_QUEUE = 0x01, 0x10
ATTRIBUTE_NAME, ATTRIBUTE_QUEUE = 0, 4
HEADER, ANSWER_BYTES = struct.Struct("=IHHII"), 16


def listen_queues(paths):
    """{path: connections that wait to be accepted there} of the unix sockets `paths` (bytes) on which somebody listens."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_SOCK_DIAG) as netlink:
        netlink.settimeout(PROBE_TIMEOUT_S)
        request = struct.pack("=BBHIIIII", socket.AF_UNIX, 0, 0, LISTENING, 0, SHOW_NAME | SHOW_QUEUE, 0, 0)
        netlink.send(HEADER.pack(HEADER.size + len(request), SOCK_DIAG_BY_FAMILY, DUMP, 1, 0) + request)
        found = collections.Counter()
        while True:
            for kind, message in netlink_messages(netlink.recv(65536)):
                if kind in (NLMSG_DONE, NLMSG_ERROR):
                    return found
                attributes = netlink_attributes(message[ANSWER_BYTES:])
                path = attributes.get(ATTRIBUTE_NAME, b"").rstrip(b"\0")
                if path in paths:
                    waiting, _backlog = struct.unpack("=II", attributes[ATTRIBUTE_QUEUE])
                    found[path] += waiting


def netlink_messages(data):
    """(kind, body) of each message in a netlink datagram."""
    while len(data) >= HEADER.size:
        length, kind, _flags, _sequence, _pid = HEADER.unpack_from(data)
        yield kind, data[HEADER.size : length]
        data = data[(length + 3) & ~3 :]


def netlink_attributes(data):
    """{kind: value} of the attributes after a message's fixed part."""
    found = {}
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        found[kind] = data[4:length]
        data = data[max(4, (length + 3) & ~3) :]
    return found


def queue_gauges():
    waiting = listen_queues(WSGI_SOCKETS)
    return {f"{WSGI_SOCKETS[path]}_listen_queue": count for path, count in waiting.items()}


# -- sampling -----------------------------------------------------------------------------------


class Sampler:
    """Takes the readings on a timetable and hands lines to the writer without ever waiting for it."""

    def __init__(self, units, interval_s, memory_interval_s):
        self.units = units
        self.interval_s, self.memory_interval_s = interval_s, memory_interval_s
        self._cpu = CpuMeter()
        self._memory = {}
        self._lines = collections.deque()
        self._dropped = 0
        self._wake = threading.Condition()
        self._heard_s = time.monotonic()

    def run(self):
        self._say({"ready": FORMAT})
        timetables = (
            (self._read_cpu, self.interval_s),
            (self._read_memory, self.memory_interval_s),
            (self._probe, self.interval_s),
        )
        for reading, interval_s in timetables:
            threading.Thread(target=self._keep, args=(reading, interval_s), daemon=True).start()
        threading.Thread(target=self._write, daemon=True).start()
        threading.Thread(target=self._leave_when_silent, daemon=True).start()
        for line in iter(sys.stdin.readline, ""):
            self._heard_s = time.monotonic()
            if line.startswith("ping "):
                self._say({"pong": line[5:].strip(), "time_s": time.time()})
        os._exit(0)  # at once: Python's own end aborts where a thread is just writing

    def _keep(self, reading, interval_s):
        """Take a reading at every multiple of the interval; times that were missed are not made up for."""
        due_s = time.monotonic()
        while True:
            time.sleep(max(0.0, due_s - time.monotonic()))
            pause_s = max(interval_s, reading() or 0.0)
            due_s += pause_s * max(1, int((time.monotonic() - due_s) / pause_s + 1))

    def _read_cpu(self):
        time_s = time.time()
        services = {}
        memory, self._memory = self._memory, {}
        for name, folder in find_services(self.units).items():
            try:
                services[name] = {"cpu_s": self._cpu.total(name, cpu_seconds(read(folder + "/cpu.stat")))}
            except (OSError, ValueError):
                continue  # the unit ended between the list and the reading
            services[name].update(memory.get(name, {}))
        self._say({"time_s": time_s, "services": services, "gauges": machine()})

    def _read_memory(self):
        """Leaves the memory for the next reading of the CPU. Returns the shortest pause that it can afford."""
        began_s = time.thread_time()
        memory = {}
        for name, folder in find_services(self.units).items():
            try:
                memory[name] = service_memory(folder)
            except OSError:
                continue  # the unit ended meanwhile
        self._memory = memory
        return (time.thread_time() - began_s) / MEMORY_SHARE

    def _probe(self):
        time_s, gauges = time.time(), {}
        for probe in (queue_gauges, uwsgi_gauges, nginx_gauges):
            try:
                gauges.update(probe())
            except (OSError, ValueError, KeyError, http.client.HTTPException):
                continue  # that service is down or reloading; its gauges have a gap there
        self._say({"time_s": time_s, "gauges": gauges})

    def _say(self, message):
        with self._wake:
            if len(self._lines) >= MOST_LINES:
                self._dropped += 1
            else:
                self._lines.append(json.dumps(message, separators=(",", ":")))
            self._wake.notify()

    def _write(self):
        while True:
            with self._wake:
                while not self._lines:
                    self._wake.wait()
                lines = list(self._lines)
                self._lines.clear()
                if self._dropped:
                    lines.append(json.dumps({"dropped": self._dropped}))
                    self._dropped = 0
            try:
                sys.stdout.write("\n".join(lines) + "\n")
                sys.stdout.flush()
            except OSError:
                os._exit(0)  # nobody reads any more

    def _leave_when_silent(self):
        while time.monotonic() - self._heard_s < SILENT_S:
            time.sleep(1)
        os._exit(0)


def main():
    arguments = argparse.ArgumentParser(description="Sample the services of this machine; see the head of this file.")
    arguments.add_argument("units", nargs="*", metavar="NAME=UNIT")
    arguments.add_argument("--interval", type=float, default=0.5, metavar="S")
    arguments.add_argument("--memory-interval", type=float, default=2.0, metavar="S")
    options = arguments.parse_args()
    Sampler(dict(unit.split("=", 1) for unit in options.units), options.interval, options.memory_interval).run()


if __name__ == "__main__":
    main()
