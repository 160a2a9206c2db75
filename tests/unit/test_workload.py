"""HttpLoad and ChatLoad."""

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_settings import fits

from stacklab.errors import SettingsError
from stacklab.workload import ChatLoad, HttpLoad


def loads(of) -> st.SearchStrategy:
    """Every load of a class that is allowed."""
    values = st.fixed_dictionaries({name: fits(rule) for name, rule in of.rules().items()})
    if of is HttpLoad:
        values = values.map(lambda v: v if v["requests_per_s"] else v | {"arrivals": "even"})
        allowed = values.filter(lambda v: not (v["requests_per_s"] and v["wait_s"]))
    else:
        allowed = values.map(_that_fit)
    return allowed.map(of.from_dict)


def _that_fit(v: dict) -> dict:
    """Sizes of a chat load cut down to what it can hold."""
    rooms = min(v["rooms"], v["clients"])
    fitting = {"rooms": rooms, "slow_readers": v["slow_readers"] % v["clients"]}
    fitting["listeners"] = v["listeners"] % (v["clients"] - fitting["slow_readers"])
    fitting["churn_per_s"] = min(v["churn_per_s"], (v["clients"] - fitting["slow_readers"]) / 2)
    if v["largest_room"]:
        low, high = -(-v["clients"] // rooms), v["clients"] - rooms + 1 if rooms > 1 else v["clients"]
        fitting["largest_room"] = min(max(v["largest_room"], low), high)
    fitting |= {name: v[name] and v[name] % v["duration_s"] for name in ("burst_at_s", "storm_at_s")}
    if fitting["listeners"] + fitting["slow_readers"]:  # who knows who of the largest room is left to speak
        fitting["burst_at_s"] = None
    most = 1 if fitting["burst_at_s"] is None else -(-v["clients"] // rooms)
    return v | fitting | {"burst_messages": min(v["burst_messages"], most)}


@given(loads(HttpLoad) | loads(ChatLoad))
def test_loads_survive_json_and_the_command_line(load):
    of = type(load)
    assert of.from_dict(json.loads(json.dumps(load.to_dict()))) == load
    texts = {name: "none" if value is None else str(value) for name, value in load.to_dict().items()}
    assert of(**of.parse(texts)) == load


@pytest.mark.parametrize("path", ["", "index", "https://elsewhere/", "/a b", "/a\n", "/a\r\nHost: x", "/a\tb"])
def test_a_path_starts_with_a_slash_and_holds_no_white_space(path):
    with pytest.raises(SettingsError, match="path starts with / and holds no white space"):
        HttpLoad(path=path)


@pytest.mark.parametrize("path", ["/", "/cpu/?ms=20&a=b", "/한글/", "/chat/%F0%9F%98%80/"])
def test_other_paths_are_kept_as_they_are(path):
    assert HttpLoad(path=path).path == path
    assert HttpLoad.parse({"path": path}) == {"path": path}


def test_a_schedule_and_a_wait_exclude_each_other():
    with pytest.raises(SettingsError, match="exclude each other"):
        HttpLoad(requests_per_s=10.0, wait_s=1.0)
    assert HttpLoad(requests_per_s=10.0).wait_s == 0


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), "300", True])
def test_a_schedule_needs_a_rate(value):
    with pytest.raises(SettingsError, match=r"requests_per_s takes a number from 0\.01 to 100000, or none"):
        HttpLoad(requests_per_s=value)


def test_whole_numbers_do_for_seconds():
    assert HttpLoad(ramp_s=3, requests_per_s=300).requests_per_s == 300


def test_there_are_no_more_rooms_than_clients():
    with pytest.raises(SettingsError, match="rooms=11 is not allowed: there are only 10 clients"):
        ChatLoad(clients=10, rooms=11)
    assert ChatLoad(clients=10, rooms=10).rooms == 10


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"largest_room": 5}, "largest_room=5 is not allowed: of 300 clients in 30 rooms it can hold 10 to 271"),
        ({"largest_room": 272}, "largest_room=272 is not allowed: of 300 clients in 30 rooms it can hold 10 to 271"),
        ({"largest_room": 400}, "largest_room=400 is not allowed: of 300 clients in 30 rooms it can hold 10 to 271"),
        ({"largest_room": 299, "rooms": 1}, "largest_room=299 is not allowed: of 300 clients in 1 room it holds 300"),
        ({"slow_readers": 300}, "slow_readers=300 is not allowed: of 300 clients one must be left to speak"),
        ({"listeners": 301}, "listeners=301 is not allowed: of 300 clients one must be left to speak"),
        ({"listeners": 200, "slow_readers": 100},
         "listeners=200 and slow_readers=100 are not allowed: of 300 clients one must be left to speak"),
        ({"churn_per_s": 160}, "churn_per_s=160 is not allowed: each of 300 clients would stay for 1.9 s; at most 150 can leave"),
        ({"churn_per_s": 6, "clients": 10, "rooms": 1}, "churn_per_s=6 is not allowed: each of 10 clients would stay for 1.7 s"),
        ({"churn_per_s": 201}, "churn_per_s takes a number from 0 to 200"),
        ({"burst_at_s": 30}, "burst_at_s=30 is not allowed: the load ends after duration_s=30"),
        ({"storm_at_s": 31}, "storm_at_s=31 is not allowed: the load ends after duration_s=30"),
        ({"burst_messages": 2}, "burst_messages=2 is not allowed without a burst: give burst_at_s too"),
        ({"burst_at_s": 1, "burst_messages": 11}, "another client of the largest room, and 10 of them speak"),
        ({"burst_at_s": 1, "burst_messages": 10, "listeners": 30}, "another client of the largest room, and 9 of them speak"),
    ],
)  # fmt: skip
def test_a_size_that_does_not_fit_is_refused_by_name_in_one_line(fields, said):
    with pytest.raises(SettingsError) as refused:
        ChatLoad(**fields)
    assert said in str(refused.value) and "\n" not in str(refused.value)


@given(loads(ChatLoad))
def test_every_client_has_a_place_and_every_room_and_part_as_many_as_asked_for(load):
    places, sizes = load.places(), load.room_sizes()
    assert len(places) == load.clients and places == load.replace(messages_per_s=1.0).places()
    rooms = Counter(place.room for place in places)
    assert [rooms[room] for room in range(load.rooms)] == sizes and max(sizes) == sizes[0] == (load.largest_room or sizes[0])
    assert max(sizes[1:], default=0) - min(sizes[1:], default=0) <= 1
    parts = Counter(place.role for place in places)
    assert (parts["listener"], parts["slow_reader"], parts["talker"]) == (load.listeners, load.slow_readers, load.talkers)
    bursting = [place for place in places if place.in_burst]
    assert len(bursting) == (0 if load.burst_at_s is None else load.burst_messages)
    assert {(place.room, place.role) for place in bursting} <= {(0, "talker")}


def test_those_who_do_not_read_are_in_all_rooms_alike():
    places = ChatLoad(clients=300, rooms=30, slow_readers=30, listeners=60).places()
    each = Counter((place.room, place.role) for place in places)
    assert {each[room, "slow_reader"] for room in range(30)} == {1} and {each[room, "listener"] for room in range(30)} == {2}


def test_an_unknown_field_is_named():
    with pytest.raises(SettingsError, match="HttpLoad has no field clients; its fields are path, requests, "):
        HttpLoad.parse({"clients": "10"})


def test_a_closed_loop_has_no_arrivals_to_choose():
    assert HttpLoad(requests_per_s=5.0, arrivals="poisson").arrivals == "poisson"
    with pytest.raises(SettingsError, match="arrivals=poisson is not allowed in a closed loop: give requests_per_s too"):
        HttpLoad(arrivals="poisson")
    with pytest.raises(SettingsError, match="one of even, poisson"):
        HttpLoad(requests_per_s=5.0, arrivals="bursts")
