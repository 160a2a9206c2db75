"""Comparisons with intervals, and verdicts on claims.

Verdicts follow from Student's t-intervals over runs, never over requests: thousands of requests of one run share
that run's luck (see `effects`). Where several comparisons are made at once, the intervals are widened so that all
of them hold together with 95 % (Bonferroni); a verdict is given only where such an interval leaves out "no difference",
or lies wholly within ± MARGIN of it. Blocks in which a run was disturbed are left out whole.

A claim that holds only if all its tests do is supported if each of them is, at its own 95 %, without any correction: to
be wrong, the one that does not hold must have been wrong (the intersection-union test: Berger 1982, Technometrics 24,
295-300). That any one of them contradicts it, or makes no difference, has as many chances to be wrong as there are
tests, and takes the widened intervals.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stacklab.errors import ResultsError
from stacklab.runs.calibration import Calibration, calibration_of
from stacklab.runs.results import Run, load_runs
from stacklab.study.analysis import FACTORS, factors, fields, point_order, rank
from stacklab.study.claims import CLAIMS, Claim, Test
from stacklab.study.effects import CONFIDENCE, EFFECT_COLUMNS, Effect, contrast, level, share
from stacklab.study.paired import UNDECIDED, same
from stacklab.study.summary import summarize

MARGIN = 0.05  # a ratio this close to 1 makes no difference
NOT_TESTED = "not tested"
NO_DIFFERENCE = f"makes no difference within ± {MARGIN * 100:g} %"


def compare(runs: Sequence[Run], metric: str, by: str = "point", base: Any = None) -> pd.DataFrame:
    """How `metric` (a column of `summarize`) of each value of `by` differs from that of `base`.

    `by` is "point" or a factor; `base` one of its values (default: the first in order). Runs are
    paired within a repeat, and within equal values of all other factors; how large luck is, all runs say
    (see `effects`). Columns: by, `metric`, `base`, `scale`, `estimate`, `low`, `high`, `n` (pairs), `disturbed`
    (pairs left out), `verdict`. The scale is "ratio" to the base, or "difference" from it where a value is 0 or
    negative. The verdict is "faster" or "slower" for times, else "more" or "less", or "the same within ± 5 %", or
    "undecided".
    """
    summary = summarize(runs)
    if metric not in summary or by not in summary:
        unknown = metric if metric not in summary else by
        raise ResultsError(f"{unknown!r} is not in the summary of these runs; it has {', '.join(summary.columns)}")
    values = point_order(summary) if by == "point" else sorted(summary[by].unique(), key=lambda value: rank(by, value))
    base = values[0] if base is None else base
    if base not in values:
        raise ResultsError(f"{by}={base!r} is in none of these runs; they have {', '.join(map(repr, values))}")
    others = [value for value in values if value != base]
    apart = [] if by == "point" else [name for name in factors(runs) if name != by]
    less, more = ("faster", "slower") if is_time(metric) else ("less", "more")
    rows = []
    for value in others:
        effect = contrast(summary, metric, summary[by] == value, summary[by] == base, apart, comparisons=len(others))
        rows.append({by: value, "metric": metric, "base": base, **asdict(effect), "verdict": _direction(effect, less, more)})
    return pd.DataFrame(rows, columns=[by, "metric", "base", *EFFECT_COLUMNS, "verdict"])


def is_time(metric: str) -> bool:
    """Whether `metric` is a waiting time, of which less is faster (CPU seconds are not)."""
    return metric.endswith("_s") and not metric.startswith(("cpu_", "throughput", "load_"))


@dataclass(frozen=True, eq=False)
class Judgement:
    """What the runs say of a claim.

    `verdict`: "supported", "contradicted", "makes no difference within ± 5 %", "undecided" or "not tested".
    `tests` has one row a test: metric, of, than, expect, `each` value (or "all together": pooled over them, which has more to
    go by and can contradict the claim, not support it), `decides` (False: beside the claim), scale, estimate,
    low, high, n, disturbed, `low_all` and `high_all` (the interval widened for all tests of the claim together), margin,
    `limit` (the number that a value is held against), `more_blocks` and `more_minutes` (about how much more would decide it;
    NaN where it is decided, or nobody can say), verdict, and the `command` that would measure it.
    """

    claim: Claim
    verdict: str
    tests: pd.DataFrame = field(repr=False)
    calibration: Calibration | None = None
    """What the machine of the runs can tell at all, where one machine measured all of them."""

    def to_dict(self) -> dict[str, Any]:
        """Its fields, ready for JSON; what is not there is null."""
        rows = [{name: _plain(value) for name, value in row.items()} for row in self.tests.to_dict("records")]
        return {"id": self.claim.id, "sentence": self.claim.sentence, "verdict": self.verdict, "note": self.claim.note,
                "tests": rows, "machine": self.calibration and self.calibration.figures()}  # fmt: skip


TOGETHER = "all together"

TEST_COLUMNS = (
    "metric", "of", "than", "expect", "each", "decides", *EFFECT_COLUMNS, "low_all", "high_all", "margin", "limit",
    "more_blocks", "more_minutes", "verdict", "command",
)  # fmt: skip


def judge(claim: Claim, runs: Sequence[Run]) -> Judgement:
    """What `runs` say of `claim`: "contradicted" if one test's interval lies on the other side, "supported" if those of all
    lie on the expected one. A test that they cannot decide is "not tested", and leaves undecided what the others support.
    """
    return _judge_all([claim], runs)[0]


def judge_all(runs: Sequence[Run]) -> list[Judgement]:
    """The judgements on those claims of `CLAIMS` of which `runs` can say anything."""
    return [judgement for judgement in _judge_all(CLAIMS, runs) if judgement.verdict != NOT_TESTED]


def _judge_all(claims: Sequence[Claim], runs: Sequence[Run]) -> list[Judgement]:
    table, calibration = _table(runs), calibration_of(runs)
    return [replace(_judge(claim, lambda test: table), calibration=calibration) for claim in claims]


def judge_results(root: Path) -> list[Judgement]:
    """All `CLAIMS`, each test by the runs of its own experiment in the folder `root`: of those at full size, the quick ones, and
    those under wrk's load that can say something of it, those of which most blocks are sound.
    """

    @cache
    def of_experiment(name: str) -> list[tuple[pd.DataFrame, Calibration | None]]:
        folders = [folder for of in ("", "-quick", "-wrk", "-wrk-quick") if (folder := root / f"{name}{of}").is_dir()]
        return [(_table(runs), calibration_of(runs)) for runs in map(load_runs, folders)]

    def best(test: Test) -> tuple[pd.DataFrame, Calibration | None]:
        known = of_experiment(test.experiment)
        return max(known, key=lambda one: (_applies(test, one[0]), _sound_blocks(one[0])), default=(_table(()), None))

    judgements = []
    for claim in CLAIMS:
        measured = [calibration for table, calibration in map(best, claim.tests) if len(table)]
        one = measured[0] if measured and all(other == measured[0] for other in measured) else None
        judgements.append(replace(_judge(claim, lambda test: best(test)[0]), calibration=one))
    return judgements


def _judge(claim: Claim, table_of: Callable[[Test], pd.DataFrame]) -> Judgement:
    cases = []
    for test in (*claim.tests, *claim.besides):
        table = table_of(test)
        groups = [(f"{claim.each}={value}", part) for value, part in table.groupby(claim.each)] if claim.each in table else []
        tested = [(test, each, part) for each, part in groups or [("", table)] if _applies(test, part)]
        if len(tested) > 1 and isinstance(test.than, Mapping):
            tested.append((test, TOGETHER, table))
        cases += tested or [(test, "", None)]
    comparisons = sum(table is not None and test in claim.tests for test, _, table in cases)
    rows = [_row(claim, test, each, table, comparisons) for test, each, table in cases]
    for row, (test, _, table) in zip(rows, cases, strict=True):
        if table is None and test.otherwise and len(table_of(test)):  # its experiment was measured, and cannot tell
            row["command"] = test.otherwise
        if row["each"] == TOGETHER:  # what holds for each holds for all: so they can contradict it, and no more
            row["decides"] &= row["verdict"] == "contradicted"
    tests = pd.DataFrame(rows, columns=list(TEST_COLUMNS))
    return Judgement(claim, _together(list(tests.loc[tests["decides"].astype(bool), "verdict"])), tests)


def _row(claim: Claim, test: Test, each: str, table: pd.DataFrame | None, comparisons: int) -> dict[str, Any]:
    decides = test in claim.tests
    row = {"metric": test.metric, "of": _words(test.of), "than": _words(test.than), "expect": test.expect, "each": each,
           "decides": decides, "margin": MARGIN, "limit": np.nan if isinstance(test.than, Mapping) else float(test.than),
           "command": f"fab experiment {test.experiment}"}  # fmt: skip
    if table is None:
        return row | {"scale": "", "n": 0, "disturbed": 0, "verdict": NOT_TESTED}
    own = _tested(test, claim, table, comparisons=1)
    wide = _tested(test, claim, table, comparisons) if decides else own
    said = _judged(test, own, wide)
    more = _more_blocks(test, own, table) if said == UNDECIDED else np.nan
    row |= asdict(own) | {"low_all": wide.low, "high_all": wide.high, "verdict": said}
    return row | {"more_blocks": more, "more_minutes": more * _block_s(table) / 60}


# Columns that stand for a setting: runs that are compared by one need not agree in the other.
STANDS_FOR = {"workers_per_cpu": "nginx_worker_processes"}


def _table(runs: Sequence[Run]) -> pd.DataFrame:
    """One row a run: all that it was set to, and its summary. Another tool's says nothing of settings."""
    runs = [run for run in runs if run.settings]
    if not runs:
        return pd.DataFrame()
    table = pd.concat([fields(runs), summarize(runs).drop(columns=list(FACTORS), errors="ignore")], axis=1)
    cpus = np.array([_cpus(run) for run in runs], dtype=float)
    return table.assign(workers_per_cpu=table["nginx_worker_processes"].to_numpy(dtype=float) / cpus)


def _cpus(run: Run) -> float:
    """Those that the web host may use; NaN if the run does not say."""
    pinned = run.environment.get("pinned_cpus")
    return float(len(pinned)) if pinned else run.environment.get("web", {}).get("cpus") or np.nan


def _sound_blocks(table: pd.DataFrame) -> int:
    return int(table.groupby(["experiment", "repeat"])["valid"].all().sum()) if len(table) else 0


def _tested(test: Test, claim: Claim, table: pd.DataFrame, comparisons: int) -> Effect:
    """The effect that a test is about: of pairs, or of each run's own value where it is held against a number."""
    if test.tries:
        return share(table[_having(table, test.of)], test.metric, test.tries, comparisons)
    if not isinstance(test.than, Mapping):
        return level(table[_having(table, test.of)], test.metric, comparisons)
    # How large luck is, only runs say that the claim is about: others may be far more, or less, unruly.
    alike = [other for other in claim.tests if other.experiment == test.experiment and test in claim.tests]
    sides = [side for each in (test, *alike) for side in (each.of, each.than) if isinstance(side, Mapping)]
    table = table[np.logical_or.reduce([_having(table, side) for side in sides if _knows(table, side)])]
    named = {STANDS_FOR.get(name, name) for name in (*test.of, *test.than)}
    varying = [name for name in FACTORS if name in table and len({repr(value) for value in table[name]}) > 1]
    apart = [name for name in varying if name not in named]
    return contrast(table, test.metric, _having(table, test.of), _having(table, test.than), apart, comparisons)


def _knows(table: pd.DataFrame, side: Mapping[str, Any]) -> bool:
    return all(name in table for name in side)


def _having(table: pd.DataFrame, settings: Mapping[str, Any]) -> pd.Series:
    """Which rows have these settings."""
    marks = [table[name].isna() if value is None else table[name] == value for name, value in settings.items()]
    return pd.Series(np.logical_and.reduce([np.ones(len(table), dtype=bool), *marks]), index=table.index)


def _applies(test: Test, table: pd.DataFrame) -> bool:
    if test.metric not in table:
        return False
    sides = [test.of, test.than] if isinstance(test.than, Mapping) else [test.of]
    return all(_knows(table, side) and table.loc[_having(table, side), test.metric].notna().any() for side in sides)


def _makes_none(effect: Effect) -> bool:
    """Whether the whole interval lies within ± MARGIN of no difference."""
    return effect.scale == "ratio" and 1 / (1 + MARGIN) <= effect.low and effect.high <= 1 + MARGIN


def _direction(effect: Effect, less: str, more: str) -> str:
    if _makes_none(effect):
        return same(MARGIN)
    if effect.high < effect.neutral:
        return less
    return more if effect.low > effect.neutral else UNDECIDED


def _limit(test: Test, effect: Effect) -> float:
    """What an effect is held against."""
    if not isinstance(test.than, Mapping):
        return float(test.than)
    if effect.scale == "ratio" and test.expect.startswith("not"):
        return 1 + MARGIN if test.expect == "not more" else 1 / (1 + MARGIN)
    return effect.neutral


def _judged(test: Test, own: Effect, wide: Effect) -> str:
    """The verdict of one test: support by its `own` interval, all else by the `wide` one. A limit that is met is met."""
    if np.isnan(own.low):
        return UNDECIDED
    limit = _limit(test, own)
    if test.expect == "sometimes":
        wanted, other = own.low > 0, wide.high < limit
    elif test.expect in ("at most", "not more"):
        wanted, other = own.high <= limit, wide.low > limit
    elif test.expect in ("at least", "not less"):
        wanted, other = own.low >= limit, wide.high < limit
    elif _makes_none(wide):
        return NO_DIFFERENCE
    else:
        below, above = (lambda effect: effect.high < limit), (lambda effect: effect.low > limit)
        if _makes_none(own):
            return UNDECIDED
        wanted, other = (below(own), above(wide)) if test.expect == "less" else (above(own), below(wide))
    return "supported" if wanted else "contradicted" if other else UNDECIDED


def _more_blocks(test: Test, effect: Effect, table: pd.DataFrame) -> float:
    """About how many more sound blocks would decide, if they are like those there are: intervals shrink with their root."""
    of = table[_having(table, test.of)]
    blocks = _sound_blocks(of)
    if blocks < 2 or np.isnan(effect.low):
        return 2.0 - min(blocks, 1)
    if test.tries:  # nothing happened yet: how many tries without it make it rare?
        needed = np.log((1 - CONFIDENCE) / 2) / np.log(1 - float(test.than))
        return float(np.ceil((needed - effect.n) / effect.n * blocks))
    scale = np.log if effect.scale == "ratio" else float
    half = (scale(effect.high) - scale(effect.low)) / 2
    away = abs(scale(effect.estimate) - scale(_limit(test, effect)))
    if effect.scale == "ratio" and test.expect in ("less", "more"):
        away = max(away, np.log1p(MARGIN) - away)
    return float(np.ceil(blocks * max((half / away) ** 2 - 1, 1 / blocks))) if away > 0 else np.nan


def _block_s(table: pd.DataFrame) -> float:
    """Seconds from the start of a block to that of the next, as they were; NaN of a single one."""
    starts = table.groupby(["experiment", "repeat"])["started_s"].min().sort_values() if "started_s" in table else pd.Series()
    return float(starts.diff().median()) if len(starts) > 1 else np.nan


def _together(verdicts: Sequence[str]) -> str:
    """A claim's verdict from those of its tests: one contradiction contradicts it, support takes all."""
    if set(verdicts) <= {NOT_TESTED}:
        return NOT_TESTED
    for verdict in ("contradicted", UNDECIDED, NO_DIFFERENCE):
        if verdict in verdicts:
            return verdict
    return UNDECIDED if NOT_TESTED in verdicts else "supported"


def as_claimed(row: Mapping[str, Any]) -> tuple[float, float, float]:
    """Estimate, low and high of a row of `Judgement.tests`, as multiples of what it is held against, so that more is more as
    claimed. NaN where no ratio can be taken.
    """
    values = np.array([row["estimate"], row["low"], row["high"]], dtype=float)
    if row["scale"] == "value":
        values = values / row["limit"] if row["limit"] else np.full(3, np.nan)
    elif row["scale"] != "ratio":
        values = np.full(3, np.nan)
    if row["expect"] in ("less", "not more", "at most"):
        with np.errstate(divide="ignore"):
            values = (1 / values)[[0, 2, 1]]
    return tuple(values.tolist())


def least_as_claimed(judgement: Judgement) -> dict[str, Any] | None:
    """Of the tests that made the verdict, or else of all that were made, the row of the one that is least as claimed; None if
    there is none.
    """
    rows = judgement.tests[judgement.tests["decides"].astype(bool)].to_dict("records")
    made = [row for row in rows if row["scale"] and np.isfinite(as_claimed(row)[0])]
    chosen = [row for row in made if row["verdict"] == judgement.verdict] or made
    return min(chosen, key=lambda row: as_claimed(row)[0], default=None)


def _words(side: Mapping[str, Any] | float) -> str:
    if not isinstance(side, Mapping):
        return f"{side:g}"
    return ", ".join(f"{name}={'none' if value is None else value}" for name, value in side.items())


def _plain(value: Any) -> Any:
    """`value` as JSON knows it."""
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value
