"""What many clients do to each other, on a real lab: they come and go, do not read, are all back at once."""

import json
import re
import ssl
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from strangers import Site

from stacklab import stack
from stacklab.bench.experiment import bench, measure
from stacklab.settings import StackSettings
from stacklab.study.summary import summarize
from stacklab.workload import ChatLoad

SMALL = ChatLoad(clients=40, rooms=4, messages_per_s=0.5, duration_s=6, ramp_s=1.5)


@pytest.fixture
def measured(lab, at_defaults, tmp_path):
    """`measured(workload)`: a run of it at the default settings, and its row of the summary."""

    def run(workload, **settings):
        with bench(lab, tmp_path) as on:
            run = measure(on, StackSettings(**settings), workload, folder=tmp_path / "crowds")
        return run, summarize([run]).iloc[0]

    return run


def test_those_who_stay_get_everything_though_others_come_and_go(measured):
    run, summary = measured(SMALL.replace(churn_per_s=5))
    connections, messages = run.table("connections"), run.table("messages")
    assert 15 < summary.left < 70 and connections.left.sum() == summary.left
    assert summary.clients_connected == 40 + summary.left and (connections.attempt == 1).all()
    assert set(connections.close_code) == {1000}
    counted = messages[~messages.warmup.astype(bool)]
    assert len(counted) > 500 and (counted.copies == 1).all(), run.validity.failures
    assert not any("left and made room" in reason or "were sent and counted" in reason for reason in run.validity.reasons)


@pytest.mark.faults
@pytest.mark.fault("chat clients that never read", "from outside")
def test_slow_readers_are_in_the_rooms_and_the_others_hear_each_other(measured):
    run, summary = measured(SMALL.replace(slow_readers=4, listeners=8, size_bytes=2000))
    connections, messages = run.table("connections"), run.table("messages")
    slow, talkers = (set(connections.client[connections.role == role]) for role in ("slow_reader", "talker"))
    assert len(slow) == 4 and len(talkers) == 28
    assert set(messages.sender) <= talkers and not set(messages.receiver) & slow and messages.receiver.nunique() == 36
    assert summary.delivered_share == 1.0, run.validity.failures


@pytest.mark.fault("all chat clients come back at once", "from outside")
def test_a_storm_brings_all_clients_back_and_says_how_long_they_were_away(measured):
    run, summary = measured(SMALL.replace(storm_at_s=2, burst_at_s=5, burst_messages=8))
    connections = run.table("connections")
    assert len(connections) == 80 and (connections.groupby("client").attempt.max() == 2).all()
    assert 0 < summary.away_p50_s <= summary.away_max_s and summary.disconnects == 0
    assert summary.burst_delivered_share == 1.0 and 0 < summary.burst_p50_s <= summary.burst_last_s
    messages = run.table("messages")
    assert messages.burst.sum() == 8 * 10


def test_sizes_that_do_not_fit_are_refused_by_name_and_nothing_changes(at_defaults, fab, tmp_path):
    before = at_defaults.run("systemctl show -P MainPID nginx daphne@1"), stack.current(at_defaults)
    for flags, said in (
        (("--largest-room", "400"), "largest_room=400 is not allowed: of 300 clients in 30 rooms it can hold 10 to 271"),
        (("--churn-per-s", "199"), "churn_per_s=199 is not allowed: each of 300 clients would stay for 1.5 s"),
        (("--slow-readers", "300"), "slow_readers=300 is not allowed: of 300 clients one must be left to speak"),
        (("--storm-at-s", "40"), "storm_at_s=40 is not allowed: the load ends after duration_s=30"),
    ):
        done = fab("chat", *flags)
        assert done.returncode == 1 and done.stderr.count("\n") == 1 and said in done.stderr
    assert (at_defaults.run("systemctl show -P MainPID nginx daphne@1"), stack.current(at_defaults)) == before
    assert not (tmp_path / "results").exists()


# ---------------------------------------------------------------- who spoke and left

MIB = 1 << 20
FIRST, ALL = 2_000, 20_000
QUIET_S = 5  # in which an instance tidies up after the last


def speak_and_leave(site: Site, first: int, last: int) -> None:
    """Clients who join, say one thing and leave at once, some at a time."""

    def once(number: int) -> None:
        chat = site.chat(f"passers-by-{number % 40}")
        chat.send(json.dumps({"type": "message", "text": "hello and goodbye"}))
        chat.close(timeout=0)

    with ThreadPoolExecutor(8) as people:
        for _ in people.map(once, range(first, last)):
            pass


def memory_of_daphnes(host) -> list[dict[str, int]]:
    """{"Rss": …, "Pss": …} in bytes of each instance, when it has been quiet for a while."""
    time.sleep(QUIET_S)
    seen = []
    for unit in ("daphne@1", "daphne@2", "daphne@3"):
        text = host.run(f"cat /proc/$(systemctl show -P MainPID {unit})/smaps_rollup", sudo=True)
        seen.append({name: 1024 * int(kib) for name, kib in re.findall(r"^(Rss|Pss): +(\d+) kB", text, re.MULTILINE)})
    return seen


@pytest.mark.faults
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("tidy", [True, False])
@pytest.mark.parametrize("layer", ["pubsub", "core"])
def test_who_spoke_and_left_leaves_nothing_behind_where_the_layer_is_tidied_up(at_defaults, layer, tidy):
    """What each of three instances grew by is printed (`-s`), stock's for comparison."""
    site = Site(at_defaults.address, ssl.create_default_context(cadata=stack.ca_certificate(at_defaults)))
    stack.apply(at_defaults, StackSettings(channel_layer=layer, tidy_channels=tidy), anew=("daphne",))
    speak_and_leave(site, 0, FIRST)
    before = memory_of_daphnes(at_defaults)
    speak_and_leave(site, FIRST, ALL)
    after = memory_of_daphnes(at_defaults)
    grown = [{name: (late[name] - early[name]) / MIB for name in early} for early, late in zip(before, after, strict=True)]
    told = f"{layer}, tidy_channels={tidy}: MiB grown from {FIRST} to {ALL} who spoke and left: {grown}; after {FIRST}: {before}"
    print(told)
    most = max(each[name] for each in grown for name in ("Pss", "Rss"))
    assert (most <= 3) == tidy, told
