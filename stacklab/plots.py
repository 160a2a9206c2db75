"""Pictures of what `analysis` gives: each function takes a DataFrame and `ax=None`, and returns the Axes.

Colours are those of Okabe and Ito, which colour-blind people can tell apart; a service has the same colour
everywhere. Suspect runs are drawn hollow (dots) or dashed (lines). Nothing to draw is said in words.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator, PercentFormatter

from stacklab.analysis import METRIC_NAMES, NO_DIFFERENCE, TOO_FEW, open_at, point_order

OKABE_ITO = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#F0E442", "#000000")
INK, MUTED, GRID = "#222222", "#6b6b6b", "#dddddd"
FAILED = "#D55E00"

SERVICE_COLOURS = {"nginx": "#0072B2", "uwsgi": "#E69F00", "daphne": "#009E73", "redis": "#D55E00"}
PERCENTILE_STYLES = {"p50": ("#0072B2", "o"), "p95": ("#E69F00", "s"), "p99": ("#D55E00", "^")}
PERCENTILE_NAMES = {"p50": "median", "p95": "95th percentile", "p99": "99th percentile"}
MANY_INSTANCES = 4  # more Daphnes than this are drawn as one area
BIN_S = 0.5  # the sampling interval: runs are averaged in bins of it
MIB = 1 << 20
CHARACTERS_PER_INCH = 11  # of tick labels


def response_times_by_case(summary: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Median, 95th and 99th percentile of each run of each case, from `analysis.summarize`; a bar is the repeats' median."""
    ax = _percentiles_by_case(summary, "", ax)
    _finish(ax, "Response times by case", "response time, ms")
    if ax.has_data():
        ax.set_ylim(0, ax.get_ylim()[1] * 1.03)
    return ax


def messages_latency_by_point(summary: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Median, 95th and 99th percentile of the time from sender to receiver, of each run of each point."""
    ax = _percentiles_by_case(summary, "latency_", ax)
    _finish(ax, "Time from sender to receiver", "latency, ms")
    if ax.has_data():
        _log_axis(ax.yaxis)
    return ax


def throughput_by_case(summary: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Counted successes a second of each run of each case; where requests failed, the share that did."""
    ax = _values_by_case(summary, "throughput_per_s", 1, "#56B4E9", ax)
    top = ax.get_ylim()[1]
    for place, (_, rows) in enumerate(_cases(summary)):
        if "errors" in rows and rows["errors"].sum():
            share = rows["errors"].sum() / rows["counted"].sum()
            ax.text(place, top * 0.985, f"{_percent(share)}\nfailed", color=FAILED, ha="center", va="top", fontsize=9)
    return _finish(ax, "Throughput by case", "successful requests per second")


def daphne_cost_by_point(summary: pd.DataFrame, ax: Axes | None = None, metric: str = "cpu_s_daphne") -> Axes:
    """What all Daphne instances together cost, each run: `cpu_s_daphne` (CPU seconds) or `pss_peak_bytes_daphne`."""
    memory = metric.startswith("pss")
    ax = _values_by_case(summary, metric, MIB if memory else 1, SERVICE_COLOURS["daphne"], ax)
    title = "Memory of all Daphnes" if memory else "CPU of all Daphnes"
    return _finish(ax, title, "peak PSS, MiB" if memory else "CPU seconds under load")


def delivered_by_point(summary: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """The share of expected deliveries that arrived, each run of each point, with the number of those lost."""
    ax = _axes(ax, len(_cases(summary)))
    if not _drawable(ax, summary, "delivered_share"):
        return ax
    for place, (_, rows) in enumerate(_cases(summary)):
        _dots(ax, place, rows["delivered_share"], rows["valid"], SERVICE_COLOURS["daphne"])
        lost = int(rows["lost"].sum() + rows["lost_while_away"].sum())
        ax.annotate(
            f"{lost:,} lost" if lost else "none lost", (place, rows["delivered_share"].min()), (0, -12),
            textcoords="offset points", ha="center", va="top", fontsize=9, color=FAILED if lost else MUTED,
        )  # fmt: skip
    least = summary["delivered_share"].min()
    room = max(1 - least, 0.04)
    ax.set_ylim(max(least - 0.35 * room, -0.1), 1 + 0.1 * room)
    ax.set_yticks([share for share in ax.get_yticks() if least - 0.35 * room <= share <= 1])
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    _case_ticks(ax, summary)
    _suspect_legend(ax, summary)
    return _finish(ax, "Messages delivered", "share of expected deliveries")


def cpu_over_time(resources: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """CPU of each service over time, stacked, in cores; of several runs the mean. From `analysis.resources`."""
    ax = _stacked_services(resources, "cpu_share", 1, ax)
    if ax.collections:
        ax.axhline(1, color=INK, linewidth=1, linestyle=(0, (4, 3)))
        ax.annotate("one core", (1, 1), (-4, 3), ("axes fraction", "data"), textcoords="offset points",
                    ha="right", va="bottom", fontsize=9, color=INK)  # fmt: skip
        ax.set_ylim(0, max(1.15, ax.get_ylim()[1]))
    return _finish(ax, "CPU by service", "cores in use")


def memory_over_time(resources: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Memory (PSS, in which shared pages are divided among their users) of each service over time, stacked."""
    ax = _stacked_services(resources, "pss_bytes", MIB, ax)
    return _finish(ax, "Memory by service", "PSS, MiB")


def client_vs_server(summary: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Each run's percentiles as the client saw them, against nginx's own. On the diagonal the two agree."""
    ax = _axes(ax, 5)
    if not _drawable(ax, summary, "server_p50_s"):
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
    _legend(ax, [*_percentile_handles(), agree, *_suspect_handle(summary)])
    return _finish(ax, "Client's view against the server's", "client's response time, ms", grid="both")


def latency_distribution(requests: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """What share of a run's successful counted requests was answered within a time; a line a run, a colour a point."""
    ax = _axes(ax, 6)
    good = requests[~requests["warmup"].astype(bool) & requests["error"].isna()]
    if not _drawable(ax, good, "response_s"):
        return ax
    shares = np.linspace(0, 1, 501)
    handles = []
    for number, (label, rows) in enumerate(_cases(good)):
        colour = OKABE_ITO[number % len(OKABE_ITO)]
        for (_, valid), run in rows.groupby(["run", "valid"], observed=True):
            quantiles = np.quantile(run["response_s"].to_numpy(dtype=float), shares) * 1000
            ax.plot(np.maximum(quantiles, 0.01), shares, color=colour, linewidth=1.3, linestyle="-" if valid else "--")
        handles.append(Line2D([], [], color=colour, linewidth=2.5, label=label))
    _log_axis(ax.xaxis)
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    ax.set(ylim=(0, 1.01), xlabel="response time, ms")
    if not good["valid"].astype(bool).all():
        handles.append(Line2D([], [], color=MUTED, linestyle="--", label="suspect run"))
    _legend(ax, handles)
    return _finish(ax, "How many were answered within …", "share of requests", grid="both")


def access_log_share(connections: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Which instance met what share, at each point; of `analysis.connections` (sockets) or `analysis.messages`."""
    cases = _cases(connections.dropna(subset=["instance"])) if "instance" in connections else []
    ax = _axes(ax, 6, height=1.6 + 0.6 * max(len(cases), 2))
    if not cases:
        return _nothing(ax, "No socket met an instance.")
    instances = sorted({name for _, rows in cases for name in rows["instance"]}, key=_instance_number)
    colours = _instance_colours(instances)
    for place, (_, rows) in enumerate(cases):
        share = rows["instance"].value_counts(normalize=True)
        left = 0.0
        for name, colour in zip(instances, colours, strict=True):
            width = float(share.get(name, 0))
            ax.barh(place, width, left=left, color=colour, edgecolor="white", height=0.62)
            if width >= 0.06:
                ax.text(left + width / 2, place, f"{width:.0%}", ha="center", va="center", fontsize=9, color=_text_on(colour))
            left += width
    ax.set_yticks(range(len(cases)), [_wrapped(label, 20) for label, _ in cases])
    ax.set(xlim=(0, 1), ylim=(len(cases) - 0.5, -0.5), xlabel="share of what the instances' access logs hold")
    ax.xaxis.set_major_formatter(PercentFormatter(1))
    _legend(ax, [Patch(color=colour, label=name) for colour, name in zip(colours, instances, strict=True)])
    return _finish(ax, "Which instance was met", "", grid="x")


def failover_timeline(
    connections: pd.DataFrame, messages: pd.DataFrame, ax: Axes | None = None, events: pd.DataFrame | None = None
) -> Axes:
    """Clients connected to each instance over time (areas), and deliveries lost a second (bars, right axis), of one run.

    `events`: what was done to the stack meanwhile, from `analysis.events`.
    """
    ax = _axes(ax, 8)
    opened = connections.dropna(subset=["connect_s", "instance"])
    if opened.empty:
        return _nothing(ax, "No client was connected.")
    begun = opened["t_s"] + opened["connect_s"]
    last = max(messages["t_s"].max(), begun.max()) if len(messages) else begun.max() + 5
    times = np.arange(np.floor(begun.min()), last + 0.1, 0.1)
    instances = sorted(opened["instance"].unique(), key=_instance_number)
    held = [open_at(begun[opened["instance"] == i], opened.loc[opened["instance"] == i, "t_end_s"], times) for i in instances]
    colours = _instance_colours(instances)
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
    ax.set(xlim=(times[0], last), xlabel="seconds since counting began")
    ax.set_ylim(0, 1.12 * np.sum(held, axis=0).max())
    _legend(ax, handles, offset=1.12)
    return _finish(ax, "Clients connected, and what was lost", "clients connected")


def memory_per_socket(sockets: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Daphne's memory against its open sockets, until all are open. The slope is what one takes. From `analysis.sockets`."""
    ax = _axes(ax, 6)
    if not _drawable(ax, sockets, "pss_bytes"):
        return ax
    # What a process has once had it keeps: afterwards memory says nothing of the sockets.
    sockets = sockets.groupby(["experiment", "run"], group_keys=False, observed=True)[list(sockets)].apply(_while_opening)
    handles = []
    for number, (label, rows) in enumerate(_cases(sockets)):
        colour, marker = OKABE_ITO[number % len(OKABE_ITO)], "os^Dv<>p"[number % 8]
        ax.scatter(rows["sockets"], rows["pss_bytes"] / MIB, s=22, color=colour, marker=marker, alpha=0.7, linewidth=0)
        words = label
        if rows["sockets"].nunique() > 1:
            slope, base = np.polyfit(rows["sockets"], rows["pss_bytes"].astype(float), 1)
            ends = np.array([0, rows["sockets"].max()])
            ax.plot(ends, (base + slope * ends) / MIB, color=colour, linewidth=1.5)
            words += f"\n{slope / 1024:,.0f} KiB a socket"
        handles.append(Line2D([], [], color=colour, marker=marker, linewidth=1.5, label=words))
    ax.set(xlabel="open sockets")
    ax.set_ylim(bottom=0)
    _legend(ax, handles)
    return _finish(ax, "What an open socket costs", "PSS of all Daphnes, MiB", grid="both")


def _while_opening(sockets: pd.DataFrame) -> pd.DataFrame:
    sockets = sockets.sort_values("t_s")
    return sockets.iloc[: int(sockets["sockets"].to_numpy().argmax()) + 1]


def gauge_over_time(gauges: pd.DataFrame, names: Sequence[str], ax: Axes | None = None) -> Axes:
    """Gauges of the machine (uwsgi_listen_queue, nginx_active, …) over time, of one run. From `analysis.gauges`."""
    ax = _axes(ax, 8)
    rows = gauges[gauges["name"].isin(names)]
    if not _drawable(ax, rows, "value"):
        return ax
    for number, name in enumerate(names):
        mine = rows[rows["name"] == name].sort_values("t_s")
        ax.plot(mine["t_s"], mine["value"], color=OKABE_ITO[number % len(OKABE_ITO)], linewidth=1.6, label=name)
    ax.set(xlabel="seconds since counting began")
    ax.set_ylim(bottom=0)
    _legend(ax, ax.get_legend_handles_labels()[0])
    return _finish(ax, "The machine under load", "value")


def comparison(effects: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Ratios to the base with their intervals, from `analysis.compare`; one that meets the line detects nothing."""
    ax = _axes(ax, 6, height=1.6 + 0.5 * max(len(effects), 2))
    if effects.empty or effects["estimate"].isna().all():
        return _nothing(ax, "There is nothing to compare.")
    by, ratio = effects.columns[0], effects["scale"].eq("ratio").all()
    for place, row in enumerate(effects.to_dict("records")):
        colour = MUTED if row["verdict"] in (NO_DIFFERENCE, TOO_FEW) else OKABE_ITO[0]
        if not np.isnan(row["low"]):
            ax.plot([row["low"], row["high"]], [place, place], color=colour, linewidth=2.2, solid_capstyle="butt")
        ax.plot(row["estimate"], place, "o", color=colour, markersize=8)
        ax.annotate(row["verdict"], (row["estimate"], place), (0, 8), textcoords="offset points", ha="center",
                    fontsize=9, color=colour)  # fmt: skip
    shown = effects[["estimate", "low", "high"]].to_numpy(dtype=float)
    if ratio and np.nanmax(shown) > 3 * np.nanmin(shown):
        _log_axis(ax.xaxis)
    ax.axvline(1 if ratio else 0, color=INK, linewidth=1)
    ax.set_yticks(range(len(effects)), [_wrapped(str(value), 20) for value in effects[by]])
    base = effects["base"].iloc[0] if by == "point" else f"{by}={effects['base'].iloc[0]}"
    metric = effects["metric"].iloc[0]
    name = METRIC_NAMES.get(metric, metric)
    ax.set(ylim=(len(effects) - 0.4, -0.7), xlabel=f"{'ratio to' if ratio else 'difference from'} {base}")
    return _finish(ax, name[0].upper() + name[1:], "" if by == "point" else by, grid="x")


# ---------------------------------------------------------------- shared pieces


def _axes(ax: Axes | None, cases: int, height: float = 4.2) -> Axes:
    """`ax`, or new ones wide enough for that many cases."""
    if ax is None:
        _, ax = plt.subplots(figsize=(float(np.clip(2.6 + 1.05 * cases, 7.5, 14)), height), layout="constrained")
    return ax


def _finish(ax: Axes, title: str, ylabel: str, grid: str = "y") -> Axes:
    """Title, axis name and a quiet frame, the same on every picture."""
    ax.set_title(title, loc="left", fontsize=12.5, fontweight="bold", color=INK, pad=9)
    ax.set_ylabel(ylabel)
    for label in (ax.xaxis.label, ax.yaxis.label):
        label.set(fontsize=10.5, color=INK)
    ax.tick_params(labelsize=10, colors=INK, length=0)
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(MUTED)
    if ax.has_data():
        ax.grid(axis=grid, color=GRID, linewidth=0.8)
        ax.set_axisbelow(True)
    return ax


def _nothing(ax: Axes, words: str) -> Axes:
    ax.text(0.5, 0.5, words, transform=ax.transAxes, ha="center", va="center", color=MUTED, fontsize=11)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)
    return ax


def _drawable(ax: Axes, table: pd.DataFrame, column: str) -> bool:
    """Whether `table` has values of `column`; if not, `ax` says so."""
    if column in table and table[column].notna().any():
        return True
    _nothing(ax, f"These runs have no {column}.")
    return False


def _cases(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """(label, rows) of each point, in the order of the factors that differ."""
    return [(point, table[table["point"] == point]) for point in point_order(table)]


def _wrapped(words: str, width: int = 15) -> str:
    """Broken after commas, and between words where a part is longer than `width`."""
    return "\n".join(textwrap.fill(part, width, break_long_words=False) for part in words.replace(", ", ",\n").split("\n"))


def _case_ticks(ax: Axes, table: pd.DataFrame) -> None:
    labels = [label for label, _ in _cases(table)]
    inches = ax.get_position().width * ax.figure.get_figwidth()
    room = max(6, int(inches * CHARACTERS_PER_INCH / max(len(labels), 3)))
    if max((len(word) for label in labels for word in label.split()), default=0) <= room:
        ax.set_xticks(range(len(labels)), [_wrapped(label, room) for label in labels])
    else:  # rather aslant than broken within words
        ax.set_xticks(range(len(labels)), labels, rotation=35, ha="right", rotation_mode="anchor")
    edge = max(0.6, (4 - len(labels)) / 2)  # a few cases stay in the middle
    ax.set_xlim(-edge, len(labels) - 1 + edge)


def _dots(ax: Axes, place: float, values: pd.Series, valid: pd.Series, colour: str, marker: str = "o") -> None:
    """One dot a run, side by side, hollow if suspect; a bar at their median."""
    shifts = (np.arange(len(values)) - (len(values) - 1) / 2) * min(0.055, 0.2 / max(len(values), 1))
    for shift, value, sound in zip(shifts, values, valid, strict=True):
        ax.plot(place + shift, value, marker, markersize=6, color=colour, markerfacecolor=colour if sound else "white",
                markeredgewidth=1.4, zorder=3)  # fmt: skip
    ax.hlines(values.median(), place - 0.12, place + 0.12, color=colour, linewidth=2.4, zorder=2)


def _percentiles_by_case(summary: pd.DataFrame, prefix: str, ax: Axes | None) -> Axes:
    cases = _cases(summary)
    ax = _axes(ax, len(cases))
    if not _drawable(ax, summary, f"{prefix}p50_s"):
        return ax
    for place, (_, rows) in enumerate(cases):
        for shift, (name, (colour, marker)) in zip((-0.27, 0, 0.27), PERCENTILE_STYLES.items(), strict=True):
            _dots(ax, place + shift, rows[f"{prefix}{name}_s"] * 1000, rows["valid"], colour, marker)
    _case_ticks(ax, summary)
    _legend(ax, [*_percentile_handles(), *_suspect_handle(summary)])
    return ax


def _values_by_case(summary: pd.DataFrame, column: str, unit: float, colour: str, ax: Axes | None) -> Axes:
    """A bar at the median of the repeats, a dot a run."""
    cases = _cases(summary)
    ax = _axes(ax, len(cases))
    if not _drawable(ax, summary, column):
        return ax
    for place, (_, rows) in enumerate(cases):
        values = rows[column] / unit
        ax.bar(place, values.median(), width=0.62, color=colour, alpha=0.45, zorder=1)
        _dots(ax, place, values, rows["valid"], INK)
    ax.set_ylim(0, 1.18 * summary[column].max() / unit or 1)
    _case_ticks(ax, summary)
    _suspect_legend(ax, summary)
    return ax


def _stacked_services(resources: pd.DataFrame, column: str, unit: float, ax: Axes | None) -> Axes:
    """Areas of each service over time, one upon the other, bins of one sampling interval, the mean of the runs."""
    ax = _axes(ax, 8)
    rows = resources.dropna(subset=[column]) if column in resources else resources.iloc[:0]
    if not _drawable(ax, rows, column):
        return ax
    instances = {name for name in rows["service"] if "@" in name}
    service = rows["service"].str.partition("@")[0] if len(instances) > MANY_INSTANCES else rows["service"]
    binned = rows.assign(service=service, bin=(rows["t_s"] / BIN_S).round() * BIN_S)
    runs = binned.groupby(["experiment", "run"], observed=True).ngroups
    grid = binned.groupby(["bin", "service"])[column].sum().unstack().interpolate(limit_area="inside").fillna(0) / runs / unit
    names = sorted(grid.columns, key=_service_order)
    colours = _service_colours(names)
    ax.stackplot(grid.index, [grid[name] for name in names], colors=colours, linewidth=0)
    ax.axvline(0, color=MUTED, linewidth=1)
    ax.set(xlabel="seconds since counting began", xlim=(grid.index.min(), grid.index.max()))
    handles = [Patch(color=colour, label=name) for colour, name in zip(colours, names, strict=True)]
    _legend(ax, handles[::-1])
    return ax


def _service_order(name: str) -> tuple[int, int]:
    family = name.partition("@")[0]
    known = list(SERVICE_COLOURS)
    return (known.index(family) if family in known else len(known), _instance_number(name))


def _instance_number(name: str) -> int:
    number = name.rpartition("@")[2]
    return int(number) if number.isdigit() else 0


def _service_colours(names: Sequence[str]) -> list[str]:
    """The colour of each service; instances of one are shades of its colour."""
    instances = [name for name in names if "@" in name]
    shades = dict(zip(instances, _instance_colours(instances), strict=True))
    return [shades.get(name) or SERVICE_COLOURS.get(name, MUTED) for name in names]


def _instance_colours(instances: Sequence[str]) -> list[str]:
    """Shades of Daphne's green, from dark to light; up to daphne@4 the same on every picture."""
    numbers = [_instance_number(name) for name in instances]
    steps = max([4, *numbers]) - 1
    return [to_hex(colormaps["BuGn"](0.9 - 0.62 * max(number - 1, 0) / steps)) for number in numbers]


def _text_on(colour: str) -> str:
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return INK if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else "white"


def _log_axis(axis: Any) -> None:
    """Logarithmic, with ticks at 1, 2 and 5 in plain numbers; at more of them where little more than a decade is seen."""
    axis.axes.set_xscale("log") if axis.axis_name == "x" else axis.axes.set_yscale("log")
    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high > 15 * low else (1, 1.5, 2, 3, 4, 5, 6, 8)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())


def _percentile_handles() -> list[Line2D]:
    return [
        Line2D([], [], color=colour, marker=marker, linestyle="", markersize=6, label=PERCENTILE_NAMES[name])
        for name, (colour, marker) in PERCENTILE_STYLES.items()
    ]


def _suspect_handle(table: pd.DataFrame) -> list[Line2D]:
    if table["valid"].astype(bool).all():
        return []
    return [Line2D([], [], color=MUTED, marker="o", markerfacecolor="white", linestyle="", markersize=6, label="suspect run")]


def _suspect_legend(ax: Axes, table: pd.DataFrame) -> None:
    if handles := _suspect_handle(table):
        _legend(ax, handles)


def _legend(ax: Axes, handles: Iterable[Any], offset: float = 1.01) -> None:
    """To the right of the axes, where it covers nothing."""
    ax.legend(handles=list(handles), loc="upper left", bbox_to_anchor=(offset, 1), frameon=False, fontsize=9.5,
              borderaxespad=0, handlelength=1.4)  # fmt: skip


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.1 else f"{share:.1%}" if share >= 0.001 else "< 0.1%"
