"""What a file of another tool tells, as Runs: of its samples or of its summary, and what it cannot tell, by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from stacklab.runs.foreign.samples import MOST_WORDS, OTHERS, Gathering, Samples
from stacklab.runs.foreign.sheet import is_time
from stacklab.runs.foreign.source import Source, plain
from stacklab.runs.results import Run, Validity
from stacklab.runs.tables import SCHEMAS
from stacklab.workload import Foreign

UNKNOWN = Validity(known=False)
FILES = "files"
"""The experiment that runs belong to which are read, and not kept."""

NEAREST, LINEAR, ROUNDED = "nearest rank", "linear", "Locust's, of times rounded to two digits"
"""Definitions of a percentile, of which a file's own is one."""

CLOCK, APART, STATED = "time of day", "times of successes apart", ("p50", "p95", "p99")


def sampled_runs(
    source: Source, tool: str, gathered: Gathering, apart: Gathering | None = None, *, notes: Sequence[str] = (),
    cannot_tell: Sequence[str] = (), first_row: int = 2, appends: bool = False,
) -> list[Run]:  # fmt: skip
    """A run of all samples; where the tool `appends` to its files, one for each that lies apart from the others in time.

    `first_row`: the row of the file that the first sample stands in, to name others by.
    """
    if not gathered.rows:
        source.refuse(f"holds no sample: {tool} wrote it, and measured nothing")
    said = list(notes)
    if back := gathered.went_back:
        row, by_s = back
        said.append(
            f"{source.path.name} is not in the order of time: the sample in about row {row + first_row:,} ended {by_s:,.1f} s "
            "before an earlier one; if a clock was set meanwhile, duration and throughput are wrong"
        )
    if len(gathered.names.list) > MOST_WORDS:
        said.append(f"it has more than {MOST_WORDS:,} labels: those beyond them are told together, as {OTHERS}")
    appends &= not source.is_one_run
    cuts = gathered.cuts() if appends else []
    if appends and gathered.paused:
        said.append("it has pauses of more than 30 s and few samples between them: taken for one run, and not for several")
    pieces = gathered.pieces([at for at, _ in cuts])
    aside = apart.pieces([at for _, at in cuts]) if apart and apart.rows else [None] * len(pieces)
    if len(pieces) > 1:
        said.append(f"the file holds {len(pieces)} runs, one after the other, with more than 30 s between them")
    return [
        _sampled(source, tool, samples, beside, said, cannot_tell, number if len(pieces) > 1 else None)
        for number, (samples, beside) in enumerate(zip(pieces, aside, strict=True), start=1)
    ]


def _sampled(source: Source, tool: str, samples: Samples, apart: Samples | None, notes, cannot_tell, number) -> Run:
    held: dict[str, Any] = {"requests": samples}
    if apart is not None and len(apart):
        held["apart"] = apart
    lacks, started_s, ended_s = list(cannot_tell), None, None
    span = samples.span()
    if span is None:
        lacks = ["duration", CLOCK, *lacks]
    elif CLOCK not in lacks:
        started_s, ended_s = span
    return make_run(source, tool, held, started_s, ended_s, notes, lacks, {}, number)


def stated_run(
    source: Source, tool: str, stated: Mapping[str | None, Mapping[str, float | None]], percentile: str, *,
    started_s: float | None = None, ended_s: float | None = None, notes: Sequence[str] = (), cannot_tell: Sequence[str] = (),
    number: int | None = None,
) -> Run:  # fmt: skip
    """A run of what a summary states: {name, None for all: {quantity: value}}. Quantities that are None are not there."""
    rows = [
        {"name": name, "quantity": quantity, "value": float(value)}
        for name, quantities in stated.items() for quantity, value in quantities.items() if value is not None
    ]  # fmt: skip
    if odd := [row for row in rows if not is_time(row["value"])]:
        source.refuse(f"states {odd[0]['value']} as its {odd[0]['quantity']}, which nothing can be")
    whole = {row["quantity"] for row in rows if row["name"] is None}
    lacks = [name for name in STATED if f"{name}_s" not in whole]
    lacks += [name for name in ("duration", "failures") if not {name, f"{name}_s"} & whole]
    lacks += [CLOCK] if started_s is None else []
    lacks += [] if "failures" in whole and not stated[None]["failures"] else [APART]
    held = {"stated": pa.Table.from_pylist(rows, SCHEMAS["stated"])}
    return make_run(source, tool, held, started_s, ended_s, notes, [*lacks, *cannot_tell], {"percentile": percentile}, number)


def make_run(
    source: Source, tool: str, held: Mapping[str, Any], started_s: float | None, ended_s: float | None,
    notes: Sequence[str], cannot_tell: Iterable[str], facts: Mapping[str, str], number: int | None,
) -> Run:  # fmt: skip
    """The run, as it is before anybody saves it; `facts` of it stand in its environment."""
    name = source.path.name + (f"-{number}" if number else "")
    known = started_s is not None and ended_s is not None
    return Run(
        path=source.path, settings=None, workload=Foreign(tool=tool), observed={}, validity=UNKNOWN, experiment=FILES, run=name,
        point=name, position=number or 1, started_s=started_s, ended_s=ended_s,
        under_load_s=ended_s - started_s if known else 0.0, held=held,
        environment={
            "tool": tool, "file": source.path.name, **facts,
            "cannot_tell": list(dict.fromkeys(cannot_tell)), "notes": [plain(note) for note in notes],
        },
    )  # fmt: skip
