"""HTTP load against a local HTTPS site: what is sent, what is counted, what is written down."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest
from certificates import make_ca

from stacklab.bench.load import Progress, run_load
from stacklab.errors import LoadError
from stacklab.workload import HttpLoad

COLUMNS = {
    "start_s": "double", "duration_s": "double", "status": "int32", "bytes": "int64", "error": "string",
    "name": "string", "warmup": "bool", "scheduled_s": "double", "retried": "bool",
}  # fmt: skip


@pytest.fixture
def load(site, certificates, tmp_path):
    """Run an HttpLoad against the site and return its rows as a DataFrame."""

    def run(**fields):
        workload = HttpLoad(**{"users": 4, "requests": 50, "ramp_s": 0.0, "warmup_s": 0.0, **fields})
        run_load(workload, site.url, tmp_path, certificates[0])
        return pq.read_table(tmp_path / "requests.parquet").to_pandas()

    return run


def test_exactly_the_requests_asked_for_are_counted_and_warm_up_comes_on_top(load, tmp_path):
    rows = load(requests=137, users=7, ramp_s=0.3, warmup_s=0.3)
    assert (~rows.warmup).sum() == 137
    assert rows.warmup.sum() > 7
    assert rows.start_s[rows.warmup].max() <= rows.start_s[~rows.warmup].min()
    assert set(rows.status) == {200} and set(rows.bytes) == {5} and rows.error.isna().all()
    assert rows.scheduled_s.isna().all() and not rows.retried.any()
    schema = pq.read_schema(tmp_path / "requests.parquet")
    assert {field.name: str(field.type) for field in schema} == COLUMNS


def test_without_ramp_and_warm_up_every_request_counts(load, site):
    before = site.asked["/"]
    rows = load(requests=60, users=3)
    assert len(rows) == 60 and not rows.warmup.any()
    assert site.asked["/"] - before == 60


def test_more_users_than_requests_still_makes_the_requests_once(load):
    assert len(load(requests=3, users=20)) == 3


def test_an_answer_of_502_is_an_error_and_keeps_its_status(load):
    rows = load(path="/bad-some", requests=80)
    bad = rows.status == 502
    assert bad.sum() == 20
    assert set(rows.error[bad]) == {"HTTP 502"} and rows.error[~bad].isna().all()


def test_only_502_answers_are_a_result_and_not_a_failure_of_the_load(load):
    assert set(load(path="/bad").error) == {"HTTP 502"}


def test_a_redirect_is_not_followed(load, site):
    before = site.asked["/"]
    assert set(load(path="/moved", requests=5).status) == {302}
    assert site.asked["/"] == before


def test_a_connection_reset_in_the_middle_of_an_answer_is_an_error_with_status_0_and_not_retried(load):
    rows = load(path="/reset-some", requests=60)
    lost = rows.status == 0
    assert lost.sum() == 12
    assert rows.error[lost].str.contains("ConnectionResetError|HTTPParseError|SSLEOFError").all()
    assert rows.error[~lost].isna().all() and not rows.retried.any()


def test_a_keep_alive_connection_that_was_closed_is_retried_once_and_flagged(load, site):
    rows = load(path="/two-a-connection", requests=60, users=2)
    assert rows.error.isna().all()
    assert 20 <= rows.retried.sum() <= 30
    assert site.asked["/two-a-connection"] == 60 + rows.retried.sum()


def test_a_new_connection_that_is_closed_is_never_retried(load, site):
    before = site.asked["/reset"]
    with pytest.raises(LoadError, match="not one request was answered"):
        load(path="/reset", requests=10)
    assert site.asked["/reset"] - before == 10


def test_an_open_schedule_keeps_its_times_however_slow_the_answers(load):
    rows = load(path="/slow", requests=40, users=2, requests_per_s=50.0)
    assert rows.warmup.sum() == 2, "opening the two connections"
    rows = rows[~rows.warmup]
    assert len(rows) == 40
    assert abs(rows.scheduled_s.diff().iloc[1:] - 0.02).max() < 1e-6
    assert rows.duration_s.min() >= 0.5
    in_turn_s = rows.duration_s.sum() / 2  # what two users take who ask again when they have their answer
    assert (rows.start_s - rows.scheduled_s).max() < in_turn_s / 4


def test_poisson_arrivals_come_at_random_as_often_and_are_the_same_in_each_run(load):
    rows = load(requests=300, users=2, requests_per_s=300.0, arrivals="poisson")
    gaps = rows.scheduled_s.dropna().diff().iloc[1:]
    assert gaps.mean() == pytest.approx(1 / 300, rel=0.25)
    assert 0.7 < gaps.std() / gaps.mean() < 1.3, "of exponential gaps the spread is the mean"
    assert (gaps < gaps.mean() / 4).mean() > 0.1 and gaps.max() > 3 * gaps.mean()
    again = load(requests=300, users=2, requests_per_s=300.0, arrivals="poisson").scheduled_s.dropna().diff().iloc[1:]
    assert abs(gaps.to_numpy() - again.to_numpy()).max() < 1e-5


def test_users_wait_after_each_answer(load):
    rows = load(requests=6, users=1, wait_s=0.2)
    assert rows.start_s.sort_values().diff().iloc[1:].min() >= 0.2


def test_a_wrong_ca_ends_in_one_clear_error_and_every_request_is_an_error(site, tmp_path):
    wrong, _, _ = make_ca(tmp_path, "another")
    workload = HttpLoad(users=2, requests=10, ramp_s=0, warmup_s=0)
    with pytest.raises(LoadError, match="not one request was answered: .*CERTIFICATE_VERIFY_FAILED"):
        run_load(workload, site.url, tmp_path, wrong)
    rows = pq.read_table(tmp_path / "requests.parquet").to_pandas()
    assert len(rows) == 10 and set(rows.status) == {0}
    assert rows.error.str.startswith("SSLCertVerificationError").all()


def test_a_site_that_is_not_there_ends_soon_however_many_requests_were_asked_for(certificates, tmp_path):
    workload = HttpLoad(users=2, requests=10_000_000, ramp_s=0, warmup_s=0)
    with pytest.raises(LoadError, match="ConnectionRefusedError"):  # and not that it did not end in time
        run_load(workload, "https://127.0.0.1:9", tmp_path, certificates[0], timeout_s=120)


def test_progress_ends_at_the_total_and_the_generators_cost_is_recorded(site, certificates, tmp_path):
    seen: list[Progress] = []
    workload = HttpLoad(users=2, requests=40, ramp_s=0, warmup_s=2, wait_s=0.05)
    run_load(workload, site.url, tmp_path, certificates[0], progress=seen.append)
    assert {"warmup", "load"} <= {step.phase for step in seen}
    assert all(step.total == 40 and step.errors == 0 for step in seen)
    assert [step.done for step in seen] == sorted(step.done for step in seen)
    gauges = pq.read_table(tmp_path / "generator.parquet").to_pandas()
    assert set(gauges.name) == {"generator_cpu", "generator_cpu_busiest", "generator_lag_s", "generator_rss_bytes"}
    assert (gauges.value[gauges.name == "generator_rss_bytes"] > 1e6).all()


def test_locusts_own_words_are_kept_and_end_the_message_when_it_fails(site, certificates, tmp_path):
    with pytest.raises(LoadError) as caught:
        run_load(HttpLoad(requests=1, users=1), site.url, tmp_path, Path("/nonexistent"))
    assert "FileNotFoundError" in caught.value.log
    assert "FileNotFoundError" in (tmp_path / "locust.log").read_text()


SCRIPT = """
import sys
from pathlib import Path
from stacklab.bench.load import run_load
from stacklab.workload import HttpLoad
workload = HttpLoad(path="/slow", requests=1000, users=2, ramp_s=0, warmup_s=0)
run_load(workload, sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), progress=lambda step: print("going", flush=True))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_no_generator_outlives_the_process_that_started_it(number, site, certificates, tmp_path):
    command = [sys.executable, "-c", SCRIPT, site.url, str(tmp_path), str(certificates[0])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True) as desk:
        assert desk.stdout.readline() == b"going\n"
        generators = psutil.Process(desk.pid).children(recursive=True)
        assert generators
        os.kill(desk.pid, number)
    _, left = psutil.wait_procs(generators, timeout=60)
    assert not left
