"""What `make benchmark` and `tests.commits` measure in turn, without a lab."""

from types import SimpleNamespace
from unittest.mock import Mock

import pandas as pd
import pytest

from tests import by_hand, commits, peers


def test_in_turn_tells_the_one_to_the_other_in_an_order_by_lot():
    order, values = [], {"one": iter(range(1, 100)), "other": iter(range(1, 100))}

    def way(name, factor):
        return lambda: order.append(name) or {"s": factor * next(values[name])}

    (ratio, low, high) = peers.in_turn(12, way("one", 2), way("other", 1))["s"]
    assert [ratio, low, high] == pytest.approx([2] * 3), "each by its own pair"
    pairs = {tuple(order[at : at + 2]) for at in range(0, 24, 2)}
    assert pairs == {("one", "other"), ("other", "one")}


@pytest.mark.parametrize("fails", ["wait_until", "_cost"])
def test_what_was_started_by_hand_is_ended_and_the_units_are_back_whatever_fails(monkeypatch, tmp_path, fails):
    def refuse(*_):
        raise AssertionError("not within 60 s")

    ran = []
    host = SimpleNamespace(run=lambda command, **_: ran.append(command) or "7\n8\n9\n")
    monkeypatch.setattr(by_hand.stack, "site_of", lambda host: SimpleNamespace(asgi="config.asgi:application"))
    monkeypatch.setattr(by_hand, fails, refuse)
    with pytest.raises(AssertionError, match="not within"):
        by_hand._by_hand(SimpleNamespace(host=host), tmp_path)
    assert ran[-1].startswith("kill 7 8 9;") and ran[-1].endswith(f"systemctl start {by_hand.UNITS}")


@pytest.mark.parametrize(("fails", "blocks"), [("up", 0), ("destroy", 0), ("chat", 1)])
def test_of_two_commits_both_labs_are_destroyed_whatever_fails(monkeypatch, tmp_path, fails, blocks):
    def fab(commit, *words):
        ran.append((commit.lab, words[0]))
        if fails in words and commit.lab == "stacklab-after":
            raise ChildProcessError
        (commit.results / "adhoc" / str(len(ran))).mkdir(parents=True)
        (commit.results / "adhoc" / str(len(ran)) / "run.json").touch()

    ran, nothing = [], pd.DataFrame([{}])
    for name, value in {"RESULTS": tmp_path, "read_run": Mock(), "summarize": lambda runs: nothing}.items():
        monkeypatch.setattr(commits, name, value)
    monkeypatch.setattr(commits.subprocess, "run", Mock())
    monkeypatch.setattr(commits.Commit, "fab", fab)
    with pytest.raises(ChildProcessError):
        commits.compare("a", "b", blocks)
    assert {lab for lab, word in ran if word == "destroy"} == {"stacklab-after", "stacklab-before"}
