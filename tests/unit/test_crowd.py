"""A crowd: a load that goes on, against a local HTTPS site; who asks for what, and which rows a cut gives."""

import io
import os
import signal
import time

import pandas as pd
import psutil
import pytest
from here import wait_until

from stacklab.bench.crowd import crowd
from stacklab.errors import LoadError
from stacklab.runs.tables import RAW_REQUESTS
from stacklab.workload import HttpLoad


@pytest.fixture
def load(site, certificates, tmp_path):
    with crowd(HttpLoad(users=6), site.url, tmp_path, certificates[0], None, ()) as load:
        yield load


def rows(raw: bytes) -> pd.DataFrame:
    return pd.read_csv(io.BytesIO(raw), names=RAW_REQUESTS.names)


def busy(load, seconds: float) -> tuple[float, float]:
    """Let it go on for a while; from when to when."""
    start_s = load.now()
    while load.now() < start_s + seconds:
        time.sleep(0.05)
    return start_s, load.now()


def test_nobody_asks_before_it_is_said(load):
    busy(load, 0.3)
    assert load.cut() == b""


def test_a_cut_gives_every_request_that_began_before_it_once(load, site):
    before = site.asked["/"]
    load.ask(HttpLoad(users=4, wait_s=0.01))
    wait_until(lambda: site.asked["/"] > before + 20, "they ask")
    first = rows(load.cut())
    busy(load, 0.3)
    load.ask(HttpLoad(users=1, path="/other", wait_s=10))  # which who asks for a page of before may wait for too
    wait_until(lambda: site.asked["/other"], "the other page is asked for")
    second = rows(load.cut())
    assert len(first) > 20 and first["error"].isna().all() and not first["warmup"].any()
    assert set(zip(first.start_s, first.duration_s, strict=True)).isdisjoint(zip(second.start_s, second.duration_s, strict=True))
    assert len(first) + len(second) == site.asked["/"] + site.asked["/other"] - before


def test_a_cut_waits_for_what_is_under_way(load, site):
    load.ask(HttpLoad(users=6, path="/slow"))
    wait_until(lambda: site.asked["/slow"] >= 6, "all six ask")
    asked_s = load.now()
    found = rows(load.cut())
    ends = found["start_s"] + found["duration_s"]
    assert len(found) >= 6 and (ends[found["start_s"] < asked_s] > asked_s).any() and ends.max() <= load.now()


def most_at_once(found: pd.DataFrame) -> int:
    """How many requests were under way at the same time, at most."""
    ends = found["start_s"] + found["duration_s"]
    return max(((found["start_s"] <= at_s) & (ends > at_s)).sum() for at_s in found["start_s"])


def test_users_and_path_change_while_it_goes_on(load, site):
    load.ask(HttpLoad(users=1, path="/one", wait_s=0.01))
    wait_until(lambda: site.asked["/one"] >= 10, "the one user asks")
    changed_s = load.now()
    load.ask(HttpLoad(users=6, path="/slow"))
    wait_until(lambda: site.asked["/slow"] >= 24, "the six ask")
    found = rows(load.cut())
    assert most_at_once(found[found["start_s"] < changed_s]) == 1 and most_at_once(found) == 6


def test_a_crowd_that_ended_early_is_an_error_with_locusts_words(load):
    load.ask(HttpLoad(users=1, wait_s=0.05))
    [process] = [child for child in psutil.Process().children() if "pool.py" in " ".join(child.cmdline())]
    os.kill(process.pid, signal.SIGKILL)
    with pytest.raises(LoadError, match="Locust ended"):
        load.cut()
    process.wait(60)


def test_a_crowd_that_ended_with_a_word_unread_is_stopped_all_the_same(certificates, tmp_path):
    with crowd(HttpLoad(users=1), "https://127.0.0.1:9", tmp_path, certificates[0], None, ()) as load:
        [process] = load._generator._processes
        process.kill()
        process.wait(60)
        load._generator._say(process, "a word")  # and again when its standard input is closed


def test_a_crowd_without_a_site_does_not_spin(certificates, tmp_path):
    with crowd(HttpLoad(users=2), "https://127.0.0.1:9", tmp_path, certificates[0], None, ()) as load:
        load.ask(HttpLoad(users=2))
        start_s, cuts = load.now(), []
        wait_until(lambda: cuts.append(rows(load.cut())) or sum(map(len, cuts)) >= 2, "they have tried")
        busy(load, 1)
        found = pd.concat([*cuts, rows(load.cut())])
        took_s = load.now() - start_s
    assert 2 <= len(found) <= 20 * took_s and found["error"].notna().all()


def test_nothing_runs_when_the_block_has_ended(site, certificates, tmp_path):
    with crowd(HttpLoad(users=2), site.url, tmp_path, certificates[0], None, ()) as load:
        load.ask(HttpLoad(users=2))
    assert not [child for child in psutil.Process().children() if "pool.py" in " ".join(child.cmdline())]
