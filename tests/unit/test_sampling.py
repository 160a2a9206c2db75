"""The sampler's parsers, its stream, and the desk's side of it, without a lab: the sampler runs here."""

from __future__ import annotations

import importlib.util
import json
import math
import shlex
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest
from here import wait_until

from stacklab.bench.sampling import gaps, sampling
from stacklab.errors import HostError

SAMPLER = Path(__file__).resolve().parents[2] / "provision/files/sampler.py"


@pytest.fixture(scope="module")
def sampler():
    spec = importlib.util.spec_from_file_location("sampler", SAMPLER)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_nginx_stub_status_is_read(sampler):
    page = (
        "Active connections: 291 \nserver accepts handled requests\n 16630948 16630948 31070465 \n"
        "Reading: 6 Writing: 179 Waiting: 106 \n"
    )
    assert sampler.parse_stub_status(page) == {
        "nginx_active": 291, "nginx_reading": 6, "nginx_writing": 179, "nginx_waiting": 106,
    }  # fmt: skip


def test_uwsgi_workers_that_serve_a_request_are_counted_thread_by_thread(sampler):
    workers = [{"cores": [{"in_request": 1}, {"in_request": 0}]}, {"cores": [{"in_request": 1}]}, {"cores": []}]
    assert sampler.parse_uwsgi_stats(json.dumps({"workers": workers})) == {"uwsgi_busy_workers": 2}


def test_cpu_and_steal_come_from_the_first_line_of_proc_stat(sampler):
    used_s, steal_s = sampler.host_cpu("cpu  100 20 30 4000 50 6 7 80 0 0\ncpu0 1 2 3 4 5 6 7 8 0 0\n")
    assert used_s == (100 + 20 + 30 + 6 + 7) / sampler.TICKS_PER_S
    assert steal_s == 80 / sampler.TICKS_PER_S


def test_memory_is_pss_and_rss_in_bytes(sampler):
    rollup = "5581-7ffc ---p 00000000 00:00 0 [rollup]\nRss: 884 kB\nPss: 385 kB\nPss_Dirty: 68 kB\n"
    assert sampler.process_memory(rollup) == (385 * 1024, 884 * 1024)


def test_threads_are_read_past_a_process_name_with_brackets_and_spaces(sampler):
    fields = " ".join(str(number) for number in range(4, 53))
    assert sampler.threads(f"77 (a) b (c) S {fields}") == 20


def test_established_sockets_are_found_by_name(sampler):
    snmp = "Ip: Forwarding\nIp: 1\nTcp: RtoAlgorithm CurrEstab InSegs\nTcp: 1 42 9\nUdp: x\nUdp: 1\n"
    assert sampler.established(snmp) == 42


def test_cpu_of_a_restarted_unit_goes_on_from_where_it_was(sampler):
    meter = sampler.CpuMeter()
    readings = [meter.total("nginx", cpu_s) for cpu_s in (1.0, 2.0, 0.5, 0.75, 0.0)]
    assert readings == [1.0, 2.0, 2.5, 2.75, 2.75]


def test_the_listen_queue_of_each_server_is_the_true_number_of_waiting_connections(sampler, tmp_path, monkeypatch):
    paths = {name: str(tmp_path / f"{name}.sock") for name in ("uwsgi", "gunicorn")}
    monkeypatch.setattr(sampler, "WSGI_SOCKETS", {path.encode(): name for name, path in paths.items()})
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as other:
        for each, name in ((server, "gunicorn"), (other, "uwsgi")):
            each.bind(paths[name])
            each.listen(10)
        clients = [socket.socket(socket.AF_UNIX) for _ in range(3)]
        for client in clients:
            client.connect(paths["gunicorn"])
        assert sampler.queue_gauges() == {"gunicorn_listen_queue": 3, "uwsgi_listen_queue": 0}
        server.accept()
        assert sampler.queue_gauges() == {"gunicorn_listen_queue": 2, "uwsgi_listen_queue": 0}
        for client in clients:
            client.close()
    assert sampler.queue_gauges() == {}


def test_a_slow_reader_never_holds_up_the_readings_and_is_told_what_it_missed(sampler, monkeypatch):
    monkeypatch.setattr(sampler, "MOST_LINES", 3)
    taker = sampler.Sampler({}, 0.5, 2.0)
    for number in range(10):
        taker._say({"number": number})
    assert [json.loads(line)["number"] for line in taker._lines] == [0, 1, 2]
    assert taker._dropped == 7


def test_the_timetable_does_not_drift_and_leaves_out_what_it_missed(sampler, monkeypatch):
    taker, starts, now_s = sampler.Sampler({}, 0.5, 2.0), [], 100.0

    def sleep(seconds):
        nonlocal now_s
        now_s += seconds

    monkeypatch.setattr(sampler, "time", SimpleNamespace(monotonic=lambda: now_s, sleep=sleep))

    def reading():
        starts.append(now_s)
        sleep(0.17 if len(starts) == 2 else 0.02)  # the second takes more than three intervals
        if len(starts) == 8:
            raise SystemExit

    with pytest.raises(SystemExit):
        taker._keep(reading, 0.05)
    assert [(start - 100) / 0.05 for start in starts] == pytest.approx([0, 1, 5, 6, 7, 8, 9, 10])


def test_pauses_in_the_samples_are_named():
    assert gaps([0.0, 0.5, 1.0, 1.6, 2.0], 0.5) == []
    assert gaps([10.0, 10.5, 13.0, 13.5], 0.5) == ["no samples for 2.5 s from 10.5"]


# -- the desk's side, with this machine as its host -----------------------------------------------


class LocalStream:
    """Stands for `host.Stream`: the sampler as a child process."""

    def __init__(self, command: list[str]):
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def __iter__(self):
        for line in self.process.stdout:
            yield line.rstrip("\n")

    def send(self, text: str) -> None:
        self.process.stdin.write(text)
        self.process.stdin.flush()

    def close(self) -> None:
        self.process.stdin.close()

    @property
    def stderr(self) -> str:
        return self.process.stderr.read()


class LocalHost:
    """Stands for `Host`: answers `stream` with a program of the test's choice."""

    name = "here"

    def __init__(self, script: Path = SAMPLER, *patches: str):
        self.script, self.patches, self.streams = script, patches, []

    @contextmanager
    def stream(self, command: str, sudo: bool = False):
        options = shlex.split(command.split("sampler.py", 1)[1])
        program = [f"import runpy, sys; sys.argv[1:] = {options!r}; from pathlib import Path"]
        program += [f"source = Path({str(self.script)!r}).read_text()"]
        program += [f"source = source.replace({old!r}, {new!r})" for old, new in self.patches]
        program += ["exec(compile(source, 'sampler.py', 'exec'), {'__name__': '__main__'})"]
        stream = LocalStream([sys.executable, "-c", "\n".join(program)])
        self.streams.append(stream)
        try:
            yield stream
        finally:
            stream.process.stdin.close()
            stream.process.stdout.close()
            stream.process.wait(10)


@pytest.fixture
def small_process():
    """A process whose memory is read in no time: the sampler reads a large one less often, to stay cheap."""
    process = subprocess.Popen(["sleep", "600"])
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def cgroups(tmp_path, small_process):
    """A folder that looks like a cgroup file system with nginx, redis and daphne@2, all of them one small process."""
    for unit in ("nginx", "redis-server", "system-daphne.slice/daphne@2"):
        folder = tmp_path / "cgroup/system.slice" / f"{unit}.service"
        folder.mkdir(parents=True)
        (folder / "cpu.stat").write_text("usage_usec 1500000\nuser_usec 1\n")
        (folder / "cgroup.procs").write_text(f"{small_process.pid}\n999999999\n")
    (tmp_path / "cgroup/cpu.stat").write_text("usage_usec 5000000\n")
    return tmp_path / "cgroup"


@pytest.fixture
def host(cgroups):
    return LocalHost(SAMPLER, ('"/sys/fs/cgroup"', repr(str(cgroups))))


def services(watch, name: str, since_s: float = 0) -> list[dict]:
    """What was sampled so far of one service."""
    return [sample["services"][name] for sample in watch.between(since_s, math.inf) if name in sample.get("services", {})]


def others(problems: list[str]) -> list[str]:
    """Those that are not the gaps of a busy computer."""
    return [problem for problem in problems if not problem.startswith("no samples for ")]


def test_samples_become_tables_and_the_clocks_are_compared(host, tmp_path):
    with sampling(host, tmp_path, interval_s=0.1, memory_interval_s=1.0) as watch:
        wait_until(lambda: sum("pss_bytes" in one for one in services(watch, "nginx")) >= 3, "three readings of the memory")
    assert others(watch.problems) == []
    assert abs(watch.clock_offset_s) <= watch.clock_error_s + 1e-6 and watch.clock_error_s > 0, "it is the same clock"

    resources = pq.read_table(tmp_path / "resources.parquet").to_pandas()
    assert list(resources.columns) == ["time_s", "service", "cpu_s", "pss_bytes", "rss_bytes", "threads", "open_files"]
    assert set(resources.service) == {"nginx", "redis", "daphne@2"}
    assert set(resources.cpu_s) == {1.5}
    nginx = resources[resources.service == "nginx"]
    measured = nginx.dropna(subset="pss_bytes")
    assert 3 <= len(measured) < len(nginx)
    assert (measured.pss_bytes > 0).all() and (measured.rss_bytes >= measured.pss_bytes).all()
    assert (measured.threads >= 1).all() and (measured.open_files >= 3).all()

    gauges = pq.read_table(tmp_path / "gauges.parquet").to_pandas()
    always = {"machine_cpu_s", "host_cpu_s", "host_steal_s", "host_load_1", "host_memory_available_bytes"}
    assert always | {"established_sockets", "sampler_cpu_s"} <= set(gauges.name)
    assert not (tmp_path / "samples.jsonl").exists()


def test_the_sampler_ends_with_the_block_also_when_the_block_fails(host, tmp_path):
    with pytest.raises(KeyboardInterrupt), sampling(host, tmp_path, interval_s=0.1):
        raise KeyboardInterrupt
    assert [stream.process.poll() for stream in host.streams] == [0]
    assert (tmp_path / "resources.parquet").exists()


def test_a_stream_that_breaks_is_opened_again_and_the_gap_is_a_problem(host, tmp_path):
    with sampling(host, tmp_path, interval_s=0.1) as watch:
        wait_until(lambda: services(watch, "nginx"), "the CPU was read")
        host.patches = [*host.patches, ("FORMAT = 1", "time.sleep(1); FORMAT = 1")]  # it is away for ten intervals
        host.streams[0].process.kill()
        host.streams[0].process.wait()
        killed_s = time.time()
        wait_until(lambda: services(watch, "nginx", killed_s), "samples come again")
    assert len(host.streams) == 2
    assert [problem.split(" at ")[0] for problem in others(watch.problems)] == ["sampling was interrupted"]
    assert len(others(watch.problems)) < len(watch.problems), "what was missed is named"
    times = pq.read_table(tmp_path / "resources.parquet").to_pandas().time_s
    assert times.min() < killed_s < times.max()


def test_a_sampler_that_cannot_start_is_one_clear_error(tmp_path):
    with pytest.raises(HostError, match="(?s)here: the sampler did not start: .*No such file"):
        with sampling(LocalHost(tmp_path / "nowhere.py"), tmp_path):
            pass


def test_another_versions_sampler_is_refused(cgroups, tmp_path):
    other = LocalHost(SAMPLER, ('"/sys/fs/cgroup"', repr(str(cgroups))), ("FORMAT = 1", "FORMAT = 99"))
    with pytest.raises(HostError, match="another version"):
        with sampling(other, tmp_path):
            pass


def test_the_sampler_leaves_when_the_desk_is_gone_without_a_word(cgroups):
    host = LocalHost(SAMPLER, ('"/sys/fs/cgroup"', repr(str(cgroups))), ("SILENT_S = 60.0", "SILENT_S = 1.0"))
    with host.stream("sampler.py --interval 0.1 redis=redis-server") as stream:
        stream.process.wait(10)
        assert stream.process.returncode == 0


def test_the_sampler_needs_nothing_but_python(cgroups):
    answer = subprocess.run([sys.executable, "-I", "-S", SAMPLER, "--help"], capture_output=True, text=True, check=True)
    assert "--memory-interval" in answer.stdout
