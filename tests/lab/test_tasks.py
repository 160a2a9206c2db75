"""The `fab` tasks on a real lab."""

import csv
import json
import os
import re
import signal
import ssl
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import pytest
from here import wait_until

from stacklab import stack
from stacklab.files import ROOT
from stacklab.settings import StackSettings


def test_provision_says_that_there_is_nothing_to_change(host, fab):
    fab("provision")
    done = fab("provision")
    assert (done.returncode, done.stdout) == (0, "nothing to change: the stack is set up already\n")


def test_status_shows_the_services_and_the_settings_beside_what_runs(at_defaults, fab):
    text = fab("status").stdout
    for unit in ("nginx", "uwsgi", "redis-server", "daphne@1", "daphne@2", "daphne@3"):
        assert re.search(rf"^{unit} +active$", text, re.MULTILINE)
    assert re.search(r"^uwsgi_processes +5 +5$", text, re.MULTILINE)
    assert "not as asked" not in text and max(map(len, text.splitlines())) <= 80


def test_status_as_json_holds_all_of_it(at_defaults, lab, fab):
    seen = json.loads(fab("status", "--json").stdout)
    assert (seen["lab"], seen["kind"], seen["state"]) == (lab.name, "container", "running")
    assert seen["settings"] == StackSettings().to_dict()
    assert seen["observed"]["daphne_ports"] == [8443, 8444, 8445]
    assert seen["version"] == seen["checkout_version"]
    assert seen["url"] == f"https://{seen['address']}"


def test_status_says_what_does_not_run_as_asked(at_defaults, fab):
    at_defaults.run("systemctl stop daphne@2", sudo=True)
    text = fab("status").stdout
    assert re.search(r"^daphne_instances +3 +2 +<- not as asked$", text, re.MULTILINE)


def test_status_says_that_the_checkout_is_another_version(host, fab):
    record = host.run("cat /etc/stacklab/settings.json")
    host.write("/etc/stacklab/settings.json", json.dumps(json.loads(record) | {"version": "0.0.1"}))
    try:
        assert "! provisioned by 0.0.1, this checkout is " in fab("status").stdout
    finally:
        host.write("/etc/stacklab/settings.json", record)


def test_the_flag_lab_goes_before_the_environment(host, lab, fab):
    done = fab("status", "--lab", lab.name, "--json", STACKLAB_LAB="no-such-lab")
    assert done.returncode == 0 and json.loads(done.stdout)["lab"] == lab.name


def test_ca_writes_a_certificate_that_makes_the_site_trusted(host, fab, tmp_path):
    path = tmp_path / "lab.crt"
    said = fab("ca", "--out", str(path)).stdout
    assert f"curl --cacert {path}" in said
    tls = ssl.create_default_context(cafile=path)
    with urllib.request.urlopen(f"{host.url}/healthz", context=tls) as answer:
        assert answer.status == 200
    missing = fab("ca", "--out", str(tmp_path / "nowhere" / "x"))
    assert missing.returncode == 1 and missing.stderr.startswith("fab ca: No such file or directory: ")


def test_sbom_names_what_runs_in_the_versions_that_run(host, fab, tmp_path):
    done = fab("sbom", "--out", str(tmp_path / "bill.json"))
    assert done.returncode == 0, done.stderr
    bill = json.loads((tmp_path / "bill.json").read_text())
    assert done.stdout == f"{tmp_path}/bill.json: {len(bill['components'])} packages of Debian and of Python\n"
    purls = [one["purl"] for one in bill["components"]]
    assert len(set(purls)) == len(purls) > 100
    seen = stack.versions(host)
    for name in ("django", "channels", "daphne", "twisted"):
        assert f"pkg:pypi/{name}@{seen[name]}" in purls
    versions = {one["name"]: one["version"] for one in bill["components"] if one["purl"].startswith("pkg:deb/debian/")}
    assert versions["nginx"].startswith(seen["nginx"]) and versions["redis-server"].split(":")[-1].startswith(seen["redis"])


@pytest.mark.parametrize("service", ["nginx", "uwsgi", "daphne", "daphne@2", "redis"])
def test_logs_shows_the_journal_of_a_service(host, fab, service):
    done = fab("logs", service, "--no-follow", "--lines", "3")
    assert done.returncode == 0
    assert 1 <= len(done.stdout.splitlines()) <= 6  # nginx writes to a log of its own as well


def test_logs_follows_until_it_is_stopped(host, lab):
    command = [Path(sys.executable).with_name("fab"), "logs", "uwsgi", "--lines", "0"]
    environment = os.environ | {"STACKLAB_LAB": lab.name, "PYTHONUNBUFFERED": "1"}
    child = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.extend(child.stdout), daemon=True)
    reader.start()
    following = "pgrep -f '[j]ournalctl .* -f -u uwsgi' || true"
    try:
        wait_until(lambda: host.run(following), "it follows")
        host.run("systemctl reload uwsgi", sudo=True)
        wait_until(lambda: lines, "a line comes")
    finally:
        child.send_signal(signal.SIGINT)
    assert child.wait(15) == 130
    assert child.stderr.read() == "fab logs: stopped\n"
    wait_until(lambda: host.run(following) == "", "nothing of it is left on the host", 10)


def test_a_load_is_measured_saved_exported_and_reported(at_defaults, fab, tmp_path):
    done = fab("http", "--users", "5", "--requests", "200", "--path", "/healthz", "--ramp-s", "0", "--warmup-s", "1")
    assert done.returncode == 0, done.stderr
    assert "requests/s" in done.stdout and "p95" in done.stdout and "Traceback" not in done.stderr
    (run,) = (tmp_path / "results" / "adhoc").glob("2*")
    kept = {path.name for path in run.iterdir()}
    assert {"run.json", "requests.parquet", "server.parquet", "resources.parquet", "gauges.parquet"} <= kept
    record = json.loads((run / "run.json").read_text())
    assert record["settings"] == StackSettings().to_dict() and record["workload"]["requests"] == 200

    exported = fab("export", f"adhoc/{run.name}", "--out", str(tmp_path / "csv"))
    assert exported.returncode == 0, exported.stderr
    with open(tmp_path / "csv" / "requests.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len([row for row in rows if row["warmup"] == "false"]) == 200
    reported = fab("report", "adhoc")
    assert reported.returncode == 0, reported.stderr
    assert (tmp_path / "results" / "adhoc" / "report.html").stat().st_size > 10_000


def test_a_load_on_a_path_that_fails_counts_its_errors(at_defaults, fab, tmp_path):
    done = fab("http", "--users", "3", "--requests", "30", "--path", "/no-such-page/", "--ramp-s", "0", "--warmup-s", "0")
    assert done.returncode == 0, done.stderr
    assert "30 errors" in done.stdout and "service degraded: " in done.stdout and "HTTP 404" in done.stdout
