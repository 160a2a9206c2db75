"""StackSettings and the rules of its fields."""

import dataclasses
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stacklab.errors import LabError, SettingsError
from stacklab.settings import (
    ASGI_SERVERS,
    BALANCE_METHODS,
    CHANNEL_LAYERS,
    IMPROVEMENTS,
    NEEDS_LAYER,
    NEEDS_SERVER,
    Rule,
    StackSettings,
)

RULES = StackSettings.rules()


def fits(rule: Rule) -> st.SearchStrategy:
    """Values that `rule` accepts."""
    if rule.choices:
        values = st.sampled_from(rule.choices)
    elif rule.kind is bool:
        values = st.booleans()
    elif rule.kind is str:
        values = st.text(st.characters(codec="ascii", exclude_characters=" \t\r\n\x0b\x0c\x1c\x1d\x1e\x1f")).map("/".__add__)
    elif rule.kind is float:
        values = st.floats(rule.low, rule.high)
    else:
        values = st.integers(rule.low, rule.high)
    return values | st.none() if rule.optional else values


def stack_settings() -> st.SearchStrategy[StackSettings]:
    """Every StackSettings that is allowed."""
    values = st.fixed_dictionaries({name: fits(rule) for name, rule in RULES.items()})

    def where_they_do_something(values: dict) -> StackSettings:
        """Those that need another layer at their defaults."""
        kept = {name: value for name, value in values.items() if values["channel_layer"] in NEEDS_LAYER.get(name, CHANNEL_LAYERS)
                and values["asgi_server"] in NEEDS_SERVER.get(name, ASGI_SERVERS)}
        return StackSettings(**kept)

    return values.map(where_they_do_something)


def outside(name: str, rule: Rule) -> st.SearchStrategy:
    """Values that the field must refuse."""
    numbers = st.integers() | st.floats(allow_nan=True, allow_infinity=True)
    anything = numbers | st.text() | st.booleans() | st.none() | st.lists(st.integers()) | st.binary()

    def refused(value) -> bool:
        try:
            rule.check(name, value)
        except SettingsError:
            return True
        return False

    return anything.filter(refused)


@given(stack_settings())
def test_settings_survive_a_dict_and_json(settings):
    assert StackSettings.from_dict(settings.to_dict()) == settings
    assert StackSettings.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings


@given(stack_settings())
def test_settings_survive_the_command_line(settings):
    texts = {name: "none" if value is None else str(value) for name, value in settings.to_dict().items()}
    assert StackSettings(**StackSettings.parse(texts)) == settings


@given(st.sampled_from(sorted(RULES)).flatmap(lambda name: st.tuples(st.just(name), outside(name, RULES[name]))))
def test_what_is_outside_is_refused_with_name_value_and_range(case):
    name, value = case
    with pytest.raises(SettingsError) as caught:
        StackSettings(**{name: value})
    assert str(caught.value) == f"{name}={value!r} is not allowed: {name} takes {RULES[name].allowed()}"


@given(st.sampled_from(sorted(RULES)), st.text())
def test_any_text_is_parsed_to_an_allowed_value_or_refused(name, text):
    rule = RULES[name]
    try:
        value = rule.parse(name, text)
    except SettingsError as error:
        assert name in str(error) and rule.allowed() in str(error)
    else:
        rule.check(name, value)


@given(st.sampled_from(sorted(RULES)).flatmap(lambda name: st.tuples(st.just(name), fits(RULES[name]))))
def test_white_space_and_capitals_do_not_matter(case):
    name, value = case
    text = "none" if value is None else str(value)
    assert RULES[name].parse(name, f"  {text.upper()} \n") == value


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("uwsgi_processes", 0, "uwsgi_processes=0 is not allowed: uwsgi_processes takes a whole number from 1 to 64"),
        ("uwsgi_processes", "5", "uwsgi_processes='5' is not allowed: uwsgi_processes takes a whole number from 1 to 64"),
        ("uwsgi_processes", True, "uwsgi_processes=True is not allowed"),
        ("uwsgi_processes", 5.0, "uwsgi_processes=5.0 is not allowed"),
        ("uwsgi_processes", math.nan, "uwsgi_processes=nan is not allowed"),
        ("uwsgi_processes", None, "uwsgi_processes=None is not allowed"),
        ("asgi_threads", 0, "asgi_threads takes a whole number from 1 to 256, or none"),
        ("balance", "fair", "balance takes one of round_robin, least_conn, ip_hash, hash, random_two"),
        ("daphne_tls", 1, "daphne_tls=1 is not allowed: daphne_tls takes true or false"),
        ("daphne_instances", 17, "daphne_instances takes a whole number from 1 to 16"),
    ],
)
def test_a_refusal_reads_well(name, value, message):
    with pytest.raises(SettingsError) as caught:
        StackSettings(**{name: value})
    assert message in str(caught.value)
    assert isinstance(caught.value, ValueError) and isinstance(caught.value, LabError)


def test_the_ends_of_each_range_are_allowed_and_one_more_is_not():
    for name, rule in RULES.items():
        if rule.low is None:
            continue
        for end, beyond in ((rule.low, rule.low - 1), (rule.high, rule.high + 1)):
            layer = {"channel_layer": NEEDS_LAYER.get(name, CHANNEL_LAYERS)[0]}
            assert getattr(StackSettings(**{name: end} | layer), name) == end
            with pytest.raises(SettingsError):
                StackSettings(**{name: beyond} | layer)


@pytest.mark.parametrize("make", [lambda v: StackSettings().replace(**v), StackSettings.from_dict, StackSettings.parse])
def test_an_unknown_setting_is_refused_and_those_there_are_named(make):
    with pytest.raises(SettingsError, match="StackSettings has no field frob; its fields are nginx_worker_processes, "):
        make({"frob": "3"})


def test_replace_makes_a_checked_copy():
    settings = StackSettings()
    assert settings.replace(uwsgi_processes=10).uwsgi_processes == 10
    assert settings.uwsgi_processes == 5
    with pytest.raises(SettingsError):
        settings.replace(uwsgi_processes=0)


def test_settings_cannot_be_changed_in_place_and_can_be_keys():
    with pytest.raises(dataclasses.FrozenInstanceError):
        StackSettings().uwsgi_processes = 6
    assert {StackSettings(): 1}[StackSettings()] == 1


def test_a_missing_field_takes_its_default():
    assert StackSettings.from_dict({"uwsgi_processes": 7}) == StackSettings(uwsgi_processes=7)


def test_parse_leaves_out_what_was_not_given_and_takes_none_as_a_word():
    assert StackSettings.parse({"uwsgi_processes": None, "asgi_threads": "None"}) == {"asgi_threads": None}


@pytest.mark.parametrize("word", ["yes", "on", "True"])
def test_words_for_true(word):
    assert StackSettings.parse({"daphne_tls": word}) == {"daphne_tls": True}


@pytest.mark.parametrize(
    ("layer", "name", "value"),
    [
        ("memory", "chat_resume", True), ("memory", "layer_reconnects", True), ("core", "one_subscription", True),
        ("pubsub", "channel_capacity", 101), ("pubsub", "redis_pool", 50), ("memory", "redis_pool", 50),
    ],
)  # fmt: skip
def test_a_setting_that_would_do_nothing_with_the_layer_is_refused_by_name(layer, name, value):
    with pytest.raises(SettingsError, match=rf"{name}={value} is not allowed with channel_layer='{layer}', where it would"):
        StackSettings(channel_layer=layer, **{name: value})
    right = StackSettings(channel_layer=NEEDS_LAYER[name][0], **{name: value})
    with pytest.raises(SettingsError):
        right.replace(channel_layer=layer)


def test_every_improvement_is_off_by_default():
    for settings in (StackSettings(), StackSettings.post()):
        assert not any(getattr(settings, name) for name in IMPROVEMENTS)


@pytest.mark.parametrize(("layer", "resume"), [("pubsub", False), ("core", True), ("memory", False)])
def test_a_record_of_before_the_improvements_is_read_as_what_its_code_did(layer, resume):
    earlier = {
        "nginx_worker_processes": 1, "nginx_worker_connections": 4096, "uwsgi_processes": 5, "uwsgi_threads": 1,
        "uwsgi_listen": 1024, "daphne_instances": 3, "daphne_tls": True, "daphne_drain_s": 5, "asgi_threads": 4,
        "balance": "hash", "balance_zone": True, "balance_max_fails": 1, "balance_fail_timeout_s": 10, "channel_layer": layer,
        "channel_capacity": 100, "redis_pool": 50, "chat_resume": resume,
    }  # fmt: skip
    settings = StackSettings.from_dict(earlier)
    assert (settings.lean_dispatch, settings.bounded_sockets, settings.tidy_channels) == (True, True, False)
    assert (settings.daphne_drain_s, settings.asgi_threads, settings.chat_resume) == (5, 4, resume)
    assert settings.one_subscription == (layer == "pubsub") and settings.layer_reconnects == (layer != "memory")
    assert settings.redis_pool == (50 if layer == "core" else None)
    assert StackSettings.from_dict(settings.to_dict()) == settings


def test_the_posts_own_values():
    post = StackSettings.post()
    assert (post.nginx_worker_connections, post.uwsgi_processes, post.daphne_instances) == (1024, 5, 3)
    assert (post.balance, post.uwsgi_listen, post.channel_layer, post.channel_capacity) == ("round_robin", 100, "core", 100)


def test_daphne_ports_go_up_from_8443():
    assert StackSettings(daphne_instances=3).daphne_ports() == [8443, 8444, 8445]
    assert StackSettings(daphne_instances=1).daphne_ports() == [8443]


def test_each_setting_says_what_it_is():
    for name, rule in RULES.items():
        assert rule.help.split(":")[0] in ("nginx", "WSGI", "database", "ASGI", "Daphne", "Channels", "chat"), name
    assert set(RULES["balance"].choices) == set(BALANCE_METHODS)
    assert set(RULES["channel_layer"].choices) == set(CHANNEL_LAYERS)


@pytest.mark.parametrize("server", [server for server in ASGI_SERVERS if server != "daphne"])
@pytest.mark.parametrize(("name", "value"), [("daphne_drain_s", 9), ("asgi_threads", 4)])
def test_a_server_refuses_by_name_what_it_does_not_know(server, name, value):
    with pytest.raises(SettingsError, match=f"{name}={value} is not allowed with asgi_server='{server}', which knows no such"):
        StackSettings(asgi_server=server, **{name: value})
    assert StackSettings(asgi_server="daphne", **{name: value}).to_dict()[name] == value
