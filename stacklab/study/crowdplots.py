"""Pictures of what many clients at once do to each other; as in `plots`, a DataFrame and `ax=None` in, Axes out."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import PercentFormatter

from stacklab.study import drawing
from stacklab.study.analysis import open_at
from stacklab.study.drawing import FAILED, INK, PERCENTILE_STYLES

STEP_S = 0.1


def latency_over_time(messages: pd.DataFrame, ax: Axes | None = None, events: pd.DataFrame | None = None) -> Axes:
    """Median and 95th percentile of the latency of what was sent in each second, on a logarithmic scale; in red below, the
    share of it that was lost. Of `analysis.messages`; `events` of `analysis.events` are marked.
    """
    ax = drawing.axes_for(ax, 8)
    counted = messages[~messages["warmup"].astype(bool)]
    if not drawing.drawable(ax, counted, "latency_s"):
        return ax
    second, sound = np.floor(counted["t_s"].astype(float)), bool(counted["valid"].all())
    handles = []
    for name, share in (("p50", 0.5), ("p95", 0.95)):
        colour, marker = PERCENTILE_STYLES[name]
        line = counted.groupby(second)["latency_s"].quantile(share) * 1000
        face, style = (colour, "-") if sound else ("white", drawing.line(False))
        ax.plot(line.index + 0.5, line, color=colour, marker=marker, markerfacecolor=face, linestyle=style, markersize=3.5,
                linewidth=1.4)  # fmt: skip
        handles.append(Line2D([], [], color=colour, marker=marker, markersize=5, label=drawing.PERCENTILE_NAMES[name]))
    drawing.log_axis(ax.yaxis)
    lost = (counted["copies"] == 0).groupby(second).mean()
    if lost.any():
        shares = ax.twinx()
        shares.bar(lost.index + 0.5, lost, width=0.8, color=FAILED, alpha=0.45, zorder=0)
        shares.set_ylim(0, max(1.0, 1.5 * lost.max()))
        shares.yaxis.set_major_formatter(PercentFormatter(1))
        shares.tick_params(labelsize=9, colors=FAILED, length=0)
        shares.spines[["top", "left"]].set_visible(False)
        ax.set_zorder(shares.get_zorder() + 1)  # the lines before the columns
        ax.patch.set_visible(False)
        handles.append(Patch(color=FAILED, alpha=0.45, label="share lost (right)"))
    _mark(ax, messages, events)
    drawing.time_axis(ax, 0, second.max() + 1)
    drawing.legend(ax, [*handles, *drawing.disturbed_handle(counted, lines=True)], offset=1.08 if lost.any() else 1.01)
    return drawing.finish(ax, "Time from sender to receiver, by second", "latency, ms")


def burst_spread(messages: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """What share of a burst's deliveries had arrived within a time of its start; a line a run, a colour a point."""
    ax = drawing.axes_for(ax, 6)
    rows = messages[messages["burst"].astype(bool)]
    if not drawing.drawable(ax, rows, "received_s"):
        return ax
    handles = []
    for number, (label, mine) in enumerate(drawing.cases_of(rows)):
        colour = drawing.colour(number)
        for (_, _, valid), run in mine.groupby(["experiment", "run", "valid"], observed=True):
            style = drawing.line(valid, number)
            took_ms = np.sort((run["received_s"] - run["sent_s"].min()).dropna().to_numpy(dtype=float)) * 1000
            shares = np.arange(1, len(took_ms) + 1) / len(run)
            ax.plot(took_ms, shares, color=colour, linestyle=style, linewidth=1.8, drawstyle="steps-post")
        lost = int((mine["copies"] == 0).sum())
        words = f"{label}\n{len(mine):,} deliveries" + (f", {lost:,} lost" if lost else "")
        handles.append(Line2D([], [], color=colour, linestyle=drawing.line(True, number), linewidth=2.2, label=words))
    drawing.log_axis(ax.xaxis)
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    ax.set(ylim=(0, 1.03), xlabel="since the burst began, ms")
    drawing.legend(ax, [*handles, *drawing.disturbed_handle(rows, lines=True)])
    return drawing.finish(ax, "A burst, until everybody has it", "share of its deliveries", grid="both")


def latency_by_room_size(messages: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """The 95th percentile of the latency in each room against its size, a mark a room, a colour a point. Bursts left out."""
    ax = drawing.axes_for(ax, 6)
    counted = messages[~messages["warmup"].astype(bool) & ~messages["burst"].astype(bool)]
    if not drawing.drawable(ax, counted, "latency_s"):
        return ax
    handles = []
    for number, (label, mine) in enumerate(drawing.cases_of(counted)):
        colour, marker = drawing.colour(number), drawing.marker(number)
        each = mine.groupby(["experiment", "run", "room"], observed=True)
        p95 = lambda values: values.quantile(0.95)  # noqa: E731
        rooms = each.agg(valid=("valid", "first"), deliveries=("n", "size"), p95_s=("latency_s", p95))
        said = each.apply(lambda rows: len(rows[["sender", "n"]].drop_duplicates()), include_groups=False)
        drawing.marks(ax, rooms["deliveries"] / said, rooms["p95_s"] * 1000, rooms["valid"], colour, marker)
        handles.append(Line2D([], [], color=colour, marker=marker, linestyle="", label=label))
    drawing.log_axis(ax.xaxis)
    drawing.log_axis(ax.yaxis)
    ax.set(xlabel="receivers of a message in the room")
    drawing.legend(ax, [*handles, *drawing.disturbed_handle(counted)])
    return drawing.finish(ax, "Large rooms and small", "95th percentile of the latency, ms", grid="both")


def clients_over_time(connections: pd.DataFrame, ax: Axes | None = None, events: pd.DataFrame | None = None) -> Axes:
    """How many clients are connected, over time; a line a run, a colour a point. Of `analysis.connections`."""
    ax = drawing.axes_for(ax, 8)
    opened = connections.dropna(subset=["connect_s"])
    if opened.empty:
        return drawing.nothing(ax, "No client was connected.")
    handles, last = [], opened["t_end_s"].max()
    for number, (label, mine) in enumerate(drawing.cases_of(opened)):
        colour = drawing.colour(number)
        for (_, _, valid), run in mine.groupby(["experiment", "run", "valid"], observed=True):
            style = drawing.line(valid, number)
            begun = run["t_s"] + run["connect_s"]
            times = np.arange(begun.min(), run["t_end_s"].max(), STEP_S)
            held = open_at(begun, run["t_end_s"], times)
            ax.plot(times, held, color=colour, linestyle=style, linewidth=1.7, drawstyle="steps-post")
        handles.append(Line2D([], [], color=colour, linestyle=drawing.line(True, number), linewidth=2.2, label=label))
    _mark(ax, connections, events)
    drawing.time_axis(ax, opened["t_s"].min(), last)
    ax.set_ylim(bottom=0)
    drawing.legend(ax, [*handles, *drawing.disturbed_handle(opened, lines=True)])
    return drawing.finish(ax, "Clients connected", "clients connected", grid="both")


def _mark(ax: Axes, table: pd.DataFrame, events: pd.DataFrame | None) -> None:
    """A line where something happened to one of the table's points."""
    if events is None:
        return
    mine = events[events["point"].isin(table["point"].unique())]
    for number, (what, rows) in enumerate(mine.groupby("what", sort=False)):
        ax.axvline(rows["t_s"].min(), color=INK, linewidth=1.1, linestyle=(0, (4, 3)))
        ax.annotate(what, (rows["t_s"].min(), 1), (3, -3 - 11 * number), ("data", "axes fraction"), textcoords="offset points",
                    va="top", fontsize=8.5)  # fmt: skip
