"""Response times in order, each value kept once with its count: tens of millions in little memory, none of them rounded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from stacklab.study.percentiles import DASHBOARD_WINDOW

MOST_APART = 2_000_000  # rows of partial counts, before they are added up

Batch = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Of some samples, in their order: the number of each one's name, whether it failed, how long it took."""


class Ranked:
    """`[k]` is the k-th time, from 0; a negative k counts from the end."""

    def __init__(self, values: np.ndarray, counts: np.ndarray):
        order = np.argsort(values, kind="stable")
        self._values, self._ends = values[order], np.cumsum(counts[order])
        self.mean = float(values @ counts / self._ends[-1]) if len(values) else float("nan")

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def __getitem__(self, k: int) -> float:
        return float(self._values[np.searchsorted(self._ends, k % len(self), "right")])


@dataclass(frozen=True)
class Rankings:
    """Of one name, or of all: all times and those of the successes, and each time's last DASHBOARD_WINDOW, sorted."""

    all: Ranked
    successes: Ranked
    last: np.ndarray | None
    last_successes: np.ndarray | None


def by_name(batches: Iterable[Batch], count: int) -> Iterator[tuple[int | None, Rankings]]:
    """(None, the times of all `count` samples), then (number of the name, its times).

    Times that hardly repeat are added up each time that they have doubled, so that more of them do not cost ever more.
    """
    parts, most = [], MOST_APART
    tails = _Tails() if count > DASHBOARD_WINDOW else None
    for codes, failed, durations in batches:
        rows = pa.table({"name": codes, "failed": failed, "duration": durations})
        parts.append(rows.group_by(["name", "failed", "duration"]).aggregate([([], "count_all")]))
        if sum(map(len, parts)) > most:
            parts = [_added_up(parts)]
            most = max(MOST_APART, 2 * len(parts[0]))
        if tails:
            tails.add(codes, failed, durations)
    if not parts:
        return
    table = _added_up(parts).sort_by("name")
    codes, failed, values, counts = (table[name].to_numpy() for name in ("name", "failed", "duration", "count_all"))
    yield None, _times(failed, values, counts, tails, None)
    ends = np.flatnonzero(np.diff(codes, append=codes[-1] + 1)) + 1
    for first, last in zip([0, *ends[:-1]], ends, strict=True):
        code = int(codes[first])
        yield code, _times(failed[first:last], values[first:last], counts[first:last], tails, code)


def _added_up(parts: list[pa.Table]) -> pa.Table:
    together = pa.concat_tables(parts).group_by(["name", "failed", "duration"]).aggregate([("count_all", "sum")])
    return together.rename_columns(["name", "failed", "duration", "count_all"])


def _times(failed: np.ndarray, values: np.ndarray, counts: np.ndarray, tails: _Tails | None, code: int | None) -> Rankings:
    every, good = Ranked(values, counts), Ranked(values[~failed], counts[~failed])
    lasts = (tails.of(code, of) if tails and len(times) > DASHBOARD_WINDOW else None for of, times in ((0, every), (1, good)))
    return Rankings(every, good, *lasts)


class _Tails:
    """The last times of each name, in the order of the file."""

    def __init__(self) -> None:
        self._kept: dict[tuple[int | None, int], list[np.ndarray]] = {}

    def add(self, codes: np.ndarray, failed: np.ndarray, durations: np.ndarray) -> None:
        order = np.argsort(codes, kind="stable")
        ends = np.flatnonzero(np.diff(codes[order], append=-2)) + 1
        groups = [(None, slice(None)), *((int(codes[order[end - 1]]), order[first:end])
                                         for first, end in zip([0, *ends[:-1]], ends, strict=True))]  # fmt: skip
        for code, rows in groups:
            mine, bad = durations[rows], failed[rows]
            self._keep((code, 0), mine)
            self._keep((code, 1), mine[~bad])

    def _keep(self, key: tuple[int | None, int], times: np.ndarray) -> None:
        kept = self._kept.setdefault(key, [])
        kept.append(times[-DASHBOARD_WINDOW:].copy())
        if sum(map(len, kept)) > 3 * DASHBOARD_WINDOW or len(kept) > 64:
            self._kept[key] = [np.concatenate(kept)[-DASHBOARD_WINDOW:]]

    def of(self, code: int | None, which: int) -> np.ndarray:
        """Sorted: of all samples of the name (0), of its successes (1)."""
        return np.sort(np.concatenate(self._kept[code, which])[-DASHBOARD_WINDOW:])
