"""`capacity`: its plan and search, the costs and knees read out of made-up runs, and what the report says of them."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import synthetic

from stacklab import tasks
from stacklab.bench import capacity, servers
from stacklab.bench.experiment import estimate
from stacklab.bench.experiments import experiment_named
from stacklab.errors import LoadError, ResultsError
from stacklab.runs.draft import writing_run
from stacklab.runs.results import Run, Validity
from stacklab.settings import StackSettings
from stacklab.site import LAB
from stacklab.study import knees, sizing
from stacklab.study.costs import BYTES, CPU, MEMORY, by_block, costs, figure, lines
from stacklab.study.report import write_report
from stacklab.study.sizing import size
from stacklab.study.summary import summarize
from stacklab.workload import ChatLoad, Demand, HttpLoad, Look

PAGES = HttpLoad(requests=3000, users=20, ramp_s=0.5, warmup_s=0.5, requests_per_s=100.0, arrivals="poisson")


def test_the_plan_holds_each_kind_of_work_and_both_searches(tmp_path):
    for quick in (True, False):
        plan = experiment_named("capacity", quick=quick)
        looks = {point.workload.sight for point in plan.points if isinstance(point.workload, Look)}
        chats = [point.workload for point in plan.points if isinstance(point.workload, ChatLoad)]
        assert looks == {"most_requests", "most_clients"} and plan.repeats >= 3
        assert len({load.clients / load.rooms for load in chats if load.messages_per_s}) >= 2
        assert len({round(load.messages_per_s * load.clients**2 / load.rooms) for load in chats if load.messages_per_s}) == 1
        assert any(not load.messages_per_s for load in chats)
        assert any(load.arrivals == "poisson" for load in plan.loads(HttpLoad))
    assert estimate(experiment_named("capacity", quick=True), tmp_path).duration_s <= 360


@pytest.fixture
def searching(monkeypatch):
    """`searching(limit)`: the trials of a search on a site that answers so many requests a second in time."""

    def search(limit, cores=0.3, lag_s=0.001, fails_from=np.inf, rounds=8):
        def run_load(load, url, out, ca, **how):
            if load.requests_per_s >= fails_from:
                raise LoadError("Locust ended with exit code 1.")
            starts = np.arange(load.requests) / load.requests_per_s + 10
            late = 0.1 if load.requests_per_s <= limit else 0.4
            pd.DataFrame({
                "start_s": starts, "scheduled_s": starts - late, "duration_s": 0.01, "error": None, "warmup": False,
            }).to_parquet(out / "requests.parquet")  # fmt: skip
            gauges = [("generator_cpu_busiest", 9, 0.0), ("generator_cpu_busiest", 10.5, cores), ("generator_lag_s", 10.5, lag_s)]
            pd.DataFrame(gauges, columns=["name", "time_s", "value"]).to_parquet(out / "generator.parquet")

        monkeypatch.setattr(servers, "run_load", run_load)
        on = SimpleNamespace(host=SimpleNamespace(url=""), ca=None, generator_cpus=[1], client_addresses=[], site=LAB)
        return capacity.most_requests(on, StackSettings(), Look(sight="most_requests", rounds=rounds, first=400))

    return search


def test_a_search_does_not_walk_the_whole_ladder_and_counts_from_when_a_request_was_due(searching):
    rows = searching(700)
    assert [row["requests_per_s"] for row in rows][:4] == [400, 800, 600, 700]
    assert all(row["borne"] == (row["requests_per_s"] <= 700) for row in rows)
    assert knees.knee(*zip(*((row["requests_per_s"], row["borne"]) for row in rows), strict=True)) == pytest.approx(700, rel=0.06)
    assert not any("problem" in row for row in rows)


def test_a_search_that_the_generator_ended_may_not_decide(searching):
    [row] = [row for row in searching(700, cores=0.99) if "problem" in row]
    assert not row["borne"] and row["requests_per_s"] < 750
    assert "the fewest that were not borne, the load generator's busiest process used 99% of a core" in row["problem"]
    assert any("itself was 0.1 s late, one time in twenty" in row.get("problem", "") for row in searching(700, lag_s=0.1))
    rows = searching(700, fails_from=800, rounds=3)
    assert rows[1]["problem"] == "The load generator failed at 800 requests/s: Locust ended with exit code 1."
    with pytest.raises(LoadError):
        searching(700, fails_from=1)


@pytest.mark.parametrize(("met", "where"), [
    ("1110", np.sqrt(300 * 400)), ("1111", np.inf), ("0000", 0.0), ("1011", np.inf), ("1100", np.sqrt(200 * 300)), ("0100", 0.0),
])  # fmt: skip
def test_the_knee_lies_between_what_was_met_and_what_was_missed(met, where):
    assert knees.knee([100, 200, 300, 400], [mark == "1" for mark in met]) == pytest.approx(where)
    assert knees.knee([400, 300, 200, 100], [mark == "1" for mark in met[::-1]]) == pytest.approx(where)


def test_a_knee_is_held_against_what_the_other_blocks_predict():
    assert knees.held([100, 103, 98, 101, 99]) == 5
    assert knees.held([100, 101, 100, 101, 300]) == 4, "the others did not foresee it"


def searched(folder, sight, repeat, rows):
    """A search as `look_at` keeps it."""
    name = f"r{repeat}-{sight}"
    with writing_run(folder, name) as draft:
        (draft.path / "seen.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        settings = StackSettings()
        draft.record(Run(
            path=draft.path, settings=settings, workload=Look(sight=sight), observed=synthetic.observed(settings),
            environment=synthetic.ENVIRONMENT, experiment=folder.name, run=name, point=sight, repeat=repeat, position=1,
            started_s=synthetic.START_S, ended_s=synthetic.START_S + 60, under_load_s=60.0, validity=Validity(),
        ))  # fmt: skip
    return draft.run


def trials(column, at, p95_s=(0.05, 0.1, 0.4)):
    return [
        {column: at * step, "clients": 100, "p95_s": p95, "delivered_share": 1.0, "borne": p95 < 0.25}
        for step, p95 in zip((0.5, 0.8, 1.25), p95_s, strict=True)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Three blocks, of which the second takes a tenth more."""
    folder = tmp_path_factory.mktemp("results") / "capacity-quick"
    made = []
    for repeat, by in enumerate((1.0, 1.1, 0.95), start=1):
        about = {"repeat": repeat, "settings": StackSettings()}
        name = f"r{repeat}-pages"
        made.append(synthetic.http_run(folder, name, workload=PAGES, per_s=900 / by, point="pages", seed=repeat, **about))
        for room, cost in ((10, 0.30), (30, 0.40)):
            load = ChatLoad(clients=60, rooms=60 // room, messages_per_s=10 / room, duration_s=20, ramp_s=5)
            name = f"r{repeat}-rooms-{room}"
            made.append(synthetic.chat_run(folder, name, workload=load, cost=cost * by, point=f"rooms of {room}", **about))
        load = ChatLoad(clients=60, rooms=6, messages_per_s=0, duration_s=10, ramp_s=14)
        made.append(synthetic.chat_run(folder, f"r{repeat}-idle", workload=load, cost=0.1 * by, point="60 sockets", **about))
        made.append(searched(folder, "most_requests", repeat, trials("requests_per_s", 600 / by)))
        made.append(searched(folder, "most_clients", repeat, trials("deliveries_per_s", 2000 / by)))
    return made


def test_what_work_costs_is_told_by_service_and_block(runs):
    blocks = by_block(costs(runs))
    assert len(blocks) == 3
    middle = blocks.mean()
    of_pages = summarize([run for run in runs if run.point == "pages"])["cpu_s_uwsgi_per_1000_requests"] / 1000
    assert sorted(blocks["page", "uwsgi", CPU]) == pytest.approx(sorted(of_pages)) and middle["page", "nginx", BYTES] == 5120
    assert middle["process", "daphne", MEMORY] == pytest.approx(52e6, rel=0.1)
    assert middle["socket", "daphne", MEMORY] == pytest.approx(60_000, rel=0.2)
    assert middle["connect", "daphne", CPU] > 0 and middle["socket", "daphne", CPU] == pytest.approx(0.1 / 60, rel=0.3)
    # 600 deliveries a second in both: of 60 messages a second to 10, of 20 to 30.
    message, delivery = middle["message", "daphne", CPU], middle["delivery", "daphne", CPU]
    each = [(message + delivery * size) * 600 / size for size in (10, 30)]
    assert message >= 0 and delivery > 0 and each == pytest.approx([0.35, 0.35], rel=0.35)


def test_the_disturbed_tell_no_cost(runs):
    table = costs(runs)
    table.loc[table["repeat"] == 2, "valid"] = False
    assert len(by_block(table)) == 2
    disturbed = [replace(run, validity=Validity(("Steal.",))) for run in runs]
    assert {line["blocks"] for line in lines(disturbed)} == {"3 (disturbed)"}, "unless nobody else does"
    with pytest.raises(ResultsError, match="no sound search"):
        size(disturbed, Demand())


def test_a_line_grows_with_the_room_from_what_a_message_and_each_delivery_take():
    about = {"experiment": "e", "repeat": 1, "valid": True, "work": "sent", "service": "redis", "quantity": CPU}
    rows = [about | {"room_size": size, "receivers": size, "value": 3e-4 + 2e-5 * size} for size in (5, 10, 50)]
    blocks = by_block(pd.DataFrame(rows))
    assert blocks["message", "redis", CPU].tolist() == pytest.approx([3e-4])
    assert blocks["delivery", "redis", CPU].tolist() == pytest.approx([2e-5])


def test_an_objective_never_met_or_never_missed_has_no_figure(runs):
    for p95_ms, words in ((20, "was never met in 3 of 3 blocks, down to"), (500, "was never missed in 3 of 3 blocks, up to")):
        with pytest.raises(ResultsError, match=words):
            size(runs, Demand(p95_ms=p95_ms))
    assert size(runs, Demand(p95_ms=70, chat_share=0))["usable_share"]["pages"]["estimate"] > 0


def test_a_demand_is_sized_from_what_lies_on_disk(runs):
    seen = size(runs, Demand(users=50_000))
    json.dumps(seen, allow_nan=False)
    assert seen["blocks"] == 3 and {role["role"] for role in seen["roles"]} == {"front", "pages", "chat", "redis"}
    assert all(role["low"] <= role["hosts"] <= role["high"] for role in seen["roles"]) and "hosts" in seen["extrapolated"]


def test_the_report_begins_with_the_costs_and_the_knee(runs, tmp_path):
    page = write_report(runs, tmp_path).read_text()
    assert page.index(">Capacity<") < page.index(">HTTP<")
    assert "A queueing network that knows only what a page cost at light loads foretells" in page
    for words in ("Pages: the knee is at", "CPU a request, µs", "and each time it is delivered, µs", "in rooms of 30, µs"):
        assert words in page
    assert [line["blocks"] for line in lines(runs)] == ["3"] * len(lines(runs))


def test_fab_fleet_reckons_with_them_and_draws(runs, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sizing, "kept", lambda: runs)
    told = tasks.fleet(json=True, out=str(tmp_path / "fleet.png"), hosts="20", users="2000", host_cpus="8")
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(told, allow_nan=False))
    assert (tmp_path / "fleet.png").read_bytes().startswith(b"\x89PNG")
    assert told["shown"]["measured_per_s"] == pytest.approx(2000, rel=0.1) and told["shown"]["reckoned_per_s"] > 0
    tasks.fleet(hosts="20", users="2000", host_cpus="8")
    assert "Of one host" in capsys.readouterr().out


def test_the_picture_has_trials_objective_knee_and_its_interval(runs):
    for ax in knees.picture(runs).axes:
        said = [label.get_text() for label in ax.get_legend().get_texts()]
        foretold = ["queueing network, foretold"] if ax.get_title(loc="left") == "Pages" else []
        assert said[:-1] == ["met", "missed", "objective, 250 ms", *foretold] and said[-1].startswith("knee, ")
        assert ax.get_xlabel() and ax.get_ylabel() == "95th percentile of the time, ms"
    at = figure(knees.knees(knees.trials(runs), "pages").values())
    assert at.low < at.estimate < at.high and at.estimate == pytest.approx(600, rel=0.1)


def test_a_disturbed_search_moves_no_knee(runs):
    table = knees.trials(runs)
    table.loc[(table["repeat"] == 1), "valid"] = False
    assert {repeat for _, repeat in knees.found(table, "pages")} == {2, 3}
    table["valid"] = False
    with pytest.raises(ResultsError, match="no sound search"):
        knees.found(table, "pages")
