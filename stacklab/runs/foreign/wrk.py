"""What wrk and wrk2 print. wrk2 has two spectra: from when a request was due, and from when it was sent; they are not alike."""

from __future__ import annotations

import re

from stacklab.runs.foreign.hdr import number, spectrum_of
from stacklab.runs.foreign.source import Source
from stacklab.runs.foreign.telling import stated_run
from stacklab.runs.results import Run

UNITS = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
TIME = r"(\d+(?:[.,]\d+)?)(us|µs|ms|s|m|h)\b"
BEGIN = re.compile(r"^Running [^\r\n]+ test @ ", re.M)
CORRECTED = "HdrHistogram, from when a request was due (wrk2)"
OWN = "wrk's own, printed to three digits"


def knows(source: Source) -> bool:
    """Whether it holds what they begin with."""
    return BEGIN.search(source.text) is not None and "threads and" in source.text


def read(source: Source) -> list[Run]:
    """A run for each of them in the file."""
    text = source.whole()
    starts = [found.start() for found in BEGIN.finditer(text)]
    parts = [text[first:last] for first, last in zip(starts, [*starts[1:], len(text)], strict=True)]
    return [_run(source, part, number if len(parts) > 1 else None) for number, part in enumerate(parts, start=1)]


def _run(source: Source, text: str, place: int | None) -> Run:
    done = re.search(rf"(\d+) requests in {TIME}", text)
    if not done:
        source.refuse("is cut off: it has no line 'N requests in …'")
    is_wrk2 = "HdrHistogram" in text or "Thread calibration" in text
    latency = re.search(rf"^\s*Latency\s+{TIME}\s+{TIME}\s+{TIME}", text, re.M)
    told = latency.groups() if latency else ()
    mean_s, stdev_s, max_s = [_seconds(*told[at : at + 2]) for at in range(0, len(told), 2)] or [None] * 3
    rate, bad = re.search(r"Requests/sec:\s+(\d+(?:[.,]\d+)?)", text), re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    whole = {
        "samples": number(done[1]), "failures": number(bad[1]) if bad else 0, "duration_s": _seconds(*done.groups()[1:]),
        "throughput_per_s": rate and number(rate[1]), "mean_s": mean_s, "stdev_s": stdev_s, "max_s": max_s,
    }  # fmt: skip
    notes = []
    before, uncorrected, after = text.partition("Uncorrected Latency")
    whole |= _percentiles(before)
    if uncorrected:
        whole |= {f"uncorrected_{name}": value for name, value in _percentiles(after).items()}
        notes.append("its uncorrected times, from when a request was sent, are what wrk would tell; these here are not")
    counted = re.search(r"Total count\s*=\s*(\d+)", before)
    if counted and number(counted[1]) < number(done[1]):
        notes.append(f"its times are of {number(counted[1]):,.0f} of the requests: wrk2 forgets those of its first ten seconds")
    if is_wrk2:
        notes.append("its requests/s are those that it was told to make, not those that the server can answer")
    if sockets := re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text):
        kinds = dict(zip(("connect", "read", "write", "timeout"), map(number, sockets.groups()), strict=True))
        whole |= {f"socket_errors_{kind}": count for kind, count in kinds.items()}
        said = ", ".join(f"{kind} {count:,.0f}" for kind, count in kinds.items() if count)
        notes.append(f"socket errors, which it does not count among its requests: {said}")
    return stated_run(
        source, "wrk2" if is_wrk2 else "wrk", {None: whole}, CORRECTED if is_wrk2 else OWN, notes=notes, cannot_tell=["labels"],
        number=place,
    )  # fmt: skip


def _percentiles(text: str) -> dict[str, float]:
    """What a distribution states, and 95 % from the spectrum below it, where there is one."""
    stated = re.findall(rf"^\s*(\d+(?:\.\d+)?)%\s+{TIME}\s*$", text, re.M)
    found = {f"p{float(percent):g}_s": _seconds(value, unit) for percent, value, unit in stated}
    spectrum = spectrum_of(text)
    return found | ({"p95_s": spectrum.at(0.95) / 1000} if spectrum and "p95_s" not in found else {})


def _seconds(value: str, unit: str) -> float:
    return number(value) * UNITS[unit]
