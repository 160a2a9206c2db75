"""Pictures of what `analysis` gives: each function takes a DataFrame and `ax=None`, and returns the Axes.

Colours are those of Okabe and Ito, which colour-blind people can tell apart; a service has the same colour
everywhere. Suspect runs are drawn hollow (dots) or dashed (lines). Nothing to draw is said in words.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import PercentFormatter

from stacklab.stack.services import SERVICE_COLOURS, number_of
from stacklab.study import drawing
from stacklab.study.analysis import bytes_per_socket, open_at, while_opening
from stacklab.study.drawing import FAILED, GRID, INK, MUTED, OKABE_ITO, PERCENTILE_STYLES
from stacklab.study.paired import UNDECIDED
from stacklab.study.summary import METRIC_NAMES
from stacklab.study.verdicts import MARGIN, NO_DIFFERENCE, NOT_TESTED, Judgement, as_claimed, least_as_claimed
from stacklab.study.words import KIB, MIB

DAPHNE_CPU = "cpu_s_daphne_per_1000_deliveries"
CLAIMS_SHOWN = (0.2, 5.0)
VERDICT_STYLES = {"supported": (OKABE_ITO[0], "o"), "contradicted": (OKABE_ITO[3], "s"), NO_DIFFERENCE: (INK, "D")}


def response_times_by_case(summary: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Median, 95th and 99th percentile of each run of each case, from `summarize`; a bar is the repeats' median."""
    ax = drawing.percentiles_by_case(summary, "", ax)
    drawing.finish(ax, "Response times by case", "response time, ms")
    if ax.has_data():
        ax.set_ylim(0, ax.get_ylim()[1] * 1.03)
    return ax


def messages_latency_by_point(summary: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Median, 95th and 99th percentile of the time from sender to receiver, of each run of each point."""
    ax = drawing.percentiles_by_case(summary, "latency_", ax)
    drawing.finish(ax, "Time from sender to receiver", "latency, ms")
    if ax.has_data():
        drawing.log_axis(ax.yaxis)
    return ax


def throughput_by_case(summary: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Counted successes a second of each run of each case; where requests failed, the share that did."""
    ax = drawing.values_by_case(summary, "throughput_per_s", 1, "#56B4E9", ax)
    top = ax.get_ylim()[1]
    for place, (_, rows) in enumerate(drawing.cases_of(summary)):
        if "errors" in rows and rows["errors"].sum():
            share = rows["errors"].sum() / rows["counted"].sum()
            ax.text(place, top * 0.985, f"{drawing.percent(share)}\nfailed", color=FAILED, ha="center", va="top", fontsize=9)
    return drawing.finish(ax, "Throughput by case", "successful requests per second")


def daphne_cost_by_point(summary: pd.DataFrame, ax: Axes | None = None, metric: str = DAPHNE_CPU) -> Axes:
    """What all instances together cost, each run: CPU seconds per 1000 deliveries, `cpu_s_daphne` (of runs in which
    nobody said anything) or `pss_peak_bytes_daphne`.
    """
    memory = metric.startswith("pss")
    ax = drawing.values_by_case(summary, metric, MIB if memory else 1, SERVICE_COLOURS["daphne"], ax)
    title = "Memory of all instances" if memory else "CPU of all instances"
    per = " per 1000 deliveries" if metric == DAPHNE_CPU else " under load"
    return drawing.finish(ax, title, "peak PSS, MiB" if memory else f"CPU seconds{per}")


def delivered_by_point(summary: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """The share of expected deliveries that arrived, each run of each point, with the number of those lost."""
    ax = drawing.axes_for(ax, len(drawing.cases_of(summary)))
    if not drawing.drawable(ax, summary, "delivered_share"):
        return ax
    for place, (_, rows) in enumerate(drawing.cases_of(summary)):
        drawing.dots(ax, place, rows["delivered_share"], rows["valid"], SERVICE_COLOURS["daphne"])
        lost = int(rows["lost"].sum() + rows["lost_while_away"].sum())
        ax.annotate(
            f"{lost:,} lost" if lost else "none lost", (place, rows["delivered_share"].min()), (0, -12),
            textcoords="offset points", ha="center", va="top", fontsize=9, color=FAILED if lost else MUTED,
        )  # fmt: skip
    least = summary["delivered_share"].min()
    room = max(1 - least, 0.04)
    ax.set_ylim(max(least - 0.35 * room, -0.1), 1 + 0.1 * room)
    ax.set_yticks([share for share in ax.get_yticks() if max(least - 0.35 * room, -1e-9) <= share <= 1 + 1e-9])
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    drawing.case_ticks(ax, summary)
    drawing.disturbed_legend(ax, summary)
    return drawing.finish(ax, "Messages delivered", "share of expected deliveries")


def cpu_over_time(resources: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """CPU of each service over time, stacked, in cores; of several runs the mean. From `analysis.resources`."""
    ax = drawing.stacked_services(resources, "cpu_share", 1, ax)
    if ax.collections:
        ax.axhline(1, color=INK, linewidth=1, linestyle=(0, (4, 3)))
        ax.annotate("one core", (1, 1), (-4, 3), ("axes fraction", "data"), textcoords="offset points",
                    ha="right", va="bottom", fontsize=9, color=INK)  # fmt: skip
        ax.set_ylim(0, max(1.15, ax.get_ylim()[1]))
    return drawing.finish(ax, "CPU by service", "cores in use")


def memory_over_time(resources: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Memory (PSS, in which shared pages are divided among their users) of each service over time, stacked."""
    ax = drawing.stacked_services(resources, "pss_bytes", MIB, ax)
    return drawing.finish(ax, "Memory by service", "PSS, MiB")


def client_vs_server(summary: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Each run's percentiles as the client saw them, against nginx's own. On the diagonal the two agree."""
    ax = drawing.axes_for(ax, 5)
    if not drawing.drawable(ax, summary, "server_p50_s"):
        return ax
    names = list(PERCENTILE_STYLES)
    for name in names:
        colour, marker = PERCENTILE_STYLES[name]
        for valid, rows in summary.groupby(summary["valid"].astype(bool)):
            ax.scatter(rows[f"server_{name}_s"] * 1000, rows[f"{name}_s"] * 1000, s=42, marker=marker,
                       facecolor=colour if valid else "none", edgecolor=colour, linewidth=1.3, zorder=3)  # fmt: skip
    top = 1.06 * 1000 * np.nanmax(summary[[f"{prefix}{name}_s" for name in names for prefix in ("", "server_")]])
    ax.plot([0, top], [0, top], color=MUTED, linewidth=1, zorder=1)
    ax.set(xlim=(0, top), ylim=(0, top), xlabel="nginx's $request_time, ms")
    agree = Line2D([], [], color=MUTED, linewidth=1, label="the two agree")
    drawing.legend(ax, [*drawing.percentile_handles(), agree, *drawing.disturbed_handle(summary)])
    return drawing.finish(ax, "Client's view against the server's", "client's response time, ms", grid="both")


def latency_distribution(requests: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """What share of a run's successful counted requests was answered within a time; a line a run, a colour a point."""
    ax = drawing.axes_for(ax, 6)
    good = requests[~requests["warmup"].astype(bool) & requests["error"].isna()]
    if not drawing.drawable(ax, good, "response_s"):
        return ax
    shares = np.linspace(0, 1, 501)
    handles = []
    for number, (label, rows) in enumerate(drawing.cases_of(good)):
        colour, style = drawing.colour(number), drawing.line(True, number)
        for (_, valid), run in rows.groupby(["run", "valid"], observed=True):
            quantiles = np.quantile(run["response_s"].to_numpy(dtype=float), shares) * 1000
            ax.plot(np.maximum(quantiles, 0.01), shares, color=colour, linewidth=1.3, linestyle=drawing.line(valid, number))
        handles.append(Line2D([], [], color=colour, linestyle=style, linewidth=2.5, label=label))
    drawing.log_axis(ax.xaxis)
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    ax.set(ylim=(0, 1.01), xlabel="response time, ms")
    drawing.legend(ax, [*handles, *drawing.disturbed_handle(good, lines=True)])
    return drawing.finish(ax, "How many were answered within …", "share of requests", grid="both")


def percentiles_to_the_tail(requests: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Response times by percentile, each further nine as wide as the one before; a line a run, a colour a point.

    Counted as a person would, from when a request was due. Of `analysis.requests`.
    """
    ax = drawing.axes_for(ax, 6)
    good = requests[~requests["warmup"].astype(bool) & requests["error"].isna()]
    if not drawing.drawable(ax, good, "response_s"):
        return ax
    handles, longest = [], 100
    for number, (label, rows) in enumerate(drawing.cases_of(good)):
        colour, style = drawing.colour(number), drawing.line(True, number)
        for (_, _, valid), run in rows.groupby(["experiment", "run", "valid"], observed=True):
            waits_ms = np.sort(run["response_s"].to_numpy(dtype=float)) * 1000
            one_in = len(waits_ms) / np.arange(len(waits_ms), 0, -1)
            ax.plot(one_in, waits_ms, color=colour, linestyle=drawing.line(valid, number), linewidth=1.8, drawstyle="steps-post")
            longest = max(longest, len(waits_ms))
        handles.append(Line2D([], [], color=colour, linestyle=style, linewidth=2.2, label=label))
    drawing.log_axis(ax.yaxis)
    ax.set_xscale("log")
    nines = [n for n in (1, 2, 10, 100, 1000, 10_000, 100_000) if n <= longest]
    ax.set_xticks(nines, ["fastest", "median", *(f"{100 - 100 / n:g} %" for n in nines[2:])])
    ax.set(xlim=(1, max(longest, 2)), xlabel="share of requests answered within the time")
    drawing.legend(ax, [*handles, *drawing.disturbed_handle(good, lines=True)])
    return drawing.finish(ax, "Response times, to the slowest", "response time, ms", grid="both")


def claims(judgements: Sequence[Judgement], ax: Axes | None = None) -> Axes:
    """A line a claim: how what was measured compares to what it says, with its interval, against the margin.

    Of several tests the one that is least as claimed, among those that made the verdict. Full marks are decided.
    """
    ax = drawing.axes_for(ax, 10, height=1.4 + 0.62 * len(judgements))
    if all(judgement.verdict == NOT_TESTED for judgement in judgements):
        return drawing.nothing(ax, "No claim was tested.")
    low_end, high_end = CLAIMS_SHOWN
    ax.axvspan(1 / (1 + MARGIN), 1 + MARGIN, color=GRID, zorder=0)
    ax.axvline(1, color=MUTED, linewidth=1, zorder=1)
    for place, judgement in enumerate(judgements):
        colour, marker = VERDICT_STYLES.get(judgement.verdict, (MUTED, "o"))
        decided = judgement.verdict not in (UNDECIDED, NOT_TESTED)
        words, disturbed = judgement.verdict, judgement.tests["disturbed"].max()
        if (row := least_as_claimed(judgement)) is not None:
            estimate, low, high = (float(np.clip(value, low_end, high_end)) for value in as_claimed(row))
            ax.plot([low, high], [place, place], color=colour, linewidth=2.4, solid_capstyle="butt", zorder=2)
            for end, side in ((low, "<"), (high, ">")):
                if end in CLAIMS_SHOWN:
                    ax.plot(end, place, side, color=colour, markersize=7, clip_on=False, zorder=3)
            ax.plot(estimate, place, marker, color=colour, markerfacecolor=colour if decided else "white", markersize=9,
                    markeredgewidth=1.6, zorder=4)  # fmt: skip
            words += f"\nn = {row['n']}" + (f", {row['disturbed']} more disturbed" if row["disturbed"] else "")
        elif disturbed:
            words += f"\nall {disturbed} were disturbed"
        ax.annotate(words, (1.01, place), xycoords=("axes fraction", "data"), va="center", fontsize=9.5, color=colour)
    drawing.log_axis(ax.xaxis)
    ax.set_yticks(range(len(judgements)), [textwrap.fill(f"{j.claim.id}  {j.claim.sentence}", 52) for j in judgements])
    ax.set(xlim=CLAIMS_SHOWN, ylim=(len(judgements) - 0.4, -0.6), xlabel="measured, as a multiple of what the claim is held "
           f"against\nto the right as claimed · grey: within ± {MARGIN * 100:g} % · arrow: beyond the edge")  # fmt: skip
    return drawing.finish(ax, "The post's claims, on this machine", "", grid="x")


def access_log_share(connections: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Which instance met what share, at each point; of `analysis.connections` (sockets) or `analysis.messages`."""
    cases = drawing.cases_of(connections.dropna(subset=["instance"])) if "instance" in connections else []
    ax = drawing.axes_for(ax, 6, height=1.6 + 0.6 * max(len(cases), 2))
    if not cases:
        return drawing.nothing(ax, "No socket met an instance.")
    instances = sorted({name for _, rows in cases for name in rows["instance"]}, key=number_of)
    colours = drawing.instance_colours(instances)
    for place, (_, rows) in enumerate(cases):
        share = rows["instance"].value_counts(normalize=True)
        left = 0.0
        for name, colour in zip(instances, colours, strict=True):
            width = float(share.get(name, 0))
            ax.barh(place, width, left=left, color=colour, edgecolor="white", height=0.62)
            if width >= 0.06:
                on = drawing.text_on(colour)
                ax.text(left + width / 2, place, f"{width:.0%}", ha="center", va="center", fontsize=9, color=on)
            left += width
    ax.set_yticks(range(len(cases)), [drawing.wrapped(label, 20) for label, _ in cases])
    ax.set(xlim=(0, 1), ylim=(len(cases) - 0.5, -0.5), xlabel="share of what the instances' access logs hold")
    ax.xaxis.set_major_formatter(PercentFormatter(1))
    drawing.legend(ax, [Patch(color=colour, label=name) for colour, name in zip(colours, instances, strict=True)])
    return drawing.finish(ax, "Which instance was met", "", grid="x")


def failover_timeline(
    connections: pd.DataFrame, messages: pd.DataFrame, ax: Axes | None = None, events: pd.DataFrame | None = None
) -> Axes:
    """Clients connected to each instance over time (areas), and deliveries lost a second (bars, right axis), of one run.

    `events`: what was done to the stack meanwhile, from `analysis.events`.
    """
    ax = drawing.axes_for(ax, 8)
    opened = connections.dropna(subset=["connect_s", "instance"])
    if opened.empty:
        return drawing.nothing(ax, "No client was connected.")
    begun = opened["t_s"] + opened["connect_s"]
    last = max(messages["t_s"].max(), begun.max()) if len(messages) else begun.max() + 5
    times = np.arange(np.floor(begun.min()), last + 0.1, 0.1)
    instances = sorted(opened["instance"].unique(), key=number_of)
    held = [open_at(begun[opened["instance"] == i], opened.loc[opened["instance"] == i, "t_end_s"], times) for i in instances]
    colours = drawing.instance_colours(instances)
    ax.stackplot(times, held, colors=colours, linewidth=0)
    handles = [Patch(color=colour, label=name) for colour, name in zip(colours, instances, strict=True)]
    lost = messages[(messages["copies"] == 0) & ~messages["warmup"].astype(bool)]
    right = ax.twinx()
    bins = np.arange(np.floor(times[0]), np.ceil(last) + 1)
    away = ~lost["receiver_connected"].astype(bool)
    right.hist([lost.loc[away, "t_s"], lost.loc[~away, "t_s"]], bins=bins, stacked=True, color=["#CC79A7", FAILED], rwidth=0.9)
    right.set_ylim(0, 2.5 * max(right.get_ylim()[1], 4))
    right.set_ylabel("deliveries lost per second")
    right.spines[["top", "left"]].set_visible(False)
    right.yaxis.get_major_locator().set_params(integer=True)
    handles += [Patch(color="#CC79A7", label="lost: receiver away"), Patch(color=FAILED, label="lost: receiver there")]
    for event in [] if events is None else events.to_dict("records"):
        ax.axvline(event["t_s"], color=INK, linewidth=1.3, linestyle=(0, (4, 3)))
        ax.annotate(event["what"], (event["t_s"], 1), (3, -3), ("data", "axes fraction"), textcoords="offset points",
                    va="top", fontsize=9)  # fmt: skip
    drawing.time_axis(ax, times[0], last)
    ax.set_ylim(0, 1.12 * np.sum(held, axis=0).max())
    drawing.legend(ax, handles, offset=1.12)
    return drawing.finish(ax, "Clients connected, and what was lost", "clients connected")


def memory_per_socket(sockets: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """The instances' memory against their open sockets, until all are open; the slope, where there are readings enough for one,
    is what one takes, in the median of the runs. From `analysis.sockets`.
    """
    ax = drawing.axes_for(ax, 6)
    if not drawing.drawable(ax, sockets, "pss_bytes"):
        return ax
    handles = []
    for number, (label, rows) in enumerate(drawing.cases_of(sockets)):
        colour, marker, style = drawing.colour(number), drawing.marker(number), drawing.line(True, number)
        runs = [run for _, run in rows.groupby(["experiment", "run"], observed=True)]
        rows = pd.concat([while_opening(run) for run in runs])
        drawing.marks(ax, rows["sockets"], rows["pss_bytes"] / MIB, rows["valid"], colour, marker)
        words = label
        slopes = pd.Series([bytes_per_socket(run) for run in runs]).dropna()
        if len(slopes):
            ends = np.array([0, rows["sockets"].max()])
            line = rows["pss_bytes"].mean() + slopes.median() * (ends - rows["sockets"].mean())
            ax.plot(ends, line / MIB, color=colour, linestyle=style, linewidth=1.5)
            words += f"\n{slopes.median() / KIB:,.0f} KiB a socket"
        handles.append(Line2D([], [], color=colour, marker=marker, linestyle=style, linewidth=1.5, label=words))
    ax.set(xlabel="open sockets")
    ax.set_ylim(bottom=0)
    drawing.legend(ax, [*handles, *drawing.disturbed_handle(sockets)])
    return drawing.finish(ax, "What an open socket costs", "PSS of all instances, MiB", grid="both")


def gauge_over_time(gauges: pd.DataFrame, names: Sequence[str], ax: Axes | None = None) -> Axes:
    """Gauges of the machine (uwsgi_listen_queue, nginx_active, …) over time, of one run. From `analysis.gauges`."""
    ax = drawing.axes_for(ax, 8)
    rows = gauges[gauges["name"].isin(names)]
    if not drawing.drawable(ax, rows, "value"):
        return ax
    for number, name in enumerate(names):
        mine = rows[rows["name"] == name].sort_values("t_s")
        ax.plot(mine["t_s"], mine["value"], color=drawing.colour(number), linewidth=1.6, label=name)
    ax.set(xlabel="seconds since counting began")
    ax.set_ylim(bottom=0)
    drawing.legend(ax, ax.get_legend_handles_labels()[0])
    return drawing.finish(ax, "The machine under load", "value")


def interval_closing(blocks: Sequence[float], looks: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """A comparison as it goes on: a dot for what each block showed, B to A, and the interval at each planned look.

    `looks` has a row a look, with the fields of `paired.MetricVerdict`.
    """
    ax = drawing.axes_for(ax, 6, height=3.4)
    if not len(blocks):
        return drawing.nothing(ax, "There is no sound block yet.")
    ax.plot(range(1, len(blocks) + 1), blocks, "o", color=MUTED, markersize=4.5, label="one block")
    title = "B to A: no look yet"
    for look in looks.to_dict("records"):
        colour = MUTED if look["verdict"] == UNDECIDED else OKABE_ITO[0]
        ax.errorbar(look["blocks"], look["estimate"], [[look["estimate"] - look["low"]], [look["high"] - look["estimate"]]],
                    color=colour, marker="D", markersize=6, linewidth=2.2, capsize=4)  # fmt: skip
        name = METRIC_NAMES.get(look["metric"], look["metric"])
        title = f"{name[0].upper() + name[1:]}, B to A: {look['verdict']}"
    ratio = looks.empty or looks["scale"].iloc[0] == "ratio"
    margin = 0.05 if looks.empty else looks["margin"].iloc[0]
    band = (1 / (1 + margin), 1 + margin) if ratio else (-margin, margin)
    ax.axhspan(*band, color=OKABE_ITO[2], alpha=0.15, linewidth=0)
    ax.axhline(1 if ratio else 0, color=INK, linewidth=1)
    ax.set(xlim=(0, max(12, 1.08 * len(blocks))), xlabel="sound blocks")
    return drawing.finish(ax, title, "ratio" if ratio else "difference")


def comparison(effects: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Ratios to the base with their intervals, from `compare`; one that meets the line detects nothing."""
    ax = drawing.axes_for(ax, 6, height=1.6 + 0.5 * max(len(effects), 2))
    if effects.empty or effects["estimate"].isna().all():
        return drawing.nothing(ax, "There is nothing to compare.")
    by, ratio = effects.columns[0], effects["scale"].eq("ratio").all()
    for place, row in enumerate(effects.to_dict("records")):
        colour = MUTED if row["verdict"] == UNDECIDED else OKABE_ITO[0]
        if not np.isnan(row["low"]):
            ax.plot([row["low"], row["high"]], [place, place], color=colour, linewidth=2.2, solid_capstyle="butt")
        ax.plot(row["estimate"], place, "o", color=colour, markersize=8)
        ax.annotate(row["verdict"], (row["estimate"], place), (0, 8), textcoords="offset points", ha="center",
                    fontsize=9, color=colour)  # fmt: skip
    shown = effects[["estimate", "low", "high"]].to_numpy(dtype=float)
    if ratio and np.nanmax(shown) > 3 * np.nanmin(shown):
        drawing.log_axis(ax.xaxis)
    ax.axvline(1 if ratio else 0, color=INK, linewidth=1)
    ax.set_yticks(range(len(effects)), [drawing.wrapped(str(value), 20) for value in effects[by]])
    base = effects["base"].iloc[0] if by == "point" else f"{by}={effects['base'].iloc[0]}"
    metric = effects["metric"].iloc[0]
    name = METRIC_NAMES.get(metric, metric)
    ax.set(ylim=(len(effects) - 0.4, -0.7), xlabel=f"{'ratio to' if ratio else 'difference from'} {base}")
    return drawing.finish(ax, name[0].upper() + name[1:], "" if by == "point" else by, grid="x")
