"""What is lost, doubled, out of order, or sent while a receiver was away: counted right from synthetic logs."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stacklab.runs.deliveries import deliveries
from stacklab.runs.tables import RAW_CONNECTIONS, RAW_RECEIVED, RAW_SENT, TABLES

START_S, END_S = 100.0, 200.0


def connected(
    *clients: int, start_s: float = START_S, end_s: float = END_S, attempt: int = 1, rooms: int = 1
) -> list[dict]:
    """A connection for each client; the server calls the socket of client 3, attempt 1, "s3-1"."""
    return [
        {
            "client": client, "room": client % rooms, "server_name": f"s{client}-{attempt}", "source_address": None,
            "instance": f"daphne@{client}", "connect_start_s": start_s - 0.5, "connect_s": 0.5, "end_s": end_s,
            "close_code": 1000, "error": None, "attempt": attempt,
        }
        for client in clients
    ]  # fmt: skip


def sent(client: int, n: int, sent_s: float, warmup: bool = False) -> dict:
    return {"client": client, "n": n, "sent_s": sent_s, "warmup": warmup}


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
