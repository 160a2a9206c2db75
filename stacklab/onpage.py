"""What stands on a page of the course in the place of what a notebook asks or shows: forms, scores, figures with controls.

A page has no kernel. What it needs to know is in `data-` attributes, as JSON; `course/page/course.js` does the rest.
"""

from __future__ import annotations

import html
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from stacklab.runs.results import Run
from stacklab.study.analysis import in_order
from stacklab.study.summary import METRIC_NAMES, summarize
from stacklab.study.verdicts import is_time
from stacklab.study.words import MIB

METRICS = (
    "throughput_per_s", "p50_s", "p95_s", "p99_s", "latency_p50_s", "latency_p95_s", "delivered_share", "away_max_s",
    "cpu_s_per_1000_requests", "cpu_s_daphne_per_1000_deliveries", "pss_peak_bytes", "pss_peak_bytes_daphne", "error_share",
    "busiest_share", "crossed_share", "held_of_half", "requests_borne_per_s",
)  # fmt: skip
"""What can be chosen in a figure, as far as the runs have it."""


def _element(kind: str, **data: Any) -> str:
    attributes = "".join(
        f' data-{name}="{html.escape(value if isinstance(value, str) else json.dumps(value))}"' for name, value in data.items()
    )
    return f'<div class="{kind}"{attributes}></div>'


def prediction(question: str, answers: Sequence[str], choices: Sequence[str]) -> str:
    """A form that asks for a prediction, and covers what follows until it is sealed or passed over."""
    return _element("prediction", question=question, answers=list(answers), choices=list(choices))


def scored(question: str, measured: Mapping[str, Any]) -> str:
    """A table of what was predicted and what was measured: (estimate, low, high), a number, or a word."""
    return _element("score", question=question, measured={what: _plain(found) for what, found in measured.items()})


def figure(runs: Sequence[Run]) -> str:
    """A figure of a dot a run or slice, for which the reader chooses what is shown, and of which machine and repeat."""
    rows = in_order(summarize(runs).assign(machine=[_machine(run) for run in runs]))
    metrics = [name for name in METRICS if name in rows and rows[name].notna().any()]
    scaled = rows[metrics].mul([_scale(name) for name in metrics])
    shown = scaled.assign(point=rows["point"], repeat=rows["repeat"], sound=rows["valid"], machine=rows["machine"])
    return _element(
        "recorded", title=runs[0].experiment, rows=json.loads(shown.to_json(orient="records", double_precision=6)),
        metrics={name: METRIC_NAMES.get(name, name) + _unit(name) for name in metrics},
    )  # fmt: skip


def _machine(run: Run) -> str:
    system, web = run.environment.get("versions", {}).get("os", "?"), run.environment.get("web", {})
    return f"{system}, {web.get('cpus', '?')} CPU, {run.environment.get('kind', '')}"


def _plain(found: Any) -> Any:
    """As JSON has it: a list of three numbers, null for the ends of an interval that is not there; or the word."""
    if found is None or isinstance(found, str):
        return found
    value, low, high = found if isinstance(found, (tuple, list)) else (found, None, None)
    return [float(end) if end is not None and math.isfinite(end) else None for end in (value, low, high)]


def _scale(metric: str) -> float:
    return 1000 if is_time(metric) else 1 / MIB if "_bytes" in metric else 1


def _unit(metric: str) -> str:
    return ", ms" if is_time(metric) else ", MiB" if "_bytes" in metric else ", 1/s" if metric.endswith("_per_s") else ""
