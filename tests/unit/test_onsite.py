"""Loads and experiments on somebody's site: what is asked in place of what it has not, and what is refused."""

from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import pytest

from stacklab.bench import calibration, comparison, looks
from stacklab.bench.experiment import Bench
from stacklab.bench.experiments import EXPERIMENTS, balancing, channel_layers, databases, failover, uwsgi_workers
from stacklab.bench.generators import generators
from stacklab.bench.onsite import NEEDS, instead, load_on, on_site
from stacklab.bench.plan import Point
from stacklab.errors import LabError, SettingsError
from stacklab.settings import StackSettings
from stacklab.site import LAB, Chat, Site
from stacklab.workload import ChatLoad, HttpLoad, Look

PLAIN = Site(name="plain", code="1", wsgi="a:b", health="/hello/")
CHATTY = Site(
    name="chatty", code="2", wsgi="a:b", asgi="a:c", health="/", websocket="/ws/", chat=Chat(path="/ws/{room}/", send="{text}"),
    pages=("/", "/io/"),
)  # fmt: skip


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_on_the_labs_own_site_nothing_is_otherwise(name):
    plan = EXPERIMENTS[name](quick=True)
    assert on_site(plan, LAB) == (plan, [])


def test_a_page_that_the_site_lacks_is_replaced_and_said():
    plan, said = on_site(uwsgi_workers(quick=True), PLAIN)
    assert plan.name == "uwsgi-workers-quick@plain"
    assert [(p.label, p.workload.path) for p in plan.points] == [
        ("/hello/, 5 × 1", "/hello/"), ("/hello/, 10 × 1", "/hello/"), ("/hello/, 5 × 2", "/hello/"),
    ]  # fmt: skip
    assert said == [
        f"The site plain has no page {path} (pages in its stacklab.toml): /hello/ is asked in its place."
        for path in ("/", "/io/?ms=50")
    ]
    assert on_site(plan, PLAIN) == (plan, []), "twice does no harm"
    both, said = on_site(uwsgi_workers(quick=True), CHATTY)
    assert [p.workload.path for p in both.points] == ["/"] * 3 + ["/io/?ms=50"] * 3 and said == []


def test_all_load_generators_ask_for_the_same_page_instead():
    plan, said = on_site(generators(quick=True), PLAIN)
    asked = {p.workload.path if isinstance(p.workload, HttpLoad) else p.workload.named()["path"] for p in plan.points}
    assert asked == {"/hello/"} and len(plan.points) == len(generators(quick=True).points)
    assert said == ["The site plain has no page /healthz (pages in its stacklab.toml): /hello/ is asked in its place."]


def test_what_only_the_labs_own_chat_takes_up_is_left_out_and_said():
    plan = channel_layers(quick=True)
    made, said = on_site(plan, CHATTY)
    kept = [p for p in plan.points if p.settings.channel_layer == "pubsub"]
    assert [p.label for p in made.points] == [p.label for p in kept] and len(said) == len(plan.points) - len(kept)
    assert any("channel_layer='core' would have no effect: it is the lab's own chat's" in line for line in said)
    with pytest.raises(SettingsError, match="nothing of .* can be measured on chatty"):
        on_site(replace(plan, points=tuple(p for p in plan.points if p not in kept)), CHATTY)


def test_a_page_of_its_own_is_asked_as_it_is():
    load = HttpLoad(path="/search/?q=a")
    assert load_on(load, PLAIN) == load and instead(load, load, PLAIN) is None


def test_chat_needs_a_websocket_and_a_look_a_daphne():
    with pytest.raises(SettingsError, match="nothing of failover-quick can be measured on plain.*plain has no WebSocket"):
        on_site(failover(quick=True), PLAIN)
    with pytest.raises(LabError, match="the site plain has no Daphne to look at"):
        load_on(Look(), PLAIN)
    plan, said = on_site(balancing(quick=True), CHATTY)
    assert said == [] and plan.points == balancing(quick=True).points


TALKS = {
    "no chat": None, "room": Chat(path="/ws/{room}/", send="{text}"), "all": Chat(path="/ws/", send="{text}", heard_by="all"),
    "sender": Chat(path="/ws/", send="{text}", heard_by="sender"),
}  # fmt: skip


KINDS = {"no Daphne": PLAIN, "no WebSocket": replace(CHATTY, chat=None, websocket=None)} | {
    talk: replace(CHATTY, chat=chat) for talk, chat in TALKS.items()
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_says_of_any_site_what_of_it_is_measured_there(name, kind):
    site, plan = KINDS[kind], EXPERIMENTS[name](quick=True)
    try:
        made, said = on_site(plan, site)
    except SettingsError as refusal:
        assert f"nothing of {plan.name} can be measured on {site.name}. Left out: " in str(refusal)
        return
    measured = {(point.settings, point.workload, point.events) for point in made.points}
    for point in plan.points:
        left_out = any(line.startswith(f"Left out: {point.label}. ") for line in said)
        assert left_out or (point.settings, load_on(point.workload, site), point.events) in measured
    assert on_site(made, site)[0] == made


def test_a_look_at_what_the_site_has_not_is_left_out_and_said():
    with pytest.raises(SettingsError, match="/io/ and /pool/ of the lab's own site"):
        on_site(EXPERIMENTS["asgi-threads"](quick=True), CHATTY)
    made, said = on_site(EXPERIMENTS["servers"](quick=True), replace(CHATTY, chat=None))
    sights = {point.workload.sight for point in made.points if isinstance(point.workload, Look)}
    assert sights == {"server_stops"}, "nobody says anything that could be late"
    assert any(line.startswith("Left out: daphne, most clients. most_clients needs clients that talk") for line in said)


@pytest.mark.parametrize("name", ["clients-held", "socket-shares", "servers"])
def test_sockets_are_not_looked_at_where_there_are_none(name):
    with pytest.raises(SettingsError, match="nothing of .* can be measured on chatty"):
        on_site(EXPERIMENTS[name](quick=True), KINDS["no WebSocket"])


def test_a_burst_of_more_than_hear_each_other_is_left_out_and_said():
    _, said = on_site(EXPERIMENTS["crowds"](quick=True), replace(CHATTY, chat=TALKS["sender"]))
    assert any(line.startswith("Left out: burst of 50. burst_messages=50 is not allowed") for line in said)


def test_a_load_that_says_nothing_anyway_loses_its_burst_where_nobody_knows_how_to_talk():
    site, asked = replace(CHATTY, chat=None), ChatLoad(messages_per_s=0, burst_at_s=3)
    assert "How to talk on chatty is not known" in instead(asked, load_on(asked, site), site)


@pytest.mark.parametrize(
    ("chat", "rooms", "per_s", "said"),
    [
        (None, 3, 0.0, "sockets stay open, and say nothing"),
        (Chat(path="/ws/", send="{text}", heard_by="all"), 1, 0.2, "all hear all, in 1 room, not in 3 rooms"),
        (Chat(path="/ws/", send="{text}", heard_by="sender"), 30, 0.2, "each hears itself alone, as in 30 rooms"),
    ],
)
def test_who_hears_a_message_decides_the_rooms(chat, rooms, per_s, said):
    site = Site(name="echo", code="3", wsgi="a:b", asgi="a:c", health="/", websocket="/ws/", chat=chat)
    asked = ChatLoad(clients=30, rooms=3)
    made = load_on(asked, site)
    assert (made.rooms, made.messages_per_s) == (rooms, per_s)
    assert said in instead(asked, made, site)
    assert load_on(made, site) == made


@pytest.mark.parametrize(("own", "other"), [("sqlite", "postgresql"), ("postgresql", "sqlite")])
def test_a_sites_own_database_is_the_one_that_is_measured_and_another_is_left_out(own, other):
    there = replace(PLAIN, database=own)
    plan, said = on_site(uwsgi_workers(quick=True), there)
    assert {point.settings.database for point in plan.points} == {own} and len(plan.points) == 3
    plan, said = on_site(databases(quick=True), there)
    assert [(point.label, point.settings.database) for point in plan.points] == [(f"/hello/, {own}", own)]
    refusals = [line for line in said if line.startswith("Left out: ")]
    assert len(refusals) == 2 and all(
        f", {other}. database={other!r} would have no effect: plain has {own!r}" in line for line in refusals
    )
    assert on_site(plan, there) == (plan, [])


def test_each_look_there_is_says_what_it_needs():
    assert set(NEEDS) == set(looks.SIGHTS)


class Begun(Exception):
    """A measurement would begin now."""


@pytest.fixture
def noted(monkeypatch):
    """`noted(measure)`: what the slices that it would measure on the site PLAIN say beside, and the pages they ask."""
    on = Bench(SimpleNamespace(name="lab"), None, None, None, {"notes": ["one computer"]}, None, (), PLAIN)

    def slicing(on, plan, folder, on_slice):
        raise Begun(on.environment["notes"], [point.workload.path for point in plan.points])

    for module in (comparison, calibration):
        monkeypatch.setattr(module, "bench", lambda *_: nullcontext(on))
        monkeypatch.setattr(module, "going_back", lambda host: nullcontext(StackSettings()))
        monkeypatch.setattr(module, "slicing", slicing)
    monkeypatch.setattr(comparison, "site_under", lambda lab: PLAIN)
    monkeypatch.setattr(comparison, "calibration_for", lambda *_: None)

    def begun(measure):
        with pytest.raises(Begun) as told:
            measure()
        return told.value.args

    return begun


def test_a_comparison_and_a_calibration_note_once_what_they_asked_instead(noted, tmp_path):
    a, b = (Point(label, StackSettings(), HttpLoad(path="/")) for label in "ab")
    asked = ["one computer", instead(HttpLoad(path="/"), HttpLoad(path="/hello/"), PLAIN)], ["/hello/"] * 2
    assert noted(lambda: comparison.compare(a, b, None, root=tmp_path)) == asked
    assert noted(lambda: calibration.calibrate(None, root=tmp_path)) == asked
