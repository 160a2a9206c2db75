"""Load generators side by side: what each made, what it and nginx saw of that, its own CPU, and up to where it is believed."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from stacklab.runs.disturbance import generator_share, load_window
from stacklab.runs.results import Run
from stacklab.study import drawing, words
from stacklab.study.summary import PERCENTILES, summarize

EXPERIMENT = "generators"
ORDER = ("lean client", "FastHttpUser", "JMeter", "k6", "wrk")
MADE_SHARE = 0.95  # of the requests a second that a schedule asks for, which a generator must make to be believed; …
OF_MOST_SHARE = 0.75  # … in a closed loop, of the most that any made in its block
OFF_SHARE, OFF_S = 0.25, 0.002  # by which its median and 95th percentile may be off nginx's: whichever is more


def is_of_generators(runs: Sequence[Run]) -> bool:
    """Whether these are runs of that experiment."""
    return bool(runs) and all(run.experiment.partition("@")[0].removesuffix("-quick") == EXPERIMENT for run in runs)


def seen(runs: Sequence[Run]) -> pd.DataFrame:
    """One row a run: generator, load, block, asked_per_s (NaN: a closed loop), valid, throughput_per_s, p50_s …, server_p50_s …,
    cpu_s_per_1000_requests (the generator's own), requests_per_connection, resumed_share (of TLS handshakes), errors;
    made_share, of what was asked for or, in a closed loop, of the most that any made in its block; own_p50_s, own_p95_s: by how
    much it is off nginx, in a closed loop beyond the one that is least off in its block. For there the web host may be so busy
    that requests wait before nginx reads them, which is in nobody's log and no tool's doing.
    """
    rows = []
    for run, row in zip(runs, summarize(runs).to_dict("records"), strict=True):
        generator, _, load = run.point.partition(", ")
        asked_per_s = float(load.removesuffix("/s")) if load.endswith("/s") else np.nan
        rows.append({
            "generator": generator, "load": load, "block": run.repeat, "asked_per_s": asked_per_s,
            "valid": run.validity.valid, **{name: row.get(name, np.nan) for name in ("throughput_per_s", "errors", *_times())},
            "cpu_s_per_1000_requests": _own_cpu_s(run) / row["counted"] * 1000 if row.get("counted") else np.nan,
            **_connections(run),
        })  # fmt: skip
    table = pd.DataFrame(rows)
    return pd.concat([_beside(mine) for _, mine in table.groupby(["load", "block"], sort=False)]).sort_index()


def _beside(mine: pd.DataFrame) -> pd.DataFrame:
    """Those of one load in one block, held against each other."""
    is_closed = mine["asked_per_s"].isna().all()
    others = mine[mine["valid"]] if mine["valid"].any() else mine
    made = mine["throughput_per_s"] / (others["throughput_per_s"].max() if is_closed else mine["asked_per_s"])
    own = {}
    for q in (50, 95):
        off_s = mine[f"p{q}_s"] - mine[f"server_p{q}_s"]
        own[f"own_p{q}_s"] = off_s - (max(0.0, off_s[others.index].min()) if is_closed and len(others) > 1 else 0.0)
    return mine.assign(made_share=made, **own)


def _times() -> list[str]:
    return [f"{whose}p{q}_s" for whose in ("", "server_") for q in PERCENTILES]


def _own_cpu_s(run: Run) -> float:
    start, end = load_window(run)
    return generator_share(run, "generator_cpu") * (end - start)


def _connections(run: Run) -> dict[str, float]:
    """What nginx's log says of the connections that the requests came on, those of the warm-up too."""
    logged = run.table("server") if run.has("server") else pd.DataFrame({"connection": []})
    if logged["connection"].isna().all():  # of before it was logged
        return {"requests_per_connection": np.nan, "resumed_share": np.nan}
    first = logged[logged["connection_requests"] == 1]
    return {
        "requests_per_connection": len(logged) / logged["connection"].nunique(),
        "resumed_share": first["tls_resumed"].astype(float).mean(),
    }


def cases(runs: Sequence[Run]) -> pd.DataFrame:
    """One row a generator and load, closed loops first: medians of the columns of `seen`, of the sound runs or, where none was,
    of the disturbed; `runs`, `disturbed`, and `believed`: whether it made what it should and saw what nginx saw.
    """
    rows = []
    for (generator, load), mine in seen(runs).groupby(["generator", "load"], sort=False):
        of = mine[mine["valid"]] if mine["valid"].any() else mine
        middle = of.drop(columns=["generator", "load", "block", "valid"]).median()
        told = {"generator": generator, "load": load, "runs": len(mine), "disturbed": int((~mine["valid"]).sum())}
        rows.append(told | middle.to_dict() | {"believed": _believed(middle)})
    rows.sort(key=lambda row: ORDER.index(row["generator"]))
    return pd.DataFrame(sorted(rows, key=lambda row: (row["load"].endswith("/s"), int(re.match(r"\d+", row["load"])[0]))))


def _believed(case: pd.Series) -> bool:
    if case["made_share"] < (OF_MOST_SHARE if np.isnan(case["asked_per_s"]) else MADE_SHARE):
        return False
    off = [(abs(case[f"own_p{q}_s"]), case[f"server_p{q}_s"]) for q in (50, 95)]
    return all(by <= max(OFF_S, OFF_SHARE * of) for by, of in off if by == by)


def table(runs: Sequence[Run]) -> list[dict[str, str]]:
    """A line a generator and load, in words."""
    return [
        {
            "load": row["load"], "generator": row["generator"],
            "runs": f"{row['runs']}" + (f" ({row['disturbed']} disturbed)" if row["disturbed"] else ""),
            "requests/s": words.number(row["throughput_per_s"]), "made": f"{row['made_share']:.0%}",
            "failed": words.number(row["errors"]),
            "client p50 / p95 / p99, ms": _in_ms(row, ""), "nginx p50 / p95 / p99, ms": _in_ms(row, "server_"),
            "its own p50 / p95, ms": _in_ms(row, "own_", (50, 95)),
            "its CPU s per 1000": words.number(row["cpu_s_per_1000_requests"]),
            "requests a connection": words.number(row["requests_per_connection"]),
            "TLS resumed": words.NOTHING if np.isnan(row["resumed_share"]) else f"{row['resumed_share']:.0%}",
            "believed": "yes" if row["believed"] else "no",
        }
        for row in cases(runs).to_dict("records")
    ]  # fmt: skip


def _in_ms(row: dict, whose: str, percentiles: Sequence[int] = PERCENTILES) -> str:
    return " / ".join(words.number(row[f"{whose}p{q}_s"] * 1000) for q in percentiles)


def limits(runs: Sequence[Run]) -> list[str]:
    """A sentence a generator: up to how many requests a second it is believed, and where it is not."""
    said = []
    for generator, mine in cases(runs).groupby("generator", sort=False):
        good, bad = mine[mine["believed"]], mine[~mine["believed"]]
        up_to = f"believed up to {good['throughput_per_s'].max():,.0f} requests/s" if len(good) else "believed nowhere here"
        where = ", ".join(f"{row.load} ({row.throughput_per_s:,.0f}/s)" for row in bad.itertuples())
        said.append(f"{generator}: {up_to}" + (f"; not at {where}" if len(bad) else "") + ".")
    return said


HOW = (
    f"A generator is believed where it made {MADE_SHARE:.0%} of what was asked for (in a closed loop: {OF_MOST_SHARE:.0%} of the "
    f"most that any made in its block), and its median and 95th percentile are within {OFF_SHARE:.0%} or {OFF_S * 1000:g} ms of "
    "those in nginx's own log; in a closed loop, of what the one that is least off sees: requests that wait before nginx reads "
    "them are in no log. The lean client's times count, on a schedule, "
    "from when a request was due, k6's from when it was sent and without the making of a connection; JMeter and FastHttpUser "
    "keep a schedule by pacing their users, and wrk has none. The first two seconds count of wrk alone."
)


def text(runs: Sequence[Run]) -> str:
    """All of it for a terminal; nothing where something else was measured."""
    if not is_of_generators(runs):
        return ""
    return "\n".join(["", pd.DataFrame(table(runs)).to_string(index=False), "", *limits(runs), "", HOW, ""])


X_TICKS = (10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000)
Y_TICKS = (-1000, -100, -10, -2, 0, 2, 5, 10, 20, 50, 100, 1000)


def picture(runs: Sequence[Run]) -> Figure:
    """What each generator's times have beyond nginx's, over the requests a second that it made; and its own CPU."""
    rows = seen(runs)
    names = [name for name in ORDER if name in set(rows["generator"])]
    figure = Figure(figsize=(12, 4.6), layout="constrained")
    for ax, q in zip(axes := figure.subplots(1, 3), (50, 95), strict=False):
        for number, name in enumerate(names):
            mine = rows[rows["generator"] == name]
            beyond_ms = (mine[f"p{q}_s"] - mine[f"server_p{q}_s"]) * 1000
            drawing.marks(ax, mine["throughput_per_s"], beyond_ms, mine["valid"], drawing.colour(number), drawing.marker(number))
        ax.axhspan(-OFF_S * 1000, OFF_S * 1000, color=drawing.GRID, zorder=0)
        ax.set(xscale="log", xlabel="requests/s that it made")
        ax.set_yscale("symlog", linthresh=OFF_S * 1000)
        for axis, ticks in ((ax.xaxis, X_TICKS), (ax.yaxis, Y_TICKS)):
            low, high = axis.get_view_interval()
            axis.set_ticks([tick for tick in ticks if low <= tick <= high])
            axis.set_ticks([], minor=True)
            axis.set_major_formatter("{x:,g}")
        drawing.finish(ax, f"{'Median' if q == 50 else f'{q}th percentile'}, beyond nginx's", "ms")
    for number, name in enumerate(names):
        mine = rows[rows["generator"] == name].dropna(subset="cpu_s_per_1000_requests")
        used = mine["cpu_s_per_1000_requests"]
        drawing.dots(axes[2], number, used, mine["valid"], drawing.colour(number), drawing.marker(number))
    axes[2].set_xticks(range(len(names)), [drawing.wrapped(name.replace("HttpUser", "Http User"), 8) for name in names])
    axes[2].set_ylim(bottom=0)
    drawing.finish(axes[2], "Its own CPU a 1000 requests", "s")
    handles = [
        Line2D([], [], color=drawing.colour(number), marker=drawing.marker(number), linestyle="", label=name)
        for number, name in enumerate(names)
    ]
    handles += drawing.disturbed_handle(rows)
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
    return figure
