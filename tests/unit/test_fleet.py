"""`fab fleet`: what is reckoned of many hosts, from costs made by hand."""

import json

import numpy as np
import pytest

from stacklab.errors import ResultsError, SettingsError
from stacklab.study import fleet
from stacklab.study.costs import CPU, MEMORY
from stacklab.study.fleet import Costs, all_lost, all_restarted, host_lost, met, ordinary, picture, reckon, reckoned, text
from stacklab.workload import Fleet

COSTS = Costs({
    ("page", "nginx", CPU): 0.0002, ("page", "uwsgi", CPU): 0.0008,
    ("message", "daphne", CPU): 0.0004, ("message", "redis", CPU): 40e-6,
    ("delivery", "daphne", CPU): 100e-6, ("delivery", "nginx", CPU): 20e-6,
    ("connect", "nginx", CPU): 0.0005, ("connect", "daphne", CPU): 0.0015, ("connect", "redis", CPU): 5e-6,
    ("socket", "daphne", MEMORY): 60_000.0, ("socket", "nginx", MEMORY): 20_000.0,
    ("process", "uwsgi", MEMORY): 30e6, ("process", "daphne", MEMORY): 60e6,
})  # fmt: skip
FLEET = Fleet(
    hosts=10, host_cpus=2, host_memory_gib=4.0, users=50_000, chat_share=1.0, messages_per_min=0.6, page_views_per_min=0.6,
)  # fmt: skip


@pytest.fixture(autouse=True)
def soon_over(monkeypatch):
    """What is never over need not be waited for."""
    monkeypatch.setattr(fleet, "LONGEST_S", 120.0)


def test_a_message_meets_all_of_few_instances_and_of_many_as_many_as_hear_it():
    assert met(3, 1) == pytest.approx(1) and met(3, 100) == pytest.approx(3) and met(1, 20) == 1
    assert met(10_000, 20) == pytest.approx(20, rel=0.01)
    spread = np.random.default_rng(1).integers(0, 30, (4000, 20))
    assert met(30, 20) == pytest.approx(np.mean([len(set(room)) for room in spread]), rel=0.02)


def test_an_ordinary_day_by_hand():
    day = ordinary(COSTS, FLEET)
    # A socket says 0.01/s and hears 0.2/s; a host of two CPUs has 5,000 of them, and 50 pages a second.
    assert day["host_cpu"] == pytest.approx((5000 * (0.01 * 0.0004 + 0.2 * 120e-6) + 50 * 0.001) / 2)
    copies = met(20, 20)
    each_s = 40e-6 / (1 + met(3, 20))
    assert day["copies"] == pytest.approx(copies) and day["redis_core"] == pytest.approx(500 * each_s * (1 + copies))
    assert day["memory"] == pytest.approx((5000 * 80_000 + 2 * 30e6 + 2 * 60e6) / (4 * 2**30))
    assert ordinary(COSTS, FLEET.replace(redis_servers=4))["redis_core"] == pytest.approx(day["redis_core"] / 4)
    quick = ordinary(Costs(COSTS.of, speed=2.0), FLEET)
    assert quick["host_cpu"] == pytest.approx(day["host_cpu"] / 2) and quick["memory"] == day["memory"]


def test_after_one_host_its_clients_are_soon_back_and_each_tried_once():
    back = host_lost(COSTS, FLEET)
    assert back["attempts"] == 1.0 and 0.25 < back["back_s"] < 2
    assert back["over"]["without"][0] <= 5000 and back["over"]["without"][-1] == 0
    assert np.all(np.diff(back["over"]["without"]) <= 0)


def test_when_all_come_back_the_hosts_have_to_do_for_as_long_as_that_work_takes():
    back = all_lost(COSTS, FLEET)
    work_s = 50_000 * 0.002 / (10 * 2)
    assert back["late_s"] == pytest.approx(work_s, rel=0.3), "all within a second: then nearly all of it waits"
    hurried = all_lost(COSTS, FLEET.replace(patience_s=1.0))
    assert hurried["attempts"] > 1.3, "who gives up comes again, and what was begun for him was for nothing"
    assert hurried["back_s"] > back["back_s"]
    assert all_lost(COSTS, FLEET.replace(users=500_000, patience_s=2.0))["back_s"] is None, "ten times that: never"


def test_redis_may_be_what_all_wait_for():
    slow = Costs(COSTS.of | {("connect", "redis", CPU): 0.002})
    assert all_lost(slow, FLEET)["late_s"] > 10 * all_lost(COSTS, FLEET)["late_s"]
    assert all_lost(slow, FLEET.replace(redis_servers=100))["late_s"] < 2 * all_lost(COSTS, FLEET)["late_s"]


def test_restarted_in_turn_the_last_stays_empty_by_round_robin_and_is_filled_by_least_conn():
    by_turn, by_need = (all_restarted(FLEET, by) for by in ("round_robin", "least_conn"))
    assert by_turn["duration_s"] == 300 and by_turn["fullest"] > 1.05
    assert by_need["fullest"] < by_turn["fullest"]
    # Each host gives its clients to nine others: the first ends with what nine restarts brought it.
    sockets = np.full(10, 5000.0)
    moved = 0.0
    for host in range(10):
        gone, sockets[host] = sockets[host], 0.0
        moved += gone
        sockets[np.arange(10) != host] += gone / 9
    assert by_turn["fullest"] == pytest.approx(sockets.max() / 5000, rel=0.02)
    assert by_turn["moves"] == pytest.approx(moved / 50_000, rel=0.02)


@pytest.mark.parametrize(("sockets", "people", "after"), [
    ([5, 1, 3, 0], 4, [5, 3, 3, 2]), ([0, 0, 0], 7, [3, 2, 2]), ([9, 2], 1, [9, 3]), ([4, 4, 4], 0, [4, 4, 4]),
])  # fmt: skip
def test_the_emptiest_is_filled_first(sockets, people, after):
    sockets = np.array(sockets)
    came = fleet._levelled(sockets, people)
    assert came.sum() == people and sorted(sockets + came) == sorted(after)


def told(fleet):
    return reckoned(COSTS, fleet) | {"shown": {"measured_per_s": 1000.0, "reckoned_per_s": 1100.0}}


def test_what_breaks_first_and_what_to_do_before_it_does():
    fine = told(FLEET)
    json.dumps(fine, allow_nan=False)
    [sentence] = fine["before"]
    assert sentence.startswith("least_conn") and fine["breaks_first"] == {
        "limit": "memory", "times": pytest.approx(1 / fine["ordinary"]["memory"]),
    }  # fmt: skip
    many = told(FLEET.replace(hosts=500, users=2_000_000, messages_per_min=2.0))
    assert many["breaks_first"]["limit"] == "redis_core" and many["breaks_first"]["times"] < 1
    assert many["all_lost"] is None and "nothing can be said of a bad moment" in text(many)
    with pytest.raises(ResultsError, match="too much"):
        picture(many)
    assert any("Redis servers" in sentence and "consistent hash" in sentence for sentence in many["before"])
    small = told(FLEET.replace(host_memory_gib=0.5))
    assert any("GiB of memory a host" in sentence for sentence in small["before"])
    said = text(many)
    assert "what breaks first as it grows: the one core of a Redis, at × 0." in said and "nothing was measured" in said
    assert len(picture(fine).axes) == 4 and "a host is lost: 99 of 100 are back after" in text(fine)
    assert told(FLEET.replace(users=100, hosts=100))["all_restarted"]["round_robin"]["fullest"] > 0


def test_people_who_do_not_chat_are_no_fleets():
    with pytest.raises(SettingsError, match="chat_share=0 is not allowed"):
        Fleet(chat_share=0)


def test_nothing_was_measured():
    with pytest.raises(ResultsError, match="fab experiment capacity"):
        reckon([], Fleet())
    unknown = told(FLEET) | {"shown": {"measured_per_s": None, "reckoned_per_s": 1100.0}}
    assert "deliveries/s were measured" not in text(unknown) and "deliveries/s were measured" in text(told(FLEET))


def test_a_million_sockets_on_a_hundred_hosts():
    calm = {"chat_share": 1.0, "messages_per_min": 0.2, "page_views_per_min": 0.2}
    seen = told(Fleet(users=1_000_000, host_cpus=4, host_memory_gib=8.0, **calm))
    assert seen["asked"]["sockets"] == 1_000_000 and seen["asked"]["hosts"] == 100
    assert seen["host_lost"]["back_s"] is not None
