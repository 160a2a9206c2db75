"""What all pictures share: colours, axes, legends. Nothing here knows what is drawn."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from stacklab.stack.services import SERVICE_COLOURS, family, number_of, order_of
from stacklab.study.analysis import point_order

OKABE_ITO = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#F0E442", "#000000")
INK, MUTED, GRID = "#222222", "#6b6b6b", "#dddddd"
FAILED = "#D55E00"

PERCENTILE_STYLES = {"p50": ("#0072B2", "o"), "p95": ("#E69F00", "s"), "p99": ("#D55E00", "^")}
PERCENTILE_NAMES = {"p50": "median", "p95": "95th percentile", "p99": "99th percentile"}
MANY_INSTANCES = 4  # more Daphnes than this are drawn as one area
BIN_S = 0.5  # the sampling interval: runs are averaged in bins of it
CHARACTERS_PER_INCH = 11  # of tick labels


@contextmanager
def our_style() -> Iterator[None]:
    """Figures made and saved within are drawn as Matplotlib draws by itself, whatever a matplotlibrc or a style says."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        yield


def axes_for(ax: Axes | None, cases: int, height: float = 4.2) -> Axes:
    """`ax`, or new ones wide enough for that many cases."""
    if ax is None:
        _, ax = plt.subplots(figsize=(float(np.clip(2.6 + 1.05 * cases, 7.5, 14)), height), layout="constrained")
    return ax


def finish(ax: Axes, title: str, ylabel: str, grid: str = "y") -> Axes:
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


def nothing(ax: Axes, words: str) -> Axes:
    ax.text(0.5, 0.5, words, transform=ax.transAxes, ha="center", va="center", color=MUTED, fontsize=11)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)
    return ax


def time_axis(ax: Axes, first_s: float, last_s: float) -> None:
    """The axis of a run's time; one moment alone is drawn with a second around it."""
    around_s = 0.5 if first_s == last_s else 0.0
    ax.set(xlabel="seconds since counting began", xlim=(first_s - around_s, last_s + around_s))


def drawable(ax: Axes, table: pd.DataFrame, column: str) -> bool:
    """Whether `table` has values of `column`; if not, `ax` says so."""
    if column in table and table[column].notna().any():
        return True
    nothing(ax, f"These runs have no {column}.")
    return False


def cases_of(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """(label, rows) of each point, in the order of the factors that differ."""
    return [(point, table[table["point"] == point]) for point in point_order(table)]


def wrapped(words: str, width: int = 15) -> str:
    """Broken after commas, and between words where a part is longer than `width`."""
    return "\n".join(textwrap.fill(part, width, break_long_words=False) for part in words.replace(", ", ",\n").split("\n"))


def case_ticks(ax: Axes, table: pd.DataFrame) -> None:
    labels = [label for label, _ in cases_of(table)]
    inches = ax.get_position().width * ax.figure.get_figwidth()
    room = max(6, int(inches * CHARACTERS_PER_INCH / max(len(labels), 3)))
    if max((len(word) for label in labels for word in label.split()), default=0) <= room:
        ax.set_xticks(range(len(labels)), [wrapped(label, room) for label in labels])
    else:  # rather aslant than broken within words
        ax.set_xticks(range(len(labels)), labels, rotation=35, ha="right", rotation_mode="anchor")
    edge = max(0.6, (4 - len(labels)) / 2)  # a few cases stay in the middle
    ax.set_xlim(-edge, len(labels) - 1 + edge)


def dots(ax: Axes, place: float, values: pd.Series, valid: pd.Series, colour: str, marker: str = "o") -> None:
    """One dot a run, side by side, hollow if disturbed; a bar at their median."""
    shifts = (np.arange(len(values)) - (len(values) - 1) / 2) * min(0.055, 0.2 / max(len(values), 1))
    for shift, value, sound in zip(shifts, values, valid, strict=True):
        ax.plot(place + shift, value, marker, markersize=6, color=colour, markerfacecolor=colour if sound else "white",
                markeredgewidth=1.4, zorder=3)  # fmt: skip
    ax.hlines(values.median(), place - 0.12, place + 0.12, color=colour, linewidth=2.4, zorder=2)


def percentiles_by_case(summary: pd.DataFrame, prefix: str, ax: Axes | None) -> Axes:
    cases = cases_of(summary)
    ax = axes_for(ax, len(cases))
    if not drawable(ax, summary, f"{prefix}p50_s"):
        return ax
    for place, (_, rows) in enumerate(cases):
        for shift, (name, (colour, marker)) in zip((-0.27, 0, 0.27), PERCENTILE_STYLES.items(), strict=True):
            dots(ax, place + shift, rows[f"{prefix}{name}_s"] * 1000, rows["valid"], colour, marker)
    case_ticks(ax, summary)
    legend(ax, [*percentile_handles(), *disturbed_handle(summary)])
    return ax


def values_by_case(summary: pd.DataFrame, column: str, unit: float, colour: str, ax: Axes | None) -> Axes:
    """A bar at the median of the repeats, a dot a run."""
    cases = cases_of(summary)
    ax = axes_for(ax, len(cases))
    if not drawable(ax, summary, column):
        return ax
    for place, (_, rows) in enumerate(cases):
        values = rows[column] / unit
        ax.bar(place, values.median(), width=0.62, color=colour, alpha=0.45, zorder=1)
        dots(ax, place, values, rows["valid"], INK)
    ax.set_ylim(0, 1.18 * summary[column].max() / unit or 1)
    case_ticks(ax, summary)
    disturbed_legend(ax, summary)
    return ax


def stacked_services(resources: pd.DataFrame, column: str, unit: float, ax: Axes | None) -> Axes:
    """Areas of each service over time, one upon the other, bins of one sampling interval, the mean of the runs."""
    ax = axes_for(ax, 8)
    rows = resources.dropna(subset=[column]) if column in resources else resources.iloc[:0]
    if not drawable(ax, rows, column):
        return ax
    instances = {name for name in rows["service"] if "@" in name}
    service = rows["service"].str.partition("@")[0] if len(instances) > MANY_INSTANCES else rows["service"]
    binned = rows.assign(service=service, bin=(rows["t_s"] / BIN_S).round() * BIN_S)
    runs = binned.groupby(["experiment", "run"], observed=True).ngroups
    grid = binned.groupby(["bin", "service"])[column].sum().unstack().interpolate(limit_area="inside").fillna(0) / runs / unit
    names = sorted(grid.columns, key=order_of)
    colours = _service_colours(names)
    ax.stackplot(grid.index, [grid[name] for name in names], colors=colours, linewidth=0)
    ax.axvline(0, color=MUTED, linewidth=1)
    time_axis(ax, grid.index.min(), grid.index.max())
    handles = [Patch(color=colour, label=name) for colour, name in zip(colours, names, strict=True)]
    legend(ax, handles[::-1])
    return ax


def _service_colours(names: Sequence[str]) -> list[str]:
    """The colour of each service; instances of one are shades of its colour."""
    instances = [name for name in names if "@" in name]
    shades = dict(zip(instances, instance_colours(instances), strict=True))
    return [shades.get(name) or SERVICE_COLOURS.get(name, MUTED) for name in names]


def instance_colours(instances: Sequence[str]) -> list[str]:
    """Shades of their service's colour, from dark to light; up to daphne@4 the same on every picture."""
    numbers = [number_of(name) for name in instances]
    steps = max([4, *numbers]) - 1
    return [_shade(SERVICE_COLOURS.get(family(name), MUTED), max(number_of(name) - 1, 0) / steps) for name in instances]


def _shade(colour: str, share: float) -> str:
    """A colour, darkened a little at 0 and almost white at 1."""
    dark = [0.75 * part for part in to_rgb(colour)]
    return to_hex([part + (1 - part) * 0.72 * share for part in dark])


def text_on(colour: str) -> str:
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return INK if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else "white"


def log_axis(axis: Any) -> None:
    """Logarithmic, with ticks at 1, 2 and 5 in plain numbers; at more of them where little more than a decade is seen."""
    axis.axes.set_xscale("log") if axis.axis_name == "x" else axis.axes.set_yscale("log")
    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high > 15 * low else (1, 1.5, 2, 3, 4, 5, 6, 8)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())


def percentile_handles() -> list[Line2D]:
    return [
        Line2D([], [], color=colour, marker=marker, linestyle="", markersize=6, label=PERCENTILE_NAMES[name])
        for name, (colour, marker) in PERCENTILE_STYLES.items()
    ]


def colour(number: int) -> str:
    """The colour of a case by its number; `line` and `marker` tell apart those that share one."""
    return OKABE_ITO[number % len(OKABE_ITO)]


def line(valid: bool, number: int = 0) -> str:
    """The style of a run's line: dashed where it was disturbed; else by the number of its case, once the colours are through."""
    return ("-", ":", "-.")[number // len(OKABE_ITO) % 3] if valid else "--"


def marker(number: int) -> str:
    """The mark of a case by its number: once the colours are through, each of them with another."""
    return "os^Dv<>p"[(number + number // len(OKABE_ITO)) % 8]


def marks(ax: Axes, x: pd.Series, y: pd.Series, valid: pd.Series, colour: str, marker: str) -> None:
    """A cloud of marks, hollow where their run was disturbed."""
    for sound, of in ((True, valid.astype(bool)), (False, ~valid.astype(bool))):
        face = colour if sound else "none"
        ax.scatter(x[of], y[of], s=26, marker=marker, facecolor=face, edgecolor=colour, alpha=0.75, linewidth=0 if sound else 1)


def disturbed_handle(table: pd.DataFrame, lines: bool = False) -> list[Line2D]:
    if table["valid"].astype(bool).all():
        return []
    style = {"linestyle": line(False)} if lines else {"marker": "o", "markerfacecolor": "white", "linestyle": ""}
    return [Line2D([], [], color=MUTED, markersize=6, label="disturbed run", **style)]


def disturbed_legend(ax: Axes, table: pd.DataFrame) -> None:
    if handles := disturbed_handle(table):
        legend(ax, handles)


def legend(ax: Axes, handles: Iterable[Any], offset: float = 1.01) -> None:
    """To the right of the axes, where it covers nothing."""
    ax.legend(handles=list(handles), loc="upper left", bbox_to_anchor=(offset, 1), frameon=False, fontsize=9.5,
              borderaxespad=0, handlelength=1.4)  # fmt: skip


def percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.1 else f"{share:.1%}" if share >= 0.001 else "< 0.1%"
