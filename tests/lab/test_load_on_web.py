"""HTTP and chat load on a real web host."""

from __future__ import annotations

from dataclasses import replace

import pyarrow.parquet as pq
import pytest

from stacklab import stack
from stacklab.bench.experiment import bench, measure
from stacklab.bench.experiments import experiment_named
from stacklab.bench.load import run_load
from stacklab.study.summary import summarize
from stacklab.workload import ChatLoad, HttpLoad


@pytest.fixture(scope="module")
def ca(host, tmp_path_factory):
    path = tmp_path_factory.mktemp("ca") / "ca.crt"
    path.write_text(stack.ca_certificate(host))
    return path


@pytest.fixture
def load(lab, host, ca, tmp_path):
    """Run a workload as an experiment does; returns the tables of that name."""
    status = lab.status()

    def run(workload, *names, progress=None):
        run_load(
            workload, host.url, tmp_path, ca,
            cpus=status["generator_cpus"], client_addresses=status["client_addresses"], progress=progress,
        )  # fmt: skip
        return [pq.read_table(tmp_path / f"{name}.parquet").to_pandas() for name in names]

    return run


@pytest.fixture
def restored(host):
    """Puts back the settings that the test found."""
    before = stack.current(host)
    yield host
    stack.apply(host, before)


def test_the_front_page_answers_every_request(load):
    (requests,) = load(HttpLoad(requests=1000, users=50, ramp_s=2, warmup_s=1), "requests")
    counted = requests[~requests.warmup]
    assert len(counted) == 1000
    assert counted.error.isna().all() and set(counted.status) == {200} and counted.bytes.nunique() == 1


def test_two_hundred_users_wait_in_the_listen_queue_and_none_fails(load):
    (requests,) = load(HttpLoad(requests=2000, users=200, ramp_s=3, warmup_s=1), "requests")
    assert requests.error.isna().all()


def test_a_schedule_is_kept_though_the_answers_are_slow(load):
    workload = HttpLoad(path="/io/?ms=300", requests=100, users=5, ramp_s=0.5, warmup_s=0.5, requests_per_s=50)
    (requests,) = load(workload, "requests")
    late = (requests.start_s - requests.scheduled_s).dropna()
    assert len(late) >= 100 and late.quantile(0.95) < 0.2
    assert requests[~requests.warmup].duration_s.median() > 0.3


def test_a_chat_over_all_instances_loses_nothing(load):
    workload = ChatLoad(clients=60, rooms=6, messages_per_s=0.5, duration_s=8, ramp_s=3)
    messages, connections = load(workload, "messages", "connections")
    counted = messages[~messages.warmup]
    assert len(counted) > 1000
    assert (counted.copies == 1).all() and counted.in_order.all() and counted.receiver_connected.all()
    assert set(connections.instance) == {"daphne@1", "daphne@2", "daphne@3"}
    assert set(connections.close_code) == {1000} and connections.source_address.nunique() > 20
    assert (counted.via != counted.instance).any(), "messages cross from instance to instance"


def test_the_layer_in_memory_loses_what_has_to_cross(load, restored):
    stack.apply(restored, stack.current(restored).replace(channel_layer="memory"))
    workload = ChatLoad(clients=30, rooms=3, messages_per_s=1, duration_s=6, ramp_s=2)
    (messages,) = load(workload, "messages")
    counted = messages[~messages.warmup]
    assert 0.2 < (counted.copies == 1).mean() < 0.6
    assert (counted.instance.dropna() == counted.via[counted.instance.notna()]).all()


@pytest.mark.fault("kill -9 of an instance, with chat_resume", "web")
def test_with_chat_resume_an_instance_that_goes_loses_nothing(load, restored):
    stack.apply(restored, stack.current(restored).replace(chat_resume=True))
    killed = []

    def kill(step):
        if step.phase == "load" and step.done > 2 and not killed:
            killed.append(restored.run("systemctl kill -s KILL daphne@2.service", sudo=True))

    workload = ChatLoad(clients=45, rooms=5, messages_per_s=1, duration_s=12, ramp_s=3)
    messages, connections = load(workload, "messages", "connections", progress=kill)
    dropped = connections[connections.close_code != 1000]
    assert set(dropped.instance.dropna()) == {"daphne@2"}
    assert (messages.copies >= 1).all(), messages[messages.copies == 0].to_string()


# Where nginx holds every instance for failed, clients come back one by one for minutes: that is the experiment's to show.
HEALING = [
    point for point in experiment_named("outages").points if point.label not in ("all killed", "all killed, max_fails 0")
]  # fmt: skip


@pytest.mark.faults
@pytest.mark.fault("the outages of `fab experiment outages` that heal", "web")
@pytest.mark.parametrize("happening", HEALING, ids=lambda point: point.label)
def test_after_an_outage_the_service_is_back_by_itself_and_no_unit_is_left_failed(lab, restored, tmp_path, happening):
    workload = happening.workload.replace(clients=30, rooms=3, ramp_s=2.0, duration_s=30.0)
    (event,) = happening.events
    with bench(lab, tmp_path) as on:
        run = measure(
            on, happening.settings, workload, folder=tmp_path / "outages", point=happening.label,
            events=[replace(event, at_s=1.0)],
        )  # fmt: skip
    summary = summarize([run]).iloc[0]
    print(f"{happening.label}: nobody received anything for {summary.silence_max_s:.1f} s")
    (happened,) = run.events
    messages = run.table("messages")
    # A client that was refused again and again waits up to eight seconds before it tries once more.
    later = messages[messages.sent_s > happened["ended_s"] + 18]
    assert len(later) and (later.copies >= 1).all() and later.receiver_connected.all()
    assert restored.run("systemctl list-units --failed --no-legend --plain") == ""
    assert summary.clients_connected == 30
