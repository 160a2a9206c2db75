"""Draw the README's plots from the runs in results/: `make pictures`.

They need `fab experiment eight-cases`, `one-vs-three`, `channel-layers` and `generators` at full size, and what there is of
`fab experiment claims`. A plot whose runs are not there stays as it is. (jupyterlab-on-desk.png is a browser's view;
`make test-vagrant` leaves a new one in build/.)
"""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pandas as pd

from stacklab.errors import ResultsError
from stacklab.files import RESULTS
from stacklab.runs.results import load_runs
from stacklab.study import generators, plots
from stacklab.study.drawing import our_style
from stacklab.study.summary import summarize
from stacklab.study.verdicts import NOT_TESTED, judge_results

IMAGES = Path(__file__).parent / "images"


def summary_of(experiment: str) -> pd.DataFrame:
    """The summary of an experiment's runs. ResultsError if it was not measured here."""
    return summarize(load_runs(RESULTS / experiment))


def eight_cases() -> plt.Figure:
    """Response times of the eight cases, 100 users beside 200, on one scale."""
    summary = summary_of("eight-cases")
    figure, axes = plt.subplots(1, 2, figsize=(12, 4.4), layout="constrained")
    for ax, (users, rows) in zip(axes, summary.groupby("users"), strict=True):
        plots.response_times_by_case(rows.assign(point=rows["point"].str.partition(", ")[2]), ax)
        ax.set_title(f"{users} users", loc="left")
        ax.set_xlabel("nginx worker_connections / uWSGI processes")
    top = max(ax.get_ylim()[1] for ax in axes)
    for ax in axes:
        ax.set_ylim(0, top)
    axes[0].get_legend().remove()
    return figure


def chat() -> plt.Figure:
    """What three instances cost beside one, and which channel layers deliver."""
    cost, delivered = summary_of("one-vs-three"), summary_of("channel-layers")
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4.4), layout="constrained")
    plots.daphne_cost_by_point(cost[cost["clients"] == cost["clients"].max()], left)
    plots.delivered_by_point(delivered[~delivered["point"].str.contains("pool|coming")], right)
    return figure


def claims() -> plt.Figure:
    """A line a claim. ResultsError if none was tested here."""
    judgements = judge_results(RESULTS)
    if all(judgement.verdict == NOT_TESTED for judgement in judgements):
        raise ResultsError("no claim was tested here; 'fab experiment claims' does")
    figure, ax = plt.subplots(figsize=(12, 8.6), layout="constrained")
    plots.claims(judgements, ax)
    return figure


def of_generators() -> plt.Figure:
    """Load generators side by side. ResultsError if they were not measured here."""
    return generators.picture(load_runs(RESULTS / generators.EXPERIMENT))


if __name__ == "__main__":
    for name, draw in {"eight-cases": eight_cases, "chat": chat, "claims": claims, "generators": of_generators}.items():
        try:
            with our_style():
                draw().savefig(IMAGES / f"{name}.png", dpi=110)
            print(f"drawn: docs/images/{name}.png")
        except ResultsError as error:
            print(f"left as it is: docs/images/{name}.png ({error})")
