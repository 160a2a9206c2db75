"""How throughput grows with the number of processes: models, scored on what they have not seen.

The Universal Scalability Law (Gunther, 2007): n processes do λn / (1 + σ(n − 1) + κn(n − 1)), where σ is what they wait for each
other and κ what they have to agree upon. Against it a straight line, λn, and "as many as there are CPUs", λ·min(n, CPUs). These
are fitted. A queueing network is not: it knows what a page cost at light loads, and has seen none of these.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Picture
from scipy import optimize

from stacklab.runs.results import Run
from stacklab.study import drawing, queueing, words
from stacklab.study.summary import summarize

LAW, LINE, CPUS = "Universal Scalability Law", "straight line", "number of CPUs"
QUEUES = "queueing network"
STYLES = {LAW: "-", LINE: "--", CPUS: ":", QUEUES: "-."}
FEWEST = 5  # different numbers of processes: one left out, and one more than the law has parameters


@dataclass(frozen=True)
class Model:
    """A model fitted to (n, per_s): its name, its parameters, and what it predicts of numbers of processes."""

    name: str
    parameters: tuple[float, ...]
    predict: Callable[[np.ndarray], np.ndarray]


def fitted(name: str, n: np.ndarray, per_s: np.ndarray, cpus: int) -> Model:
    """The model of that name, by least squares of the logarithms, since noise is a share of what is measured."""
    if name == LAW:
        def law(n, rate, sigma, kappa):
            return rate + np.log(n) - np.log1p(sigma * (n - 1) + kappa * n * (n - 1))

        start = (float(np.median(np.log(per_s / n))), 0.1, 0.01)
        ends = ([-np.inf, 0, 0], [np.inf, 1, 1])
        found, _ = optimize.curve_fit(law, n.astype(float), np.log(per_s), p0=start, bounds=ends)
        return Model(name, (float(np.exp(found[0])), *map(float, found[1:])), lambda n: np.exp(law(np.asarray(n, float), *found)))
    grown: Callable = (lambda n: np.asarray(n, float)) if name == LINE else (lambda n: np.minimum(np.asarray(n, float), cpus))
    rate = float(np.exp(np.mean(np.log(per_s / grown(n)))))
    return Model(name, (rate,), lambda n: rate * grown(n))


def foretold(page: queueing.Page, path: str, users: int, cpus: int) -> Model:
    """The queueing network of a `page` that was measured at "/", for the one at `path` in a closed loop."""
    def predict(n: np.ndarray) -> np.ndarray:
        each = {of: queueing.throughput(page.at(path), queueing.Host(cpus, int(of)), users) for of in np.unique(n)}
        return np.array([each[of] for of in n])

    return Model(QUEUES, (), predict)


def curves(runs: Sequence[Run]) -> list[tuple[str, pd.DataFrame]]:
    """(path, n, users, per_s and valid of each run in a closed loop) of those loads that were put on enough numbers of processes
    while all else was the same.
    """
    closed = [run for run in runs if run.kind == "http" and run.has("requests") and not run.workload.requests_per_s]
    if not closed:
        return []
    table = summarize(closed)
    table = pd.DataFrame({
        "else": [str((run.settings.replace(uwsgi_processes=1), run.workload.replace(requests=1))) for run in closed],
        "path": [run.workload.path for run in closed], "n": [run.settings.uwsgi_processes for run in closed],
        "users": [run.workload.users for run in closed],
        "per_s": table["throughput_per_s"], "valid": table["valid"].astype(bool),
    })  # fmt: skip
    every = [(rows["path"].iloc[0], rows.dropna()) for _, rows in table.groupby("else", sort=False)]
    return [(path, rows) for path, rows in every if _sound(rows)["n"].nunique() >= FEWEST]


def _sound(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["valid"] & (rows["per_s"] > 0)]


def scores(rows: pd.DataFrame, cpus: int, network: Model | None = None) -> dict[str, float]:
    """{model: how far off it was, in the middle, of a number of processes that it had not seen}, as a factor − 1; the best first.

    Each number is left out once; the largest of them is what a model has to go beyond all it has seen for. The queueing
    `network` has seen none.
    """
    sound = _sound(rows)
    n, per_s = sound["n"].to_numpy(), sound["per_s"].to_numpy(dtype=float)
    off = {}
    for name in (LAW, LINE, CPUS, *([QUEUES] if network else [])):
        each = []
        for left_out in np.unique(n):
            seen = n != left_out
            model = network if name == QUEUES else fitted(name, n[seen], per_s[seen], cpus)
            each.append(abs(np.log(model.predict(np.array([left_out]))[0] / np.exp(np.mean(np.log(per_s[~seen]))))))
        off[name] = float(np.expm1(np.median(each)))
    return dict(sorted(off.items(), key=lambda pair: pair[1]))


def table(runs: Sequence[Run]) -> list[dict[str, str]]:
    """A line a page: how far off each model was on numbers of processes that it had not seen."""
    if not (shown := curves(runs)):
        return []
    told, cpus, page = [], runs[0].environment["web"]["cpus"], queueing.measured(runs)
    for path, rows in shown:
        off = scores(rows, cpus, foretold(page, path, rows["users"].iloc[0], cpus) if page else None)
        each = {name: f"{off[name]:.0%}" for name in STYLES if name in off}
        told.append({"page": path, "processes": f"1 to {rows['n'].max()}", "nearest": next(iter(off))} | each)
    return told


def sentences(runs: Sequence[Run]) -> list[str]:
    """Which model was right, and how far it may be trusted."""
    if not (lines := table(runs)):
        return []
    cpus = runs[0].environment["web"]["cpus"]
    said = [f"On {cpus} CPU{'s' if cpus > 1 else ''}, each model saw all numbers of processes but one, and was asked for that."]
    if any(QUEUES in line for line in lines):
        said.append(f"The {QUEUES} saw none of them: only what a page cost at light loads.")
    for line in lines:
        said.append(
            f"{line['page']}: the {line['nearest']} was nearest, off by {line[line['nearest']]} in the middle; it was not tried "
            f"beyond {line['processes'].split()[-1]} processes."
        )
    return said


def picture(runs: Sequence[Run]) -> Picture:
    """Throughput over processes, a picture a page: the runs, the models fitted to the sound ones, and the queueing network."""
    shown, cpus, page = curves(runs), runs[0].environment["web"]["cpus"], queueing.measured(runs)
    drawn = Picture(figsize=(6.5 * len(shown) + 1, 4.4), layout="constrained")
    for ax, (path, rows) in zip(np.atleast_1d(drawn.subplots(1, len(shown))), shown, strict=True):
        sound = _sound(rows)
        drawing.marks(ax, rows["n"], rows["per_s"], rows["valid"], drawing.INK, "o")
        n, per_s = sound["n"].to_numpy(), sound["per_s"].to_numpy(dtype=float)
        models = [fitted(name, n, per_s, cpus) for name in (LAW, LINE, CPUS)]
        models += [foretold(page, path, rows["users"].iloc[0], cpus)] if page else []
        for number, model in enumerate(models):
            over = np.arange(1, rows["n"].max() + 1) if model.name == QUEUES else np.linspace(1, rows["n"].max(), 100)
            numbers = f" (σ {words.number(model.parameters[1])}, κ {model.parameters[2]:.3g})" if model.name == LAW else ""
            ax.plot(over, model.predict(over), STYLES[model.name], color=drawing.colour(number), label=model.name + numbers)
        ax.set(xlabel="uWSGI processes", ylim=(0, 1.4 * rows["per_s"].max()))
        drawing.finish(ax, path, "requests/s")
        ax.legend(fontsize=9, frameon=False, loc="upper left", bbox_to_anchor=(-0.05, -0.14), ncols=2)
    return drawn
