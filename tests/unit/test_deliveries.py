"""What is lost, doubled, out of order, or sent while a receiver was away: counted right from synthetic logs."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stacklab.runs.deliveries import deliveries
from stacklab.runs.tables import RAW_CONNECTIONS, RAW_RECEIVED, RAW_SENT, TABLES

START_S, END_S = 100.0, 200.0


def connected(
    *clients: int, start_s: float = START_S, end_s: float = END_S, attempt: int = 1, rooms: int = 1,
    role: str = "talker", left: bool = False,
) -> list[dict]:
    """A connection for each client; the server calls the socket of client 3, attempt 1, "s3-1"."""
    return [
        {
            "client": client, "room": client % rooms, "server_name": f"s{client}-{attempt}", "source_address": None,
            "instance": f"daphne@{client}", "connect_start_s": start_s - 0.5, "connect_s": 0.5, "end_s": end_s,
            "close_code": 1000, "error": None, "attempt": attempt, "role": role, "left": left,
        }
        for client in clients
    ]  # fmt: skip


def sent(client: int, n: int, sent_s: float, warmup: bool = False, burst: bool = False) -> dict:
    return {"client": client, "n": n, "sent_s": sent_s, "warmup": warmup, "burst": burst}


def got(client: int, sender: int, n: int, received_s: float, attempt: int = 1) -> dict:
    return {
        "client": client, "sender_name": f"s{sender}-{attempt}", "n": n, "message_id": f"m{sender}-{n}",
        "received_s": received_s, "instance": f"daphne@{client}",
    }  # fmt: skip


def judged(sent_rows: list[dict], received_rows: list[dict], connection_rows: list[dict]):
    """The deliveries, by (sender, n, receiver)."""
    tables = [
        pa.Table.from_pylist(rows, schema=schema).to_pandas()
        for rows, schema in (
            (sent_rows, RAW_SENT), (received_rows, RAW_RECEIVED), (connection_rows, RAW_CONNECTIONS),
        )
    ]  # fmt: skip
    rows = deliveries(*tables)
    assert list(rows.columns) == list(TABLES["messages"])
    return rows.set_index(["sender", "n", "receiver"])


def test_every_client_of_the_room_is_expected_to_get_a_message_the_sender_too():
    rows = judged([sent(0, 1, 110.0)], [got(0, 0, 1, 110.1), got(2, 0, 1, 110.2)], connected(0, 1, 2, 3, rooms=2))
    assert list(rows.index) == [(0, 1, 0), (0, 1, 2)]
    assert list(rows.copies) == [1, 1]
    assert list(rows.latency_s) == pytest.approx([0.1, 0.2])
    assert list(rows.instance) == ["daphne@0", "daphne@2"] and set(rows.via) == {"daphne@0"}
    assert set(rows.message_id) == {"m0-1"} and rows.in_order.all() and rows.receiver_connected.all()


def test_a_lost_message_has_no_copies_and_its_receiver_was_connected():
    row = judged([sent(0, 1, 110.0)], [got(0, 0, 1, 110.1)], connected(0, 1)).loc[(0, 1, 1)]
    assert row.copies == 0 and row.receiver_connected
    assert pd.isna(row.received_s) and pd.isna(row.latency_s) and pd.isna(row.in_order) and pd.isna(row.instance)
    assert row.message_id == "m0-1" and row.via == "daphne@0"


def test_a_doubled_message_counts_its_copies_and_its_first_arrival():
    rows = judged([sent(0, 1, 110.0)], [got(0, 0, 1, 110.3), got(0, 0, 1, 110.1)], connected(0))
    assert rows.copies.item() == 2 and rows.latency_s.item() == pytest.approx(0.1)


def test_a_message_that_comes_after_a_later_one_of_its_sender_is_out_of_order():
    arrivals = [got(0, 0, n, at_s) for n, at_s in ((1, 111.0), (3, 113.0), (2, 113.5), (4, 114.0))]
    rows = judged([sent(0, n, 110.0 + n) for n in (1, 2, 3, 4)], arrivals, connected(0))
    assert list(rows.in_order) == [True, False, True, True]


def test_the_order_of_different_senders_is_nobodys_promise():
    rows = judged(
        [sent(0, 5, 110.0), sent(1, 1, 110.1)],
        [got(2, 1, 1, 110.2), got(2, 0, 5, 110.3)],
        connected(0, 1, 2),
    )
    assert rows.xs(2, level="receiver").in_order.all()


def test_a_client_that_came_into_the_room_later_is_not_expected_to_get_a_message():
    rows = judged([sent(0, 1, 110.0)], [], connected(0) + connected(1, start_s=110.1))
    assert list(rows.index) == [(0, 1, 0)]


def test_a_message_sent_while_the_receiver_was_away_is_told_apart():
    away = connected(1, end_s=120.0) + connected(1, start_s=130.0, attempt=2)
    rows = judged([sent(0, 1, 125.0), sent(0, 2, 131.0)], [], connected(0) + away)
    assert not rows.loc[(0, 1, 1)].receiver_connected
    assert rows.loc[(0, 2, 1)].receiver_connected


def test_a_receiver_that_left_while_the_message_was_under_way_was_not_connected():
    rows = judged([sent(0, 1, 119.5)], [], connected(0) + connected(1, end_s=120.0))
    assert not rows.loc[(0, 1, 1)].receiver_connected and rows.loc[(0, 1, 0)].receiver_connected


def test_a_message_that_was_made_up_for_after_coming_back_arrived_at_a_receiver_that_was_away():
    away = connected(1, end_s=120.0) + connected(1, start_s=130.0, attempt=2)
    row = judged([sent(0, 1, 125.0)], [got(1, 0, 1, 130.2)], connected(0) + away).loc[(0, 1, 1)]
    assert row.copies == 1 and not row.receiver_connected and row.latency_s == pytest.approx(5.2)


def test_a_message_repeated_on_a_new_connection_of_its_sender_is_the_same_message():
    sockets = connected(0, end_s=120.0) + connected(0, start_s=121.0, attempt=2) + connected(1)
    rows = judged([sent(0, 1, 119.0)], [got(1, 0, 1, 119.1), got(1, 0, 1, 122.0, attempt=2)], sockets)
    assert rows.loc[(0, 1, 1)].copies == 2


def test_messages_of_a_stranger_in_the_room_are_left_out():
    rows = judged([sent(0, 1, 110.0)], [got(0, 0, 1, 110.1), got(0, 9, 1, 110.2)], connected(0))
    assert list(rows.copies) == [1]


def test_warm_up_is_flagged():
    rows = judged([sent(0, 1, 110.0, warmup=True), sent(0, 2, 111.0)], [], connected(0))
    assert list(rows.warmup) == [True, False]


def test_a_client_that_never_connected_expects_nothing_and_breaks_nothing():
    failed = connected(1)
    failed[0].update(server_name=None, instance=None, connect_s=None, close_code=None, error="HTTP 502")
    assert list(judged([sent(0, 1, 110.0)], [], connected(0) + failed).index) == [(0, 1, 0)]


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_copies_add_up_to_what_was_received(data):
    clients, rooms = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 3))
    messages = [(c, n) for c in range(clients) for n in range(1, data.draw(st.integers(0, 3)) + 1)]
    expected = [(c, n, r) for c, n in messages for r in range(clients) if r % rooms == c % rooms]
    copies = {key: data.draw(st.integers(0, 3)) for key in expected}
    arrivals = [got(r, c, n, 120.0 + n) for (c, n, r), count in copies.items() for _ in range(count)]
    rows = judged([sent(c, n, 110.0 + n) for c, n in messages], arrivals, connected(*range(clients), rooms=rooms))
    assert rows.copies.to_dict() == copies


# -- who comes, who goes, who does not read --------------------------------------------------------


def test_who_left_before_a_message_was_sent_is_not_expected_to_get_it():
    rows = judged([sent(0, 1, 130.0)], [got(0, 0, 1, 130.1)], connected(0) + connected(1, end_s=120.0, left=True))
    assert list(rows.index) == [(0, 1, 0)]


def test_who_leaves_before_a_message_should_have_come_is_judged_neither_by_its_loss_nor_by_its_arrival():
    leaver = connected(1, end_s=120.0, left=True)
    said = [sent(0, 1, 118.9), sent(0, 2, 119.1), sent(0, 3, 119.2)]
    arrivals = [got(0, 0, n, 119.5 + n / 10) for n in (1, 2, 3)] + [got(1, 0, 2, 119.3)]
    rows = judged(said, arrivals, connected(0) + leaver)
    assert list(rows.index) == [(0, 1, 0), (0, 1, 1), (0, 2, 0), (0, 3, 0)], "a second is what it may take at least"
    assert rows.loc[(0, 1, 1)].copies == 0 and rows.loc[(0, 1, 1)].receiver_connected, "this one was lost"


def test_where_messages_are_slow_a_leaver_is_given_their_time():
    said = [sent(0, n, 110.0) for n in range(1, 101)]
    slow = [got(0, 0, n, 116.0) for n in range(1, 101)]
    rows = judged(said + [sent(0, 200, 112.0), sent(0, 201, 120.0)], slow, connected(0) + connected(1, end_s=120.0, left=True))
    assert (0, 1, 1) in rows.index and (0, 200, 1) in rows.index and (0, 201, 1) not in rows.index
    rows = judged([*said, sent(0, 200, 115.0)], slow, connected(0) + connected(1, end_s=120.0, left=True))
    assert (0, 200, 1) not in rows.index, "six seconds are what messages take here"


def test_who_comes_in_the_place_of_a_leaver_is_somebody_else():
    rows = judged(
        [sent(0, 1, 110.0), sent(0, 2, 130.0)], [got(0, 0, 1, 110.1), got(0, 0, 2, 130.1), got(2, 0, 2, 130.2)],
        connected(0) + connected(1, end_s=120.0, left=True) + connected(2, start_s=120.5),
    )  # fmt: skip
    assert list(rows.index) == [(0, 1, 0), (0, 1, 1), (0, 2, 0), (0, 2, 2)]


def test_what_a_leaver_said_is_expected_by_the_others():
    rows = judged([sent(1, 1, 119.9)], [], connected(0) + connected(1, end_s=120.0, left=True))
    assert list(rows.index) == [(1, 1, 0)] and rows.copies.item() == 0


def test_who_does_not_read_is_not_expected_to_get_anything_but_a_listener_is():
    people = connected(0) + connected(1, role="slow_reader") + connected(2, role="listener")
    rows = judged([sent(0, 1, 110.0)], [got(1, 0, 1, 150.0), got(0, 0, 1, 110.1)], people)
    assert list(rows.index) == [(0, 1, 0), (0, 1, 2)] and list(rows.copies) == [1, 0]


def test_a_burst_is_told_from_the_rest():
    rows = judged([sent(0, 1, 110.0), sent(0, 2, 111.0, burst=True)], [], connected(0))
    assert list(rows.burst) == [False, True]


@st.composite
def crowds(draw):
    """Clients in rooms who connect, are thrown out, come back, leave for good, or stop reading; and what was said and heard."""
    rooms = draw(st.integers(1, 2))
    quarters = st.integers(0, 80).map(lambda quarter: START_S + quarter / 4)
    connections, sent_rows, received_rows = [], [], []
    clients = range(draw(st.integers(1, 5)))
    for client in clients:
        ends = sorted(draw(st.lists(quarters, min_size=2, max_size=6, unique=True)))
        role = draw(st.sampled_from(["talker", "talker", "listener", "slow_reader"]))
        attempts = list(zip(ends[::2], ends[1::2], strict=False))
        for attempt, (start_s, end_s) in enumerate(attempts, start=1):
            last = attempt == len(attempts)
            left = last and role != "slow_reader" and draw(st.booleans())
            came = connected(client, start_s=start_s, end_s=end_s if left or not last else END_S, attempt=attempt, rooms=rooms,
                             role=role, left=left)  # fmt: skip
            if not left and draw(st.integers(0, 4)) == 0:
                came[0].update(server_name=None, instance=None, connect_s=None, close_code=None, error="HTTP 502")
            connections += came
        numbers = range(1, draw(st.integers(0, 3)) + 1)
        sent_rows += [sent(client, n, at_s) for n, at_s in zip(numbers, sorted(draw(quarters) for _ in numbers), strict=True)]
    names = {row["server_name"]: row["client"] for row in connections if row["server_name"]}
    for row in sent_rows:
        for receiver in clients:
            mine = [name for name, client in names.items() if client == row["client"]]
            for _ in range(draw(st.integers(0, 2)) if receiver % rooms == row["client"] % rooms and mine else 0):
                late_s = draw(st.sampled_from([0.1, 0.5, 3.0]))
                received_rows.append(got(receiver, row["client"], row["n"], row["sent_s"] + late_s)
                                     | {"sender_name": draw(st.sampled_from(mine))})  # fmt: skip
    return sent_rows, received_rows, connections, rooms


@settings(max_examples=120)
@given(crowds())
def test_deliveries_are_those_that_a_person_would_find_one_by_one(crowd):
    sent_rows, received_rows, connections, rooms = crowd
    found = judged(sent_rows, received_rows, connections)

    came = [row for row in connections if row["connect_s"] is not None]
    there = {}  # {client: its first welcome, when it left}
    for row in came:
        welcome_s = row["connect_start_s"] + row["connect_s"]
        first, left = there.get(row["client"], (np.inf, np.inf))
        there[row["client"]] = min(first, welcome_s), row["end_s"] if row["left"] else left
    slow = {row["client"] for row in came if row["role"] == "slow_reader"}
    senders = {row["server_name"]: row["client"] for row in came}
    heard = {}
    for row in received_rows:
        heard.setdefault((senders[row["sender_name"]], row["n"], row["client"]), []).append(row["received_s"])
    expected = {
        (row["client"], row["n"], client): row["sent_s"]
        for row in sent_rows for client, (first_s, left_s) in there.items()
        if row["client"] in there and client not in slow and client % rooms == row["client"] % rooms
        and first_s <= row["sent_s"] <= left_s
    }  # fmt: skip
    latencies = [min(heard[key]) - sent_s for key, sent_s in expected.items() if key in heard]
    flight_s = max(1.0, np.quantile(latencies, 0.99)) if latencies else 1.0
    stayed = {key: sent_s for key, sent_s in expected.items() if there[key[2]][1] >= sent_s + flight_s}

    assert found["copies"].to_dict() == {key: len(heard.get(key, [])) for key in stayed}
    for key, row in found.iterrows():
        assert row.received_s == min(heard[key]) if key in heard else pd.isna(row.received_s)
        latest_s = row.received_s if key in heard else stayed[key] + flight_s
        held = [one for one in came if one["client"] == key[2] and one["connect_start_s"] + one["connect_s"] <= stayed[key]]
        assert row.receiver_connected == (max(held, key=lambda one: one["attempt"])["end_s"] >= latest_s)
