"""ASGI servers side by side: what a connection and a delivered message cost, how fast, how many, and how each stops."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from stacklab.runs.results import Run
from stacklab.runs.seen import read_seen
from stacklab.settings import ASGI_SERVERS
from stacklab.stack.services import SERVICE_COLOURS, SERVICES
from stacklab.study import analysis, drawing, words
from stacklab.study.looks import summarize_look
from stacklab.study.summary import summarize

COSTS = {
    "kib_per_connection": "Memory a connection, KiB", "cpu_us_per_delivery": "The server's CPU a delivered message, µs",
    "latency_p95_ms": "95th percentile of the latency, ms", "lost_per_mille": "Lost, of 1000 due",
}
"""{column of `costs`: its name}."""


def is_of_servers(runs: Sequence[Run]) -> bool:
    """Whether these runs set servers side by side."""
    return len({run.settings.asgi_server for run in runs if run.settings}) > 1


def costs(runs: Sequence[Run]) -> pd.DataFrame:
    """One row a chat run: server, layer, room_size, tls, valid, and the columns of COSTS.

    A connection's memory is the slope of the instances' PSS over their open sockets while these open, so that what the
    server takes for itself is not in it.
    """
    chats = [run for run in runs if run.kind == "chat"]
    rows = []
    for run, row in zip(chats, summarize(chats).to_dict("records"), strict=True):
        load = run.workload
        bytes_each = run.once("bytes per socket", lambda run=run: analysis.bytes_per_socket(analysis.sockets([run])))
        rows.append({
            "server": run.settings.asgi_server, "layer": run.settings.channel_layer, "room_size": load.clients // load.rooms,
            "tls": run.settings.daphne_tls, "valid": run.validity.valid, "kib_per_connection": bytes_each / words.KIB,
            "cpu_us_per_delivery": row.get("cpu_s_daphne_per_1000_deliveries", np.nan) * 1000,
            "latency_p95_ms": row.get("latency_p95_s", np.nan) * 1000,
            "lost_per_mille": 1000 * (1 - row.get("delivered_share", np.nan)),
        })  # fmt: skip
    return pd.DataFrame(rows)


def bounds(runs: Sequence[Run]) -> pd.DataFrame:
    """One row a search: server, valid, clients_borne, first_not_borne."""
    looks = [run for run in runs if run.kind == "look" and run.workload.sight == "most_clients"]
    return pd.DataFrame([
        {"server": run.settings.asgi_server, "valid": run.validity.valid, **summarize_look(run)} for run in looks
    ])  # fmt: skip


def stops(runs: Sequence[Run]) -> pd.DataFrame:
    """One row a stop: server, valid, stop_s, codes (a Counter of how many sockets saw each)."""
    rows = []
    for run in runs:
        if run.kind == "look" and run.workload.sight == "server_stops":
            seen = read_seen(run.path)
            codes = Counter("still open" if row["code"] is None else row["code"] for row in seen if "code" in row)
            told = {"valid": run.validity.valid, "stop_s": seen[-1]["stop_s"], "codes": codes}
            rows.append({"server": run.settings.asgi_server} | told)
    return pd.DataFrame(rows)


def sound(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of sound runs; all, where none was sound."""
    return rows[rows["valid"]] if rows["valid"].any() else rows


def side_by_side(runs: Sequence[Run]) -> list[dict[str, str]]:
    """A line a server, in words: medians of its sound chat runs with TLS, all layers and rooms; a connection's memory without
    TLS; its bound; how it stops. What no sound run says, the disturbed ones do, and are called so.
    """
    cost, bound, stop = costs(runs), bounds(runs), stops(runs)
    lines = []
    for server in ASGI_SERVERS:
        line = {"server": SERVICES[server].label}
        if len(cost) and (mine := cost[cost["server"] == server]).size:
            tls, plain = mine[mine["tls"]], mine[~mine["tls"]]
            line |= {name: _median(tls, column) for column, name in COSTS.items()}
            line |= {"Memory without TLS, KiB": _median(plain, "kib_per_connection")} if len(plain) else {}
        if len(bound) and (mine := bound[bound["server"] == server]).size:
            line["Clients of one instance with p95 ≤ 250 ms"] = _median(mine, "clients_borne", "{:,.0f}".format)
        if len(stop) and (mine := stop[stop["server"] == server]).size:
            codes = sum(sound(mine)["codes"], Counter())
            line |= {"Stops in, s": _median(mine, "stop_s")}
            line |= {"Close codes": ", ".join(f"{code} × {count}" for code, count in codes.most_common()) + _disturbed(mine)}
        lines += [line] if len(line) > 1 else []
    columns = dict.fromkeys(name for line in lines for name in line)
    return [dict.fromkeys(columns, words.NOTHING) | line for line in lines]


def _median(rows: pd.DataFrame, column: str, written: Callable[[float], str] = words.number) -> str:
    telling = rows.dropna(subset=column)
    return written(sound(telling)[column].median()) + _disturbed(telling) if len(telling) else words.NOTHING


def _disturbed(rows: pd.DataFrame) -> str:
    """What stands behind that which no sound run tells."""
    return "" if rows["valid"].any() else f" ({len(rows)} disturbed)"


def text(runs: Sequence[Run]) -> str:
    """`side_by_side` for a terminal; nothing where one server alone was measured."""
    return f"\n{pd.DataFrame(side_by_side(runs)).T.to_string(header=False)}\n" if is_of_servers(runs) else ""


def picture(runs: Sequence[Run]) -> Figure:
    """A picture a cost, a group of bars a layer and size of rooms, a colour a server; last, the clients that one bears."""
    cost, bound = costs(runs), bounds(runs)
    names = [name for name in COSTS if len(cost) and cost[name].notna().any()]
    figure = Figure(figsize=(12, 3.1 * (len(names) + 1) / 2 + 0.9), layout="constrained")
    axes = figure.subplots((len(names) + 2) // 2, 2, squeeze=False).ravel()
    by = ["layer", "room_size", "tls"]
    cases = cost[by].drop_duplicates().sort_values(by, ascending=[True, True, False]).to_dict("records") if len(cost) else []
    shown = [server for server in ASGI_SERVERS if server in {run.settings.asgi_server for run in runs}]
    for ax, name in zip(axes, names, strict=False):
        for place, case in enumerate(cases):
            rows = cost[(cost[by] == pd.Series(case)).all(axis=1)]
            for number, server in enumerate(shown):
                _bar(ax, place + (number - (len(shown) - 1) / 2) * 0.2, rows[rows["server"] == server], name, server)
        ax.set_xticks(range(len(cases)), [_case_words(**case) for case in cases])
        ax.set_ylim(bottom=0)
        drawing.finish(ax, COSTS[name], "")
    last = axes[len(names)]
    for number, server in enumerate(shown):
        _bar(last, number, bound[bound["server"] == server] if len(bound) else bound, "clients_borne", server)
    last.set_xticks(range(len(shown)), [SERVICES[server].label for server in shown])
    drawing.finish(last, "Clients of one instance with p95 within 250 ms", "")
    for ax in axes[len(names) + 1 :]:
        ax.axis("off")
    handles = [Patch(color=SERVICE_COLOURS[server], label=SERVICES[server].label) for server in shown]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(shown), frameon=False)
    return figure


def _case_words(layer: str, room_size: int, tls: bool) -> str:
    return "\n".join([layer, f"rooms of {room_size}", *([] if tls else ["no TLS"])])


def _bar(ax, place: float, rows: pd.DataFrame, column: str, server: str) -> None:
    """The sound runs' median as a bar, each run as a dot, hollow where it was disturbed."""
    if not len(rows) or not len(rows := rows.dropna(subset=column)):
        return
    width = 0.18 if "layer" in rows else 0.6
    ax.bar(place, sound(rows)[column].median(), width=width, color=SERVICE_COLOURS[server], alpha=0.75)
    for row in rows.to_dict("records"):
        face = drawing.INK if row["valid"] else "white"
        ax.plot(place, row[column], "o", color=drawing.INK, markerfacecolor=face, markersize=4)
