"""The report's pictures: which there are for what was measured, and how to read each."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.figure import Figure

from stacklab.runs.results import Run
from stacklab.study import analysis, crowdplots, drawing, generators, improvements, knees, plots, scaling, servers, words
from stacklab.study.summary import METRIC_NAMES
from stacklab.study.verdicts import compare


@dataclass(frozen=True)
class Picture:
    """An image as a data: address, what it shows for those who cannot see it, and how to read it."""

    image: str
    alt: str
    caption: str


def http_pictures(runs: Sequence[Run], summary: pd.DataFrame) -> list[Picture]:
    typical = _typical_runs(runs, summary, "p50_s")
    resources = analysis.resources(typical)
    spread = _spread(summary, "p50_s", "median response time", "ms", 1000)
    return [
        _picture(
            _faceted(summary, plots.response_times_by_case),
            f"Response times by case: one dot a run for median, 95th and 99th percentile. {spread}",
            "One dot a run, a bar at the median of the repeats. Percentiles are of each run's raw successful counted requests.",
        ),
        _picture(
            _faceted(summary, plots.throughput_by_case),
            f"Throughput by case, one dot a run. {_spread(summary, 'throughput_per_s', 'throughput', 'requests/s', 1)}",
            "Counted successes over the time from the first counted start to the last counted end. "
            "Failures are named where there were any.",
        ),
        *_against_first(runs, summary, "p50_s"),
        _picture(
            _single(lambda ax: plots.latency_distribution(analysis.requests(runs), ax)),
            "Distribution of response times: a line for each run, coloured by case.",
            "Further left is faster; a long upper tail leans to the right.",
        ),
        *_tail_picture(runs),
        *_resource_pictures(resources),
        _picture(
            _single(lambda ax: plots.client_vs_server(summary, ax), height=5),
            "Percentiles as the client measured them against those in nginx's log, one dot a run.",
            "On the line both agree. Above it, time was spent outside nginx: in the network, in TLS, or in the generator.",
        ),
    ]


def foreign_pictures(runs: Sequence[Run], summary: pd.DataFrame) -> list[Picture]:
    times = "One dot a run. Percentiles are those of the table: of samples, linear; else as the file states them."
    spread = _spread(summary, "p50_s", "median response time", "ms", 1000)
    rates = _spread(summary, "throughput_per_s", "throughput", "requests/s", 1)
    distribution = _single(lambda ax: plots.latency_distribution(analysis.requests(runs), ax))
    return [
        _picture(_faceted(summary, plots.response_times_by_case), f"Response times by file. {spread}", times),
        _picture(_faceted(summary, plots.throughput_by_case), f"Throughput by file. {rates}", "Successes a second, if told."),
        _picture(distribution, "Distribution of response times: a line for each file that holds its samples.", "Left is faster."),
    ]


def chat_pictures(runs: Sequence[Run], summary: pd.DataFrame) -> list[Picture]:
    typical = _typical_runs(runs, summary, "latency_p50_s")
    resources = analysis.resources(typical)
    sockets = analysis.connections(runs)
    if summary.get("deliveries", pd.Series(dtype=float)).sum():
        said = [
            _picture(
                _single(lambda ax: plots.messages_latency_by_point(summary, ax)),
                "Time from sender to receiver by case, one dot a run, on a logarithmic scale. "
                + _spread(summary, "latency_p50_s", "median latency", "ms", 1000),
                "One dot a run, a bar at the median of the repeats. The scale is logarithmic.",
            ),
            _picture(
                _single(lambda ax: plots.delivered_by_point(summary, ax)),
                f"Share of messages delivered by case. {_spread(summary, 'delivered_share', 'share delivered', '%', 100)}",
                "Each message is expected once by each member of its room. Losses are those of all runs of a case.",
            ),
        ]
        cpu = plots.DAPHNE_CPU
    else:
        said, cpu = [], "cpu_s_daphne"  # sockets that said nothing
    return [
        *said,
        _picture(
            _paired(
                lambda ax: plots.daphne_cost_by_point(summary, ax, metric=cpu),
                lambda ax: plots.daphne_cost_by_point(summary, ax, metric="pss_peak_bytes_daphne"),
            ),
            "What all instances together cost by case: CPU seconds, and peak memory.",
            "All instances together; a bar at the median of the repeats, a dot a run.",
        ),
        *_against_first(runs, summary, "latency_p95_s"),
        *_against_first(runs, summary, cpu),
        _picture(
            _single(lambda ax: plots.access_log_share(sockets, ax), height=1.6 + 0.5 * max(2, summary["point"].nunique())),
            "The share of sockets that each instance held, by case.",
            "Every connection counts once, as a line in the access log of its instance.",
        ),
        *_crowd_pictures(runs, typical),
        *_outage_pictures(runs, summary),
        *_resource_pictures(resources),
        _picture(
            _single(lambda ax: plots.memory_per_socket(analysis.sockets(runs), ax)),
            "Memory of all instances against the number of open sockets, with the slope of each case.",
            "The slope is the memory of one more socket, while the sockets were opening.",
        ),
    ]


def server_pictures(runs: Sequence[Run], lines: Sequence[dict[str, str]]) -> list[Picture]:
    """What each ASGI server costs and bears; `lines` say so in words."""
    told = "; ".join(", ".join(f"{name} {value}" for name, value in line.items()) for line in lines)
    caption = (
        "A bar at the median of the sound runs, a dot a run, hollow where it was disturbed. Of clients more is better, of the "
        "rest less."
    )
    return [_picture(servers.picture(runs), f"The servers side by side. {told}.", caption)]


def generator_pictures(runs: Sequence[Run]) -> list[Picture]:
    """Up to where each load generator is believed, and what it costs."""
    caption = (
        "A dot a run, hollow where it was disturbed. Left and middle: what the generator's own times have beyond nginx's, grey "
        "what makes no difference. Right: the CPU that it takes itself, a bar at the median."
    )
    return [_picture(generators.picture(runs), " ".join(generators.limits(runs)), caption)]


def capacity_pictures(runs: Sequence[Run]) -> list[Picture]:
    """Up to which load the objective holds."""
    caption = (
        "A mark a trial, hollow where its search was disturbed; one whose load failed is not drawn. The line is the knee, "
        "between met and missed, the band its 95 % interval over sound blocks."
    )
    return [_picture(knees.picture(runs), " ".join(knees.sentences(runs)), caption)]


def growth_pictures(runs: Sequence[Run]) -> list[Picture]:
    """Throughput over processes, and what three models make of it."""
    caption = "A dot a run, hollow where it was disturbed; the lines are fitted to the sound ones."
    return [_picture(scaling.picture(runs), " ".join(scaling.sentences(runs)), caption)]


def improvement_pictures(table: pd.DataFrame) -> list[Picture]:
    """What each improvement is worth: of `improvements.worth`, where these were set against stock."""
    if table.empty:
        return []
    caption = (
        "A line is a 95 % interval over blocks, grey what makes no difference. Green is better than stock, orange worse, "
        "blue the same; hollow and grey is undecided."
    )
    said = "; ".join(f"{row.point}, {METRIC_NAMES[row.metric]}: {row.verdict}" for row in table.itertuples())
    return [_picture(improvements.worth_picture(table), f"Each improvement against stock. {said}.", caption)]


def _crowd_pictures(runs: Sequence[Run], typical: Sequence[Run]) -> list[Picture]:
    """How a chat went second by second, each case by itself; and what there is to see of large rooms, bursts and storms."""
    drawn, events = analysis.messages(typical), analysis.events(typical)
    seen = []
    if drawn["latency_s"].notna().any():
        seen.append(_picture(
            _small_multiples(drawn, lambda rows, ax: crowdplots.latency_over_time(rows, ax, events)),
            "Latency of what was said in each second, and the share of it that was lost, a small picture for each case.",
            "For each case the run nearest the median: median and 95th percentile of what was sent in each second; the red "
            "columns are the share of its deliveries that never came. Dashed: what happened.",
        ))  # fmt: skip
    if any(run.workload.largest_room for run in runs):
        seen.append(_picture(
            _single(lambda ax: crowdplots.latency_by_room_size(analysis.messages(runs), ax)),
            "The 95th percentile of the latency of each room against the number of receivers in it.",
            "One mark a room. What a large room costs its own people, and what the small rooms beside it pay.",
        ))  # fmt: skip
    if bursting := [run for run in runs if run.workload.burst_at_s is not None]:
        seen.append(_picture(
            _single(lambda ax: crowdplots.burst_spread(analysis.messages(bursting), ax)),
            "The share of a burst's deliveries that had arrived, over time since the burst, by case.",
            "A line a run, from the first receiver to the last. One that ends below 100 % lost the rest.",
        ))  # fmt: skip
    if moving := [run for run in typical if run.workload.storm_at_s is not None or run.workload.churn_per_s or run.events]:
        seen.append(_picture(
            _single(lambda ax: crowdplots.clients_over_time(analysis.connections(moving), ax, analysis.events(moving))),
            "The number of clients connected over time, a line for each case in which they were cut off or came and went.",
            "How deep it falls and how soon all are back. Where clients only leave and come, the line stays near the top.",
        ))  # fmt: skip
    return seen


def _tail_picture(runs: Sequence[Run]) -> list[Picture]:
    """Where something was done to the stack: the distributions to their slowest, the closed loop's beside the schedule's."""
    if not any(run.events for run in runs):
        return []
    what = ", ".join(dict.fromkeys(event["what"] for run in runs for event in run.events))
    caption = (
        "Each step to the right, from 90 to 99 to 99.9 %, is as wide as the one before. In a closed loop nobody asks while "
        "nobody is answered, so a standstill shows in a few requests only (coordinated omission); on a schedule all those count "
        "that were due meanwhile, from when they were due."
    )
    drawn = _single(lambda ax: plots.percentiles_to_the_tail(analysis.requests(runs), ax))
    return [_picture(drawn, f"Response times by percentile, up to the slowest, on logarithmic axes. Meanwhile: {what}.", caption)]


def _resource_pictures(resources: pd.DataFrame) -> list[Picture]:
    chosen = "For each case the run nearest the median. Before 0 the load ramps up and warms up."
    return [
        _picture(
            _small_multiples(resources, plots.cpu_over_time),
            "CPU of each service over time, stacked, a small picture for each case.",
            f"{chosen} The dashed line is one core.",
        ),
        _picture(
            _small_multiples(resources, plots.memory_over_time),
            "Memory of each service over time, stacked, a small picture for each case.",
            f"{chosen} PSS divides shared pages among their users, so the areas may be added.",
        ),
    ]


def _against_first(runs: Sequence[Run], summary: pd.DataFrame, metric: str) -> list[Picture]:
    """Intervals of each case against the first of the same load; nothing where there is too little to compare."""
    if metric not in summary or summary["point"].nunique() < 2:
        return []
    load = next((name for name in ("users", "clients") if name in summary), None)
    groups = [set(group["point"]) for _, group in summary.groupby(load)] if load else [set(summary["point"])]
    chosen = [[run for run in runs if (run.point or run.run) in points] for points in groups if len(points) > 1]
    effects = [compare(group, metric) for group in chosen]
    if all(effect["low"].isna().all() for effect in effects):
        return []
    figure = _figure(10.5, 1.2 + 0.5 * max(len(effect) for effect in effects) + 0.3)
    for ax, effect in zip(figure.subplots(1, len(effects), squeeze=False)[0], effects, strict=True):
        plots.comparison(effect, ax)
    name = METRIC_NAMES.get(metric, metric)
    words = "; ".join(f"{row.point}: {row.verdict}" for effect in effects for row in effect.itertuples())
    caption = (
        "Each case against the first of its picture, paired within each repeat. The intervals of one picture hold together "
        "with 95 %; one that meets the line at no change detects nothing."
    )
    return [_picture(figure, f"The {name} of each case against the first. {words}.", caption)]


def _outage_pictures(runs: Sequence[Run], summary: pd.DataFrame) -> list[Picture]:
    """The timeline of the run in which most sockets were closed early; of the first with an event if none were."""
    dropped = summary["disconnects"].fillna(0).tolist() if "disconnects" in summary else [0] * len(runs)
    number, run = max(enumerate(runs), key=lambda pair: (dropped[pair[0]], len(pair[1].events)))
    if not (dropped[number] or run.events):
        return []
    happened = "".join(f" {row.what} at {row.t_s:.1f} s." for row in analysis.events([run]).itertuples())
    tables = analysis.connections([run]), analysis.messages([run])
    figure = _single(lambda ax: plots.failover_timeline(*tables, ax, analysis.events([run])))
    caption = f"The run {run.run}: sockets closed early: {dropped[number]:,.0f}.{happened}"
    return [_picture(figure, "Clients connected to each instance over time, and deliveries lost each second.", caption)]


def _typical_runs(runs: Sequence[Run], summary: pd.DataFrame, metric: str) -> list[Run]:
    """Of each point, in order, the run whose `metric` is nearest its median."""
    chosen = []
    for point in analysis.point_order(summary):
        rows = summary[summary["point"] == point]
        if metric in rows and rows[metric].notna().any():
            rows = rows.loc[[(rows[metric] - rows[metric].median()).abs().idxmin()]]
        chosen.append((rows.iloc[0]["experiment"], rows.iloc[0]["run"]))
    by_name = {(run.experiment, run.run): run for run in runs}
    return [by_name[name] for name in chosen]


def _spread(summary: pd.DataFrame, column: str, name: str, unit: str, scale: float) -> str:
    """A sentence with the range of a column, for those who cannot see the picture."""
    if column not in summary or summary[column].isna().all():
        return f"There is no {name}."
    low, high = summary[column].min() * scale, summary[column].max() * scale
    return f"The {name} runs from {words.number(low)} to {words.number(high)} {unit}."


def _figure(width: float, height: float) -> Figure:
    return Figure(figsize=(width, height), layout="constrained")


def _single(draw: Callable[[Any], Any], height: float = 4.2) -> Figure:
    figure = _figure(10.5, height)
    draw(figure.subplots())
    return figure


def _paired(left: Callable[[Any], Any], right: Callable[[Any], Any]) -> Figure:
    figure = _figure(10.5, 4.0)
    axes = figure.subplots(1, 2)
    for ax, draw in zip(axes, (left, right), strict=True):
        draw(ax)
    _one_legend(figure, axes)
    return figure


def _faceted(summary: pd.DataFrame, draw: Callable[..., Any]) -> Figure:
    """`draw` for each number of users side by side, where they differ; one axes otherwise."""
    groups = list(summary.groupby("users")) if "users" in summary else [(None, summary)]
    figure = _figure(10.5, 4.2 * -(-len(groups) // 2))
    axes = figure.subplots(-(-len(groups) // 2), min(2, len(groups)), squeeze=False).ravel()
    for ax, (users, rows) in zip(axes, groups, strict=False):
        draw(rows, ax)
        if users is not None:
            ax.set_title(f"{ax.get_title(loc='left')}, {users} users", loc="left", fontsize=12.5, fontweight="bold")
    _one_legend(figure, axes)
    for ax in axes[len(groups) :]:
        ax.remove()
    top = max(ax.get_ylim()[1] for ax in axes[: len(groups)])
    for ax in axes[: len(groups)]:
        ax.set_ylim(0, top)
    return figure


def _small_multiples(resources: pd.DataFrame, draw: Callable[..., Any]) -> Figure:
    """`draw` for each point, up to four a row, on common axes; one legend."""
    points = analysis.point_order(resources)
    if len(points) < 2:
        return _single(lambda ax: draw(resources, ax))
    columns = min(4, len(points))
    rows = -(-len(points) // columns)
    figure = _figure(10.5, 0.6 + 2.1 * rows)
    axes = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    for place, (ax, point) in enumerate(zip(axes, points, strict=False)):
        draw(resources[resources["point"] == point], ax)
        ax.set_title(drawing.wrapped(point, 26), loc="left", fontsize=10, fontweight="bold")
        ax.set_xlabel("seconds" if place >= len(points) - columns else "")
        if place % columns:
            ax.set_ylabel("")
    for ax in axes[len(points) :]:
        ax.remove()
    _one_legend(figure, axes, reverse=True)
    return figure


def _one_legend(figure: Figure, axes: Sequence[Any], reverse: bool = False) -> None:
    """The longest of the axes' legends, above all of them, in place of each one's own."""
    legends = [legend for ax in axes if (legend := ax.get_legend())]
    if not legends:
        return
    handles = max((legend.legend_handles for legend in legends), key=len)
    for legend in legends:
        legend.remove()
    figure.legend(handles=handles[:: -1 if reverse else 1], loc="outside upper left", ncols=8, frameon=False,
                  fontsize=9.5, handlelength=1.2)  # fmt: skip


def _picture(figure: Figure, alt: str, caption: str) -> Picture:
    """`figure` as SVG whose words stay text: the browser has fonts for any script, and they can be searched."""
    image = io.BytesIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "stacklab"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # of the layout's font, not of the browser's
        figure.savefig(image, format="svg", metadata={"Date": None})
    data = base64.b64encode(image.getvalue()).decode("ascii")
    return Picture(f"data:image/svg+xml;base64,{data}", alt, caption)
