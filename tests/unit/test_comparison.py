"""`fab compare`: two points out of flags, and when a comparison looks, stops and goes on."""

import dataclasses
import json

import numpy as np
import pytest
import synthetic

from stacklab import show
from stacklab.bench import comparison as module
from stacklab.bench.plan import Experiment, Point
from stacklab.bench.points import two_points
from stacklab.errors import SettingsError
from stacklab.settings import StackSettings
from stacklab.study.paired import LOOKS
from stacklab.workload import ChatLoad, HttpLoad

NOW = StackSettings(balance="hash")


def test_a_flag_with_two_values_makes_two_points_and_the_rest_is_as_it_is():
    a, b = two_points(NOW, {"uwsgi_processes": "5,10", "users": "20", "path": None})
    assert (a.label, b.label) == ("uwsgi_processes=5", "uwsgi_processes=10")
    assert (a.settings, b.settings) == (NOW.replace(uwsgi_processes=5), NOW.replace(uwsgi_processes=10))
    assert a.workload == b.workload == HttpLoad(users=20)


def test_several_flags_with_two_values_go_together():
    a, b = two_points(NOW, {"uwsgi_processes": "5,10", "nginx_worker_connections": "1024,4000", "path": "/,/db/"})
    assert (a.settings.nginx_worker_connections, b.settings.nginx_worker_connections) == (1024, 4000)
    assert (a.workload.path, b.workload.path) == ("/", "/db/")
    assert b.label == "uwsgi_processes=10, nginx_worker_connections=4000, path=/db/"


def test_the_same_against_itself_is_two_points_of_different_names():
    a, b = two_points(NOW, {"users": "50,50"})
    assert a.label != b.label and a.workload == b.workload


def test_chat_has_its_own_load_and_settings_that_hold_it():
    a, b = two_points(NOW, {"daphne_instances": "1,3", "clients": "900"}, chat=True)
    assert isinstance(a.workload, ChatLoad) and a.workload.clients == 900
    assert a.settings.nginx_worker_connections > 2 * 900 and (a.settings.daphne_instances, b.settings.daphne_instances) == (1, 3)


@pytest.mark.parametrize(
    ("flags", "chat", "words"),
    [
        ({"uwsgi_processes": "5"}, False, "nothing to compare"),
        ({}, False, "nothing to compare"),
        ({"uwsgi_processes": "5,6,7"}, False, "uwsgi_processes='5,6,7' is not allowed: compare takes one value, or two"),
        ({"uwsgi_processes": "5,x"}, False, "uwsgi_processes='x' is not allowed"),
        ({"clients": "5,6"}, False, "clients is a flag of chat load: add --chat"),
        ({"users": "5,6"}, True, "users is a flag of HTTP load: leave --chat out"),
    ],
)
def test_what_cannot_be_compared_is_said_in_one_line(flags, chat, words):
    with pytest.raises(SettingsError, match=words):
        two_points(NOW, flags, chat)


LOAD = HttpLoad(requests=400, users=20, ramp_s=0.2, warmup_s=0.2)
A, B = Point("a", StackSettings(), LOAD), Point("b", StackSettings(uwsgi_processes=10), LOAD)
PLAN = Experiment(name="a-or-b", points=(A, B), repeats=1000)


def measured(folder, repeat: int, faster: float = 1.3, steal: float = 0.0) -> list:
    """One block, as if it had been measured."""
    rng = np.random.default_rng(repeat)
    return [
        synthetic.http_run(
            folder, planned.name, planned.point.settings, LOAD, seed=repeat * 10 + planned.position, steal=steal,
            per_s=500 * (faster if planned.point is B else 1) * float(np.exp(rng.normal(0, 0.01))),
            start_s=synthetic.START_S + 100 * repeat + 20 * planned.position, point=planned.point.label, repeat=repeat,
            position=planned.position,
        )
        for planned in PLAN.block(repeat)
    ]  # fmt: skip


@pytest.fixture
def looks():
    return []


@pytest.fixture
def judge(tmp_path, looks):
    return lambda: module._Judge(PLAN, tmp_path / "e", 0.05, looks.append)


def test_it_looks_at_planned_numbers_of_blocks_only_and_stops_when_decided(judge, looks, tmp_path):
    judged = judge()
    for repeat in range(1, LOOKS[1] + 1):
        judged.add(measured(tmp_path / "e", repeat))
    assert [seen.blocks for seen in looks] == [LOOKS[0]]
    assert judged.now.decided and dataclasses.replace(judged.close(), each=()) == judged.now
    throughput = judged.now.metrics[0]
    assert (throughput.metric, throughput.verdict) == ("throughput_per_s", "better")
    assert throughput.low <= 1.3 <= throughput.high


def test_after_each_block_one_is_told_what_all_of_them_showed_and_what_the_last_look_said(tmp_path):
    told = []
    judged = module._Judge(PLAN, tmp_path / "e", 0.05, lambda seen: None, told.append)
    for repeat in range(1, LOOKS[0] + 1):
        judged.add(measured(tmp_path / "e", repeat, steal=0.3 if repeat == 2 else 0.0))
    assert [len(now.each) for now in told] == [1, 1, *range(2, LOOKS[0])]
    assert all(1.1 < ratio < 1.6 for ratio in told[-1].each)
    assert not told[-1].metrics
    judged.add(measured(tmp_path / "e", LOOKS[0] + 1))
    assert (told[-1].blocks, len(told[-1].each)) == (LOOKS[0], LOOKS[0])
    assert judged.close().each == told[-1].each, "and so does the last word"


def test_asking_again_makes_no_look_that_was_not_planned(judge, looks, tmp_path):
    for repeat in range(1, LOOKS[0] + 3):
        measured(tmp_path / "e", repeat, faster=1.0 + 0.3 * (-1) ** repeat)
    for _ in range(3):
        last = judge().close()
        assert (last.blocks, last.decided) == (LOOKS[0], False)
    assert {seen.blocks for seen in looks} == {LOOKS[0]}


def test_after_the_last_look_it_is_over(judge, monkeypatch):
    judged = judge()
    assert not judged.over
    monkeypatch.setattr(type(judged), "_sound", lambda self: LOOKS[-1])
    assert judged.over


def test_disturbed_blocks_do_not_count(judge, looks, tmp_path):
    judged = judge()
    for repeat in range(1, LOOKS[0] + 2):
        judged.add(measured(tmp_path / "e", repeat, steal=0.3 if repeat in (2, 3) else 0.0))
    assert looks == []
    last = judged.close()
    assert (last.blocks, last.disturbed) == (LOOKS[0] - 1, 2)


def test_what_was_measured_before_counts_and_half_a_block_does_not(judge, looks, tmp_path):
    for repeat in range(1, LOOKS[0] + 1):
        measured(tmp_path / "e", repeat)
    runs = measured(tmp_path / "e", LOOKS[0] + 1)
    for file in runs[0].path.iterdir():
        file.unlink()
    runs[0].path.rmdir()
    judged = judge()
    assert judged.measured == set(range(1, LOOKS[0] + 1)) and len(looks) == 1


def test_without_one_block_nothing_is_claimed(judge):
    last = judge().close()
    assert (last.blocks, last.metrics, last.decided) == (0, (), False)


def test_the_json_holds_what_was_promised_and_no_infinity(judge, tmp_path):
    judged = judge()
    for repeat in (1, 2):
        judged.add(measured(tmp_path / "e", repeat))
    said = json.loads(json.dumps(judged.close().to_dict(), allow_nan=False))
    assert set(said) >= {"blocks", "duration_s", "disturbed", "metrics"}
    fields = {"metric", "scale", "estimate", "low", "high", "verdict", "margin", "detectable"}
    assert all(set(metric) >= fields for metric in said["metrics"])
    assert said["metrics"][0]["high"] is None and said["metrics"][0]["verdict"] == "undecided"


def test_the_text_says_each_verdict_and_what_would_decide(judge, tmp_path):
    judged = judge()
    for repeat in range(1, LOOKS[0] + 1):
        judged.add(measured(tmp_path / "e", repeat))
    text = show.comparison_text(judged.close())
    assert "A: a    B: b" in text and "B is better" in text and f"{LOOKS[0]} blocks" in text
    undecided = dataclasses.replace(judged.now.metrics[0], verdict="undecided", more_blocks=12.0, detectable=1.1)
    assert "about 12 more blocks; smallest effect found so far: 10%" in show._said(undecided)


@pytest.mark.parametrize(("low", "estimate", "high"), [(0.9, 1.0, 1.1), (0.5, 0.7, 0.9), (1.0, 3.0, 9.0)])
def test_the_bar_has_one_width_whatever_the_interval(judge, low, estimate, high, tmp_path):
    judged = judge()
    for repeat in range(1, LOOKS[0] + 1):
        judged.add(measured(tmp_path / "e", repeat))
    verdict = dataclasses.replace(judged.now.metrics[0], low=low, estimate=estimate, high=high)
    bar = show.interval_bar(verdict)
    assert len(bar) == 2 * show.BAR_CELLS + 1 and bar.count("O") == 1 and "=" in bar
