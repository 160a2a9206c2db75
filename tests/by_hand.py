"""What does the lab put around Daphne cost? The same chat on its units, and on Daphnes started by hand. For `make benchmark`.

By hand is as Daphne's documentation has it: its command in a shell, without a unit, a sandbox, pings or an access log; as
many, on the same ports, with the same environment, behind the same nginx.
"""

from __future__ import annotations

from pathlib import Path

from stacklab import stack
from stacklab.bench.experiment import Bench, bench
from stacklab.bench.load import run_load
from stacklab.labs import Lab
from stacklab.labs.host import Host
from stacklab.settings import FIRST_DAPHNE_PORT, StackSettings
from stacklab.stack.render import PEM
from stacklab.workload import ChatLoad
from tests.here import wait_until
from tests.peers import in_turn

CHAT = ChatLoad(clients=100, rooms=10, messages_per_s=1, duration_s=10, ramp_s=3)
PAIRS = 8
PORTS = [FIRST_DAPHNE_PORT + number for number in range(StackSettings().daphne_instances)]
UNITS = " ".join(f"daphne@{number + 1}" for number in range(len(PORTS)))
BY_HAND = """
systemctl stop UNITS
set -a; . /opt/stacklab/site/site.env; . /etc/stacklab/daphne.env; set +a
cd /opt/stacklab/site/code
for port in PORTS; do
    STACKLAB_INSTANCE=by-hand@$port setsid setpriv --reuid daphne --regid daphne --groups daphne,stacklab,redis \
        /opt/stacklab/site/venv/bin/daphne -e ssl:$port:interface=127.0.0.1:privateKey=PEM:certKey=PEM ASGI \
        >/dev/null 2>&1 </dev/null &
    echo $!
done
"""


def against_by_hand(lab: Lab, folder: Path, pairs: int = PAIRS) -> tuple[float, float, float]:
    """The CPU time of the units' Daphnes to that of those started by hand, in turn: the ratio and its interval."""
    with bench(lab, folder, "the benchmark") as on:
        return in_turn(pairs, lambda: _by_unit(on, folder), lambda: _by_hand(on, folder))["cpu_s"]


def _by_unit(on: Bench, folder: Path) -> dict[str, float]:
    on.host.run(f"systemctl restart {UNITS}; systemctl reload nginx", sudo=True, timeout_s=120)
    return _cost(on, folder)


def _by_hand(on: Bench, folder: Path) -> dict[str, float]:
    """Started, measured and ended, whatever happens: the units have their ports again."""
    asgi = stack.site_of(on.host).asgi
    script = BY_HAND.replace("UNITS", UNITS).replace("PORTS", " ".join(map(str, PORTS))).replace("ASGI", asgi).replace("PEM", PEM)
    started = " ".join(on.host.run("bash", sudo=True, input=script).split())
    try:
        wait_until(lambda: len(_pids(on.host)) == len(PORTS), "the Daphnes started by hand listen")
        on.host.run("systemctl reload nginx", sudo=True)
        return _cost(on, folder)
    finally:
        ended = f"for pid in {started}; do timeout 30 tail --pid=$pid -f /dev/null; done"
        on.host.run(f"kill {started}; {ended}; systemctl start {UNITS}", sudo=True, timeout_s=120)


def _pids(host: Host) -> list[str]:
    """Of who listens on the instances' ports."""
    ports = " or ".join(f"sport = :{port}" for port in PORTS)
    said = host.run(f"ss -tlnpH '{ports}' | grep -o 'pid=[0-9]*' | cut -d= -f2 | sort -u || true", sudo=True)
    return said.split()


def _cost(on: Bench, folder: Path) -> dict[str, float]:
    """CPU seconds of those who listen there, of one load of chat."""
    out = folder / "by-hand"
    out.mkdir(exist_ok=True)
    before = _cpu_s(on.host)
    run_load(CHAT, on.host.url, out, on.ca, cpus=on.generator_cpus, client_addresses=on.client_addresses)
    return {"cpu_s": _cpu_s(on.host) - before}


def _cpu_s(host: Host) -> float:
    times = host.run(f"cat {' '.join(f'/proc/{pid}/stat' for pid in _pids(host))}; getconf CLK_TCK").splitlines()
    ticks = sum(int(field) for line in times[:-1] for field in line.rpartition(")")[2].split()[11:13])
    return ticks / int(times[-1])
