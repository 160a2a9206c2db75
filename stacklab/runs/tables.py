"""The tables of a run: their columns and types, written down once.

Times are seconds since the epoch on the clock of the machine that took them: requests, messages, connections,
generator on the desk's; server, resources, gauges on the web host's (`WEB_CLOCK_TABLES`).
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet

from stacklab.workload import TALKER

F64, I64, I32, TEXT, BOOL = pa.float64(), pa.int64(), pa.int32(), pa.string(), pa.bool_()

GAUGES = pa.schema({"time_s": F64, "name": TEXT, "value": F64})

REQUESTS = pa.schema({
    "start_s": F64, "duration_s": F64, "status": I32, "bytes": I64, "error": TEXT, "name": TEXT, "warmup": BOOL,
    "scheduled_s": F64, "retried": BOOL,
})  # fmt: skip

SCHEMAS: dict[str, pa.Schema] = {
    "requests": REQUESTS,
    # `connection` is its number, `connection_requests` how many it had with this one, `tls_resumed` of its handshake.
    # `upstream_s` and `upstream_addr` are those of the last upstream that nginx tried, null if it tried none.
    "server": pa.schema({
        "end_s": F64, "duration_s": F64, "upstream_s": F64, "upstream_addr": TEXT, "status": I32, "path": TEXT,
        "client": TEXT, "bytes": I64, "connection": I64, "connection_requests": I64, "tls_resumed": BOOL,
    }),
    "resources": pa.schema({
        "time_s": F64, "service": TEXT, "cpu_s": F64, "pss_bytes": I64, "rss_bytes": I64, "threads": I32, "open_files": I32,
    }),
    "gauges": GAUGES,
    "generator": GAUGES,
    "messages": pa.schema({
        "room": TEXT, "message_id": TEXT, "sender": TEXT, "n": I64, "sent_s": F64, "receiver": TEXT, "received_s": F64,
        "latency_s": F64, "copies": I32, "in_order": BOOL, "via": TEXT, "instance": TEXT, "receiver_connected": BOOL,
        "warmup": BOOL, "burst": BOOL,
    }),
    # `role`: see ChatLoad. `left`: its client was done, while others stayed.
    "connections": pa.schema({
        "client": TEXT, "room": TEXT, "source_address": TEXT, "instance": TEXT, "connect_start_s": F64, "connect_s": F64,
        "end_s": F64, "close_code": I32, "error": TEXT, "attempt": I32, "role": TEXT, "left": BOOL,
    }),
    # Of another tool: samples that are sums or parts of `requests` (transactions, what a page embeds), not counted with them.
    "apart": REQUESTS,
    # Of another tool: what its summary states, of each name (null: of all) one `quantity` a row, times in seconds.
    "stated": pa.schema({"name": TEXT, "quantity": TEXT, "value": F64}),
}  # fmt: skip
"""{table: its schema}."""

TABLES: dict[str, tuple[str, ...]] = {name: tuple(schema.names) for name, schema in SCHEMAS.items()}
"""{table: its columns}."""

SINCE = {
    "server": {"connection": None, "connection_requests": None, "tls_resumed": None}, "messages": {"burst": False},
    "connections": {"role": TALKER, "left": False},
}  # fmt: skip
"""{table: {a column that earlier runs lack: what each of its rows stands for there}}."""

WEB_CLOCK_TABLES = ("server", "resources", "gauges")

TIME_COLUMNS = {
    "requests": "start_s", "server": "end_s", "resources": "time_s", "gauges": "time_s", "generator": "time_s",
    "messages": "sent_s", "connections": "connect_start_s", "apart": "start_s",
}  # fmt: skip
"""{table: the column that says when a row was}."""

SAMPLED = ("resources", "gauges", "generator")
"""Tables of readings, which say something of the time between two of them."""

# What the load generator's processes write, one CSV each, with clients and rooms as whole numbers.
RAW_REQUESTS = pa.schema([field for field in SCHEMAS["requests"] if field.name != "name"])
RAW_SENT = pa.schema({"client": I32, "n": I64, "sent_s": F64, "warmup": BOOL, "burst": BOOL})
RAW_RECEIVED = pa.schema({
    "client": I32, "sender_name": TEXT, "n": I64, "message_id": TEXT, "received_s": F64, "instance": TEXT,
})  # fmt: skip
RAW_CONNECTIONS = pa.schema({
    "client": I32, "room": I32, "server_name": TEXT, "source_address": TEXT, "instance": TEXT, "connect_start_s": F64,
    "connect_s": F64, "end_s": F64, "close_code": I32, "error": TEXT, "attempt": I32, "role": TEXT, "left": BOOL,
})  # fmt: skip


def write_table(table: pa.Table, path: Path) -> None:
    """Write a table of a run as parquet; its pages carry checksums, for whoever reads it by other means than ours."""
    pa.parquet.write_table(table, path, write_page_checksum=True)
