"""What improvements are worth against stock, and what clients felt, from made-up runs."""

import numpy as np
import pandas as pd
import pytest
import synthetic

from stacklab.bench.experiments import plans_of
from stacklab.bench.improvements import ALL, improvement_outages, improvements
from stacklab.bench.plan import CHAT
from stacklab.settings import IMPROVEMENTS, StackSettings
from stacklab.study import improvements as study


def test_each_improvement_is_measured_alone_and_all_together_against_stock():
    points = {point.label: point.settings for point in improvements(quick=True).points}
    assert set(points) == {"stock", *IMPROVEMENTS, "all"}
    assert points["stock"] == CHAT and not any(getattr(CHAT, name) for name in IMPROVEMENTS)
    for name in IMPROVEMENTS:
        changed = [field for field, value in points[name].to_dict().items() if value != getattr(CHAT, field)]
        assert changed == [name]
    assert points["all"] == CHAT.replace(**ALL)
    assert improvements(quick=True).repeats >= 6, "fewer pairs than that never decide"


def test_the_experiment_is_followed_by_the_one_with_faults():
    assert [plan.name for plan in plans_of("improvements", quick=True)] == ["improvements-quick", "improvement-outages-quick"]
    points = {point.label: point for point in improvement_outages().points}
    assert {"stock", "stock, core", "all"} <= set(points)
    assert [event.what for event in points["stock"].events] == [
        "kill daphne@2", "stop daphne@3 for 3 s", "stop redis-server for 3 s"
    ]  # fmt: skip


def summary(blocks: int, **cpu: float) -> pd.DataFrame:
    """A summary with a point a name, whose CPU is so many times that of stock, with a little noise."""
    lot = np.random.default_rng(1)
    return pd.DataFrame([
        {"point": point, "repeat": block, "valid": True, "cpu_s_daphne_per_1000_deliveries": times * lot.lognormal(sigma=0.01),
         "delivered_share": 1.0}
        for block in range(blocks) for point, times in cpu.items()
    ])  # fmt: skip


def test_verdicts_are_against_stock(monkeypatch):
    table = summary(8, stock=1.0, lean_dispatch=0.5, chat_resume=1.4, tidy_channels=1.0, all=0.6)
    monkeypatch.setattr(study, "summarize", lambda runs: table)
    worth = study.worth([]).set_index(["point", "metric"])
    verdicts = worth.xs("cpu_s_daphne_per_1000_deliveries", level="metric")["verdict"].to_dict()
    same = "the same within ± 5 %"
    assert verdicts == {"lean_dispatch": "better", "chat_resume": "worse", "tidy_channels": same, "all": "better"}
    assert worth.loc[("lean_dispatch", "cpu_s_daphne_per_1000_deliveries"), "estimate"] == pytest.approx(0.5, rel=0.02)
    assert worth.loc[("all", "delivered_share"), "verdict"].startswith("the same")
    rows = study.worth_rows(study.worth([]))
    assert rows[0]["improvement"] == "lean_dispatch" and ": better" in rows[0]["instances' CPU seconds per 1000 deliveries"]
    study.worth_picture(study.worth([]))


def test_with_too_few_blocks_nothing_is_decided(monkeypatch):
    monkeypatch.setattr(study, "summarize", lambda runs: summary(5, stock=1.0, all=0.5))
    assert set(study.worth([])["verdict"]) == {"undecided"}


def test_without_stock_there_is_nothing_to_compare(monkeypatch):
    monkeypatch.setattr(study, "summarize", lambda runs: summary(8, all=0.5))
    assert study.worth([]).empty and not study.is_of_improvements([])


class Felt:
    """As much of a run as `felt` reads."""

    def __init__(self, connections: pd.DataFrame, messages: pd.DataFrame):
        self.point, self.tables = "stock", {"connections": connections, "messages": messages}
        self.events = [{"what": "kill daphne@2", "began_s": 10.0}, {"what": "stop redis-server for 3 s", "began_s": 20.0}]
        self.settings = StackSettings()

    has = staticmethod(lambda name: True)

    def table(self, name: str) -> pd.DataFrame:
        return self.tables[name]


def test_what_clients_felt_is_told_for_each_event(monkeypatch):
    monkeypatch.setattr(study, "load_window", lambda run: (0.0, 30.0))
    nobody = None
    connections = pd.DataFrame(
        [
            ("a", 0.0, 1.0, 10.1, nobody, "ConnectionError"), ("a", 11.0, 0.5, 30.0, 1000, nobody),
            ("b", 0.0, 1.0, 10.1, 1006, nobody), ("b", 11.0, nobody, 11.2, nobody, "refused"),
            ("b", 12.0, 0.1, 22.0, 1011, nobody),
            ("c", 0.0, 1.0, 30.0, 1000, nobody),
        ],
        columns=["client", "connect_start_s", "connect_s", "end_s", "close_code", "error"],
    )  # fmt: skip
    messages = pd.DataFrame({"sent_s": [5.0, 10.5, 10.6, 21.0], "copies": [0, 0, 1, 0]})
    felt = study.felt([Felt(connections, messages), Felt(connections, messages)])
    killed, stopped = felt.to_dict("records")
    assert (killed["what"], killed["repeats"], killed["cut"], killed["codes"]) == ("kill daphne@2", 2, 4, "1006 × 4")
    assert killed["back_p50_s"] == pytest.approx((1.4 + 2.0) / 2) and killed["back_max_s"] == pytest.approx(2.0)
    assert (killed["lost"], killed["deliveries"], killed["never_back"]) == (2, 4, 0)
    assert (stopped["cut"], stopped["codes"], stopped["never_back"], stopped["lost"]) == (2, "1011 × 2", 2, 2)
    assert [row["never back"] for row in study.felt_rows([Felt(connections, messages)] * 2)] == ["0", "2"]
    assert "1011 × 2" in study.text(study.felt_rows([Felt(connections, messages)] * 2))


def test_a_run_without_events_felt_nothing(tmp_path):
    assert study.felt([synthetic.chat_run(tmp_path, "run")]).empty
