"""From raw rows, of the load generator (CSV, one file a process) and of the sampler, to the parquet tables of a run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from stacklab.runs.deliveries import deliveries
from stacklab.runs.tables import (
    GAUGES,
    RAW_CONNECTIONS,
    RAW_RECEIVED,
    RAW_REQUESTS,
    RAW_SENT,
    SCHEMAS,
    TABLES,
    write_table,
)


def write_gauges(samples: Sequence[tuple[float, str, float]], path: Path) -> None:
    """Write (time_s, name, value) rows as a table of gauges."""
    columns = list(zip(*samples, strict=True)) or [[], [], []]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, GAUGES, strict=True)]
    write_table(pa.table(arrays, schema=GAUGES), path)


def write_samples(samples: Iterable[dict], out: Path) -> list[float]:
    """Samples as the host's sampler printed them → out/resources.parquet and out/gauges.parquet.

    Returns the times of the readings of CPU, in order.
    """
    resources, gauges, times = [], [], []
    for sample in samples:
        time_s = sample["time_s"]
        if "services" in sample:
            times.append(time_s)
            resources += [{"time_s": time_s, "service": name, **row} for name, row in sample["services"].items()]
        gauges += [(time_s, name, float(value)) for name, value in sample["gauges"].items()]
    write_table(pa.Table.from_pylist(resources, schema=SCHEMAS["resources"]), out / "resources.parquet")
    write_gauges(gauges, out / "gauges.parquet")
    return times


def write_requests(raw: Path, out: Path, name: str) -> dict[str, int]:
    """raw/requests-*.csv → out/requests.parquet, by start. Returns {error, "" for none: counted requests}."""
    table = read_raw(raw.glob("requests-*.csv"), RAW_REQUESTS)
    table = table.append_column("name", pa.array([name] * len(table), pa.string())).select(TABLES["requests"])
    write_table(table.sort_by("start_s"), out / "requests.parquet")
    errors = table.filter(pc.invert(table["warmup"]))["error"].fill_null("")
    return {count["values"]: count["counts"] for count in errors.value_counts().to_pylist()}


def write_chat(raw: Path, out: Path) -> dict[str, int]:
    """raw/{sent,received,connections}-*.csv → out/messages.parquet and out/connections.parquet.

    Client number 7 is called c00007, room number 3 load-3. Returns {error, "" for none: attempts to connect}.
    """
    sent = read_raw(raw.glob("sent-*.csv"), RAW_SENT).to_pandas()
    received = read_raw(raw.glob("received-*.csv"), RAW_RECEIVED).to_pandas(strings_to_categorical=True)
    connections = read_raw(raw.glob("connections-*.csv"), RAW_CONNECTIONS).to_pandas()

    messages = deliveries(sent, received, connections)
    messages["room"] = _called(messages["room"], "load-{}")
    messages["sender"] = _called(messages["sender"], "c{:05d}")
    messages["receiver"] = _called(messages["receiver"], "c{:05d}")
    _write(messages, SCHEMAS["messages"], out / "messages.parquet")

    failed = connections.loc[connections["connect_s"].isna(), "error"].fillna("closed before the welcome")
    connections["room"] = _called(connections["room"], "load-{}")
    connections["client"] = _called(connections["client"], "c{:05d}")
    _write(connections.sort_values("connect_start_s"), SCHEMAS["connections"], out / "connections.parquet")
    return {"": len(connections) - len(failed), **failed.value_counts().to_dict()}


def _called(numbers: pd.Series, form: str) -> pd.Categorical:
    """Names for numbers, each made once."""
    codes, kinds = pd.factorize(numbers)
    return pd.Categorical.from_codes(codes, [form.format(number) for number in kinds])


def _write(frame: pd.DataFrame, schema: pa.Schema, path: Path) -> None:
    columns = {field.name: pa.array(frame[field.name], from_pandas=True) for field in schema}
    write_table(pa.table(columns).cast(schema), path)


def read_raw(paths: Iterable[Path], schema: pa.Schema) -> pa.Table:
    """The rows of CSV files without a header. An empty field is null."""
    parse = pa.csv.ParseOptions(newlines_in_values=True)
    read = pa.csv.ReadOptions(column_names=schema.names)
    convert = pa.csv.ConvertOptions(
        column_types=schema, strings_can_be_null=True, quoted_strings_can_be_null=False, null_values=[""],
        true_values=["True"], false_values=["False"],
    )  # fmt: skip
    tables = [pa.csv.read_csv(path, read, parse, convert) for path in sorted(paths) if path.stat().st_size]
    return pa.concat_tables(tables) if tables else schema.empty_table()
