"""Servers side by side: the plan, the bounded search, and the tables and the picture made from synthetic runs."""

import json
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import synthetic
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from stacklab.bench import servers as module
from stacklab.bench.comparison import CHAT_METRICS
from stacklab.bench.experiments import experiment_named
from stacklab.bench.servers import BORNE, FIRST, MOST, most_clients, searched, servers
from stacklab.errors import LoadError
from stacklab.runs.results import Validity
from stacklab.settings import ASGI_SERVERS, StackSettings
from stacklab.site import LAB, Chat, Site
from stacklab.stack.services import SERVICE_COLOURS
from stacklab.study import words
from stacklab.study.analysis import bytes_per_socket
from stacklab.study.looks import summarize_look
from stacklab.study.paired import look
from stacklab.study.report import without_empty, write_report
from stacklab.study.servers import COSTS, _bar, _median, bounds, costs, picture, side_by_side, stops, text
from stacklab.study.summary import summarize
from stacklab.workload import ChatLoad, Look


@pytest.mark.parametrize("quick", [True, False])
def test_the_plan_crosses_servers_layers_and_rooms_and_looks_at_each(quick):
    plan = experiment_named("servers", quick=quick)
    chats = [point for point in plan.points if isinstance(point.workload, ChatLoad)]
    factors = {
        (p.settings.asgi_server, p.settings.channel_layer, p.workload.clients // p.workload.rooms, p.settings.daphne_tls)
        for p in chats
    }  # fmt: skip
    assert len(factors) == len(chats) == len(ASGI_SERVERS) * (4 if quick else 5)
    looks = {(p.settings.asgi_server, p.workload.sight) for p in plan.points if isinstance(p.workload, Look)}
    assert looks == {(server, sight) for server in ASGI_SERVERS for sight in ("most_clients", "server_stops")}
    per_s = {round(p.workload.messages_per_s * p.workload.clients * p.workload.clients / p.workload.rooms) for p in chats}
    assert len(per_s) == 1, "as many deliveries a second in each"


def test_the_points_differ_in_what_is_compared_and_in_nothing_else():
    for point in servers(quick=True).points:
        label = point.label.replace(point.settings.asgi_server, "daphne")
        other = next(p for p in servers(quick=True).points if p.label == label)
        assert replace(point.settings, asgi_server="daphne") == other.settings and point.workload == other.workload


@pytest.mark.parametrize("limit", [0, 50, 100, 330, 450, 1599, 3200, 10_000])
def test_the_search_is_bounded_and_near(limit):
    tried = []

    def bears(clients: int) -> bool:
        tried.append(clients)
        return clients <= limit

    found = searched(bears, rounds=12)
    assert found <= limit and max(tried) <= MOST and len(tried) <= 12 and len(set(tried)) == len(tried)
    assert found >= min(limit, MOST) / 1.06 - 1
    tried.clear()
    assert searched(bears, rounds=1) in (0, FIRST) and tried == [FIRST]


@pytest.fixture
def searching(monkeypatch):
    """`searching(load, site)`: the rows of a search in which `load(clients, out)` is put on nothing, and how it was called."""

    def search(load, site=LAB, rounds=4):
        called = []

        def run_load(workload, url, out, ca, **how):
            called.append((workload, how))
            load(workload.clients, out)

        monkeypatch.setattr(module, "run_load", run_load)
        on = SimpleNamespace(host=SimpleNamespace(url=""), ca=None, generator_cpus=[1], client_addresses=[], site=site)
        return most_clients(on, StackSettings(), Look(sight="most_clients", rounds=rounds)), called

    return search


def tables(out, clients, connected=None, latency_s=0.01, lost=0, cores=0.3):
    """What a load leaves, of a message a client."""
    connected, lost = clients if connected is None else connected, np.arange(clients) < lost
    pd.DataFrame({
        "warmup": False, "sent_s": np.linspace(10, 16, clients), "latency_s": np.where(lost, np.nan, latency_s),
        "copies": np.where(lost, 0, 1),
    }).to_parquet(out / "messages.parquet")  # fmt: skip
    pd.DataFrame({
        "client": [f"c{n}" for n in range(clients)], "connect_s": np.where(np.arange(clients) < connected, 0.01, np.nan),
    }).to_parquet(out / "connections.parquet")  # fmt: skip
    busiest = dict.fromkeys((*range(10), *range(17, 30)), 0.0) | {12: cores - 0.1, 13: cores + 0.1}
    gauges = pd.DataFrame({"name": "generator_cpu_busiest", "time_s": busiest.keys(), "value": busiest.values()})
    gauges.loc[len(gauges)] = ["generator_cpu", 12, 9.0]
    gauges.to_parquet(out / "generator.parquet")


@pytest.mark.parametrize(
    ("figures", "borne"),
    [({}, True), ({"connected": 400}, False), ({"connected": 795}, True), ({"latency_s": 0.26}, False), ({"lost": 9}, False)],
)
def test_a_load_is_borne_if_all_come_in_and_all_is_delivered_soon(tmp_path, figures, borne):
    tables(tmp_path, 800, **figures)
    row = module._borne(tmp_path, BORNE.replace(clients=800, rooms=80))
    assert row["borne"] is borne and row["connected"] == figures.get("connected", 800) / 800
    assert row["generator_cores"] == pytest.approx(0.3), "while they talk, not while they come and go"


def test_a_search_that_ended_at_the_load_generators_limit_says_so(searching):
    rows, _ = searching(lambda clients, out: tables(out, clients, latency_s=0.01 if clients <= 200 else 1, cores=clients / 400))
    assert [(row["clients"], row["borne"]) for row in rows] == [(100, True), (200, True), (400, False), (300, False)]
    assert [row["clients"] for row in rows if "problem" in row] == [] and rows[-1]["generator_cores"] == pytest.approx(0.75)
    rows, _ = searching(lambda clients, out: tables(out, clients, latency_s=0.01 if clients <= 200 else 1, cores=clients / 300))
    assert [row["clients"] for row in rows if "problem" in row] == [300] and "100% of a core" in rows[-1]["problem"]


def test_a_load_that_fails_is_not_borne_and_does_not_end_the_search(searching):
    def load(clients, out, by_itself):
        if clients > 200:
            if not by_itself:
                tables(out, clients, connected=0)
            if by_itself:
                raise LoadError("Locust ended with exit code 1", log="a traceback\nof many lines")
            raise LoadError("not one client came into its room")
        tables(out, clients)

    rows, _ = searching(lambda clients, out: load(clients, out, by_itself=False))
    assert [(row["clients"], row["borne"]) for row in rows] == [(100, True), (200, True), (400, False), (300, False)]
    assert "not one client" in rows[-1]["error"] and not any("problem" in row for row in rows)
    rows, _ = searching(lambda clients, out: load(clients, out, by_itself=True))
    assert rows[-1]["problem"] == "The load generator failed at 300 clients: Locust ended with exit code 1."

    def nothing(clients, out):
        raise LoadError("not one client came into its room")

    with pytest.raises(LoadError):
        searching(nothing)


def test_a_search_talks_as_one_talks_on_the_site(searching):
    chat = Chat(path="/ws/", send="{text}", heard_by="all")
    site = Site(name="echo", code="3", wsgi="a:b", asgi="a:c", health="/", websocket="/ws/", chat=chat)
    _, called = searching(lambda clients, out: tables(out, clients), site, rounds=1)
    assert [(load.rooms, how["site"]) for load, how in called] == [(1, site)]


def test_what_a_server_loads_with_its_first_sockets_is_not_their_memory():
    opened = [0, 10, 60, 120, 180, 240, 300, 300]
    loaded = [0, 20e6, 30e6, 30e6, 30e6, 30e6, 30e6, 40e6]  # and what comes once all are open does not count either
    taken = [n * 50_000 + once for n, once in zip(opened, loaded, strict=True)]
    memory = pd.DataFrame({"t_s": range(8), "sockets": opened, "pss_bytes": taken})
    assert bytes_per_socket(memory) == pytest.approx(50_000)
    assert np.isnan(bytes_per_socket(memory[[False, True] * 4])), "three readings make no slope"
    assert np.isnan(bytes_per_socket(memory[:0]))


@pytest.mark.parametrize("let_in", [60, 58, 0])
def test_a_stop_under_fewer_sockets_than_were_to_be_open_says_so(let_in, monkeypatch):
    class Room:
        asked = 0
        say_something, ends = (lambda self: None), (lambda self: [1012] * let_in)

        def enter(self, room):
            self.asked += 1
            return f"refused {self.asked}" if self.asked > let_in else None

    monkeypatch.setattr(module, "Room", lambda *_: nullcontext(Room()))
    on = SimpleNamespace(host=SimpleNamespace(url="", run=lambda *_, **__: "0.25"), ca=None, site=LAB)
    *sockets, last = module.server_stops(on, StackSettings(), Look(sight="server_stops"))
    assert len(sockets) == let_in and last["stop_s"] == 0.25
    said = f"{60 - let_in} of 60 clients were refused before the stop: refused {let_in + 1}."
    assert last.get("problem") == (said if let_in < 60 else None)


@pytest.fixture
def looked(tmp_path):
    """A folder as `look_at` leaves it: what was seen of a stop, and of a search."""

    def write(rows) -> object:
        (tmp_path / "seen.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return tmp_path

    return write


def test_a_stop_and_a_search_in_numbers(looked):
    rows = [*({"number": n, "code": code} for n, code in enumerate([1012, 1012, 1006, None])), {"stop_s": 0.4}]
    about = {"kind": "look", "settings": SimpleNamespace(asgi_server="uvicorn"), "validity": Validity()}
    run = SimpleNamespace(path=looked(rows), workload=Look(sight="server_stops"), **about)
    assert summarize_look(run) == {"stop_s": 0.4, "told_share": 0.5}
    assert stops([run]).to_dict("records") == [
        {"server": "uvicorn", "valid": True, "stop_s": 0.4, "codes": {1012: 2, 1006: 1, "still open": 1}}
    ]
    [line] = side_by_side([run, run])
    assert (line["Stops in, s"], line["Close codes"]) == ("0.40", "1012 × 4, 1006 × 2, still open × 2"), "of all repeats"
    run.validity = Validity(("Refused.",))
    [line] = side_by_side([run])
    assert line["Close codes"] == "1012 × 2, 1006 × 1, still open × 1 (1 disturbed)"
    trials = [{"clients": n, "borne": n < 300, "p95_s": 0.1, "generator_cores": n / 1000} for n in (100, 200, 400)]
    run = SimpleNamespace(path=looked(trials), workload=Look(sight="most_clients"), **about)
    assert bounds([run]).to_dict("records") == [
        {"server": "uvicorn", "valid": True, "clients_borne": 200, "first_not_borne": 400}
    ]
    run = SimpleNamespace(path=looked([{"clients": 75, "borne": True}]), workload=Look(sight="most_clients"), **about)
    assert side_by_side([run])[0]["Clients of one instance with p95 ≤ 250 ms"] == "75", "nobody is half a client"


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """Two servers under one chat, of which the second takes twice the CPU, with TLS and without."""
    folder = tmp_path_factory.mktemp("results") / "servers-quick"
    load = ChatLoad(clients=60, rooms=6, duration_s=20, ramp_s=14)
    return [
        synthetic.chat_run(
            folder, f"{server}-{tls}", StackSettings(asgi_server=server, daphne_tls=tls), point=f"{server}, {tls}",
            cost=0.35 * (1 + (server == "granian")), latency_s=0.01, lose=0.1 * (server == "granian"), workload=load,
        )
        for server in ("daphne", "granian") for tls in (True, False)
    ]  # fmt: skip


def test_what_a_connection_and_a_message_cost_by_server(measured):
    table = costs(measured).set_index(["server", "tls"])
    assert (table["kib_per_connection"] * 1.024 - 60).abs().max() < 5, "the synthetic instances take 60 kB a socket"
    of = table.xs(True, level="tls")
    assert 1.6 < of.loc["granian", "cpu_us_per_delivery"] / of.loc["daphne", "cpu_us_per_delivery"] < 2.8
    assert of.loc["daphne", "lost_per_mille"] == 0 and 50 < of.loc["granian", "lost_per_mille"] < 150


def test_the_disturbed_speak_only_where_nobody_else_does(measured):
    sound, _, granian, _ = measured
    disturbed = [replace(run, validity=Validity(("Steal.",))) for run in (granian, granian)]
    alone = side_by_side([sound, *disturbed])[1]["The server's CPU a delivered message, µs"]
    assert alone.endswith(" (2 disturbed)")
    both = side_by_side([sound, replace(granian, settings=sound.settings, validity=Validity(("Steal.",)))])
    assert both == side_by_side([sound])


def test_a_disturbed_run_moves_no_bar_but_stands_there_hollow(measured):
    sound, _, granian, _ = measured
    disturbed = replace(granian, settings=sound.settings, validity=Validity(("Steal.",)))
    for runs, dots in (([sound, granian], ["#222222"]), ([sound, disturbed, granian], ["#222222", "white"])):
        ax = next(ax for ax in picture(runs).axes if ax.get_title(loc="left") == COSTS["cpu_us_per_delivery"])
        bar = next(bar for bar in ax.patches if bar.get_facecolor()[:3] == to_rgb(SERVICE_COLOURS["daphne"]))
        assert bar.get_height() == pytest.approx(costs([sound])["cpu_us_per_delivery"].item())
        assert [line.get_markerfacecolor() for line in ax.lines if line.get_xdata()[0] == bar.get_center()[0]] == dots


def test_where_no_sound_run_has_a_figure_the_disturbed_one_speaks():
    rows = pd.DataFrame({"valid": [True, False], "kib_per_connection": [np.nan, 5.0]})
    assert [_median(some, "kib_per_connection") for some in (rows, rows[:1])] == ["5.00 (1 disturbed)", words.NOTHING]
    ax = Figure().subplots()
    _bar(ax, 0, rows, "kib_per_connection", "daphne")
    _bar(ax, 1, rows[:1], "kib_per_connection", "daphne")
    assert [bar.get_height() for bar in ax.patches] == [5.0]


def test_what_instances_cost_is_told_and_compared_whatever_their_server(measured):
    table = summarize(measured)
    assert table["pss_peak_bytes_daphne"].between(3 * 60e6, 4 * 60e6).all(), "as the settings call them"
    for of in measured:
        cells = words.chat_row(of.point, summarize([of]))
        assert cells["instances' CPU s per 1000"] != words.NOTHING != cells["instances' PSS, MiB"]
    sides = table.assign(side=["A" if run.settings.asgi_server == "daphne" else "B" for run in measured], repeat=[1, 2, 1, 2])
    assert {of.metric: of.blocks for of in look(sides, CHAT_METRICS, 0.05)} == dict.fromkeys(CHAT_METRICS, 2)


def test_the_report_begins_with_the_servers_and_a_terminal_has_the_same_figures(measured, tmp_path):
    page = write_report(measured, tmp_path).read_text()
    assert page.index("Servers side by side") < page.index(">Chat<") and "Memory without TLS, KiB" in page
    lines = side_by_side(measured)
    assert [line["server"] for line in lines] == ["Daphne", "Granian"]
    assert all(value in text(measured) for line in lines for value in line.values())
    assert text(measured[:2]) == "" and "Servers side by side" not in write_report(measured[:2], tmp_path).read_text()


def test_looks_of_several_kinds_share_a_table():
    rows = [{"case": "a", "clients": "100", "none": words.NOTHING}, {"case": "b", "seconds": "0.5"}]
    assert without_empty(rows) == [
        {"case": "a", "clients": "100", "seconds": words.NOTHING}, {"case": "b", "clients": words.NOTHING, "seconds": "0.5"},
    ]  # fmt: skip
