"""The everyday commands on a real lab, under a home and an environment full of a person's own settings: no difference."""

import json
import re

import pyarrow.parquet as pq
import pytest
from traps import VARIABLES

from stacklab.settings import StackSettings

HTTP = ("http", "--users", "4", "--requests", "200", "--path", "/healthz", "--ramp-s", "0", "--warmup-s", "1")
CHAT = ("chat", "--clients", "10", "--rooms", "2", "--messages-per-s", "1", "--duration-s", "2", "--ramp-s", "1")
COMMANDS = [
    ("status",), ("status", "--json"), ("set", "--uwsgi-processes", "3", "--json"), ("set",), HTTP, CHAT, ("reset",),
    ("provision",), ("status", "--json"), ("report", "adhoc"),
    ("status", "--lab", "no-such-lab"), ("set", "--uwsgi-processes", "x"),
]  # fmt: skip
BAR = re.compile(r"(?m)^.*%\|.*\n?")
VARYING = re.compile(r"(?m)(?<=^measurement ).*|[\d.,:TZ-]*\d[\d.,:TZ-]*| +")


@pytest.fixture
def clean(tmp_path, monkeypatch):
    """A home with nothing in it; `clean()` goes back to it from the trapped one."""

    def back():
        for name in VARIABLES:
            monkeypatch.delenv(name, raising=False)
        (tmp_path / "clean").mkdir()
        monkeypatch.setenv("HOME", str(tmp_path / "clean"))

    return back


def everyday(fab, results) -> tuple[list, list[dict]]:
    """(what each command said, what its runs hold), without what is another each time: figures, what disturbed them, where
    they are kept, and how often the progress bar moved.
    """
    outcomes = []
    for words in COMMANDS:
        done = fab(*words, STACKLAB_RESULTS=str(results))
        texts = [text.replace(str(results), "RESULTS") for text in (done.stdout, done.stderr)]
        outcomes.append((done.returncode, *(VARYING.sub("#", BAR.sub("", text)) for text in texts)))
    runs = []
    for folder in sorted((results / "adhoc").glob("2*")):
        record = json.loads((folder / "run.json").read_text())
        tables = {path.stem: pq.read_schema(path).names for path in folder.glob("*.parquet")}
        runs.append({"tables": tables} | {key: record[key] for key in ("settings", "observed", "workload", "environment")})
        if "requests" in tables:
            rows = pq.read_table(folder / "requests.parquet").to_pandas()
            assert (~rows["warmup"]).sum() == 200 and rows["error"].isna().all()
        else:
            assert pq.read_table(folder / "connections.parquet").num_rows == 10
    return outcomes, runs


@pytest.mark.faults
def test_a_trapped_home_makes_no_difference(at_defaults, fab, trapped, clean, tmp_path):
    of_trapped, runs_trapped = everyday(fab, tmp_path / "trapped")
    drawn = (tmp_path / "trapped" / "adhoc" / "report.html").read_bytes()
    clean()
    of_clean, runs_clean = everyday(fab, tmp_path / "clean-results")
    assert fab("report", "adhoc", STACKLAB_RESULTS=str(tmp_path / "trapped")).returncode == 0
    assert (tmp_path / "trapped" / "adhoc" / "report.html").read_bytes() == drawn
    assert [outcome[0] for outcome in of_clean] == [0] * (len(COMMANDS) - 2) + [1, 1]
    for words, there, here in zip(COMMANDS, of_trapped, of_clean, strict=True):
        assert there == here, words
    assert runs_trapped == runs_clean and len(runs_clean) == 2
    assert json.loads(fab("status", "--json").stdout)["settings"] == StackSettings().to_dict()
