"""`write_report`: runs as one HTML file that stands alone, pictures inside, for reading, mailing and printing."""

from __future__ import annotations

import base64
import io
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from stacklab import analysis, plots
from stacklab.analysis import TOO_FEW, Judgement
from stacklab.errors import ResultsError
from stacklab.results import Run
from stacklab.settings import StackSettings

TEMPLATE = Path(__file__).with_name("report.html.j2")
MOST_POINTS = 16  # in one picture; the tables hold all
MIB = 1 << 20


@dataclass(frozen=True)
class Picture:
    """An image as a data: address, what it shows for those who cannot see it, and how to read it."""

    image: str
    alt: str
    caption: str


@dataclass(frozen=True)
class Section:
    """What the report says of the HTTP runs, or of the chat runs."""

    title: str
    sentences: list[str]
    table: list[dict[str, str]]
    judgements: list[dict[str, Any]]
    pictures: list[Picture]


def write_report(runs: Sequence[Run], out: Path) -> Path:
    """Write the report of `runs` to the file `out` (or to report.html in the folder `out`). Returns its path.

    ResultsError if there are no runs, or a table of theirs is damaged; missing tables are said in words.
    """
    if not runs:
        raise ResultsError("there are no runs to report on; measure some first ('fab experiment eight-cases --quick')")
    out = Path(out)
    if out.is_dir():
        out = out / "report.html"
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    page = environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        title=", ".join(dict.fromkeys(run.experiment for run in runs)),
        measured=_when(runs),
        count=len(runs),
        suspect=[run for run in runs if not run.validity.valid],
        valid=[run for run in runs if run.validity.valid],
        sections=[_section(kind, chosen) for kind in ("http", "chat") if (chosen := [run for run in runs if run.kind == kind])],
        environment=_environment(runs),
        commands=_commands(runs),
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    new = out.with_name(f".{out.name}.new")
    new.write_text(page, encoding="utf-8")
    new.replace(out)
    return out


def _section(kind: str, runs: Sequence[Run]) -> Section:
    summary = analysis.summarize(runs)
    points = analysis.point_order(summary)
    drawn = [run for run in runs if (run.point or run.run) in points[:MOST_POINTS]]
    draw = _http_pictures if kind == "http" else _chat_pictures
    row = _http_row if kind == "http" else _chat_row
    sentences = _setup(runs, points)
    if len(points) > MOST_POINTS:
        sentences.append(f"The pictures show the first {MOST_POINTS} of {len(points)} cases; the table holds all.")
    return Section(
        title="HTTP" if kind == "http" else "Chat",
        sentences=sentences,
        table=[row(point, summary[summary["point"] == point]) for point in points],
        judgements=[judgement_words(judgement) for judgement in analysis.judge_all(runs)],
        pictures=draw(drawn, summary[summary["point"].isin(points[:MOST_POINTS])]),
    )


# ---------------------------------------------------------------- words


def _when(runs: Sequence[Run]) -> str:
    ends = min(run.started_s for run in runs), max(run.ended_s for run in runs)
    first, last = (time.strftime("%Y-%m-%d %H:%M", time.localtime(end)) for end in ends)
    return f"{first} to {last}" if first != last else first


def _setup(runs: Sequence[Run], points: Sequence[str]) -> list[str]:
    """What was asked, in two or three sentences."""
    by_size = sorted(runs, key=lambda run: run.workload.users if run.kind == "http" else run.workload.clients)
    loads = "; ".join(dict.fromkeys(_load_words(run) for run in by_size))
    repeats = len({(run.experiment, run.repeat) for run in runs})
    times = "once" if repeats == 1 else f"{repeats} times, in random order within each repeat"
    cases = f"{len(points)} cases, each run {times}" if len(points) > 1 else f"One case, run {times}"
    varying = [name for name in analysis.factors(runs) if name in StackSettings.rules()]
    fields = [run.settings.to_dict() for run in runs]
    differ = "; ".join(f"{name} ({', '.join(_distinct(row[name] for row in fields))})" for name in varying)
    settings = f"The cases differ in {differ}." if varying else "The settings were the same in all runs."
    sentences = [f"{cases}: {loads}.", settings]
    if repeats == 1:
        sentences.append("One repeat cannot tell luck from effect: verdicts need two repeats, better three or more.")
    return sentences


def _load_words(run: Run) -> str:
    load = run.workload
    if run.kind == "http":
        pace = f" on a schedule of {load.requests_per_s:g} requests/s" if load.requests_per_s else ""
        return f"{load.requests:,} requests for {load.path} by {load.users:,} users{pace}"
    return (
        f"{load.clients:,} clients in {load.rooms:,} rooms, each sending {load.messages_per_s:g} messages/s "
        f"of {load.size_bytes} characters for {load.duration_s:g} s"
    )


def _distinct(values: Any) -> list[str]:
    return [str(value) for value in sorted(set(values), key=lambda value: (value is None, isinstance(value, str), value))]


def _http_row(point: str, rows: pd.DataFrame) -> dict[str, str]:
    return {
        "case": point,
        "runs": _counted_runs(rows),
        "requests/s": _median(rows, "throughput_per_s", 1, with_range=True),
        "median, ms": _median(rows, "p50_s", 1000),
        "p95, ms": _median(rows, "p95_s", 1000),
        "p99, ms": _median(rows, "p99_s", 1000),
        "failed": _sum(rows, "errors"),
        "CPU s per 1000": _median(rows, "cpu_s_per_1000_requests", 1),
        "peak PSS, MiB": _median(rows, "pss_peak_bytes", 1 / MIB),
    }


def _chat_row(point: str, rows: pd.DataFrame) -> dict[str, str]:
    return {
        "case": point,
        "runs": _counted_runs(rows),
        "delivered": _share(rows, "delivered_share"),
        "lost": _sum(rows, "lost"),
        "lost while away": _sum(rows, "lost_while_away"),
        "twice": _sum(rows, "duplicated"),
        "out of order": _sum(rows, "out_of_order"),
        "latency p50 / p95 / p99, ms": " / ".join(_median(rows, f"latency_p{q}_s", 1000) for q in analysis.PERCENTILES),
        "connect p95, ms": _median(rows, "connect_p95_s", 1000),
        "dropped": _sum(rows, "disconnects"),
        "back after, s": _median(rows, "away_max_s", 1),
        "longest silence, s": _median(rows, "silence_max_s", 1),
        "Daphne CPU s": _median(rows, "cpu_s_daphne", 1),
        "Daphne PSS, MiB": _median(rows, "pss_peak_bytes_daphne", 1 / MIB),
    }


def _counted_runs(rows: pd.DataFrame) -> str:
    suspect = int((~rows["valid"].astype(bool)).sum())
    return f"{len(rows)}" + (f" ({suspect} suspect)" if suspect else "")


def _median(rows: pd.DataFrame, column: str, unit: float, with_range: bool = False) -> str:
    if column not in rows or rows[column].isna().all():
        return "–"
    values = rows[column].dropna() * unit
    words = _number(values.median())
    return f"{words} ({_number(values.min())}–{_number(values.max())})" if with_range and len(values) > 1 else words


def _sum(rows: pd.DataFrame, column: str) -> str:
    return "–" if column not in rows or rows[column].isna().all() else f"{int(rows[column].sum()):,}"


def _share(rows: pd.DataFrame, column: str) -> str:
    return "–" if column not in rows or rows[column].isna().all() else f"{rows[column].median():.2%}"


def _number(value: float) -> str:
    """Three figures that count, thousands set apart."""
    size = abs(value)
    return f"{value:,.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"


def judgement_words(judgement: Judgement) -> dict[str, Any]:
    """A judgement as text: id, sentence, verdict, `of` (what was compared), and `tests`, one dict of text a test."""
    rows = judgement.tests.to_dict("records")
    return {
        "id": judgement.claim.id,
        "sentence": judgement.claim.sentence,
        "verdict": judgement.verdict,
        "of": "; ".join(dict.fromkeys(row["of"] for row in rows)),
        "tests": [_test_words(row) for row in rows],
    }


def _test_words(row: dict[str, Any]) -> dict[str, str]:
    what = analysis.METRIC_NAMES.get(row["metric"], row["metric"])
    figure = {"ratio": "× {:.3g}", "difference": "{:+.3g}", "value": "{:.3g}"}[row["scale"]].format(row["estimate"])
    interval = "none" if np.isnan(row["low"]) else f"{row['low']:.3g} to {row['high']:.3g}"
    return {
        "what": what + (f", {row['each']}" if row["each"] else ""),
        "than": f"{row['expect']} {row['than']}" if row["scale"] == "value" else row["than"],
        "figure": figure,
        "interval": interval,
        "n": f"{row['n']}" + (f" ({row['suspect']} suspect)" if row["suspect"] else ""),
        "verdict": row["verdict"],
    }


def _environment(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """What the runs say of machines and versions, one row a fact; where runs differ, each value is given."""
    facts: dict[str, dict[str, None]] = {}
    for run in runs:
        for name, value in _flat(run.environment):
            facts.setdefault(name, {})[value] = None
        if run.clock_offset_s is not None:
            offset = f"{run.clock_offset_s * 1000:.1f} ± {(run.clock_error_s or 0) * 1000:.1f} ms"
            facts.setdefault("clock offset, web − desk", {})[offset] = None
    return [(name, _shortened(list(values))) for name, values in facts.items()]


def _shortened(values: list[str], most: int = 4) -> str:
    return "; ".join(values[:most]) + (f"; and {len(values) - most} more" if len(values) > most else "")


def _flat(values: Any, prefix: str = "") -> list[tuple[str, str]]:
    rows = []
    for name, value in values.items():
        if isinstance(value, dict):
            rows += _flat(value, f"{prefix}{name}: ")
        elif name == "memory_bytes":
            rows.append((f"{prefix}memory", f"{value / MIB:,.0f} MiB"))
        elif isinstance(value, (list, tuple)):
            rows.append((f"{prefix}{name}", ", ".join(map(str, value))))
        elif value not in (None, ""):
            rows.append((f"{prefix}{name}", str(value)))
    return rows


def _commands(runs: Sequence[Run]) -> list[str]:
    """What to type to measure these runs again."""
    commands: list[str] = []
    for name in dict.fromkeys(run.experiment for run in runs):
        mine = [run for run in runs if run.experiment == name]
        if any(run.point for run in mine):
            quick = " --quick" if name.endswith("-quick") else ""
            commands.append(f"fab experiment {name.removesuffix('-quick')}{quick} --repeats {max(run.repeat for run in mine)}")
        else:
            commands += [line for run in mine for line in _adhoc_commands(run)]
    return list(dict.fromkeys(commands))


def _adhoc_commands(run: Run) -> list[str]:
    settings = f"fab reset && fab set{_flags(run.settings)}" if _flags(run.settings) else "fab reset"
    return [settings, f"fab {run.kind}{_flags(run.workload)}"]


def _flags(fields: Any) -> str:
    """The flags for those fields that are not at their default."""
    default = type(fields)().to_dict()
    changed = {name: value for name, value in fields.to_dict().items() if value != default[name]}
    return "".join(f" --{name.replace('_', '-')} {value}" for name, value in changed.items())


# ---------------------------------------------------------------- pictures


def _http_pictures(runs: Sequence[Run], summary: pd.DataFrame) -> list[Picture]:
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
        *_resource_pictures(resources),
        _picture(
            _single(lambda ax: plots.client_vs_server(summary, ax), height=5),
            "Percentiles as the client measured them against those in nginx's log, one dot a run.",
            "On the line both agree. Above it, time was spent outside nginx: in the network, in TLS, or in the generator.",
        ),
    ]


def _chat_pictures(runs: Sequence[Run], summary: pd.DataFrame) -> list[Picture]:
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
    else:
        said = []  # sockets that said nothing
    return [
        *said,
        _picture(
            _paired(
                lambda ax: plots.daphne_cost_by_point(summary, ax),
                lambda ax: plots.daphne_cost_by_point(summary, ax, metric="pss_peak_bytes_daphne"),
            ),
            "What all Daphne instances together cost by case: CPU seconds under load, and peak memory.",
            "All instances together; a bar at the median of the repeats, a dot a run.",
        ),
        *_against_first(runs, summary, "latency_p95_s"),
        *_against_first(runs, summary, "cpu_s_daphne"),
        _picture(
            _single(lambda ax: plots.access_log_share(sockets, ax), height=1.6 + 0.5 * max(2, summary["point"].nunique())),
            "The share of sockets that each instance held, by case.",
            "Every connection counts once, as a line in the access log of its instance.",
        ),
        *_outage_pictures(runs, summary),
        *_resource_pictures(resources),
        _picture(
            _single(lambda ax: plots.memory_per_socket(analysis.sockets(runs), ax)),
            "Memory of all Daphne instances against the number of open sockets, with the slope of each case.",
            "The slope is the memory of one more socket, while the sockets were opening.",
        ),
    ]


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
    effects = [analysis.compare(group, metric) for group in chosen]
    if all((effect["verdict"] == TOO_FEW).all() for effect in effects):
        return []
    figure = _figure(10.5, 1.2 + 0.5 * max(len(effect) for effect in effects) + 0.3)
    for ax, effect in zip(figure.subplots(1, len(effects), squeeze=False)[0], effects, strict=True):
        plots.comparison(effect, ax)
    name = analysis.METRIC_NAMES.get(metric, metric)
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
    return f"The {name} runs from {_number(low)} to {_number(high)} {unit}."


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
        ax.set_title(point, loc="left", fontsize=10, fontweight="bold")
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
