"""JMeter's results as XML: what is nested told apart, the end missing where JMeter was stopped, nothing expanded."""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree.ElementTree import Element, ParseError
from xml.parsers.expat import errors as expat

import numpy as np
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import iterparse

from stacklab.runs.foreign.jtl import SEVERAL, SUMS_ALONE, TOOL, TRANSACTION, Host, note_clocks, parts_of
from stacklab.runs.foreign.samples import Gathering, Words
from stacklab.runs.foreign.sheet import counted, is_time, status
from stacklab.runs.foreign.source import Source
from stacklab.runs.foreign.telling import sampled_runs
from stacklab.runs.results import Run

SAMPLES = ("httpSample", "sample", "sampleResult")
# What an attribute is called, and what JMeter before 2.1 called it.
ATTRIBUTES = {"ts": "timeStamp", "t": "time", "lb": "label", "s": "success", "rc": "responseCode", "rm": "responseMessage",
              "by": "bytes", "hn": "hostname", "sc": "sampleCount"}  # fmt: skip
CUT_OFF = {expat.codes[said] for said in (
    expat.XML_ERROR_NO_ELEMENTS, expat.XML_ERROR_UNCLOSED_TOKEN, expat.XML_ERROR_PARTIAL_CHAR,
    expat.XML_ERROR_UNCLOSED_CDATA_SECTION,
)}  # fmt: skip
AT_ONCE = 20_000


def knows(source: Source) -> bool:
    """Whether it is XML: whatever else it is, it is told as such."""
    return source.text.lstrip().startswith(("<?xml", "<testResults", "<!DOCTYPE"))


def read(source: Source) -> list[Run]:
    """The runs in it: samples at the top level, or below a Transaction Controller's; such sums, and parts of pages, are apart."""
    reading = _Reading(source)
    try:
        with source.open() as file:
            for sample in _tops(iterparse(file, ("start", "end"), forbid_dtd=True), source):
                reading.take(sample)
    except DefusedXmlException:
        source.refuse("defines entities (a DTD), which JMeter never does: such a file can fill the memory, and is not read")
    except ParseError as error:
        if error.code not in CUT_OFF:
            source.refuse(f"is not the XML that JMeter writes: {error}")
        reading.notes.append(f"{source.path.name} has no end: JMeter was stopped; the samples before it are whole")
    except LookupError as error:
        source.refuse(f"is not the XML that JMeter writes: {error}")
    return reading.runs()


def _tops(events: Iterator[tuple[str, Element]], source: Source) -> Iterator[Element]:
    """Each whole element below the root, which is emptied behind it."""
    _, root = next(events)
    if root.tag != "testResults":
        source.refuse(f"is XML with the root <{root.tag}>; a result file of JMeter has <testResults>")
    depth = 0
    for what, element in events:
        depth += 1 if what == "start" else -1
        if what == "end" and depth == 0:
            yield element
            root.clear()


class _Reading:
    """Samples on their way, some at a time."""

    def __init__(self, source: Source):
        self.source = source
        self.notes: list[str] = []
        labels, errors = Words(), Words()
        self.kinds = {kind: Gathering(labels, errors) for kind in ("requests", "apart")}
        self._waiting: dict[str, list[tuple]] = {kind: [] for kind in self.kinds}
        self._seen = self._failed = self._sums = self._unflagged = 0
        self._hosts: dict[str, Host] = {}
        self._labels: dict[str, set[int]] = {kind: set() for kind in self.kinds}

    def take(self, element: Element) -> None:
        """A child of the root."""
        if element.tag not in SAMPLES:
            return
        self._seen += 1
        self._sort(element)

    def _sort(self, element: Element) -> None:
        """A Transaction Controller's sum is kept apart from what lies within, and a request counts with all that it embeds."""
        inner = [one for one in element.iter() if one is not element and one.tag in SAMPLES]
        if not _attribute(element, "rm").startswith(TRANSACTION):
            self._add("requests", element)
            for one in inner:
                self._add("apart", one)
            return
        self._sums += 1
        self._add("apart", element)
        for one in element:
            if one.tag in SAMPLES:
                self._sort(one)

    def _add(self, kind: str, element: Element) -> None:
        values = {name: _attribute(element, name) for name in ATTRIBUTES}
        try:
            elapsed, stamp = float(values["t"]), float(values["ts"] or "nan")
        except ValueError:
            elapsed = stamp = -1.0
        if not is_time(elapsed) or np.isinf(stamp):
            self.source.refuse(f"has t={values['t']!r} and ts={values['ts']!r}: not a time", self._seen)
        if counted(values["sc"]) > 1:
            self.source.refuse(SEVERAL, self._seen)
        if values["hn"] and not np.isnan(stamp):
            self._hosts.setdefault(values["hn"], Host(self._seen, stamp / 1000)).see(np.array([stamp / 1000]), self._seen)
        gathering = self.kinds[kind]
        self._unflagged += not values["s"]
        error = -1 if values["s"].lower() in ("true", "") else gathering.errors.code(_error(element, values))
        self._waiting[kind].append((
            stamp / 1000, elapsed / 1000, status(values["rc"]), counted(values["by"]), gathering.names.code(values["lb"]), error
        ))  # fmt: skip
        self._labels[kind].add(self._waiting[kind][-1][4])
        self._failed += kind == "requests" and error >= 0
        if len(self._waiting[kind]) >= AT_ONCE:
            self._gather()

    def _gather(self) -> None:
        for kind, rows in self._waiting.items():
            if rows:
                self.kinds[kind].add(*np.array(rows, float).T)
        self._waiting = {kind: [] for kind in self.kinds}

    def runs(self) -> list[Run]:
        """All of it as Runs."""
        self._gather()
        requests, apart = self.kinds["requests"], self.kinds["apart"]
        rows, counts = requests.rows + apart.rows, "requests"
        if not requests.rows and self._sums:
            requests, apart, self._sums, counts = apart, None, 0, "apart"
            self.notes.append(SUMS_ALONE)
        if self._sums:
            self.notes.append(f"{self._sums:,} samples of Transaction Controllers sum up others, and are kept apart")
        if apart and apart.rows > self._sums:
            within = apart.rows - self._sums
            self.notes.append(f"{within:,} samples lie within others (what a page embeds), and are kept apart")
        if self._failed and self._failed == requests.rows:
            self.notes.append("all samples failed: JMeter may have been told to save errors only, and then this is no rate")
        lacks = ["failures"] if self._unflagged == rows else []
        if 0 < self._unflagged < rows:
            self.notes.append(f"{self._unflagged:,} samples do not tell whether they failed, and count as successes")
        note_clocks(self.source, self._hosts, self.notes, lacks)
        labels = [requests.names.list[code] for code in self._labels[counts]]
        lacks += [] if any(labels) else ["labels"]
        self.notes += parts_of(labels)
        return sampled_runs(self.source, TOOL, requests, apart, notes=self.notes, cannot_tell=lacks, first_row=1)


def _attribute(element: Element, name: str) -> str:
    return (element.get(name) or element.get(ATTRIBUTES[name]) or "").strip()


def _error(element: Element, values: dict[str, str]) -> str:
    """Why it failed, in JMeter's words."""
    message = next((found.text for found in element.iter("failureMessage") if found.text), "")
    return (message or f"{values['rc']} {values['rm']}").strip() or "failed"
