"""HttpLoad and ChatLoad."""

import json

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
        allowed = values.map(lambda v: v | {"rooms": min(v["rooms"], v["clients"])})
    return allowed.map(of.from_dict)


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


def test_an_unknown_field_is_named():
    with pytest.raises(SettingsError, match="HttpLoad has no field clients; its fields are path, requests, "):
        HttpLoad.parse({"clients": "10"})


def test_a_closed_loop_has_no_arrivals_to_choose():
    assert HttpLoad(requests_per_s=5.0, arrivals="poisson").arrivals == "poisson"
    with pytest.raises(SettingsError, match="arrivals=poisson is not allowed in a closed loop: give requests_per_s too"):
        HttpLoad(arrivals="poisson")
    with pytest.raises(SettingsError, match="one of even, poisson"):
        HttpLoad(requests_per_s=5.0, arrivals="bursts")
