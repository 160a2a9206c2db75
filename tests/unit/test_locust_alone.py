"""loadtests/pages.py and chat.py by `locust` alone, as anybody starts them: its table, its files, its web page, its workers."""

from __future__ import annotations

import csv
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from certificates import make_ca
from chat_site import ChatSite

from stacklab.bench.plans import plan_load, run_plan
from stacklab.files import ROOT
from stacklab.surroundings import own

PAGES, CHAT, ROWS, POOL = (ROOT / "loadtests" / f"{name}.py" for name in ("pages", "chat", "rows", "pool"))
WITHIN_S = 400  # of a computer that is very busy


@pytest.fixture(scope="module")
def chat_site(certificates):
    with ChatSite(*certificates[1:]) as server:
        yield server


@pytest.fixture
def locust(tmp_path, certificates):
    """Start Locust with these words, in a folder of its own: (exit code, all it said)."""

    def run(file: Path | str, host: str | None, *words: object, ca: Path | None = certificates[0], users=4, run_time_s=3):
        size = ("--headless", "--only-summary", "-r", users, "-u", users, "-t", f"{run_time_s}s")
        done = subprocess.run(
            command(file, host, *size, *words, ca=ca),
            cwd=tmp_path, env=own(HOME=os.fspath(tmp_path)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=WITHIN_S, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout

    return run


def command(file: Path | str, host: str | None, *words: object, ca: Path | None) -> list[str]:
    told = ["--host", host] if host else []
    trusted = ["--ca", ca] if ca else []
    return [str(word) for word in (sys.executable, "-m", "locust", "-f", file, *told, *trusted, *words)]


@contextmanager
def started(folder: Path, *words: str):
    """Locust while it is looked at; all it said by then is in `folder`/said."""
    with open(folder / "said", "ab") as said:
        process = subprocess.Popen(words, cwd=folder, env=own(HOME=os.fspath(folder)), stdout=said, stderr=said)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def line(said: str, name: str) -> tuple[int, int]:
    """(requests, failures) of the last line of Locust's table for `name`."""
    found = re.findall(rf"^\S* +{re.escape(name)} +(\d+) +(\d+)\(", said, re.MULTILINE)
    assert found, said
    requests, failures = found[-1]
    return int(requests), int(failures)


def test_pages_are_in_locusts_table_in_its_files_and_in_the_rows_of_any_listener(locust, site, tmp_path):
    code, said = locust(f"{PAGES},{ROWS}", site.url, "--path", "/?alone", "--csv", "seen")
    requests, failures = line(said, "/?alone")
    assert code == 0 and failures == 0 and requests > 0, said
    assert line(said, "Aggregated") == (requests, 0)
    assert requests <= site.asked["/?alone"] <= requests + 4, "those under way at the end are in no table"
    with open(tmp_path / "requests.csv", encoding="utf-8") as file:
        rows = [*csv.DictReader(file)]
    assert len(rows) == requests and {(row["status_code"], row["response_length"]) for row in rows} == {("200", "5")}
    assert all(float(row["response_time_ms"]) > 0 for row in rows)
    with open(tmp_path / "seen_stats.csv", encoding="utf-8") as file:  # as of a moment before the end
        (row,) = [row for row in csv.DictReader(file) if row["Name"] == "/?alone"]
    assert row["Type"] == "GET" and 0 < int(row["Request Count"]) <= requests and row["Failure Count"] == "0"


def test_an_answer_that_is_an_error_fails_in_the_table_and_says_why(locust, site):
    code, said = locust(PAGES, site.url, "--path", "/bad", "--wait-s", "0.05")
    requests, failures = line(said, "/bad")
    assert code == 1 and requests == failures > 0 and "HTTP 502" in said


@pytest.mark.parametrize(("option", "seconds"), [("--wait-s", "60"), ("--pace-s", "60")])
def test_users_wait_as_they_are_told(locust, site, option, seconds):
    path = f"/?{option}"
    code, said = locust(PAGES, site.url, "--path", path, option, seconds, users=3)
    assert code == 0 and line(said, path) == (3, 0), said


@pytest.fixture
def patient(tmp_path):
    """A locustfile for a master on a busy computer: Locust's gives up workers that it has not heard of for three seconds."""
    file = tmp_path / "patient.py"
    file.write_text("import locust.runners\n\nlocust.runners.HEARTBEAT_LIVENESS = 300\n")
    return file


def test_processes_share_the_users_and_one_table_tells_of_all(locust, site, patient):
    port = free_port()
    words = ("--path", "/?processes", "--processes", 2, "--master-bind-port", port, "--master-port", port)
    code, said = locust(f"{PAGES},{patient}", site.url, *words, run_time_s=8)
    requests, failures = line(said, "/?processes")
    assert code == 0 and failures == 0 < requests <= site.asked["/?processes"], said
    assert len(set(re.findall(r"Worker (\S+) .*ready", said))) == 2 or "2 workers" in said, said


def test_a_worker_is_told_by_its_master_what_to_ask_for(site, certificates, tmp_path, patient):
    port = free_port()
    worker = command(PAGES, None, "--worker", "--master-host", "127.0.0.1", "--master-port", port, ca=certificates[0])
    master = command(
        f"{PAGES},{patient}", site.url, "--master", "--expect-workers", 1, "--master-bind-port", port, "--headless",
        "--only-summary", "-u", 2, "-r", 2, "-t", "8s", "--path", "/?master", ca=None,
    )  # fmt: skip
    (tmp_path / "worker").mkdir()
    with started(tmp_path / "worker", *worker):
        done = subprocess.run(
            master, cwd=tmp_path, env=own(HOME=os.fspath(tmp_path)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=WITHIN_S, check=False,
        )  # fmt: skip
    requests, failures = line(done.stdout, "/?master")
    assert done.returncode == 0 and failures == 0 < requests <= site.asked["/?master"], done.stdout


def test_a_worker_that_cannot_has_its_master_fail(locust, site, tmp_path, patient):
    wrong, _, _ = make_ca(tmp_path, "another")
    port = free_port()
    words = ("--processes", 1, "--master-bind-port", port, "--master-port", port)
    code, said = locust(f"{PAGES},{patient}", site.url, *words, ca=wrong, run_time_s=60)
    assert code == 1 and f"shows no certificate of the CA in {wrong}" in said, said


def test_the_web_page_answers_and_shows_the_numbers(site, certificates, tmp_path):
    port = free_port()
    page = f"http://127.0.0.1:{port}"
    words = ("--autostart", "--web-host", "127.0.0.1", "--web-port", port, "-u", 2, "-r", 2, "--path", "/?web")
    with started(tmp_path, *command(PAGES, site.url, *words, "--wait-s", "0.05", ca=certificates[0])) as process:
        deadline_s = time.monotonic() + WITHIN_S
        shown: dict = {}
        while not any(row["name"] == "/?web" and row["num_requests"] for row in shown.get("stats", [])):
            assert time.monotonic() < deadline_s and process.poll() is None, (tmp_path / "said").read_text()
            time.sleep(0.5)
            try:
                with urllib.request.urlopen(f"{page}/stats/requests", timeout=30) as answer:
                    shown = json.load(answer)
            except OSError:
                continue  # it is not up yet
        assert shown["state"] == "running" and shown["user_count"] == 2 and not shown["errors"], shown
        with urllib.request.urlopen(page, timeout=60) as answer:
            text = answer.read().decode()
        assert "Locust" in text and '"path"' in text, "what can be told can be told there too"


def test_what_is_missing_is_said_in_one_sentence(locust, site, tmp_path):
    wrong, _, _ = make_ca(tmp_path, "another")
    for file, host, ca, words in (
        (PAGES, site.url, wrong, f"{site.url} shows no certificate of the CA in {wrong}"),
        (PAGES, site.url, None, "have 'fab ca' write the lab's CA, and name its file: --ca stacklab-ca.crt"),
        (CHAT, site.url, None, "shows no certificate of a CA that this computer trusts"),
        (PAGES, None, None, "give --host https://WEB"),
        (PAGES, site.url, tmp_path / "nothing", "no CA's certificate can be read there"),
        (POOL, site.url, None, "'fab http' and 'fab chat', which start it"),
    ):
        code, said = locust(file, host, ca=ca, run_time_s=60)
        assert code != 0 and words in said and "Traceback" not in said, said


def test_the_certificate_that_fab_ca_wrote_here_is_taken_by_itself(locust, site, certificates, tmp_path):
    (tmp_path / "stacklab-ca.crt").write_bytes(certificates[0].read_bytes())
    code, said = locust(PAGES, site.url, "--path", "/?here", ca=None)
    assert code == 0 and line(said, "/?here")[0] > 0, said


def test_fab_load_makes_a_run_of_it_as_of_any_locustfile(site, certificates, tmp_path):
    plan = plan_load(PAGES, "users=2,duration_s=4,path=/?plan", warmup_s=0.0)
    run_plan(plan, site.url, tmp_path, certificates[0])
    rows = pq.read_table(tmp_path / "requests.parquet").to_pandas()
    assert len(rows) and set(rows.status) == {200} and set(rows.name) == {"GET /?plan"} and rows.error.isna().all()


# -- chat -----------------------------------------------------------------------------------------


def test_a_chats_table_tells_of_who_came_in_and_of_each_message(locust, chat_site):
    chat_site.reset()
    code, said = locust(CHAT, chat_site.url, "--rooms", 2, "--messages-per-s", 4, "--size-bytes", 30, users=6, run_time_s=8)
    assert code == 0 and line(said, "connect") == (6, 0), said
    (back, lost), (heard, _) = line(said, "message"), line(said, "heard")
    assert lost == 0 < back <= len(chat_site.heard) and back < heard <= 2 * len(chat_site.heard), "three in each room"
    assert {len(frame["text"]) for frame in chat_site.heard} == {30}


def test_a_message_that_does_not_come_back_and_a_connection_that_ends_are_failures(locust, chat_site):
    chat_site.reset()
    chat_site.lose_every, chat_site.settle_s, chat_site.refuse = 1, 0.0, {2}
    code, said = locust(CHAT, chat_site.url, "--rooms", 1, "--messages-per-s", 2, users=3, run_time_s=20)
    assert code == 1 and "not back within 10 s" in said and "HandshakeRefused: HTTP 503" in said, said
    requests, failures = line(said, "message")
    assert requests == failures > 0
    assert line(said, "connect") == (4, 1), "and it tried again"


def free_port() -> int:
    """One that no outgoing connection is given: a worker that tries a port before its master has it may meet itself."""
    while True:
        port = random.randrange(20_000, 30_000)
        try:
            socket.create_server(("", port)).close()
        except OSError:
            continue
        return port
