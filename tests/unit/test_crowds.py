"""Bursts, storms, coming and going: what is said of a run that had them, from tables made by hand, and how it is drawn."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import synthetic
from test_validity import CHAT, the_reason, with_table

from stacklab import study
from stacklab.bench.experiment import rows_of
from stacklab.runs.disturbance import load_window
from stacklab.runs.results import Validity
from stacklab.runs.validity import check
from stacklab.study import crowdplots
from stacklab.workload import ChatLoad


@pytest.fixture(scope="module")
def chat(tmp_path_factory):
    return synthetic.chat_run(tmp_path_factory.mktemp("chat"), "run", workload=CHAT)


def change(run, tmp_path, name, edit, **workload):
    """The run with a table edited, and its load with what is given."""
    (tmp_path / name).mkdir()
    return replace(with_table(run, tmp_path / name, name, edit), workload=run.workload.replace(**workload))


def test_an_earlier_run_is_read_as_one_in_which_nobody_left_and_all_talked(chat):
    import pyarrow.parquet as pq

    assert "left" not in pq.read_schema(chat.path / "connections.parquet").names, "the tables of the tests are as earlier ones"
    connections, messages = chat.table("connections"), chat.table("messages")
    assert set(connections["role"]) == {"talker"} and not connections["left"].any() and not messages["burst"].any()
    assert check(chat).valid


# -- gates ----------------------------------------------------------------------------------------


def test_a_load_in_which_too_few_came_and_went_is_doubted(chat, tmp_path):
    assert "0 clients left and made room for others, about 40 were asked for" in the_reason(
        replace(chat, workload=CHAT.replace(churn_per_s=4.0))
    )


def with_changes(connections: pd.DataFrame, per_s: float, rng) -> pd.DataFrame:
    """The same, with clients leaving now and then and another coming in their place."""
    begun = (connections["connect_start_s"] + connections["connect_s"]).max() + 2
    ends = np.sort(rng.uniform(begun, begun + CHAT.duration_s, rng.poisson(per_s * CHAT.duration_s)))
    rows = connections.assign(left=False).to_dict("records")
    for number, end_s in enumerate(ends):
        at = rng.choice([place for place, row in enumerate(rows) if not row["left"] and row["connect_start_s"] < end_s])
        comer = rows[at] | {"client": f"c{30 + number:05d}", "connect_start_s": end_s, "connect_s": 0.02}
        rows[at] |= {"left": True, "end_s": end_s}
        rows.append(comer)
    return pd.DataFrame(rows)


def test_clients_who_come_later_are_none_too_many_and_what_they_all_say_together_is_what_was_asked_for(chat, tmp_path):
    rng = np.random.default_rng(5)
    run = change(chat, tmp_path, "connections", lambda table: with_changes(table, 4.0, rng), churn_per_s=4.0)
    validity = check(run)
    assert validity.reasons == () and validity.failures == ()
    summary = study.summarize([run]).iloc[0]
    assert summary.left > 20 and summary.clients_connected == 30 + summary.left and summary.disconnects == 0


def test_of_listeners_no_messages_are_asked_for(chat, tmp_path):
    half = lambda table: table.assign(role=np.where(table.index % 2, "listener", "talker"))  # noqa: E731
    reason = the_reason(change(chat, tmp_path, "connections", half, listeners=15))
    assert "about 75 were asked for" in reason, "half of the clients at half a message a second for ten seconds"


def storm(chat, tmp_path, back_s, busy_s, last_back_s=None):
    """All are cut off four seconds after counting began and back within `back_s`, the last of them later; the generator is
    busy for `busy_s` from then on.
    """
    at_s = load_window(chat)[0] + 4
    connections = chat.table("connections")
    waits_s = np.where(connections.index == 0, last_back_s or back_s, back_s)
    again = connections.assign(attempt=2, connect_start_s=at_s, connect_s=waits_s)
    cut = connections.assign(end_s=at_s, close_code=np.nan)
    run = change(chat, tmp_path, "connections", lambda _: pd.concat([cut, again], ignore_index=True), storm_at_s=4.0)

    def busy(table):
        mine = table["time_s"].between(at_s, at_s + busy_s + 0.5) & (table["name"] == "generator_cpu_busiest")
        return table.assign(value=table["value"].where(~mine, 0.97))

    return change(run, tmp_path, "generator", busy)


@pytest.mark.parametrize(("back_s", "busy_s", "last_back_s"), [(2.0, 1.9, None), (0.2, 0.0, None), (0.4, 0.3, 5.0)])
def test_a_generator_that_all_waited_for_as_they_came_back_is_doubted(chat, tmp_path, back_s, busy_s, last_back_s):
    run = storm(chat, tmp_path, back_s, busy_s, last_back_s)
    assert "While all clients came back, the load generator's busiest process used 97% of a core" in the_reason(run)
    away = study.summarize([run]).iloc[0]
    assert (away.away_p50_s, away.away_max_s) == (pytest.approx(back_s), pytest.approx(last_back_s or back_s))


def test_a_generator_that_has_time_while_all_come_back_is_not(chat, tmp_path):
    run = storm(chat, tmp_path, 2.0, busy_s=-1.0)
    assert check(run).valid and check(run).failures == (), "its clients' own doing"


# -- figures --------------------------------------------------------------------------------------


def in_a_burst(run, messages: pd.DataFrame) -> pd.DataFrame:
    """Only the messages of a burst four seconds after counting began: five, each to ten; one delivery lost, one slow."""
    ids = messages.drop_duplicates("n").groupby("room").head(5)
    rows = messages[(messages["n"].isin(ids["n"])) & (messages["room"] == "room-0")].head(50).reset_index(drop=True)
    at_s = run.started_s + 20
    rows = rows.assign(sent_s=at_s, received_s=at_s + 0.1, latency_s=0.1, copies=1, burst=True)
    rows.loc[0, ["received_s", "latency_s", "copies"]] = [np.nan, np.nan, 0]
    rows.loc[1, ["received_s", "latency_s"]] = [at_s + 0.7, 0.7]
    return rows


def test_a_burst_is_measured_until_the_last_receiver_has_it(chat, tmp_path):
    run = change(chat, tmp_path, "messages", lambda table: in_a_burst(chat, table),
                 messages_per_s=0.0, burst_at_s=4.0, burst_messages=5)  # fmt: skip
    summary = study.summarize([run]).iloc[0]
    assert (summary.burst_p50_s, summary.burst_last_s) == (pytest.approx(0.1), pytest.approx(0.7))
    assert summary.burst_delivered_share == pytest.approx(1 - 1 / summary.deliveries)
    assert load_window(run) == (pytest.approx(chat.started_s + 16), pytest.approx(chat.started_s + 26)), "not that moment only"
    (event,) = study.events([run]).to_dict("records")
    assert (event["what"], event["t_s"]) == ("burst", 4.0)


def test_rows_of_a_chat_are_guessed_by_the_size_of_its_rooms():
    load = ChatLoad(clients=100, rooms=11, largest_room=50, messages_per_s=0.1, duration_s=10)
    assert rows_of(load) == 100 + 50 * 50 + 10 * 5 * 5, "one message of each to all in its room, and its connection"
    assert rows_of(load.replace(listeners=99)) < rows_of(load) < rows_of(load.replace(burst_at_s=1, churn_per_s=3))


# -- pictures -------------------------------------------------------------------------------------


def test_the_seconds_of_a_chat_show_its_losses_and_what_happened(tmp_path):
    run = synthetic.chat_run(tmp_path, "killed", workload=CHAT, kill_s=4)
    ax = crowdplots.latency_over_time(study.messages([run]), events=study.events([run]))
    median, high = ax.lines[:2]
    assert len(median.get_xdata()) >= 10 and (high.get_ydata() >= median.get_ydata()).all()
    (right,) = [other for other in ax.figure.axes if other is not ax]
    lost = study.messages([run]).assign(second=lambda table: np.floor(table["t_s"]))
    shares = (lost["copies"] == 0).groupby(lost["second"]).mean()
    assert [bar.get_height() for bar in right.patches] == pytest.approx(shares.tolist())
    assert [text.get_text() for text in ax.texts] == ["kill daphne@3"]


def test_a_burst_that_lost_something_ends_below_the_whole(chat, tmp_path):
    run = change(chat, tmp_path, "messages", lambda table: in_a_burst(chat, table), burst_at_s=4.0, burst_messages=5)
    ax = crowdplots.burst_spread(study.messages([run]))
    assert ax.lines[0].get_ydata()[-1] == pytest.approx(1 - 1 / len(run.table("messages")))
    assert ax.lines[0].get_xdata()[-1] == pytest.approx(700)
    assert ", 1 lost" in ax.get_legend().get_texts()[0].get_text()


def test_each_room_is_a_mark_at_its_size(chat):
    ax = crowdplots.latency_by_room_size(study.messages([chat]))
    assert ax.collections[0].get_offsets()[:, 0].tolist() == [10, 10, 10]


def test_a_disturbed_run_is_drawn_so(chat, tmp_path):
    run = change(chat, tmp_path, "messages", lambda table: in_a_burst(chat, table), burst_at_s=4.0, burst_messages=5)
    disturbed = replace(run, validity=Validity(("Steal.",)))
    for draw, table in (
        (crowdplots.latency_over_time, study.messages), (crowdplots.burst_spread, study.messages),
        (crowdplots.clients_over_time, study.connections),
    ):  # fmt: skip
        assert {line.get_linestyle() for line in draw(table([run])).lines} == {"-"}
        ax = draw(table([disturbed]))
        assert {line.get_linestyle() for line in ax.lines} == {"--"}, draw.__name__
        assert ax.get_legend().get_texts()[-1].get_text() == "disturbed run"
    hollow = crowdplots.latency_by_room_size(study.messages([replace(chat, validity=Validity(("Steal.",)))]))
    assert [len(marks.get_facecolor()) for marks in hollow.collections if len(marks.get_offsets())] == [0]


def test_clients_connected_fall_and_rise_again(tmp_path):
    run = synthetic.chat_run(tmp_path, "killed", workload=CHAT, kill_s=4)
    ax = crowdplots.clients_over_time(study.connections([run]), events=study.events([run]))
    held = ax.lines[0].get_ydata()
    assert held.max() == 30 and 15 <= held[np.argmax(held == 30) :][:-5].min() < 30


@pytest.mark.parametrize("draw", [crowdplots.latency_over_time, crowdplots.burst_spread, crowdplots.latency_by_room_size])
def test_with_nothing_to_show_it_says_so(draw):
    assert draw(study.messages([])).texts
    assert crowdplots.clients_over_time(study.connections([])).texts
