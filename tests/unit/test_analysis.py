"""Tidy tables on one clock, summaries from raw rows, comparisons over runs, verdicts on claims."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import synthetic
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from stacklab import study
from stacklab.errors import ResultsError
from stacklab.runs.results import Run, Validity, load_runs
from stacklab.settings import StackSettings
from stacklab.study.claims import CLAIMS, Claim, Test
from stacklab.study.effects import contrast, t_interval
from stacklab.study.paired import UNDECIDED
from stacklab.study.summary import percentiles, summarize
from stacklab.study.verdicts import compare, judge
from stacklab.workload import ChatLoad, HttpLoad

NOWHERE = Path("nowhere")
LOAD = HttpLoad(requests=400, users=10, ramp_s=0.5, warmup_s=0.5)
CHAT = ChatLoad(clients=30, rooms=3, messages_per_s=0.5, duration_s=10, ramp_s=3)


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    return synthetic.eight_cases(tmp_path_factory.mktemp("results"), requests=300)


@pytest.fixture(scope="module")
def chats(tmp_path_factory):
    return synthetic.one_vs_three(tmp_path_factory.mktemp("results"))


@pytest.fixture(scope="module")
def http(tmp_path_factory):
    return synthetic.http_run(tmp_path_factory.mktemp("http"), "run", workload=LOAD, fail=10, point="a case")


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    return synthetic.chat_run(tmp_path_factory.mktemp("chat"), "killed", workload=CHAT, kill_s=4)


def made_up(values: dict[tuple[str, int], dict[str, float]]) -> list[Run]:
    """Runs whose summary is given: {(point, repeat): {metric or setting: value}}."""
    runs = []
    for (point, repeat), row in values.items():
        chosen = {name: value for name, value in row.items() if name in StackSettings.rules()}
        run = Run(
            path=NOWHERE, settings=StackSettings(**chosen), workload=LOAD, observed={}, environment={}, experiment="e",
            run=f"r{repeat}-{point}", point=point, repeat=repeat, started_s=float(repeat), ended_s=2.0, validity=Validity(),
        )  # fmt: skip
        run._known["summary"] = {name: value for name, value in row.items() if name not in chosen}
        runs.append(run)
    return runs


# ---------------------------------------------------------------- tidy tables


def test_tidy_tables_carry_the_place_of_each_run_and_what_differs(cases):
    table = study.requests(cases)
    assert list(table)[:5] == ["experiment", "run", "point", "repeat", "valid"]
    assert {"users", "requests", "nginx_worker_connections", "uwsgi_processes"} <= set(table)
    assert "daphne_instances" not in table
    assert len(table) == sum(len(run.table("requests")) for run in cases)
    one = table[table["run"] == cases[3].run]
    assert set(one["users"]) == {cases[3].workload.users}


def test_times_are_relative_to_the_counted_load_on_one_clock(http):
    requests = study.requests([http])
    assert requests.loc[~requests["warmup"], "t_s"].min() == 0
    assert requests.loc[requests["warmup"], "t_s"].max() < 0
    server = study.server([http])
    assert server["t_s"].to_numpy() == pytest.approx((requests["t_s"] + requests["duration_s"]).to_numpy(), abs=0.001)


def test_a_response_on_a_schedule_counts_from_when_it_should_have_started(http, tmp_path):
    table = http.table("requests").assign(scheduled_s=lambda rows: rows["start_s"] - 0.2)
    table.to_parquet(tmp_path / "requests.parquet")
    late = study.requests([replace(http, path=tmp_path)])
    assert late["response_s"].to_numpy() == pytest.approx((late["duration_s"] + 0.2).to_numpy())


def test_cpu_share_is_the_growth_of_the_cpu_seconds_also_over_a_restart(tmp_path, http):
    times = np.arange(0, 3, 0.5) + 1000
    rows = pd.DataFrame({"time_s": times, "service": "uwsgi", "cpu_s": [10, 10.4, 10.8, 0.2, 0.6, 1.0]})
    rows = rows.assign(pss_bytes=np.nan, rss_bytes=np.nan, threads=np.nan, open_files=np.nan)
    rows.to_parquet(tmp_path / "resources.parquet")
    shares = study.resources([replace(http, path=tmp_path)])["cpu_share"].tolist()
    assert np.isnan(shares[0])
    assert shares[1:] == pytest.approx([0.8, 0.8, 0.4, 0.8, 0.8])


def test_gauges_hold_the_machine_and_the_generator_on_one_clock(http):
    gauges = study.gauges([http])
    assert {"uwsgi_listen_queue", "generator_cpu"} <= set(gauges["name"])
    ends = gauges.groupby("name")["t_s"].max()
    assert abs(ends["uwsgi_listen_queue"] - ends["generator_cpu"]) < 1.1


def test_runs_without_a_table_give_an_empty_one_with_its_columns(http):
    for table in (study.messages([http]), study.connections([http]), study.sockets([http]), study.events([http])):
        assert table.empty
        assert {"run", "t_s"} <= set(table)


def test_open_sockets_and_memory_are_counted_together(killed):
    sockets = study.sockets([killed]).sort_values("t_s")
    assert sockets["sockets"].max() == 30
    assert sockets["sockets"].iloc[0] == 0
    during = sockets[(sockets["t_s"] > 4) & (sockets["t_s"] < 5)]
    assert (during["sockets"] == 20).all()
    assert sockets["pss_bytes"].iloc[-1] == pytest.approx(3 * 60e6 + 30 * 6e4, rel=0.01)


def test_events_are_on_the_clock_of_the_tables(killed):
    [event] = study.events([killed]).to_dict("records")
    assert event["what"] == "kill daphne@3"
    lost = study.messages([killed]).query("copies == 0")
    assert event["t_s"] - 0.1 <= lost["t_s"].min() <= event["t_s"] + 3


# ---------------------------------------------------------------- summaries


def test_a_summary_is_of_the_successful_counted_requests(http):
    row = summarize([http]).iloc[0]
    table = http.table("requests")
    counted = table[~table["warmup"]]
    good = counted[counted["error"].isna()]
    span = (counted["start_s"] + counted["duration_s"]).max() - counted["start_s"].min()
    assert row["counted"] == 400
    assert row["errors"] == 10
    assert row["error_share"] == pytest.approx(10 / 400)
    assert row["throughput_per_s"] == pytest.approx(390 / span)
    assert row["p95_s"] == pytest.approx(np.percentile(good["duration_s"], 95))
    assert row["mean_s"] == pytest.approx(good["duration_s"].mean())
    assert row["server_p50_s"] == pytest.approx(row["p50_s"] - 0.0015, abs=0.001)


def test_a_summary_says_what_the_services_cost(http):
    row = summarize([http]).iloc[0]
    assert row["cpu_s"] == pytest.approx(row["cpu_s_nginx"] + row["cpu_s_uwsgi"] + row["cpu_s_daphne"] + row["cpu_s_redis"])
    assert row["cpu_s_uwsgi"] / row["load_s"] < 0.9
    assert row["cpu_s_per_1000_requests"] == pytest.approx(row["cpu_s"] / 0.4)
    assert row["pss_peak_bytes_daphne"] == pytest.approx(3 * 52e6, rel=0.06)
    assert row["pss_peak_bytes"] > row["pss_peak_bytes_daphne"] + row["pss_peak_bytes_uwsgi"]


def test_a_chat_summary_tells_the_lost_from_the_lost_while_away(killed):
    row = summarize([killed]).iloc[0]
    assert row["clients_connected"] == 30
    assert row["disconnects"] == 10
    assert row["lost"] == 0
    assert row["lost_while_away"] > 0
    assert row["delivered_share"] == pytest.approx(1 - row["lost_while_away"] / row["deliveries"])
    assert 1 <= row["away_p50_s"] <= row["away_max_s"] <= 3.2
    assert 0 < row["silence_max_s"] < 1, "those on the other instances went on hearing each other"
    assert row["instances_silent"] == 0


def test_a_summary_of_a_run_without_tables_still_has_its_place(http, tmp_path):
    row = summarize([replace(http, path=tmp_path)]).iloc[0]
    assert row["run"] == "run"
    assert "p50_s" not in row


def test_a_run_outside_an_experiment_is_its_own_point(tmp_path):
    assert summarize([synthetic.http_run(tmp_path, "by-hand", workload=LOAD)])["point"].tolist() == ["by-hand"]


@given(st.lists(st.floats(0.001, 1e4), min_size=1, max_size=200))
def test_percentiles_lie_within_the_data_and_in_order(values):
    found = percentiles(pd.Series(values))
    assert min(values) <= found["p50_s"] <= found["p95_s"] <= found["p99_s"] <= max(values)
    assert found["p50_s"] == pytest.approx(np.median(values))


def test_percentiles_of_nothing_are_not_a_number():
    assert np.isnan(percentiles(pd.Series([], dtype=float))["p99_s"])


def test_points_come_by_load_then_by_settings_whatever_the_order_they_ran_in(cases):
    shuffled = [cases[place] for place in np.random.default_rng(7).permutation(len(cases))]
    points = study.point_order(summarize(shuffled))
    assert points[0] == "100 users, 1024/5"
    assert points[1] == "100 users, 1024/10"
    assert points[-1] == "200 users, 4000/10"


# ---------------------------------------------------------------- comparisons


def test_an_interval_is_students():
    values = np.array([1.0, 2.0, 4.0])
    mean, low, high = t_interval(values)
    expected = stats.t.interval(0.95, 2, values.mean(), stats.sem(values))
    assert (low, high) == pytest.approx(expected)
    assert mean == pytest.approx(values.mean())


def test_a_clear_difference_is_told_and_noise_is_not():
    noise = {1: 1.3, 2: 0.8, 3: 1.0}  # a slow or a quick day moves a whole repeat
    values = {("a", r): {"p50_s": 0.100 * day} for r, day in noise.items()}
    values |= {("b", r): {"p50_s": 0.150 * day * (1 + 0.01 * r)} for r, day in noise.items()}
    values |= {("c", r): {"p50_s": 0.100 * day * (1.04 - 0.02 * r)} for r, day in noise.items()}
    table = compare(made_up(values), "p50_s", base="a").set_index("point")
    assert table.loc["b", "verdict"] == "slower"
    assert table.loc["b", "estimate"] == pytest.approx(1.53, abs=0.02)
    assert table.loc["b", "low"] > 1.4
    assert table.loc["c", "verdict"] == "the same within ± 5 %"
    assert table.loc["c", "low"] < 1 < table.loc["c", "high"]
    assert table["n"].tolist() == [3, 3]


def test_words_fit_the_metric():
    values = {("a", r): {"p50_s": 0.1, "throughput_per_s": 100.0 + r, "cpu_s": 9.0 + r / 10} for r in (1, 2, 3)}
    values |= {("b", r): {"p50_s": 0.05, "throughput_per_s": 150.0 + r, "cpu_s": 5.0 + r / 10} for r in (1, 2, 3)}
    runs = made_up(values)
    verdicts = [compare(runs, metric)["verdict"].item() for metric in ("p50_s", "throughput_per_s", "cpu_s")]
    assert verdicts == ["faster", "more", "less"]


def test_one_repeat_is_too_few():
    runs = made_up({("a", 1): {"p50_s": 0.1}, ("b", 1): {"p50_s": 9.0}})
    [row] = compare(runs, "p50_s").to_dict("records")
    assert row["verdict"] == UNDECIDED
    assert row["n"] == 1
    assert np.isnan(row["low"])


def test_values_of_zero_are_compared_by_their_difference():
    values = {("a", r): {"lost": 0} for r in (1, 2, 3)} | {("b", r): {"lost": 50 + r} for r in (1, 2, 3)}
    [row] = compare(made_up(values), "lost").to_dict("records")
    assert (row["scale"], row["verdict"], row["estimate"]) == ("difference", "more", pytest.approx(52))


def test_a_factor_is_compared_within_equal_values_of_the_others():
    values = {
        (f"{connections}/{processes}", repeat): {
            "nginx_worker_connections": connections,
            "uwsgi_processes": processes,
            "throughput_per_s": (100 if connections == 1024 else 900) * (2 if processes == 10 else 1) * (1 + 0.001 * repeat),
        }
        for connections in (1024, 4000)
        for processes in (5, 10)
        for repeat in (1, 2)
    }
    [row] = compare(made_up(values), "throughput_per_s", by="uwsgi_processes").to_dict("records")
    assert (row["base"], row["uwsgi_processes"], row["n"]) == (5, 10, 4)
    assert row["estimate"] == pytest.approx(2)


def of_points(values: np.ndarray, names: str = "abcdefgh") -> pd.DataFrame:
    """One row a run: `values` has a row a repeat and a column a point."""
    rows = [
        {"experiment": "e", "repeat": repeat, "point": names[place], "valid": True, "p50_s": value}
        for repeat, row in enumerate(values)
        for place, value in enumerate(row)
    ]
    return pd.DataFrame(rows)


def against_first(table: pd.DataFrame, point: str = "b", comparisons: int = 1):
    return contrast(table, "p50_s", table["point"] == point, table["point"] == "a", [], comparisons)


@given(st.lists(st.tuples(st.floats(0.5, 2), st.floats(0.5, 2)), min_size=2, max_size=8, unique=True))
def test_two_points_are_compared_by_the_paired_t_test(pairs):
    values = np.array(pairs)
    effect = against_first(of_points(values))
    expected = t_interval(np.log(values[:, 1] / values[:, 0]))
    assert np.log([effect.estimate, effect.low, effect.high]) == pytest.approx(expected, abs=1e-6)


def test_more_comparisons_make_wider_intervals():
    table = of_points(np.random.default_rng(1).lognormal(size=(4, 5)))
    alone, among = against_first(table), against_first(table, comparisons=7)
    assert alone.estimate == among.estimate
    assert among.low < alone.low < alone.high < among.high


def test_all_points_tell_how_large_luck_is():
    rng = np.random.default_rng(2)
    widths = [[], []]
    for _ in range(60):
        values = np.exp(rng.normal(0, 0.05, size=(3, 4)))
        for width, table in zip(widths, (of_points(values), of_points(values[:, :2])), strict=True):
            effect = against_first(table)
            width.append(np.log(effect.high / effect.low))
    assert np.median(widths[0]) < 0.7 * np.median(widths[1])


def test_intervals_of_one_comparison_hold_the_truth_together_as_often_as_they_say():
    rng = np.random.default_rng(3)
    days, truth = rng.normal(0, 0.3, size=(200, 3, 1)), np.log([1.0, 1.2, 0.9, 1.0])
    held = []
    for values in np.exp(days + truth + rng.normal(0, 0.05, size=(200, 3, 4))):
        effects = [against_first(of_points(values), point, comparisons=3) for point in "bcd"]
        held.append(all(e.low <= np.exp(t) <= e.high for e, t in zip(effects, truth[1:], strict=True)))
    assert 0.9 < np.mean(held) < 0.99


def test_equal_values_are_no_difference_however_they_were_added_up():
    table = of_points(np.full((3, 3), 0.1 + 0.2))
    effect = against_first(table)
    assert effect.low < 1 < effect.high


def test_a_repeat_in_which_one_point_is_missing_still_counts_for_the_others():
    table = of_points(np.exp(np.random.default_rng(4).normal(0, 0.05, size=(3, 4))))
    effect = against_first(table.drop(index=table.index[-1]))
    assert effect.n == 3
    assert effect.low < effect.estimate < effect.high
    without_b = table[~((table["point"] == "b") & (table["repeat"] == 0))].reset_index(drop=True)
    assert against_first(without_b).n == 2


def test_what_is_not_in_the_summary_is_named(cases):
    with pytest.raises(ResultsError, match="'p42_s' is not in the summary"):
        compare(cases, "p42_s")
    with pytest.raises(ResultsError, match="uwsgi_processes=6 is in none"):
        compare(cases, "p50_s", by="uwsgi_processes", base=6)


@settings(max_examples=60, deadline=None)
@given(
    ratio=st.floats(0.2, 5),
    days=st.lists(st.floats(0.1, 10), min_size=2, max_size=6),
    unit=st.sampled_from([1.0, 1000.0]),
)
def test_what_moves_a_whole_repeat_does_not_touch_the_ratio(ratio, days, unit):
    values = {("a", r): {"p50_s": day * unit} for r, day in enumerate(days)}
    values |= {("b", r): {"p50_s": day * unit * ratio} for r, day in enumerate(days)}
    [row] = compare(made_up(values), "p50_s").to_dict("records")
    assert row["estimate"] == pytest.approx(ratio)
    assert row["low"] == pytest.approx(ratio) and row["high"] == pytest.approx(ratio)


def test_intervals_hold_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(5)
    draws = rng.normal(0.3, 1.0, size=(2000, 4))
    held = np.mean([low <= 0.3 <= high for _, low, high in map(t_interval, draws)])
    assert 0.93 < held < 0.97


# ---------------------------------------------------------------- claims


def fastest(value_of, repeats=(1, 2, 3)):
    return {
        (f"{users}, {connections}/{processes}", repeat): {
            "nginx_worker_connections": connections, "uwsgi_processes": processes,
            "p50_s": value_of(connections, processes) * (1 + 0.001 * repeat * ((connections + processes) % 7)),
            "throughput_per_s": 100.0,
        }
        for users in (100,)
        for connections in (1024, 4000)
        for processes in (5, 10)
        for repeat in repeats
    }  # fmt: skip


CLAIM_5 = next(claim for claim in CLAIMS if claim.id == "C5")


@pytest.mark.parametrize(
    ("value_of", "repeats", "verdict"),
    [
        (lambda c, p: 0.05 if (c, p) == (4000, 10) else 0.1, (1, 2, 3), "supported"),
        (lambda c, p: 0.05 if (c, p) == (1024, 5) else 0.1, (1, 2, 3), "contradicted"),
        (lambda c, p: 0.05 if (c, p) == (4000, 10) else 0.1, (1,), UNDECIDED),
    ],
)
def test_a_claim_is_judged_by_all_its_tests(value_of, repeats, verdict):
    judgement = judge(CLAIM_5, made_up(fastest(value_of, repeats)))
    assert judgement.verdict == verdict
    assert len(judgement.tests) == 3


def test_eight_cases_that_differ_by_chance_show_no_difference(cases):
    judgement = judge(CLAIM_5, cases)
    assert judgement.verdict == UNDECIDED
    alone = judgement.tests[judgement.tests["each"] != "all together"]
    assert set(alone["each"]) == {"users=100", "users=200"}
    # One run was disturbed: its block is left out of all that is said of that load, and no other.
    assert set(zip(alone["n"], alone["disturbed"], strict=True)) == {(2, 1), (3, 0)}


def test_the_chat_claims_are_judged_from_the_chat_experiment(chats):
    judgements = {judgement.claim.id: judgement for judgement in study.judge_all(chats)}
    assert set(judgements) == {"C9", "C11", "C12"}
    assert judgements["C9"].verdict == "contradicted"
    assert judgements["C11"].verdict == "supported"
    assert judgements["C12"].verdict == "supported"
    assert judgements["C9"].tests["disturbed"].tolist() == [0, 0]  # lost messages are a result, no disturbance


def test_a_limit_is_contradicted_by_runs_beyond_it(chats):
    claim = Claim("X", "none is lost", (Test("lost", "at most", {"daphne_instances": 3, "balance": "round_robin"}, 0),))
    assert judge(claim, chats).verdict == "contradicted"
    met = Claim("Y", "none is lost", (Test("lost", "at most", {"balance": "hash"}, 0),))
    assert judge(met, chats).verdict == "supported"


def test_runs_that_cannot_decide_a_claim_leave_it_untested(cases):
    assert judge(next(claim for claim in CLAIMS if claim.id == "C9"), cases).verdict == "not tested"
    assert {judgement.claim.id for judgement in study.judge_all(cases)} == {"C3", "C4", "C5"}


def test_every_claim_has_tests_or_says_where_to_look():
    assert [claim.id for claim in CLAIMS] == [f"C{number}" for number in range(1, 13)]
    assert all(claim.tests or claim.note for claim in CLAIMS)


def test_http_and_chat_runs_can_be_summed_up_together(tmp_path):
    synthetic.http_run(tmp_path / "adhoc", "one", workload=LOAD)
    synthetic.chat_run(tmp_path / "adhoc", "two", workload=CHAT)
    summary = summarize(load_runs(tmp_path))
    assert sorted(summary["kind"]) == ["chat", "http"]
    assert summary["throughput_per_s"].notna().sum() == 1
