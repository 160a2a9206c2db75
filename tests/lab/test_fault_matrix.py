"""What fails on the web host or on the way to it, one thing at a time: what somebody who looks and talks lost, and for how long.

What is promised: it is back by itself, no unit is left failed, and only that is lost which goes through what failed.
"""

import gzip
import http.client
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import psutil
import pytest
import websocket
from here import wait_until
from matrix import by_count
from strangers import ANSWER_S, Site, head
from watch import Watch

from stacklab import stack
from stacklab.bench.experiment import bench, measure
from stacklab.errors import LabError
from stacklab.labs.network import Subnet
from stacklab.settings import StackSettings
from stacklab.workload import HttpLoad

BACK_S = 45.0  # of what is promised to come back by itself; docs/faults.md has what it took
FROZEN_S = 3  # less than anybody's patience
FAILED = "systemctl list-units --failed --no-legend --plain"
LOAD = HttpLoad(path="/io/?ms=20", requests=2_000, users=5, ramp_s=0.0, warmup_s=0.5)


@pytest.fixture(scope="module")
def reached(host) -> Site:
    """The site, as anybody reaches it."""
    return Site(host.address, ssl.create_default_context(cadata=stack.ca_certificate(host)))


@pytest.fixture
def watched(at_defaults, reached, told):
    """`with watched():` somebody looks and talks while the block is at work, and until all is well again; told in the matrix."""

    @contextmanager
    def watching():
        with Watch(reached) as watch:
            watch.wait_until_well(BACK_S)
            for tries in (watch.pages, watch.words):
                tries.clear()
            since_s = time.monotonic()
            yield watch
            watch.wait_until_well(BACK_S)
        told(back_s=watch.well_again_s(since_s), **watch.lost())
        assert at_defaults.run(FAILED) == ""

    return watching


# ---------------------------------------------------------------- a service is killed, or stands still


@dataclass(frozen=True)
class Service:
    """A unit, or its main process alone, and whether pages and words go through it."""

    unit: str
    main: bool = False
    pages: bool = False
    words: bool = False

    def __str__(self) -> str:
        return f"{self.unit}'s main process" if self.main else self.unit


NGINX, UWSGI = Service("nginx", pages=True, words=True), Service("uwsgi", pages=True)
DAPHNE, REDIS = Service("daphne@2", words=True), Service("redis-server", words=True)
KILLED = (NGINX, Service("nginx", True, True, True), UWSGI, Service("uwsgi", True, True), DAPHNE, REDIS)


def of(services, what: str) -> list:
    """A parameter a service, each a row."""
    return [pytest.param(one, marks=pytest.mark.fault(what.format(one), "web"), id=str(one)) for one in services]


def check_lost(watch: Watch, service: Service) -> None:
    lost = watch.lost()
    assert service.pages or lost["pages"][0] == 0, lost
    assert service.words or lost["words"][0] == 0, lost


@pytest.mark.parametrize("service", of(KILLED, "kill -9 of {}"))
def test_a_service_that_is_killed_is_back_by_itself(at_defaults, watched, service):
    with watched() as watch:
        at_defaults.run(f"systemctl kill --signal=KILL {'--kill-whom=main' if service.main else ''} {service.unit}", sudo=True)
    check_lost(watch, service)


@pytest.mark.parametrize("service", of((NGINX, UWSGI, DAPHNE, REDIS), f"{{}} stands still for {FROZEN_S} s (SIGSTOP)"))
def test_a_service_that_stood_still_goes_on_and_nothing_is_lost(at_defaults, watched, service):
    kill = f"systemctl kill {service.unit} --signal"
    with watched() as watch:
        at_defaults.run(f"systemd-run --collect -q --wait sh -c '{kill}=STOP; sleep {FROZEN_S}; {kill}=CONT'", sudo=True)
    check_lost(watch, Service(service.unit))


@pytest.mark.fault("Redis starts anew and empty", "web")
def test_redis_may_come_back_empty(at_defaults, watched):
    with watched() as watch:
        at_defaults.run("redis-cli -e flushall && systemctl restart redis-server", sudo=True)
    check_lost(watch, REDIS)


@pytest.mark.fault("Redis has no memory left for 5 s", "web")
def test_redis_may_be_out_of_memory(at_defaults, watched):
    with watched() as watch:
        full, empty = "redis-cli config set maxmemory 1", "redis-cli config set maxmemory 0"
        said = at_defaults.run(f"{full}; redis-cli set stacklab-more 1; sleep 5; {empty}", sudo=True)
    assert "OOM" in said
    check_lost(watch, REDIS)


# ---------------------------------------------------------------- the machine runs out of something


@pytest.mark.fault("no room for logs for 5 s", "web")
def test_logs_without_room_cost_lines_and_no_answer(at_defaults, watched):
    logs, anew = "/var/log/nginx", "systemctl kill --kill-whom=main --signal=USR1 nginx"  # nginx opens its logs anew
    with watched() as watch:
        seen = at_defaults.run(
            f"mount -t tmpfs -o size=64k tmpfs {logs} && {anew} && (dd if=/dev/zero of={logs}/filler bs=4k 2>/dev/null || true); "
            f"sleep 5; ls /proc/$(systemctl show -P MainPID nginx)/root{logs}; umount -l {logs}; {anew}",
            sudo=True,
        )
    assert "filler" in seen, "nginx, too, had that disk"
    check_lost(watch, Service("nginx"))


@pytest.mark.fault("no free port left to reach Daphne by, for 5 s", "web")
def test_without_free_ports_sockets_are_refused_and_pages_are_not(at_defaults, reached, watched):
    ports = "/proc/sys/net/ipv4/ip_local_port_range"
    before = at_defaults.run(f"cat {ports}")
    with watched() as watch:
        at_defaults.run(f"echo 61000 61001 > {ports}", sudo=True)
        try:
            with held(reached, 20, head()) as made:
                seen = {one.recv(12)[9:] for one in made}
                time.sleep(5)
        finally:
            at_defaults.run(f"cat > {ports}", sudo=True, input=before)
    assert b"101" in seen and seen & {b"500", b"502"}, f"some are let in, and some refused in words that say so, not {seen}"
    check_lost(watch, DAPHNE)


# ---------------------------------------------------------------- the way there


@pytest.mark.fault("network gone for 5 s", "between")
def test_a_network_that_was_gone_is_back(at_defaults, watched):
    cable = Subnet(int(at_defaults.address.split(".")[2]) // 16).interface
    with watched() as watch:
        try:
            subprocess.run(["ip", "link", "set", cable, "down"], check=True)
            time.sleep(5)
        finally:
            subprocess.run(["ip", "link", "set", cable, "up"], check=True)
    assert watch.lost()["pages"][0] > 0


@pytest.mark.fault("one packet of twenty lost, for 10 s", "between")
def test_a_network_that_loses_packets_costs_time_and_nothing_else(at_defaults, watched):
    rule = ["-s", at_defaults.address, "-m", "statistic", "--mode", "random", "--probability", "0.05", "-j", "DROP"]
    with watched() as watch:
        subprocess.run(["iptables", "-w", "-I", "INPUT", *rule], check=True)
        try:
            time.sleep(10)
            seen = subprocess.run(["iptables", "-w", "-nvxL", "INPUT", "1"], check=True, capture_output=True, text=True).stdout
        finally:
            subprocess.run(["iptables", "-w", "-D", "INPUT", *rule], check=True)
    assert int(seen.split()[0]) > 20, f"packets were lost: {seen}"
    assert watch.lost()["pages"][0] <= 1 and watch.lost()["words"][0] <= 1, "a packet may be lost again and again"


# ---------------------------------------------------------------- what strangers do


@contextmanager
def held(reached: Site, count: int, data: bytes, drip: bytes = b"", tls: bool = True):
    """`count` connections on which `data` was sent, and then every second `drip`, by somebody who never comes to an end."""
    made, leave = [], threading.Event()

    def dripping() -> None:
        while drip and not leave.wait(1):
            for one in made:
                with suppress(OSError):
                    one.sendall(drip)

    thread = threading.Thread(target=dripping)
    try:
        for _ in range(count):
            with suppress(OSError):
                made.append(reached.connect() if tls else socket.create_connection((reached.address, 443), timeout=ANSWER_S))
                made[-1].sendall(data)
        thread.start()
        yield made
    finally:
        leave.set()
        if thread.ident:
            thread.join()
        for one in made:
            one.close()


@pytest.mark.fault("slow-loris: 400 who send a header a second, for 15 s", "from outside")
def test_those_who_never_finish_a_request_cost_the_others_nothing(watched, reached):
    with watched() as watch, held(reached, 400, b"GET / HTTP/1.1\r\nHost: localhost\r\n", drip=b"X-More: 1\r\n") as made:
        assert len(made) == 400
        time.sleep(15)
    check_lost(watch, Service("nobody"))


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("count", by_count(1_000, 10_000, "{:,} TLS handshakes that never finish"))
def test_handshakes_that_never_finish_cost_the_others_nothing(watched, reached, count):
    hello = bytes.fromhex("16030100c8010000c40303")  # the first bytes of a ClientHello
    with watched() as watch:
        for _ in range(count // 500):
            with held(reached, 500, hello, tls=False) as made:
                assert len(made) == 500
                time.sleep(0.2)
    check_lost(watch, Service("nobody"))


@pytest.mark.fault("frames of 8 MB", "from outside")
def test_oversized_frames_end_their_own_sockets(watched, reached):
    with watched() as watch:
        for _ in range(6):
            chat = reached.chat("giants")
            with pytest.raises((ConnectionError, ssl.SSLError, websocket.WebSocketConnectionClosedException)):
                chat.send('{"type": "message", "text": "' + "x" * 8_000_000 + '"}')
                while chat.recv_data(control_frame=True)[0] != websocket.ABNF.OPCODE_CLOSE:
                    pass
                raise ConnectionResetError("closed in words")
            chat.shutdown()
    check_lost(watch, Service("nobody"))


@pytest.mark.fault("compression bombs: a body of gzip, a socket that offers deflate", "from outside")
def test_nothing_that_is_compressed_is_unpacked(watched, reached):
    bomb = gzip.compress(bytes(100_000_000))
    sent = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Encoding: gzip\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
    with watched() as watch:
        assert {reached.status(sent % len(bomb) + bomb) for _ in range(20)} == {405}
        answer = reached.send(head(Sec_WebSocket_Extensions="permessage-deflate; server_max_window_bits=15"))
    assert answer.startswith(b"HTTP/1.1 101") and b"deflate" not in answer.lower()
    check_lost(watch, Service("nobody"))


# ---------------------------------------------------------------- while one measures


@pytest.fixture
def measured(lab, at_defaults, tmp_path):
    """`measured(act)`: a run during which, once load is on, `act()` is done; the run, or the LabError that it ended in."""

    def run(act: Callable[[], None]):
        done = []

        def progress(step) -> None:
            if step.phase == "load" and step.done > 100 and not done:
                done.append(True)
                act()

        with bench(lab, tmp_path) as on:
            try:
                return measure(on, StackSettings(), LOAD, folder=tmp_path / "matrix", progress=progress)
            except LabError as error:
                return error
            finally:
                assert done, "nothing was done to it"

    return run


def generators() -> list[psutil.Process]:
    return [child for child in psutil.Process().children(recursive=True) if "locust" in " ".join(child.cmdline())]


@pytest.mark.fault("the load generator is killed", "desk")
def test_a_generator_that_is_killed_is_one_error_and_leaves_nothing(measured, at_defaults, tmp_path):
    ended = measured(lambda: [one.kill() for one in generators()])
    assert isinstance(ended, LabError) and "Locust" in str(ended), ended
    assert not generators() and not list((tmp_path / "matrix").glob("*/run.json"))
    assert at_defaults.run("pgrep -f [s]ampler.py || true") == ""


@pytest.mark.fault("the load generator stands still for 3 s", "desk")
def test_a_generator_that_stood_still_disturbs_its_run(measured):
    def freeze() -> None:
        stood = generators()
        for one in stood:
            one.send_signal(signal.SIGSTOP)
        threading.Timer(FROZEN_S, lambda: [one.send_signal(signal.SIGCONT) for one in stood]).start()

    run = measured(freeze)
    assert not run.validity.valid and any("generator" in reason for reason in run.validity.reasons), run.validity


@pytest.mark.fault("the sampler is killed", "web")
def test_a_sampler_that_is_killed_is_started_again_and_said(measured, at_defaults):
    run = measured(lambda: at_defaults.run("pkill -KILL -f [f]iles/sampler.py", sudo=True))
    assert not isinstance(run, LabError) and len(run.table("resources")), run
    assert any("sampl" in reason for reason in run.validity.reasons), run.validity


@pytest.mark.faults
@pytest.mark.fault("the machine loses its power in a run", "web")
def test_a_machine_that_loses_its_power_in_a_run_is_one_error(measured, lab, at_defaults, site, tmp_path):
    try:
        ended = measured(lambda: at_defaults.run("systemctl --force --force poweroff || true", sudo=True))
    except LabError as error:  # the bench itself says it in the end
        ended = error
    finally:
        at_defaults.close()
        lab.up(pin=True)
    assert isinstance(ended, LabError) and "Traceback" not in str(ended), ended
    assert not list((tmp_path / "matrix").glob("*/run.json")) and not generators()
    wait_until(lambda: _answers(site), "it serves again")
    assert at_defaults.run(FAILED) == ""


def _answers(site) -> bool:
    try:
        return site() == (200, b"ok\n")
    except (OSError, http.client.HTTPException):
        return False
