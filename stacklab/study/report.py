"""`write_report`: runs as one HTML file that stands alone, pictures inside, for reading, mailing and printing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from stacklab.errors import ResultsError
from stacklab.files import RESULTS
from stacklab.runs.calibration import calibration_of, in_words
from stacklab.runs.results import Run, load_runs
from stacklab.study import analysis, costs, drawing, generators, improvements, knees, pictures, scaling, servers, steal, words
from stacklab.study.pictures import Picture
from stacklab.study.summary import summarize
from stacklab.study.verdicts import judge_all

TEMPLATE = Path(__file__).with_name("report.html.j2")
KINDS = {
    "http": ("HTTP", words.http_row, pictures.http_pictures),
    "chat": ("Chat", words.chat_row, pictures.chat_pictures),
    "plan": ("Plans of load tools", words.http_row, pictures.http_pictures),
    "look": ("Looked at", words.look_row, lambda runs, summary: []),
    "foreign": ("Other tools' results", words.foreign_row, pictures.foreign_pictures),
}
REPEATS = "Medians of the repeats; in brackets their range. Failed, lost and the like are sums over the repeats."
SOUND = "Medians of the sound runs, or of the disturbed where none was sound; close codes are sums over them."
MOST_POINTS = 16  # in one picture; the tables hold all


@dataclass(frozen=True)
class Section:
    """What the report says of the HTTP runs, or of the chat runs. `note`: what to know about the table."""

    title: str
    sentences: list[str]
    table: list[dict[str, str]]
    note: str
    judgements: list[dict[str, Any]]
    pictures: list[Picture]
    extras: list[Extra]


@dataclass(frozen=True)
class Extra:
    """One more table of the report, with what to know about it."""

    title: str
    note: str
    table: list[dict[str, str]]


def report_of(name: str) -> Path:
    """Write the report of what there is of an experiment on disk. ResultsError if that is nothing."""
    runs = load_runs(RESULTS / name)
    if not runs:
        raise ResultsError(f"{RESULTS / name} holds no whole run yet; measure first ('fab experiment')")
    return write_report(runs, RESULTS / name / "report.html")


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
    with drawing.our_style():
        page = _page(runs, environment)
    out.parent.mkdir(parents=True, exist_ok=True)
    new = out.with_name(f".{out.name}.new")
    new.write_text(page, encoding="utf-8")
    new.replace(out)
    return out


def _page(runs: Sequence[Run], environment: jinja2.Environment) -> str:
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        title=", ".join(dict.fromkeys(run.experiment for run in runs)),
        measured=words.when(runs),
        count=len(runs),
        disturbed=[run for run in runs if not run.validity.valid],
        valid=[run for run in runs if run.validity.measurement == "sound"],
        unknown=[run for run in runs if run.validity.measurement == "unknown"],
        sections=[
            *_servers(runs), *_generators(runs), *_capacity(runs), *_growth(runs),
            *(_section(kind, chosen) for kind in KINDS if (chosen := [run for run in runs if run.kind == kind])),
        ],
        environment=words.environment(runs),
        calibrated=f"{in_words(calibration_of(runs))}; {steal.SAID}",
        commands=words.commands(runs),
    )


def _servers(runs: Sequence[Run]) -> list[Section]:
    """Where ASGI servers were set side by side: that comes first."""
    if not servers.is_of_servers(runs):
        return []
    said = [
        "A line a server: what its chat runs with TLS cost, over all channel layers and sizes of rooms; the largest number of "
        "clients, of those tried, that one instance bears; and what the clients of an instance see when it is told to stop."
    ]
    lines = servers.side_by_side(runs)
    return [Section("Servers side by side", said, lines, SOUND, [], pictures.server_pictures(runs, lines), [])]


def _generators(runs: Sequence[Run]) -> list[Section]:
    """Where load generators were set side by side: that comes first."""
    if not generators.is_of_generators(runs):
        return []
    said, lines = [*generators.limits(runs), generators.HOW], without_empty(generators.table(runs))
    return [Section("Load generators side by side", said, lines, SOUND, [], pictures.generator_pictures(runs), [])]


def _capacity(runs: Sequence[Run]) -> list[Section]:
    """Where the most that is borne was searched, and what work costs was measured: that comes first."""
    if not (lines := costs.lines(runs) if knees.is_of_capacity(runs) else []):
        return []
    return [Section("Capacity", [*knees.sentences(runs), costs.HOW], lines, costs.NOTE, [], pictures.capacity_pictures(runs), [])]


def _growth(runs: Sequence[Run]) -> list[Section]:
    """Where one page was measured by enough numbers of processes to tell models of growth apart."""
    if not (lines := scaling.table(runs)):
        return []
    note = "How far off each model was, in the middle of the numbers of processes that were left out, one after the other."
    return [Section("Growth", scaling.sentences(runs), lines, note, [], pictures.growth_pictures(runs), [])]


def _section(kind: str, runs: Sequence[Run]) -> Section:
    summary = summarize(runs)
    points = analysis.point_order(summary)
    drawn = [run for run in runs if (run.point or run.run) in points[:MOST_POINTS]]
    title, row, draw = KINDS[kind]
    sentences = words.setup(runs, points)
    if len(points) > MOST_POINTS:
        sentences.append(f"The pictures show the first {MOST_POINTS} of {len(points)} cases; the table holds all.")
    worth = improvements.worth(runs if improvements.is_of_improvements(runs) else ())
    return Section(
        title=title,
        sentences=sentences,
        table=without_empty([row(point, summary[summary["point"] == point]) for point in points]),
        note=REPEATS,
        judgements=[words.judgement_words(judgement) for judgement in judge_all(runs)],
        pictures=pictures.improvement_pictures(worth) + draw(drawn, summary[summary["point"].isin(points[:MOST_POINTS])]),
        extras=[extra for extra in _extras(runs, worth) if extra.table],
    )


def _extras(runs: Sequence[Run], worth: pd.DataFrame) -> list[Extra]:
    """What there is to say of the improvements, where these were measured."""
    if not improvements.is_of_improvements(runs):
        return []
    against = (
        f"Each against stock, paired within a block; in brackets the 95 % interval. The same: within ± {improvements.MARGIN:.0%}."
    )
    until = "From each event until the next. Lost: of all that was due to those who had come into the room, there or away."
    return [
        Extra("What each improvement is worth", against, improvements.worth_rows(worth)),
        Extra("What clients felt", until, improvements.felt_rows(runs)),
    ]


def without_empty(table: list[dict[str, str]]) -> list[dict[str, str]]:
    """The columns in which some row says something; looks of several kinds have several."""
    said = dict.fromkeys(name for row in table for name in row if row[name] != words.NOTHING)
    return [dict.fromkeys(said, words.NOTHING) | {name: row[name] for name in said if name in row} for row in table]
