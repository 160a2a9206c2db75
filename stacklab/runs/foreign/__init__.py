"""Result files of other tools, as Runs. `read` finds out by its content whose a file is; the name does not matter."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from stacklab.runs.foreign.source import Source
from stacklab.runs.foreign.strangers import words_for
from stacklab.runs.results import Run

READERS = ("jtlxml", "locust", "k6", "wrk", "hdr", "jtl")
"""Modules, each of which knows a tool's files, in the order in which they are asked."""


def read(path: str | Path, is_one_run: bool = False) -> list[Run]:
    """The runs in a result file of JMeter, Locust, k6, wrk, wrk2 or HdrHistogram; `is_one_run`: however long it pauses.

    They have no settings, no samples of services and nothing that says what disturbed them (`validity` "unknown"); what the
    file does not tell is None, and named in `environment["cannot_tell"]`. ResultsError, in one line, for anything else.
    """
    source = Source(Path(path), is_one_run)
    if not source.head.strip():
        source.refuse("is empty")
    if words := words_for(source):
        source.refuse(words)
    for name in READERS:
        reader = import_module(f"{__name__}.{name}")
        if reader.knows(source):
            return reader.read(source)
    source.refuse("is no result file that is read here (JMeter, Locust, k6, wrk, wrk2, HdrHistogram)")
