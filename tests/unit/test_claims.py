"""Every claim, decided in both directions by made-up runs; and left undecided, or untested, where these say too little."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from synthetic import ENVIRONMENT, http_run

from stacklab import show
from stacklab.bench.experiments import EXPERIMENTS, enough_to_judge, plans_of
from stacklab.runs.draft import writing_run
from stacklab.runs.results import Run, Validity, load_runs
from stacklab.runs.seen import write_seen
from stacklab.settings import StackSettings
from stacklab.study import plots
from stacklab.study.claims import CLAIMS, Claim, Test, claim_experiments
from stacklab.study.effects import share
from stacklab.study.paired import UNDECIDED
from stacklab.study.summary import METRIC_NAMES, summarize
from stacklab.study.verdicts import NO_DIFFERENCE, NOT_TESTED, as_claimed, judge, judge_all, judge_results, least_as_claimed
from stacklab.workload import HttpLoad, Look

NOWHERE = Path("nowhere")
BY_ID = {claim.id: claim for claim in CLAIMS}
MANY, FEW = 6, 1


def made_up(experiment: str, metrics_of, repeats: int = MANY, noise: float = 0.005, cpus: int = 2, reasons=()) -> list[Run]:
    """Runs of an experiment's points whose summary is what `metrics_of(point)` gives, give or take `noise`."""
    rng, runs = np.random.default_rng(7), []
    for planned in replace(EXPERIMENTS[experiment](), repeats=repeats).plan():
        point = planned.point
        luck = float(np.exp(noise * rng.standard_normal()))
        run = Run(
            path=NOWHERE, settings=point.settings, workload=point.workload, observed={}, environment={"web": {"cpus": cpus}},
            experiment=experiment, run=planned.name, point=point.label, repeat=planned.repeat, position=planned.position,
            started_s=float(planned.repeat), ended_s=2.0, validity=Validity(tuple(reasons)),
        )  # fmt: skip
        run._known["summary"] = {name: value * luck for name, value in metrics_of(point).items()}
        run._known["summary"]["started_s"] = 60.0 * planned.repeat
        runs.append(run)
    return runs


def counts(experiment: str, metrics_of, repeats: int = MANY) -> list[Run]:
    return made_up(experiment, metrics_of, repeats, noise=0)


def eight(value: float, repeats: int = MANY, noise: float = 0.005) -> list[Run]:
    """4000 connections and 10 processes each make it that many times as good."""

    def metrics(point):
        better = (value if point.settings.nginx_worker_connections == 4000 else 1) * (
            value if point.settings.uwsgi_processes == 10 else 1
        )
        return {"throughput_per_s": 900 * better, "p50_s": 0.1 / better}

    return made_up("eight-cases", metrics, repeats, noise)


def held(share_of_limit: float) -> list[Run]:
    return counts("clients-held", lambda point: {"held_of_limit": share_of_limit, "held_of_half": 2 * share_of_limit})


def workers(per_s: dict[int, float], noise: float = 0.005) -> list[Run]:
    return made_up("nginx-workers", lambda point: {"throughput_per_s": per_s[point.settings.nginx_worker_processes]}, noise=noise)


def threads(gain: float) -> list[Run]:
    return made_up("uwsgi-workers", lambda point: {"throughput_per_s": 500 * (gain if point.settings.uwsgi_threads > 1 else 1)})


def processes(of_daphne) -> list[Run]:
    return counts("daphne-verbosity", lambda point: {"daphne_processes": of_daphne(point.workload.verbosity)})


def sync(threads_of, per_s=lambda asked: 150.0, noise: float = 0.0) -> list[Run]:
    def metrics(point):
        grown = threads_of(point.settings.asgi_threads)
        return {"sync_threads": grown, "sync_of_default": grown / 10, "sync_per_s": per_s(point.settings.asgi_threads)}

    return made_up("asgi-threads", metrics, noise=noise)


def ceiling(three: float, threaded: float = 1.0, noise: float = 0.005) -> list[Run]:
    def metrics(point):
        settings = point.settings
        return {"latency_p50_s": 0.5 * (three if settings.daphne_instances == 3 else threaded if settings.asgi_threads else 1)}

    return made_up("one-process", metrics, noise=noise)


def cost(three: float, noise: float = 0.005) -> list[Run]:
    def metrics(point):
        times = three if point.settings.daphne_instances == 3 else 1
        return {"cpu_s_daphne_per_1000_deliveries": 0.3 * times, "pss_peak_bytes_daphne": 1e8 * times, "cpu_s_daphne": 9.0}

    return made_up("one-vs-three", metrics, noise=noise)


def started(failing: int, repeats: int = 8) -> list[Run]:
    return counts("starts", lambda point: {"starts": 10, "left_not_running": failing, "active_not_listening": 10}, repeats)


def shares(busiest: float, met: float, noise: float = 0.0) -> list[Run]:
    return made_up("socket-shares", lambda point: {"busiest_share": busiest, "instances_met_share": met}, noise=noise)


CASES = [
    ("C1", held(0.49), "supported"), ("C1", held(1.2), "contradicted"),
    ("C2", workers({1: 500, 2: 900, 4: 890, 8: 880}), "supported"),
    ("C2", workers({1: 500, 2: 900, 4: 1300, 8: 1500}), "contradicted"),
    ("C2", workers({1: 900, 2: 500, 4: 400, 8: 300}), "contradicted"),
    ("C2", workers({1: 900, 2: 900, 4: 900, 8: 900}), NO_DIFFERENCE),
    ("C2", workers({1: 900, 2: 900, 4: 900, 8: 900}, noise=0.4), UNDECIDED),
    ("C3", eight(1.3), "supported"), ("C3", eight(0.8), "contradicted"), ("C3", eight(1.0), NO_DIFFERENCE),
    ("C3", eight(1.0, noise=0.6), UNDECIDED), ("C3", eight(1.3, repeats=FEW, noise=0.6), UNDECIDED),
    ("C4", eight(1.3) + threads(1.0), "supported"), ("C4", eight(1.3) + threads(1.5), "contradicted"),
    ("C4", eight(0.8) + threads(1.0), "contradicted"), ("C4", eight(1.0) + threads(1.0), NO_DIFFERENCE),
    ("C4", eight(1.3), UNDECIDED),  # what its threads do is not known
    ("C5", eight(1.2), "supported"), ("C5", eight(0.9), "contradicted"), ("C5", eight(1.0, noise=0.3), UNDECIDED),
    ("C6", processes(lambda n: n), "supported"), ("C6", processes(lambda n: 1), "contradicted"),
    ("C7", sync(lambda asked: asked or 5), "supported"), ("C7", sync(lambda asked: 16), "contradicted"),
    ("C7", sync(lambda asked: asked or 5, lambda asked: 150 * (asked or 5)), "contradicted"),
    ("C7", sync(lambda asked: 4, noise=0.6), UNDECIDED),
    ("C8", ceiling(0.3), "supported"), ("C8", ceiling(1.5), "contradicted"), ("C8", ceiling(0.3, 0.4), "contradicted"),
    ("C8", ceiling(1.0), NO_DIFFERENCE), ("C8", ceiling(0.9, noise=0.5), UNDECIDED),
    ("C9", cost(0.7), "supported"), ("C9", cost(1.6), "contradicted"), ("C9", cost(1.0), NO_DIFFERENCE),
    ("C9", cost(0.9, noise=0.5), UNDECIDED),
    ("C10", started(1), "supported"), ("C10", started(0), "contradicted"), ("C10", started(0, repeats=3), UNDECIDED),
    ("C11", shares(1.02, 1), "supported"), ("C11", shares(2.0, 1), "contradicted"),
    ("C11", shares(1.1, 1, noise=0.3), UNDECIDED),
    ("C12", shares(1.0, 1), "supported"), ("C12", shares(3.0, 1 / 3), "contradicted"),
    ("C12", shares(1, 1, noise=0.3), UNDECIDED),
]  # fmt: skip


@pytest.mark.parametrize(("claim", "runs", "verdict"), CASES, ids=[f"{case[0]}-{case[2]}-{n}" for n, case in enumerate(CASES)])
def test_a_claim_is_decided_in_both_directions(claim, runs, verdict):
    judgement = judge(BY_ID[claim], runs)
    assert judgement.verdict == verdict, judgement.tests.T.to_string()


def test_every_claim_is_seen_supported_and_contradicted_above_and_those_that_luck_moves_undecided():
    seen = {claim: {verdict for name, _, verdict in CASES if name == claim} for claim in BY_ID}
    assert all({"supported", "contradicted"} <= verdicts for verdicts in seen.values())
    assert {claim for claim, verdicts in seen.items() if UNDECIDED not in verdicts} == {"C1", "C6"}  # counts, that do not vary


def test_every_test_has_an_experiment_that_holds_both_its_sides():
    for claim in CLAIMS:
        for test in (*claim.tests, *claim.besides):
            points = EXPERIMENTS[test.experiment]().points
            rows = [point.settings.to_dict() | point.workload.to_dict() for point in points]
            for side in (test.of, test.than):
                wanted = {n: v for n, v in side.items() if n != "workers_per_cpu"} if isinstance(side, dict) else {}
                assert any(all(row.get(name) == value for name, value in wanted.items()) for row in rows), (claim.id, side)
            assert test.metric in METRIC_NAMES
    assert [plan.name for plan in enough_to_judge(quick=True)] == [f"{name}-quick" for name in claim_experiments()]
    assert all(plan.repeats >= 3 for plan in enough_to_judge(quick=True))


# ---------------------------------------------------------------- how sure


def test_support_takes_each_test_at_its_own_95_percent_and_contradiction_all_together():
    """Ten tests, each of which its own interval supports and the widened one would not."""
    values = np.exp(np.linspace(0.01, 0.13, 6))
    test = Test("throughput_per_s", "more", {"nginx_worker_connections": 4000}, {"nginx_worker_connections": 1024})
    claims = {n: Claim("X", "x", (test,) * n) for n in (1, 10)}

    def runs(ratio):
        found = []
        for repeat, value in enumerate(values, start=1):
            for connections, per_s in ((1024, 1.0), (4000, value**ratio)):
                settings = StackSettings(nginx_worker_connections=connections)
                run = Run(path=NOWHERE, settings=settings, workload=Look(), observed={}, environment={}, experiment="e",
                          run=f"r{repeat}-{connections}", point=str(connections), repeat=repeat, started_s=0.0, ended_s=1.0,
                          validity=Validity())  # fmt: skip
                run._known["summary"] = {"throughput_per_s": 100 * per_s}
                found.append(run)
        return found

    row = judge(claims[10], runs(1)).tests.iloc[0]
    assert row.low > 1 > row.low_all, "the numbers of this test are not such that it shows anything"
    assert judge(claims[1], runs(1)).verdict == judge(claims[10], runs(1)).verdict == "supported"
    assert judge(claims[1], runs(-1)).verdict == "contradicted"
    assert judge(claims[10], runs(-1)).verdict == UNDECIDED


def test_one_false_test_of_a_claim_is_called_supported_in_one_of_forty():
    """The intersection-union test: without correction, and whatever the other tests show."""
    rng, wrong = np.random.default_rng(11), 0
    claim = Claim("X", "x", (
        Test("p50_s", "less", {"uwsgi_processes": 10}, {"uwsgi_processes": 5}),
        Test("p95_s", "less", {"uwsgi_processes": 10}, {"uwsgi_processes": 5}),
    ))  # fmt: skip
    for _ in range(60):  # each takes a tenth of a second of computing
        noise = np.exp(rng.normal(0, 0.1, size=(5, 2, 2)))
        runs = []
        for repeat in range(5):
            for place, n in enumerate((5, 10)):
                run = Run(path=NOWHERE, settings=StackSettings(uwsgi_processes=n), workload=Look(), observed={}, environment={},
                          experiment="e", run=f"r{repeat}-{n}", point=str(n), repeat=repeat, started_s=0.0, ended_s=1.0,
                          validity=Validity())  # fmt: skip
                p50 = (0.2 if n == 10 else 1.0) * noise[repeat, place, 0]  # plainly so; the other makes no difference
                run._known["summary"] = {"p50_s": p50, "p95_s": noise[repeat, place, 1]}
                runs.append(run)
        wrong += judge(claim, runs).verdict == "supported"
    assert wrong <= 5, f"{wrong} of 60"


def test_disturbed_blocks_decide_nothing_and_are_counted():
    sound, disturbed = eight(1.3, repeats=4), eight(0.2, repeats=6, noise=0)
    runs = sound + [replace(run, repeat=run.repeat + 10, validity=Validity(("steal",)), run="x" + run.run) for run in disturbed]
    for run, other in zip(runs[len(sound) :], disturbed, strict=True):
        run._known.update(other._known)
    judgement = judge(BY_ID["C3"], runs)
    assert judgement.verdict == "supported"
    assert judgement.tests.iloc[0][["n", "disturbed"]].tolist() == [16, 24]
    assert "16 (24 of 40 disturbed)" in show.verdicts_text([judgement])
    none = show.verdicts_text([judge(BY_ID["C3"], runs[len(sound) :])])
    assert "– [none], n 0 (24 of 24 disturbed): undecided (all were disturbed; about 2 sound blocks, 2 min)" in none


def test_what_would_decide_is_told_and_is_enough():
    few = judge(BY_ID["C3"], eight(1.1, repeats=3, noise=0.25)).tests.iloc[0]
    assert few.verdict == UNDECIDED and few.more_blocks > 3
    assert few.more_minutes == few.more_blocks  # one a minute
    assert "undecided (about" in show.verdicts_text([judge(BY_ID["C3"], eight(1.1, repeats=3, noise=0.25))])
    starts = judge(BY_ID["C10"], started(0, repeats=3)).tests.iloc[0]
    assert judge(BY_ID["C10"], started(0, repeats=3 + int(starts.more_blocks))).verdict == "contradicted"
    assert judge(BY_ID["C10"], started(0, repeats=3 + int(starts.more_blocks) - 1)).verdict == UNDECIDED


def test_a_share_has_clopper_and_pearsons_interval():
    table = summarize(started(0, repeats=2))
    effect = share(table[table["ready"] == False], "left_not_running", "starts")  # noqa: E712
    assert (effect.estimate, effect.low, effect.n) == (0, 0, 20)
    assert effect.high == pytest.approx(1 - 0.025 ** (1 / 20))


def test_one_web_host_of_one_cpu_cannot_say_what_fewer_workers_do_and_how_is_told():
    runs = made_up("nginx-workers", lambda point: {"throughput_per_s": 900.0}, cpus=1)
    judgement = judge(BY_ID["C2"], runs)
    assert judgement.verdict == UNDECIDED
    assert judgement.tests["verdict"].tolist() == [NOT_TESTED, "supported"]
    text = show.verdicts_text([judgement])
    told = "fab halt, fab up --no-pin, fab experiment nginx-workers --generator wrk"
    assert f"not tested (needs two CPUs for the web host: {told})" in text
    assert judge(BY_ID["C2"], []).tests["command"].tolist() == ["fab experiment nginx-workers"] * 2


# ---------------------------------------------------------------- from disk


def look_run(folder, name, look, settings, rows, **place):
    with writing_run(folder, name) as draft:
        write_seen(draft.path, rows)
        draft.record(Run(
            path=draft.path, settings=settings, workload=look, observed={}, environment={"web": {"cpus": 1}},
            experiment=folder.name, run=name, started_s=1.0, ended_s=2.0, validity=Validity(), **place,
        ))  # fmt: skip


LOOKS = [
    (Look(sight="clients_held"), StackSettings(nginx_worker_connections=100),
     [{"number": 1, "opened": True, "error": None}, {"number": 2, "opened": False, "error": "reset"}, {"held": 1}],
     {"clients_held": 1, "first_refused": 2, "held_of_limit": 0.01, "held_of_half": 0.02}),
    (Look(sight="daphne_processes", verbosity=2), StackSettings(),
     [{"pid": 7, "parent": 1, "threads": 3, "title": "daphne", "listens": True}], {"daphne_processes": 1, "daphne_threads": 3}),
    (Look(sight="sync_threads"), StackSettings(asgi_threads=4),
     [{"time_s": 0, "threads": 2, "cpus": 1}, {"time_s": 1, "threads": 12}, {"start_s": 1.0, "duration_s": 0.5, "status": 200},
      {"start_s": 1.5, "duration_s": 0.5, "status": 200}, {"start_s": 1.5, "duration_s": 9, "status": 500}],
     {"sync_threads": 10, "sync_of_default": 2.0, "sync_per_s": 2.0}),
    (Look(sight="sync_threads"), StackSettings(asgi_threads=4),
     [{"page": "io", "time_s": 0, "threads": 2, "cpus": 1}, {"page": "io", "start_s": 1.0, "duration_s": 0.5, "status": 200},
      {"page": "pool", "time_s": 0, "threads": 9, "cpus": 1}, {"page": "pool", "start_s": 1.0, "duration_s": 0.25,
       "status": 200}],
     {"sync_threads": 0, "sync_of_default": 0.0, "sync_per_s": 2.0, "pool_per_s": 4.0}),
    (Look(sight="starts", ready=False, rounds=2), StackSettings(),
     [{"active": 3, "listening_at_return": 0, "listening": 3}, {"active": 3, "listening_at_return": 3, "listening": 2}],
     {"starts": 2, "left_not_running": 1, "active_not_listening": 1}),
    (Look(sight="socket_shares"), StackSettings(daphne_instances=2),
     [{"number": 1, "error": None}, {"number": 2, "error": None}, {"log": "daphne1.log", "sockets": 2, "lines": 4},
      {"log": "daphne2.log", "sockets": 0, "lines": 0}],
     {"busiest_share": 2.0, "instances_met_share": 0.5, "lines_per_socket": 2.0}),
]  # fmt: skip


@pytest.mark.parametrize(("look", "settings", "rows", "expected"), LOOKS, ids=[case[0].sight for case in LOOKS])
def test_a_look_is_kept_raw_read_like_a_run_and_summed_up(tmp_path, look, settings, rows, expected):
    look_run(tmp_path / "looks", "r1-01", look, settings, rows)
    [run] = load_runs(tmp_path)
    assert (run.workload, run.kind, run.settings) == (look, "look", settings)
    row = summarize([run]).iloc[0]
    assert {name: row[name] for name in expected} == pytest.approx(expected)
    assert not any((run.path / "seen.jsonl").stat().st_mode & 0o222 for _ in [0])


def test_a_web_host_of_two_cpus_can_also_be_judged_by_wrks_load(tmp_path):
    (plan,) = plans_of("nginx-workers", generator="wrk")
    assert plan.name == "nginx-workers-wrk" and [point.label for point in plan.points][:2] == ["1 workers", "2 workers"]
    assert {point.workload.tool for point in plan.points} == {"wrk"} and plan.repeats >= 6 and not plan.slice_s
    environment = ENVIRONMENT | {"pinned_cpus": None, "web": ENVIRONMENT["web"] | {"cpus": 2}}
    load = HttpLoad(requests=1500, users=20)
    for n, per_s in ((1, 900.0), (2, 1300.0), (4, 1310.0)):
        for repeat in range(1, 7):
            http_run(
                tmp_path / plan.name, f"r{repeat}-{n}", StackSettings(nginx_worker_processes=n), load,
                per_s=per_s * (1 + 0.01 * (repeat % 3)), repeat=repeat, point=f"{n} workers", environment=environment,
            )  # fmt: skip
    c2 = judge_results(tmp_path)[1]
    assert c2.verdict == "supported" and c2.tests["n"].tolist() == [6, 6]


def test_verdicts_come_from_each_claims_own_experiment_and_from_where_more_is_sound(tmp_path):
    rows = [{"pid": 7, "parent": 1, "threads": 3, "title": "daphne", "listens": True}]
    for folder, repeats in (("daphne-verbosity", 1), ("daphne-verbosity-quick", 3)):
        for repeat in range(1, repeats + 1):
            for verbosity in (1, 2, 3):
                look = Look(sight="daphne_processes", verbosity=verbosity)
                place = {"repeat": repeat, "point": f"-v {verbosity}"}
                look_run(tmp_path / folder, f"r{repeat}-{verbosity}", look, StackSettings(), rows, **place)
    judgements = judge_results(tmp_path)
    assert [judgement.claim.id for judgement in judgements] == list(BY_ID)
    assert {judgement.claim.id for judgement in judgements if judgement.verdict != NOT_TESTED} == {"C6"}
    c6 = judgements[5]
    assert c6.verdict == "contradicted" and c6.tests["n"].tolist() == [3, 3]
    said = json.loads(json.dumps([judgement.to_dict() for judgement in judgements], allow_nan=False))
    assert all(set(one) == {"id", "sentence", "verdict", "note", "tests", "machine"} for one in said)
    assert {"metric", "estimate", "low", "high", "n", "disturbed", "margin", "verdict"} <= set(said[5]["tests"][0])
    assert said[0]["tests"][0]["command"] == "fab experiment clients-held"
    text = show.verdicts_text(judgements)
    assert "\nC1   fab experiment clients-held\n" in text
    assert "\nC4   fab experiment eight-cases and fab experiment uwsgi-workers\n" in text
    assert text.startswith("C6  Daphne's -v N starts N workers\n     CONTRADICTED\n")


# ---------------------------------------------------------------- the picture


def test_the_picture_has_a_line_a_claim_with_full_marks_for_what_is_decided():
    judgements = [judge(BY_ID["C3"], eight(1.3)), judge(BY_ID["C9"], cost(1.6)), judge(BY_ID["C8"], ceiling(0.9, noise=0.5)),
                  judge(BY_ID["C6"], eight(1.0))]  # fmt: skip
    assert [judgement.verdict for judgement in judgements] == ["supported", "contradicted", UNDECIDED, NOT_TESTED]
    ax = plots.claims(judgements)
    marks = {round(line.get_ydata()[0]): line for line in ax.lines if line.get_markersize() == 9 and line.get_marker() in "osD"}
    assert set(marks) == {0, 1, 2}
    full = {place: line.get_markerfacecolor() != "white" for place, line in marks.items()}
    assert full == {0: True, 1: True, 2: False}
    assert marks[0].get_xdata()[0] == pytest.approx(1.3, rel=0.02) and marks[1].get_xdata()[0] == pytest.approx(1 / 1.6, rel=0.02)
    assert len(ax.get_yticklabels()) == 4 and "C6" in ax.get_yticklabels()[3].get_text()
    assert marks[0].get_marker() != marks[1].get_marker(), "not by colour alone"


@pytest.mark.parametrize(("claim", "runs", "verdict"), CASES[::3])
def test_as_claimed_lies_on_the_side_of_its_verdict(claim, runs, verdict):
    row = least_as_claimed(judge(BY_ID[claim], runs))
    estimate, low, high = as_claimed(row)
    assert low <= estimate <= high
    if verdict == "contradicted":
        assert high < 1


def test_the_claims_of_a_report_are_those_that_its_runs_can_say_anything_of():
    assert {judgement.claim.id for judgement in judge_all(eight(1.0))} == {"C3", "C4", "C5"}
    assert {judgement.claim.id for judgement in judge_all(shares(1.0, 1.0))} == {"C11", "C12"}


def test_what_no_load_shows_alone_all_together_may_contradict_and_never_support():
    slower = judge(BY_ID["C5"], eight(1 / 1.05, repeats=5, noise=0.06))
    told = slower.tests.groupby(slower.tests["each"] == "all together")["verdict"].agg(set)
    assert slower.verdict == "contradicted" and "contradicted" in told[True] and "contradicted" not in told[False]
    quicker = judge(BY_ID["C5"], eight(1.05, repeats=5, noise=0.06))
    together = quicker.tests[quicker.tests["each"] == "all together"]
    assert "supported" in set(together["verdict"]) and not together["decides"].any() and quicker.verdict == UNDECIDED
