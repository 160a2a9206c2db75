"""The sampler on a real web host."""

from __future__ import annotations

import time

import pyarrow.parquet as pq
import pytest
from here import wait_until

from stacklab.bench.sampling import sampling

SERVICES = {"nginx", "uwsgi", "redis", "daphne@1", "daphne@2", "daphne@3"}
GAUGES = {
    "machine_cpu_s", "host_cpu_s", "host_steal_s", "host_load_1", "host_memory_available_bytes", "nginx_active",
    "nginx_reading", "nginx_writing", "nginx_waiting", "uwsgi_busy_workers", "uwsgi_listen_queue",
    "established_sockets", "sampler_cpu_s",
}  # fmt: skip
MOST_OF_A_CORE = 0.05
ASK_FOR_A_PAGE = (
    "python3 -c 'import ssl, urllib.request; tls = ssl.create_default_context(cafile=\"/etc/stacklab/tls/ca.crt\");"
    " urllib.request.urlopen(\"https://localhost/\", context=tls).read()'"
)


def tables(folder):
    return [pq.read_table(folder / f"{name}.parquet").to_pandas() for name in ("resources", "gauges")]


def samplers_on(host) -> list[str]:
    return host.run("pgrep -f '^python3 -I /opt/stacklab/provision/files/sampler.py' || true").split()


@pytest.fixture(scope="module")
def sampled(host, tmp_path_factory):
    """Ten seconds of a web host that serves a little: (watch, resources, gauges)."""
    out = tmp_path_factory.mktemp("samples")
    with sampling(host, out) as watch:
        for _ in range(10):
            host.run(ASK_FOR_A_PAGE)
            time.sleep(1)
    return watch, *tables(out)


def test_every_service_is_sampled_with_cpu_that_never_goes_back_and_real_memory(sampled):
    _, resources, _ = sampled
    assert set(resources.service) == SERVICES
    for service, rows in resources.groupby("service"):
        assert (rows.cpu_s.diff().iloc[1:] >= 0).all() and rows.cpu_s.max() > 0, service
        measured = rows.dropna(subset="pss_bytes")
        assert len(measured) >= 4, service
        assert (measured.pss_bytes > 1e5).all() and (measured.rss_bytes >= measured.pss_bytes).all(), service
        assert (measured.threads >= 1).all() and (measured.open_files >= 3).all(), service


def test_every_gauge_is_there(sampled):
    _, _, gauges = sampled
    assert GAUGES <= set(gauges.name)
    assert (gauges.groupby("name").value.count() > 10).all()
    machine = gauges[gauges.name == "machine_cpu_s"].value
    assert (machine.diff().iloc[1:] >= 0).all()


def test_samples_come_on_time_and_the_clocks_are_compared(sampled):
    watch, resources, _ = sampled
    assert watch.problems == []
    times = resources.time_s.drop_duplicates()
    assert abs(times.diff().iloc[1:].mean() - 0.5) < 0.02, "no drift"
    assert watch.clock_error_s > 0
    assert abs(watch.clock_offset_s) <= watch.clock_error_s + 0.01, "a container has its host's clock"


def test_the_sampler_costs_at_most_a_twentieth_of_a_core(sampled):
    _, _, gauges = sampled
    cost = gauges[gauges.name == "sampler_cpu_s"]
    share = (cost.value.iloc[-1] - cost.value.iloc[0]) / (cost.time_s.iloc[-1] - cost.time_s.iloc[0])
    print(f"the sampler used {share:.1%} of a core")
    assert share <= MOST_OF_A_CORE


def test_the_listen_queue_is_what_ss_says(host, tmp_path):
    with sampling(host, tmp_path, interval_s=0.2):
        # Connections to the application's socket that ask for nothing: five keep the workers, the rest wait.
        host.run(
            "timeout 6 python3 -c 'import socket, time; s = [socket.socket(socket.AF_UNIX) for _ in range(30)];"
            ' [c.connect("/run/uwsgi/stacklab.sock") for c in s]; time.sleep(2); print("up"); time.sleep(1)\' &'
            "sleep 2; ss -xlH src /run/uwsgi/stacklab.sock > /tmp/queue; wait",
            sudo=True,
        )
    waiting = int(host.run("awk '{print $3}' /tmp/queue; rm -f /tmp/queue", sudo=True))
    _, gauges = tables(tmp_path)
    assert waiting > 10
    assert waiting in set(gauges[gauges.name == "uwsgi_listen_queue"].value)


def test_an_instance_that_goes_and_comes_back_goes_on_from_its_cpu(host, tmp_path):
    with sampling(host, tmp_path) as watch:
        time.sleep(1.5)
        host.run("systemctl restart redis-server", sudo=True)
        time.sleep(2)
    resources, _ = tables(tmp_path)
    redis = resources[resources.service == "redis"]
    assert (redis.cpu_s.diff().iloc[1:] >= 0).all()
    assert watch.problems == []


def test_the_sampler_is_gone_after_the_block(host, tmp_path):
    with sampling(host, tmp_path):
        assert len(samplers_on(host)) == 1
    wait_until(lambda: not samplers_on(host), "the sampler is gone", 10)


def test_ctrl_c_leaves_no_sampler_on_the_host(host, tmp_path):
    with pytest.raises(KeyboardInterrupt), sampling(host, tmp_path):
        raise KeyboardInterrupt
    wait_until(lambda: not samplers_on(host), "the sampler is gone", 10)


@pytest.mark.fault("SSH cut in a run", "between")
def test_sampling_survives_a_cut_ssh_connection_and_says_so(lab, host, tmp_path):
    watched = lab.web()
    try:
        with sampling(watched, tmp_path) as watch:
            time.sleep(1.5)
            first = samplers_on(host)
            watched.close()
            time.sleep(4)
            assert samplers_on(host) not in ([], first)
    finally:
        watched.close()
    wait_until(lambda: not samplers_on(host), "the sampler is gone", 10)
    assert any("interrupted" in problem for problem in watch.problems)
    resources, _ = tables(tmp_path)
    assert resources.time_s.max() - resources.time_s.min() > 3.5
