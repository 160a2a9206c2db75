"""From what the chat's clients sent and received to one row for each message and expected receiver. Pure.

Three DataFrames come in, with clients as whole numbers:

    sent         client, n, sent_s, warmup, burst
    received     client, sender_name (the server's name of the sender's socket), n, message_id, received_s, instance
    connections  client, room, server_name, source_address, instance, connect_start_s, connect_s, end_s, close_code,
                 error, attempt, role, left
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from stacklab.runs.tables import TABLES
from stacklab.workload import SLOW_READER

MIN_FLIGHT_S = 1.0


def deliveries(sent: pd.DataFrame, received: pd.DataFrame, connections: pd.DataFrame) -> pd.DataFrame:
    """One row for each message and each client expected to get it (columns of `messages`, people as numbers).

    Expected are all clients of the room, the sender too, whose first welcome came before the message was sent,
    whether or not they were connected then. `copies` 0 is lost, 2 and more duplicated. `in_order` is whether
    the receiver had seen no later message of that sender before; null where it was lost.

    Not expected, whatever became of the message: who has stopped reading, and who left (`left`) before it should have
    come. That is within the flight time: the 99th percentile of the latency of those who were there, and MIN_FLIGHT_S
    at least.

    `receiver_connected`: the connection that the receiver had when the message was sent lasted until it arrived.
    A lost message might have arrived within the flight time: only a receiver that was connected for so long counts
    as connected.
    """
    welcomed = _welcomed(connections)
    arrived = _arrived(received, welcomed)
    rows = _expected(sent, welcomed).merge(arrived, how="left", on=["sender", "n", "receiver"])
    rows["latency_s"] = rows["received_s"] - rows["sent_s"]
    flight_s = _flight_s(rows["latency_s"])
    rows = rows[rows["left_s"] >= rows["sent_s"] + flight_s].drop(columns="left_s")
    rows["copies"] = rows["copies"].fillna(0).astype("int32")
    ids = arrived.drop_duplicates(["sender", "n"])[["sender", "n", "message_id"]]
    rows = rows.drop(columns="message_id").merge(ids, how="left", on=["sender", "n"])

    held = _connection_at(rows, "receiver", welcomed)
    latest_s = rows["received_s"].fillna(rows["sent_s"] + flight_s)
    rows["receiver_connected"] = (held["end_s"] >= latest_s).to_numpy()
    rows["via"] = _connection_at(rows, "sender", welcomed)["instance"].to_numpy()
    return rows.sort_values(["sent_s", "sender", "receiver"], ignore_index=True)[list(TABLES["messages"])]


def _welcomed(connections: pd.DataFrame) -> pd.DataFrame:
    """The connections that came into their room, with the time of that; one without an end lasts for ever."""
    inside = connections[connections["connect_s"].notna()].copy()
    inside["welcome_s"] = inside["connect_start_s"] + inside["connect_s"]
    inside["end_s"] = inside["end_s"].fillna(np.inf)
    return inside.sort_values("welcome_s", ignore_index=True)


def _arrived(received: pd.DataFrame, welcomed: pd.DataFrame) -> pd.DataFrame:
    """One row for each message that a client got: its first copy, the number of copies, whether in order.

    Messages of strangers (a person in the same room) are left out.
    """
    senders = welcomed[["server_name", "client"]].rename(columns={"server_name": "sender_name", "client": "sender"})
    rows = received.rename(columns={"client": "receiver"}).merge(senders, on="sender_name")
    rows = rows.sort_values("received_s", kind="stable", ignore_index=True)
    rows["copies"] = rows.groupby(["sender", "n", "receiver"])["n"].transform("size")
    first = rows.drop_duplicates(["sender", "n", "receiver"]).copy()
    first["in_order"] = (first.groupby(["sender", "receiver"])["n"].cummax() == first["n"]).astype("boolean")
    return first.drop(columns="sender_name")


def _expected(sent: pd.DataFrame, welcomed: pd.DataFrame) -> pd.DataFrame:
    """Each message with each client that had come into its room before it was sent, and has not left; `left_s` is when it does.

    Who stops reading does so with its first welcome.
    """
    first = welcomed.drop_duplicates("client")[["client", "room", "welcome_s", "role"]]
    left_s = welcomed[welcomed["left"].astype(bool)].set_index("client")["end_s"]
    there = first.assign(left_s=first["client"].map(left_s).fillna(np.inf))[first["role"] != SLOW_READER].drop(columns="role")
    messages = sent.merge(first[["client", "room"]], on="client").rename(columns={"client": "sender"})
    rows = messages.merge(there.rename(columns={"client": "receiver"}), on="room")
    return rows[(rows["welcome_s"] <= rows["sent_s"]) & (rows["left_s"] >= rows["sent_s"])].drop(columns="welcome_s")


def _connection_at(rows: pd.DataFrame, who: str, welcomed: pd.DataFrame) -> pd.DataFrame:
    """For each row, `end_s` and `instance` of the last connection that its `who` had made when it was sent."""
    asked = rows[[who, "sent_s"]].rename(columns={who: "client"}).rename_axis("row").reset_index().sort_values("sent_s")
    made = welcomed[["client", "welcome_s", "end_s", "instance"]]
    found = pd.merge_asof(asked, made, left_on="sent_s", right_on="welcome_s", by="client")
    return found.set_index("row").loc[rows.index]


def _flight_s(latencies_s: pd.Series) -> float:
    """For how long a message that never came may have been under way."""
    return float(max(MIN_FLIGHT_S, latencies_s.quantile(0.99) if latencies_s.notna().any() else 0))
