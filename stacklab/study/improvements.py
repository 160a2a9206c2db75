"""What each improvement is worth against stock, and what clients feel of it when something fails."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from stacklab.runs.disturbance import load_window
from stacklab.runs.results import Run
from stacklab.runs.validity import disconnects
from stacklab.settings import IMPROVEMENTS
from stacklab.study import drawing
from stacklab.study.paired import BETTER, ONE_LOOK_ERROR, UNDECIDED, WORSE, look
from stacklab.study.summary import METRIC_NAMES, summarize
from stacklab.study.words import NOTHING

METRICS = ("cpu_s_daphne_per_1000_deliveries", "pss_peak_bytes_daphne", "latency_p50_s", "latency_p95_s", "delivered_share")
FELT = ("point", "what", "repeats", "cut", "codes", "back_p50_s", "back_max_s", "never_back", "lost", "deliveries")
MARGIN = 0.05
STOCK, ALL = "stock", "all"
COLOURS = {BETTER: "#009E73", WORSE: "#D55E00", UNDECIDED: drawing.MUTED}
SAME_COLOUR = "#0072B2"
TICKS = (0.125, 0.25, 0.5, 0.7, 1, 1.4, 2, 4, 8)


def is_of_improvements(runs: Sequence[Run]) -> bool:
    """Whether these runs set improvements against stock."""
    points = {run.point for run in runs}
    return STOCK in points and ALL in points and bool(points & set(IMPROVEMENTS))


def worth(runs: Sequence[Run]) -> pd.DataFrame:
    """One row an improvement and metric, all together last: point, metric, blocks, scale, estimate, low, high, verdict.

    Estimates are ratios to stock within a block (of `delivered_share`: differences). Only sound blocks decide.
    """
    summary = summarize([run for run in runs if not run.events])
    if STOCK not in set(summary.get("point", ())):
        return pd.DataFrame(columns=["point", "metric", "blocks", "scale", "estimate", "low", "high", "verdict"])
    stock, rows = summary[summary["point"] == STOCK].assign(side="A"), []
    for point in [name for name in (*IMPROVEMENTS, ALL) if name in set(summary["point"])]:
        pairs = pd.concat([stock, summary[summary["point"] == point].assign(side="B")])
        for of in look(pairs, METRICS, MARGIN, ONE_LOOK_ERROR):
            rows.append({"point": point, "metric": of.metric, "blocks": of.blocks, "scale": of.scale, "estimate": of.estimate,
                         "low": of.low, "high": of.high, "verdict": of.verdict})  # fmt: skip
    return pd.DataFrame(rows)


def felt(runs: Sequence[Run]) -> pd.DataFrame:
    """One row a point and event: point, what, repeats, cut, codes, back_p50_s, back_max_s, never_back, lost, deliveries.

    From the event until the next one (or the end of the load): sockets `cut` and their close codes, the seconds until
    their clients were connected again, and the deliveries `lost` of those due for what was said meanwhile. Sums over the
    repeats; times over all their sockets.
    """
    rows = [row for run in runs if run.events and run.has("connections") for row in _of_events(run)]
    table, found = pd.DataFrame(rows, columns=["point", "what", "cut", "codes", "lost", "deliveries", "back_s"]), []
    for (point, what), each in table.groupby(["point", "what"], sort=False):
        back_s = pd.Series([second for row in each["back_s"] for second in row], dtype=float)
        codes = pd.Series([code for row in each["codes"] for code in row]).value_counts()
        found.append({
            "point": point, "what": what, "repeats": len(each), "cut": int(each["cut"].sum()),
            "codes": ", ".join(f"{code} × {count}" for code, count in codes.items()),
            "back_p50_s": back_s.median(), "back_max_s": back_s.max(),
            "never_back": int(each["cut"].sum()) - len(back_s), "lost": int(each["lost"].sum()),
            "deliveries": int(each["deliveries"].sum()),
        })  # fmt: skip
    return pd.DataFrame(found, columns=FELT)


def _of_events(run: Run) -> list[dict[str, Any]]:
    table = run.table("connections").sort_values(["client", "connect_start_s"])
    messages = run.table("messages") if run.has("messages") else None
    opened = table[table["connect_s"].notna()].copy()
    opened["again_s"] = (opened["connect_start_s"] + opened["connect_s"]).groupby(opened["client"]).shift(-1)
    ends = [event["began_s"] for event in run.events[1:]] + [load_window(run)[1]]
    rows = []
    for event, end_s in zip(run.events, ends, strict=True):
        cut = disconnects(opened)
        cut = cut[cut["end_s"].between(event["began_s"], end_s, inclusive="left")]
        codes = ["1006" if pd.isna(code) else f"{code:.0f}" for code in cut["close_code"]]
        row = {"point": run.point, "what": event["what"], "cut": len(cut), "codes": codes, "lost": 0, "deliveries": 0,
               "back_s": (cut["again_s"] - cut["end_s"]).dropna().clip(lower=0).tolist()}  # fmt: skip
        if messages is not None:
            said = messages[messages["sent_s"].between(event["began_s"], end_s, inclusive="left")]
            row |= {"lost": int((said["copies"] == 0).sum()), "deliveries": len(said)}
        rows.append(row)
    return rows


# ---------------------------------------------------------------- for people


def worth_rows(table: pd.DataFrame) -> list[dict[str, str]]:
    """`worth` as a table in words: an improvement a row, a metric a column."""
    return [
        {"improvement": point, "blocks": str(each["blocks"].max())}
        | {METRIC_NAMES[row["metric"]]: _figure_words(row) for row in each.to_dict("records")}
        for point, each in table.groupby("point", sort=False)
    ]


def _figure_words(row: dict[str, Any]) -> str:
    if row["scale"] == "ratio":
        figure, low, high = f"× {row['estimate']:.2f}", f"{row['low']:.2f}", f"{row['high']:.2f}"
    else:
        figure, low, high = f"{row['estimate']:+.2%}", f"{row['low']:+.2%}", f"{row['high']:+.2%}"
    between = f" [{low}, {high}]" if np.isfinite([row["low"], row["high"]]).all() else ""
    return f"{figure}{between}: {row['verdict']}"


def felt_rows(runs: Sequence[Run]) -> list[dict[str, str]]:
    """`felt` as a table in words."""
    return [
        {
            "settings": row["point"], "event": row["what"], "sockets cut": str(row["cut"]),
            "close codes": row["codes"] or NOTHING,
            "back after s (median)": _seconds(row["back_p50_s"]), "(longest)": _seconds(row["back_max_s"]),
            "never back": str(row["never_back"]),
            "deliveries lost": f"{row['lost']:,} of {row['deliveries']:,}",
        }
        for row in felt(runs).to_dict("records")
    ]  # fmt: skip


def _seconds(value: float) -> str:
    return NOTHING if pd.isna(value) else f"{value:.1f}"


def text(rows: Sequence[dict[str, str]]) -> str:
    """A table for a terminal."""
    return pd.DataFrame(rows).to_string(index=False) if rows else ""


def worth_picture(table: pd.DataFrame) -> Figure:
    """`worth`, drawn: a column a metric that is a ratio, a line an improvement, its interval against the margin."""
    shown = [metric for metric in METRICS if (table["metric"] == metric).any() and metric != "delivered_share"]
    points = list(dict.fromkeys(table["point"]))
    figure = Figure(figsize=(11.5, 1.6 + 0.42 * len(points)), layout="constrained")
    axes = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    for ax, metric in zip(axes, shown, strict=True):
        for row in table[table["metric"] == metric].to_dict("records"):
            place, colour = points.index(row["point"]), COLOURS.get(row["verdict"], SAME_COLOUR)
            if np.isfinite([row["low"], row["high"]]).all():
                ax.plot([row["low"], row["high"]], [place, place], color=colour, linewidth=2.4, solid_capstyle="butt")
            decided = row["verdict"] != UNDECIDED
            ax.plot(row["estimate"], place, "o", color=colour, markersize=7, markerfacecolor=colour if decided else "white")
        ax.axvspan(1 / (1 + MARGIN), 1 + MARGIN, color=drawing.MUTED, alpha=0.18, linewidth=0)
        ax.axvline(1, color=drawing.INK, linewidth=1)
        ax.set_xscale("log", base=2)
        low, high = ax.get_xlim()
        ax.set_xticks([tick for tick in TICKS if low <= tick <= high], minor=False)
        ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        ax.xaxis.set_minor_locator(NullLocator())
        ax.set(ylim=(len(points) - 0.4, -0.6))
        name = METRIC_NAMES[metric]
        drawing.finish(ax, "", "", grid="x")
        ax.set_title(drawing.wrapped(name[0].upper() + name[1:], 26), loc="left", fontsize=11, fontweight="bold")
        ax.set_xlabel("times stock")
    axes[0].set_yticks(range(len(points)), points)
    return figure
