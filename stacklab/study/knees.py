"""The knee: up to how many requests, or deliveries, a second an objective holds, from the trials of searches. And its picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Picture

from stacklab.errors import ResultsError
from stacklab.runs.results import Run
from stacklab.runs.seen import read_seen
from stacklab.study import drawing, queueing, words
from stacklab.study.costs import Figure, figure, in_words
from stacklab.workload import DELIVERED_SHARE, P95_S

PAGES, MESSAGES = "pages", "messages"
SEARCHES = {
    "most_requests": (PAGES, "requests_per_s", "requests/s"),
    "most_clients": (MESSAGES, "deliveries_per_s", "delivered messages/s"),
}  # fmt: skip
"""{sight: what it searches the knee of, the column of its trials that says how much that was, its unit}."""
UNITS = {of: unit for of, _, unit in SEARCHES.values()}
WORK = {PAGES: "requests", MESSAGES: "deliveries"}
P95_MS = P95_S * 1000
FEWEST_FOR_OTHERS = 3  # blocks, without which no other is told


def is_of_capacity(runs: Sequence[Run]) -> bool:
    """Whether the most requests were searched."""
    return any(run.kind == "look" and run.workload.sight == "most_requests" for run in runs)


def trials(runs: Sequence[Run], p95_ms: float = P95_MS) -> pd.DataFrame:
    """One row a trial: of ("pages", "messages"), experiment, repeat, valid, load_per_s, p95_ms, met (the objective)."""
    rows = []
    for run in runs:
        if run.kind != "look" or run.workload.sight not in SEARCHES:
            continue
        of, column, _ = SEARCHES[run.workload.sight]
        for seen in read_seen(run.path):
            p95, delivered = seen.get("p95_s", np.nan) * 1000, min(seen.get("delivered_share", 0), seen.get("connected", 1))
            met = p95 <= p95_ms and delivered >= DELIVERED_SHARE
            about = {"of": of, "experiment": run.experiment, "repeat": run.repeat, "valid": run.validity.valid}
            rows.append(about | {"load_per_s": seen.get(column, np.nan), "p95_ms": p95, "met": bool(met)})
    columns = ["of", "experiment", "repeat", "valid", "load_per_s", "p95_ms", "met"]
    return pd.DataFrame(rows, columns=columns).dropna(subset=["load_per_s"])


def knee(load_per_s: Sequence[float], met: Sequence[bool]) -> float:
    """Where one search's trials turn from met to missed: between the two loads around the place that fits most of them, the lower
    place where two fit as well. 0 where none was met, infinite where none was missed.
    """
    order = np.argsort(load_per_s)
    loads, fine = np.asarray(load_per_s, dtype=float)[order], np.asarray(met, dtype=bool)[order]
    wrong = [(~fine[:place]).sum() + fine[place:].sum() for place in range(len(loads) + 1)]
    place = int(np.argmin(wrong))
    if place == 0:
        return 0.0
    return float(np.sqrt(loads[place - 1] * loads[place])) if place < len(loads) else np.inf


def knees(table: pd.DataFrame, of: str) -> dict[tuple[str, int], float]:
    """{block: its knee} of the sound searches in `trials`."""
    mine = table[(table["of"] == of) & table["valid"].astype(bool)]
    return {block: knee(rows["load_per_s"], rows["met"]) for block, rows in mine.groupby(["experiment", "repeat"])}


def found(table: pd.DataFrame, of: str, p95_ms: float = P95_MS) -> dict[tuple[str, int], float]:
    """`knees`, if there is one in each block; ResultsError, saying so, where the objective was never met, or never missed."""
    each = knees(table, of)
    mine = table[(table["of"] == of) & table["valid"].astype(bool)]
    if not each:
        raise ResultsError(f"no sound search says how many {WORK[of]} the stack bears: measure 'fab experiment capacity'")
    objective = f"95 of 100 {of} within {p95_ms:g} ms and nothing lost"
    if low := [block for block, value in each.items() if value == 0]:
        least = mine["load_per_s"].min()
        raise ResultsError(
            f"{objective} was never met in {len(low)} of {len(each)} blocks, down to {least:g} {UNITS[of]}: there is no figure "
            "for it; ask for a larger --p95-ms"
        )
    if high := [block for block, value in each.items() if value == np.inf]:
        most = mine["load_per_s"].max()
        raise ResultsError(
            f"{objective} was never missed in {len(high)} of {len(each)} blocks, up to {most:g} {UNITS[of]}: where it ends was "
            "not seen; ask for a smaller --p95-ms, or measure 'fab experiment capacity' in full"
        )
    return each


def held(values: Sequence[float]) -> int:
    """How many of the blocks' values lie in the interval that the others predict for one block more: those they had not seen."""
    others = [figure([*values[:place], *values[place + 1 :]], ahead=True) for place in range(len(values))]
    return sum(of.low <= value <= of.high for of, value in zip(others, values, strict=True))


def sentences(runs: Sequence[Run]) -> list[str]:
    """Where the knees are, or why there is none."""
    table, said = trials(runs), []
    for of in dict.fromkeys(table["of"]):
        try:
            each = found(table, of)
        except ResultsError as error:
            said.append(f"{of.capitalize()}: {error.args[0]}.")
            continue
        blocks = f"{len(each)} sound block{'s' if len(each) > 1 else ''}"
        said.append(f"{of.capitalize()}: the knee is at {in_words(figure(each.values()))} {UNITS[of]}, of {blocks}.")
        if len(each) > FEWEST_FOR_OTHERS:
            said.append(f"In {held(list(each.values()))} of {len(each)} blocks it lies in the interval that the others foretell.")
        if of == PAGES and (page := queueing.measured(runs)):
            foretold, middle = queueing.knee(page, queueing.host_of(runs)), figure(each.values()).estimate
            said.append(
                f"A queueing network that knows only what a page cost at light loads foretells {words.number(foretold)}: "
                f"× {words.number(foretold / middle)} of what was measured."
            )
    return said


def picture(runs: Sequence[Run]) -> Picture:
    """Each trial's 95th percentile over its load, the objective, and the knee with its interval over blocks."""
    table = trials(runs)
    shown = [of for of in UNITS if of in set(table["of"])]
    drawn = Picture(figsize=(11.5, 4.6), layout="constrained")
    for ax, of in zip(np.atleast_1d(drawn.subplots(1, len(shown))), shown, strict=True):
        mine = table[(table["of"] == of) & table["p95_ms"].notna()]
        for met, colour, marker in ((True, drawing.OKABE_ITO[0], "o"), (False, drawing.OKABE_ITO[3], "X")):
            rows = mine[mine["met"] == met]
            drawing.marks(ax, rows["load_per_s"], rows["p95_ms"], rows["valid"], colour, marker)
            ax.scatter([], [], marker=marker, color=colour, label="met" if met else "missed")
        ax.axhline(P95_MS, color=drawing.MUTED, linestyle="--", linewidth=1, label=f"objective, {P95_MS:g} ms")
        if of == PAGES and len(mine) and (page := queueing.measured(runs)):
            over = np.geomspace(mine["load_per_s"].min(), mine["load_per_s"].max(), 12)
            host = queueing.host_of(runs)
            p95_s = [np.quantile(queueing.response_times(page, host, at, int(at * queueing.TRIAL_S) + 1), 0.95) for at in over]
            ax.plot(over, 1000 * np.array(p95_s), "-.", color=drawing.INK, linewidth=1.4, label="queueing network, foretold")
        _draw_knee(ax, figure(value for value in knees(table, of).values() if 0 < value < np.inf))
        if len(mine):
            drawing.log_axis(ax.xaxis)
            drawing.log_axis(ax.yaxis)
        ax.set_xlabel(UNITS[of])
        drawing.finish(ax, of.capitalize(), "95th percentile of the time, ms", grid="both")
        below = {"loc": "upper left", "bbox_to_anchor": (-0.1, -0.14), "ncols": 3}
        ax.legend(fontsize=9, frameon=False, columnspacing=1, handlelength=1.4, **below)
    return drawn


def _draw_knee(ax, at: Figure) -> None:
    if np.isnan(at.estimate):
        return
    ax.axvline(at.estimate, color=drawing.OKABE_ITO[2], linewidth=1.6, label=f"knee, {in_words(at)}")
    if not np.isnan(at.low):
        ax.axvspan(at.low, at.high, color=drawing.OKABE_ITO[2], alpha=0.15, linewidth=0)
