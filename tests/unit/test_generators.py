"""Load generators side by side: which points there are, without those whose tool is missing, and what runs of them say."""

import re

import numpy as np
import pandas as pd
import pytest
import synthetic

from stacklab.bench.generators import NO_SCHEDULE, generators, of_those_here
from stacklab.bench.plans import plan_load
from stacklab.console import run_text
from stacklab.errors import LabError
from stacklab.files import ROOT
from stacklab.runs.results import load_runs
from stacklab.settings import StackSettings
from stacklab.study import generators as study
from stacklab.study.report import write_report
from stacklab.workload import HttpLoad, PlanLoad


def test_each_generator_has_the_same_load_and_wrk_no_schedule():
    plan = generators()
    by_load = {}
    for point in plan.points:
        generator, _, load = point.label.partition(", ")
        by_load.setdefault(load, []).append(generator)
        at_once = point.workload.users
        assert str(at_once) in load or load.endswith("/s")
    everybody = by_load["5 users"]
    assert everybody == list(study.ORDER)
    with_schedule = [one for one in everybody if one not in NO_SCHEDULE]
    assert all(who == (with_schedule if load.endswith("/s") else everybody) for load, who in by_load.items())
    assert {point.workload.warmup_s for point in plan.points} == {2} and not plan.slice_s
    assert len(generators(quick=True).points) < len(plan.points) and generators(quick=True).name == "generators-quick"


def test_what_is_not_here_is_left_out_with_a_line(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JMETER_HOME", raising=False)
    plan, lines = of_those_here(generators(quick=True))
    assert {point.label.partition(",")[0] for point in plan.points} == {"lean client", "FastHttpUser"}
    assert [line.partition(":")[0] for line in lines] == ["LEFT OUT, JMeter", "LEFT OUT, k6", "LEFT OUT, wrk"]
    assert all("\n" not in line for line in lines)
    with pytest.raises(LabError, match="cannot be measured: there is no JMeter here"):
        of_those_here(type(plan)(name="eight", points=tuple(p for p in generators().points if p.label == "JMeter, 5 users")))


@pytest.fixture
def runs(tmp_path):
    """A lean client that sees what nginx sees; a JMeter 20 ms off, on connections of one request each; a wrk of a summary."""
    folder = tmp_path / "generators-quick"
    load = HttpLoad(requests=600, users=5, ramp_s=0, warmup_s=1)
    lean = synthetic.http_run(tmp_path / "other", "lean", workload=load, per_s=300)
    tables = {name: lean.table(name) for name in ("requests", "server", "resources", "gauges", "generator")}
    nth = np.arange(len(tables["server"])) + 1
    tables["server"] = tables["server"].assign(connection=1, connection_requests=nth, tls_resumed=True)

    def save(label: str, workload, **changes) -> None:
        held = {name: of for name, of in (tables | changes).items() if of is not None}
        times = lean.started_s + 5, lean.ended_s - 2
        synthetic.save(folder, label.split(",")[0].replace(" ", "-"), held, StackSettings(), workload, *times, point=label)

    def plan(name: str) -> PlanLoad:
        return plan_load(ROOT / "loadtests" / name, "users=5")

    save("lean client, 300/s", load)
    late = tables["requests"].assign(duration_s=tables["requests"]["duration_s"] + 0.02)
    alone = tables["server"].assign(connection=range(len(tables["server"])), connection_requests=1, tls_resumed=False)
    save("JMeter, 400/s", plan("page.jmx"), requests=late, server=alone)
    told = {"samples": len(late), "failures": 0, "duration_s": 2.0, "throughput_per_s": 300.0, "p50_s": 0.015, "p99_s": 0.02}
    stated = pd.DataFrame([{"name": None, "quantity": name, "value": float(value)} for name, value in told.items()])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synthetic, "ENVIRONMENT", synthetic.ENVIRONMENT | {"percentile": "wrk's own"})
        save("wrk, 5 users", plan("page.lua"), requests=None, stated=stated)
    return load_runs(folder)


def test_who_is_off_nginx_is_not_believed(runs):
    rows = study.cases(runs).set_index("generator")
    assert rows["believed"].to_dict() == {"wrk": True, "lean client": True, "JMeter": False}
    assert rows["requests_per_connection"].to_dict() == {"wrk": rows.loc["lean client", "requests_per_connection"], **{
        "lean client": len(runs[0].table("server")), "JMeter": 1}}  # fmt: skip
    assert rows["resumed_share"].to_dict() == {"wrk": 1, "lean client": 1, "JMeter": 0}
    assert (rows["cpu_s_per_1000_requests"] > 0).all()
    said = " ".join(study.limits(runs))
    assert re.search(r"lean client: believed up to \d+ requests/s\.", said)
    assert "JMeter: believed nowhere here; not at 400/s" in said


def test_who_makes_less_than_was_asked_for_is_not_believed(runs):
    [lean] = [run for run in runs if run.point.startswith("lean")]
    [row] = study.seen([lean]).to_dict("records")
    assert row["made_share"] == pytest.approx(row["throughput_per_s"] / 300) and study._believed(pd.Series(row))
    assert not study._believed(pd.Series(row | {"made_share": 0.9}))
    assert study._believed(pd.Series(row | {"made_share": 0.9, "asked_per_s": np.nan})), "nobody asked for a rate"


def test_in_a_closed_loop_a_tool_is_held_against_the_one_that_is_least_off_in_its_block():
    rows = [  # generator, valid, throughput_per_s, its and nginx's p50 and p95
        ("wrk", True, 1000.0, 0.014, 0.010, 0.026, 0.020), ("k6", True, 900.0, 0.015, 0.010, 0.027, 0.020),
        ("JMeter", True, 700.0, 0.024, 0.010, 0.026, 0.020), ("lean client", False, 2000.0, 0.010, 0.010, 0.02, 0.02),
    ]  # fmt: skip
    columns = ["generator", "valid", "throughput_per_s", "p50_s", "server_p50_s", "p95_s", "server_p95_s"]
    mine = study._beside(pd.DataFrame(rows, columns=columns).assign(asked_per_s=np.nan)).set_index("generator")
    assert mine["made_share"].to_dict() == {"wrk": 1, "k6": 0.9, "JMeter": 0.7, "lean client": 2}, "a disturbed one is no measure"
    assert mine["own_p50_s"].to_dict() == pytest.approx({"wrk": 0, "k6": 0.001, "JMeter": 0.01, "lean client": -0.004})
    assert {name: study._believed(row) for name, row in mine.drop("lean client").iterrows()} == {
        "wrk": True, "k6": True, "JMeter": False}  # fmt: skip
    paced = study._beside(pd.DataFrame(rows, columns=columns).assign(asked_per_s=1000.0))
    assert paced["own_p50_s"].iloc[0] == pytest.approx(0.004), "below its limits nginx sees what there is"


def test_the_report_begins_with_them_and_the_terminal_has_the_table(runs, tmp_path):
    page = write_report(runs, tmp_path / "report.html").read_text()
    assert page.index("Load generators side by side") < page.index("Plans of load tools")
    assert "believed nowhere here" in page
    told = study.text(runs)
    assert "its own p50 / p95" in told and "TLS resumed" in told and "100%" in told and "nan" not in told
    assert study.text([run for run in runs if False]) == "" and run_text(runs[-1])
