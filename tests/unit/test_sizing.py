"""`fab size`: arithmetic on costs made by hand, what gives way first, intervals that hold, and when there is no figure."""

import json
from dataclasses import replace

import numpy as np
import pytest

from stacklab.errors import LabError, ResultsError
from stacklab.study.costs import BUSY, BYTES, CPU, MEMORY, figure
from stacklab.study.sizing import Block, Measured, size, sized, text
from stacklab.workload import Demand

HOST = Measured(2, 4 << 30, 3, {"requests_per_s": 800, "deliveries_per_s": 4000, "sockets": 2000, "room_size": 100})
COSTS = {
    ("page", "nginx", CPU): 0.0002, ("page", "uwsgi", CPU): 0.0018, ("page", "nginx", BYTES): 5000.0,
    ("page", "uwsgi", BUSY): 0.003,
    ("message", "daphne", CPU): 0.0004, ("message", "redis", CPU): 0.0001, ("delivery", "daphne", CPU): 0.0002,
    ("delivery", "nginx", CPU): 0.00005, ("delivery", "nginx", BYTES): 200.0,
    ("socket", "daphne", CPU): 1e-6, ("socket", "daphne", MEMORY): 60_000.0, ("socket", "nginx", MEMORY): 20_000.0,
    ("process", "uwsgi", MEMORY): 30e6, ("process", "daphne", MEMORY): 60e6,
}  # fmt: skip
KNEES = {"pages": 800.0, "messages": 4000.0}
DEMAND = Demand(users=12_000, page_views_per_min=2, chat_share=0.2, messages_per_min=1, room_size=20, spare=0.2)


def scaled(by: float) -> Block:
    """A block in which all takes `by` times the CPU, and the knees come that much earlier."""
    costs = {key: value * (by if key[2] == CPU else 1) for key, value in COSTS.items()}
    return Block(costs, {of: value / by for of, value in KNEES.items()})


BLOCKS = [scaled(by) for by in (0.97, 1.0, 1.03)]


def roles(seen):
    return {role["role"]: role for role in seen["roles"]}


def test_the_arithmetic_of_equal_blocks_by_hand():
    seen = sized([Block(COSTS, KNEES)] * 3, HOST, DEMAND)
    json.dumps(seen, allow_nan=False)
    assert [seen["asked"][of] for of in ("requests_per_s", "sockets", "deliveries_per_s")] == [400, 2400, 800]
    # At the knee 800 × 2 ms of two cores: 0.8; of messages 4000 × (0.25 ms + 0.05 ms): 0.6.
    assert seen["usable_share"]["pages"]["estimate"] == pytest.approx(0.8)
    assert seen["usable_share"]["messages"]["estimate"] == pytest.approx(0.6)
    of = roles(seen)
    assert of["pages"]["cores"]["estimate"] == pytest.approx(400 * 0.0018 / 0.8 / 0.8)
    assert of["chat"]["cores"]["estimate"] == pytest.approx((800 * 0.0002 + 40 * 0.0004 + 2400e-6) / 0.6 / 0.8)
    assert of["front"]["cores"]["estimate"] == pytest.approx((400 * 0.0002 + 800 * 0.00005) / 0.6 / 0.8)
    assert of["front"]["bits_per_s"]["estimate"] == pytest.approx(8 * (400 * 5000 + 800 * 200))
    assert of["pages"]["processes"] == {"estimate": 2, "low": 2, "high": 2}, "400/s × 3 ms, a fifth to spare: 1.5"
    assert of["chat"]["memory_bytes"]["estimate"] == pytest.approx(60e6 + 2400 * 60_000)
    assert {role["hosts"] for role in seen["roles"]} == {1} and seen["first_limit"] == {"role": "pages", "limit": "cpu"}


def test_blocks_that_differ_make_an_interval_and_more_people_more_hosts():
    few, many = sized(BLOCKS, HOST, DEMAND), sized(BLOCKS, HOST, DEMAND.replace(users=1_200_000))
    for role in few["roles"]:
        assert role["cores"]["low"] < role["cores"]["estimate"] < role["cores"]["high"]
        assert role["low"] <= role["hosts"] <= role["high"]
    a, b = roles(few), roles(many)
    assert b["pages"]["cores"]["estimate"] == pytest.approx(100 * a["pages"]["cores"]["estimate"])
    assert b["pages"]["low"] < b["pages"]["hosts"] < b["pages"]["high"]


def test_what_gives_way_first_is_named():
    memory = {**COSTS, ("socket", "daphne", MEMORY): 50e6}
    assert sized([Block(memory, KNEES)] * 3, HOST, DEMAND)["first_limit"] == {"role": "chat", "limit": "memory"}
    large = {**COSTS, ("page", "nginx", BYTES): 5e6}
    seen = sized([Block(large, KNEES)] * 3, HOST, DEMAND)
    assert seen["first_limit"] == {"role": "front", "limit": "bandwidth"}
    assert roles(seen)["front"]["hosts"] == 21, "20.0016 links"
    silent = DEMAND.replace(messages_per_min=0, page_views_per_min=0.001, users=10_000_000, chat_share=1.0)
    light = {key: 0.0 if key[0] == "socket" else value for key, value in COSTS.items()}
    assert sized([Block(light, KNEES)] * 3, HOST, silent)["first_limit"] == {"role": "chat", "limit": "ports"}


def test_what_was_not_seen_is_called_extrapolated():
    assert set(sized(BLOCKS, HOST, DEMAND)["extrapolated"]) == {"sockets", "hosts"}
    seen = sized(BLOCKS, HOST, DEMAND.replace(users=120_000, room_size=200))
    beyond = seen["extrapolated"]
    assert beyond["requests_per_s"] == pytest.approx(5) and beyond["room_size"] == pytest.approx(2)
    many = sized(BLOCKS, HOST, DEMAND.replace(users=12_000_000))
    assert many["extrapolated"]["redis_servers"] == roles(many)["redis"]["servers"]["estimate"] > 1
    assert "room size: × 2\n" in text(seen) + "\n"


def test_hosts_of_another_size_and_speed_take_so_many_fewer_and_the_distance_is_told():
    many = DEMAND.replace(users=1_200_000)
    as_measured, larger = (sized([Block(COSTS, KNEES)] * 3, HOST, demand) for demand in (many, many.replace(
        host_cpus=8, host_memory_gib=64.0, host_speed=2.0)))  # fmt: skip
    a, b = roles(as_measured)["pages"], roles(larger)["pages"]
    assert b["cores"]["estimate"] == pytest.approx(a["cores"]["estimate"] / 2)
    assert (a["hosts"], b["hosts"]) == (57, 8), "56.25 of two cores, and an eighth of them"
    assert larger["usable_share"] == as_measured["usable_share"] and larger["measured_on"] == as_measured["measured_on"]
    assert larger["host"] == {"cpus": 8, "memory_bytes": 64 * 2**30, "speed": 2.0}
    assert larger["extrapolated"]["cpus"] == 4 and larger["extrapolated"]["speed"] == 2
    assert not {"cpus", "speed"} & as_measured["extrapolated"].keys()
    assert "each 2 times as quick" in text(larger) and "times as quick" not in text(as_measured)
    slower = roles(sized([Block(COSTS, KNEES)] * 3, HOST, many.replace(host_speed=0.5)))["pages"]
    assert slower["processes"]["estimate"] > a["processes"]["estimate"] == b["processes"]["estimate"]


def test_without_chat_there_are_no_hosts_for_it():
    seen = sized([Block(COSTS, {"pages": 800.0})] * 3, HOST, DEMAND.replace(chat_share=0))
    of = roles(seen)
    assert of["chat"]["hosts"] == of["redis"]["hosts"] == of["chat"]["high"] == 0 and of["pages"]["hosts"] == 1
    assert "redis" in text(seen)


@pytest.mark.parametrize("noise", [0.05, 0.3])
@pytest.mark.parametrize("blocks", [3, 5])
def test_a_block_that_it_has_not_seen_lies_in_the_interval_nine_times_in_ten(noise, blocks):
    chance = np.random.default_rng(7)
    held = []
    for _ in range(200):
        drawn = [scaled(float(np.exp(chance.normal(0, noise)))) for _ in range(blocks + 1)]
        predicted = roles(sized(drawn[:-1], HOST, DEMAND))["pages"]["cores"]
        seen = roles(sized([drawn[-1]] * 3, HOST, DEMAND))["pages"]["cores"]["estimate"]
        held.append(predicted["low"] <= seen <= predicted["high"])
    assert 0.9 <= np.mean(held)


def test_an_interval_of_what_is_ahead_is_wider_than_that_of_the_middle():
    middle, ahead = figure([1.0, 2.0, 4.0]), figure([1.0, 2.0, 4.0], ahead=True)
    assert middle.estimate == ahead.estimate == pytest.approx(2) and ahead.low < middle.low < middle.high < ahead.high
    assert np.isnan(figure([3.0]).low) and figure([0.0, 0.0]).high == 0 and figure([0.0, 1.0]).low == 0


def test_nothing_measured_is_said_and_no_figure_given():
    with pytest.raises(LabError, match="fab experiment capacity"):
        size([], DEMAND)


def test_the_text_says_what_it_stands_on():
    said = text(sized(BLOCKS, replace(HOST, cpus=4), DEMAND))
    for words in ("400 requests/s", "3 blocks", "4 CPUs", "what gives way first: CPU of pages", "instances", "servers"):
        assert words in said
    assert all(len(line) <= 130 for line in said.splitlines())


def test_size_refuses_from_too_few_blocks(monkeypatch):
    import pandas as pd

    from stacklab.study import sizing

    told = pd.DataFrame.from_dict({("capacity", n): COSTS for n in (1, 2)}, orient="index")
    monkeypatch.setattr(sizing, "costs", lambda runs: None)
    monkeypatch.setattr(sizing, "by_block", lambda table: told)
    monkeypatch.setattr(sizing.knees, "trials", lambda runs, p95_ms: None)
    monkeypatch.setattr(sizing.knees, "found", lambda trials, of, p95_ms: {("capacity", n): KNEES[of] for n in (1, 2)})
    with pytest.raises(ResultsError, match="2 are sound in all that is needed, and 3 are the fewest"):
        size([], DEMAND)
