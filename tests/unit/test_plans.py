"""Plans of Locust, k6 and wrk as loads: their tools found, told, ended, and what they write made a run's tables.

k6 and wrk are stand-ins, scripts on the PATH; Locust is the real one, before a page on this computer. JMeter: test_jmeter.py.
"""

import json
import os
import subprocess
import sys
import textwrap
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pyarrow.parquet
import pytest
import synthetic

from stacklab.bench import plans
from stacklab.bench.experiment import guessed_s, under_load_s
from stacklab.bench.plans import plan_load, run_plan, verify
from stacklab.bench.tools import TOOLS, missing, versions_of
from stacklab.console import run_text
from stacklab.errors import LoadError, SettingsError
from stacklab.files import ROOT
from stacklab.runs.disturbance import load_window
from stacklab.runs.results import read_run
from stacklab.study.figures import ALL, figures
from stacklab.study.report import write_report
from stacklab.study.summary import summarize
from stacklab.study.words import commands
from stacklab.workload import PLAN_TOOLS, PlanLoad

LOADTESTS = ROOT / "loadtests"
SAYS_VERSION = {"k6": "k6 v1.1.0 (commit/0, go1.24.4)", "wrk": "wrk 4.1.0 [epoll] Copyright"}
K6 = "metric_name,timestamp,metric_value,error,error_code,expected_response,method,name,status\n"
WRK = (
    "Running 4s test @ https://10.1.2.3/\n  1 threads and 4 connections\n  Thread Stats   Avg      Stdev     Max   +/- Stdev\n"
    "    Latency    10.00ms    1.00ms  20.00ms   90.00%\n  Latency Distribution\n     50%   10.00ms\n     99%   19.00ms\n"
    "  {count} requests in 4.00s, 1.00MB read\n{more}Requests/sec:    100.00\nTransfer/sec:      1.00MB\n"
)


def k6_rows(count: int, status: int = 200) -> str:
    """A request each tenth of a second, of 10 ms."""
    said = "true" if status == 200 else "false"
    return K6 + "".join(
        f"http_req_duration,{1_700_000_000_000_000 + n * 100_000},10.000000,,,{said},GET,https://x/,{status}\n"
        f"http_req_failed,{1_700_000_000_000_000 + n * 100_000},{float(status != 200):f},,,{said},GET,https://x/,{status}\n"
        for n in range(count)
    )


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """Puts a k6 or a wrk on the PATH that writes down what it was asked and does what a test says."""
    monkeypatch.setattr(plans, "verify", lambda url, ca: None)
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")

    def put(name: str, body: str):
        script = tmp_path / "bin" / name
        script.write_text(
            f"#!{sys.executable}\nimport json, os, sys, time\nfrom pathlib import Path\n"
            f"if sys.argv[1] in ('version', '-v'): sys.exit(print({SAYS_VERSION[name]!r}))\n"
            f"Path({str(tmp_path / 'asked')!r}).write_text(json.dumps([sys.argv[1:], dict(os.environ)]))\n"
            + textwrap.dedent(body)
        )
        script.chmod(0o755)

    return put


@pytest.fixture
def page():
    """The address of a page on this computer that answers at once, but /gone, which is not there."""

    class Page(BaseHTTPRequestHandler):
        protocol_version, wbufsize = "HTTP/1.1", 4096  # an answer goes out as one packet

        def do_GET(self):
            self.send_response(404 if self.path == "/gone" else 200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def put(tmp_path, load: PlanLoad, url: str = "https://10.1.2.3", **more):
    out = tmp_path / "out"
    out.mkdir()
    return out, run_plan(load, url, out, tmp_path / "ca.crt", **more)


def rows(out):
    return pyarrow.parquet.read_table(out / "requests.parquet").to_pandas()


# ---------------------------------------------------------------- which plan, which tool


def test_the_end_of_its_name_says_whose_plan_it_is():
    assert TOOLS.keys() == set(PLAN_TOOLS.values())
    loads = [plan_load(LOADTESTS / name) for name in ("page.jmx", "fasthttp.py", "page.js", "page.lua")]
    assert [load.tool for load in loads] == ["JMeter", "Locust", "k6", "wrk"]
    assert plan_load(LOADTESTS / "page.js", "users=7,duration_s=9").users == 7
    assert guessed_s(plan_load(LOADTESTS / "page.js", "users=7,duration_s=9")) == 13


@pytest.mark.parametrize(("name", "text", "words"), [
    ("mine.py", "print(1)", "no plan of Locust"), ("mine.js", "alert(1)", "no plan of k6"),
    ("mine.lua", "x = 1", "no plan of wrk"),
    ("mine.sh", "k6", "end in .jmx"), ("a,b.py", "import locust", "has a comma in it"),
])  # fmt: skip
def test_what_is_no_plan_is_refused_in_a_line(tmp_path, name, text, words):
    (tmp_path / name).write_text(text)
    with pytest.raises(SettingsError, match=words) as refused:
        plan_load(tmp_path / name)
    assert "\n" not in str(refused.value)


def test_a_tool_that_is_not_here_is_named_with_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    loads = [plan_load(LOADTESTS / name) for name in ("fasthttp.py", "page.js", "page.lua")]
    lacking = missing(loads)
    assert set(lacking) == {"k6", "wrk"} and "apt-get install wrk" in lacking["wrk"] and "\n" not in "".join(lacking.values())
    with pytest.raises(LoadError, match="no k6 on the PATH"):
        versions_of(loads)


def test_versions_are_what_the_tools_say(stand_in, tmp_path):
    stand_in("k6", ""), stand_in("wrk", "")
    known = versions_of([plan_load(LOADTESTS / name) for name in ("page.js", "page.lua", "fasthttp.py")])
    assert (known["k6"], known["wrk"]) == ("v1.1.0", "4.1.0") and known["locust"][0].isdigit()
    (tmp_path / "bin" / "wrk").write_text("#!/bin/sh\n")
    with pytest.raises(LoadError, match="does not say its version"):
        versions_of([plan_load(LOADTESTS / "page.lua")])


def test_who_has_no_certificate_of_the_ca_is_sent_nothing(page, tmp_path):
    verify(page, tmp_path / "no such file")  # plain HTTP
    ca = tmp_path / "ca.crt"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x", "-keyout", tmp_path / "k", "-out", ca]
    subprocess.run(made, check=True, capture_output=True)
    with pytest.raises(LoadError, match="shows no certificate of the CA"):
        put(tmp_path, plan_load(LOADTESTS / "fasthttp.py"), page.replace("http:", "https:"))
    assert not (tmp_path / "out" / "locust.out").exists()


# ---------------------------------------------------------------- k6


def test_k6_is_told_where_the_site_is_and_its_first_seconds_do_not_count(stand_in, tmp_path):
    stand_in("k6", f"Path('run.csv').write_text({k6_rows(50)!r})")
    out, told = put(tmp_path, plan_load(LOADTESTS / "page.js", "users=3"))
    words, environment = json.loads((tmp_path / "asked").read_text())
    given = {words[at + 1] for at, word in enumerate(words) if word == "-e"}
    assert {"url=https://10.1.2.3", "host=10.1.2.3", "port=443", "users=3", f"ca={tmp_path / 'ca.crt'}"} <= given
    assert words[-1] == str(LOADTESTS / "page.js") and "--no-usage-report" in words
    assert (environment["SSL_CERT_FILE"], environment["HOME"]) == (str(tmp_path / "ca.crt"), str(out / "raw"))
    table = rows(out)
    assert len(table) == 50 and table["warmup"].sum() == 20 and not table["warmup"].iloc[20:].any()
    assert table["duration_s"].tolist() == [0.01] * 50 and told == {"notes": [], "cannot_tell": []}
    assert (out / "plan.js").is_file() and not (out / "raw").exists()


def test_a_threshold_that_was_crossed_is_a_result_and_a_plan_that_raises_is_not(stand_in, tmp_path):
    until_seen = f"while not Path({str(tmp_path / 'seen')!r}).exists(): time.sleep(0.05)"
    stand_in("k6", f"Path('run.csv').write_text({k6_rows(50, 503)!r})\n{until_seen}\nsys.exit(99)")
    seen = []
    out, _ = put(
        tmp_path, plan_load(LOADTESTS / "page.js"), progress=lambda step: (seen.append(step), (tmp_path / "seen").touch())
    )
    assert rows(out)["error"].notna().all() and (seen[-1].done, seen[-1].errors) == (50, 50)
    stand_in("k6", "print('ReferenceError: nothing is not defined'); sys.exit(107)")
    with pytest.raises(LoadError, match="k6 ended with exit code 107.*\n*.*ReferenceError"):
        run_plan(plan_load(LOADTESTS / "page.js"), "https://x", out, tmp_path / "ca")
    stand_in("k6", f"Path('run.csv').write_text({K6!r}); print('it asked for nothing')")
    with pytest.raises(LoadError, match="made no sample.*\n*.*it asked for nothing"):
        run_plan(plan_load(LOADTESTS / "page.js"), "https://x", out, tmp_path / "ca")


def test_a_load_that_ends_before_it_counts_is_said(stand_in, tmp_path):
    stand_in("k6", f"Path('run.csv').write_text({k6_rows(9)!r})")
    with pytest.raises(LoadError, match="asked for nothing after its first 2 s.*--warmup-s 0"):
        put(tmp_path, plan_load(LOADTESTS / "page.js"))


def test_a_tool_that_dies_is_no_run(stand_in, tmp_path):
    stand_in("k6", f"Path('run.csv').write_text({k6_rows(50)!r}); os.kill(os.getpid(), 9)")
    with pytest.raises(LoadError, match="exit code -9"):
        put(tmp_path, plan_load(LOADTESTS / "page.js"))


def test_a_plan_that_was_changed_between_two_runs_is_not_run(stand_in, tmp_path):
    stand_in("k6", "")
    plan = tmp_path / "mine.js"
    plan.write_text('import http from "k6/http"')
    load = plan_load(plan)
    plan.write_text('import http from "k6/http";')
    with pytest.raises(LoadError, match="another plan by now"):
        put(tmp_path, load)


# ---------------------------------------------------------------- wrk


def test_wrks_summary_is_what_there_is(stand_in, tmp_path):
    stand_in("wrk", f"print({WRK.format(count=400, more='')!r})")
    out, told = put(tmp_path, plan_load(LOADTESTS / "page.lua", "users=4,duration_s=4,path=/healthz"))
    words, _ = json.loads((tmp_path / "asked").read_text())
    assert words[:6] == ["-c", "4", "-t", "1", "-d", "4s"] and words[words.index("--") - 1] == "https://10.1.2.3/healthz"
    assert told["cannot_tell"][:2] == ["p95", "time of day"] and "first seconds are counted too" in told["notes"][-1]
    assert not (out / "requests.parquet").exists() and under_load_s(out, plan_load(LOADTESTS / "page.lua")) == 4


@pytest.mark.parametrize(("said", "words"), [
    (WRK.format(count=0, more=""), "not one request was answered"), ("Running 4s test @ https://x\n  1 threads and", "kept as"),
])  # fmt: skip
def test_what_wrk_did_not_do_is_said(stand_in, tmp_path, said, words):
    stand_in("wrk", f"print({said!r})")
    with pytest.raises(LoadError, match=words):
        put(tmp_path, plan_load(LOADTESTS / "page.lua"))


def by_wrk(tmp_path, more: str = "", drop: int = 0, path: str = ""):
    """A run as if wrk had been the load, which tells its summary alone."""
    run = synthetic.http_run(tmp_path / "http", "r1")
    stated = {"samples": len(run.table("requests")), "failures": 0, "duration_s": 10.0, "throughput_per_s": 90.0, "p50_s": 0.01}
    stated |= {"socket_errors_read": 3} if more else {}
    table = [{"name": None, "quantity": name, "value": float(value)} for name, value in stated.items()]
    tables = {name: run.table(name) for name in ("server", "resources", "gauges", "generator")}
    tables["server"] = tables["server"].iloc[drop:]
    tables["stated"] = pyarrow.Table.from_pylist(table).to_pandas()
    known = synthetic.ENVIRONMENT | {"percentile": "wrk's own"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synthetic, "ENVIRONMENT", known)
        load = plan_load(LOADTESTS / "page.lua", f"users=20{path and f',path={path}'}")
        return synthetic.save(tmp_path / "plans", "r1", tables, run.settings, load, run.started_s + 5, run.ended_s - 2)


def test_a_run_without_samples_is_kept_judged_and_shown(tmp_path):
    run = read_run(by_wrk(tmp_path).path)
    assert (run.validity.measurement, run.validity.service) == ("sound", "ok"), run.validity
    [row] = summarize([run]).to_dict("records")
    assert (row["throughput_per_s"], row["p50_s"]) == (90, 0.01) and row["server_p50_s"] > 0
    assert row["cpu_s_per_1000_requests"] > 0 and figures(run)[ALL].samples == row["counted"]
    assert "p95 – ms" in run_text(run) and "nan" not in run_text(run)
    page = write_report([run], tmp_path / "report.html").read_text()
    assert "the plan loadtests/page.lua by wrk" in page
    assert commands([run])[-1] == "fab load --file loadtests/page.lua --parameters users=20"


def test_nginx_logs_no_static_file_and_none_is_missing(tmp_path):
    assert by_wrk(tmp_path, drop=10**6, path="/static/chat/chat.js").validity.measurement == "sound"
    [said] = by_wrk(tmp_path / "page", drop=10**6, path="/healthz").validity.reasons
    assert "nginx logged 0 requests" in said


def test_what_wrk_and_nginx_saw_is_held_against_each_other(tmp_path):
    run = by_wrk(tmp_path, more="socket errors", drop=9)
    assert "9 rows are missing" in " ".join(run.validity.reasons)
    assert run.validity.failures == (f"Of {len(run.table('server')) + 9:,} requests some failed: socket errors, read (3).",)


def test_of_a_tool_without_samples_nginxs_log_is_the_window(tmp_path):
    """On the desk's clock, where it is known, and not on nginx's."""
    run = by_wrk(tmp_path)
    logged = run.table("server")
    begun, ended = (logged["end_s"] - logged["duration_s"]).min(), logged["end_s"].max()
    assert load_window(run) == pytest.approx((begun - synthetic.OFFSET_S, ended - synthetic.OFFSET_S), rel=0, abs=1e-5)
    assert load_window(replace(run, clock_offset_s=None)) == pytest.approx((begun, ended), rel=0, abs=1e-5)


def test_of_a_plan_of_before_all_seconds_counted(tmp_path):
    file = by_wrk(tmp_path).path / "run.json"
    written = json.loads(file.read_text())
    assert written["format"] == 6 and written["workload"].pop("warmup_s") == 2
    file.chmod(0o644)
    file.write_text(json.dumps(written | {"format": 5}))
    assert read_run(file.parent).workload.warmup_s == 0


# ---------------------------------------------------------------- Locust, the real one

PLAN = """
from locust import HttpUser, constant, task

class Somebody(HttpUser):
    wait_time = constant(0.05)

    @task
    def ask(self):
        self.client.get("/{path}", name="a, b")
"""


def test_a_locustfile_of_anybodys_has_a_row_for_each_request(page, tmp_path):
    plan = tmp_path / "mine.py"
    plan.write_text(f"import sys\nsys.path.append({str(LOADTESTS)!r})\nimport rows\n" + PLAN.format(path="gone"))
    seen = []
    out, _ = put(tmp_path, plan_load(plan, "users=2,duration_s=3", 0.3), page, progress=seen.append)
    table = rows(out)
    assert 0 < seen[-1].done == seen[-1].errors <= len(table)
    assert len(table) < 130 and set(table["name"]) == {"GET a, b"} and set(table["status"]) == {404}
    assert table["error"].notna().all() and 0 < table["warmup"].sum() < len(table)
    assert (table["duration_s"] * 1e5 % 1 > 0).any(), "exact times, and no rounded ones"
    assert set(pyarrow.parquet.read_table(out / "generator.parquet")["name"].to_pylist()) >= {"generator_cpu"}


@pytest.mark.parametrize("per_s", [0, 20])
def test_locusts_fasthttp_asks_for_one_page_in_a_loop_or_at_a_pace(page, tmp_path, per_s):
    out, _ = put(tmp_path, plan_load(LOADTESTS / "fasthttp.py", f"users=2,duration_s=2,path=/x,per_s={per_s}", 0), page)
    table = rows(out)
    assert set(table["name"]) == {"GET /x"} and table["error"].isna().all()
    assert len(table) > 50 if not per_s else 10 <= len(table) <= 45


@pytest.mark.parametrize(("text", "words"), [
    ("from locust import task\n", "locust"), ("import locust\nraise ValueError('not today')\n", "not today"),
])  # fmt: skip
def test_a_locustfile_that_is_none_or_raises_is_said(page, tmp_path, text, words):
    plan = tmp_path / "mine.py"
    plan.write_text(text)
    with pytest.raises(LoadError, match="Locust ended with exit code 1") as ended:
        put(tmp_path, plan_load(plan, "duration_s=1"), page)
    assert words in ended.value.log
