"""Comparisons with intervals, and verdicts on claims.

Verdicts follow from Student's t-intervals over runs, never over requests: thousands of requests of one run share
that run's luck (see `effects`). Where several comparisons are made at once, the intervals are widened so that all
of them hold together with 95 % (Bonferroni); a verdict is given only where such an interval leaves out "no difference",
or lies wholly within ± MARGIN of it. Blocks in which a run was disturbed are left out whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from stacklab.errors import ResultsError
from stacklab.runs.results import Run
from stacklab.study.analysis import FACTORS, factors, fields, point_order, rank
from stacklab.study.claims import CLAIMS, Claim, Test
from stacklab.study.effects import EFFECT_COLUMNS, Effect, contrast, level
from stacklab.study.paired import UNDECIDED, same
from stacklab.study.summary import summarize

MARGIN = 0.05  # a ratio this close to 1 makes no difference
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
    `tests` has one row a test: metric, of, than, expect, `each` value, scale, estimate, low, high, n,
    disturbed, verdict.
    """

    claim: Claim
    verdict: str
    tests: pd.DataFrame = field(repr=False)


def judge(claim: Claim, runs: Sequence[Run]) -> Judgement:
    """What `runs` say of `claim`.

    "contradicted" if a test's interval lies on the other side, "supported" if all lie on the expected
    side; the intervals of one claim hold together with 95 % (Bonferroni).
    """
    table = pd.concat([fields(runs), summarize(runs).drop(columns=list(FACTORS), errors="ignore")], axis=1)
    cases = [
        (test, group, part)
        for test in claim.tests
        for group, part in ([(None, table)] if claim.each not in table else table.groupby(claim.each))
        if _applies(test, part)
    ]
    rows = []
    for test, group, part in cases:
        effect = _tested(test, claim, part, factors(runs), comparisons=len(cases))
        rows.append(
            {"metric": test.metric, "of": _words(test.of), "than": _words(test.than), "expect": test.expect}
            | {"each": "" if group is None else f"{claim.each}={group}"}
            | asdict(effect)
            | {"verdict": _judged(test, effect)}
        )
    tests = pd.DataFrame(rows, columns=["metric", "of", "than", "expect", "each", *EFFECT_COLUMNS, "verdict"])
    return Judgement(claim, _together(list(tests["verdict"])), tests)


def judge_all(runs: Sequence[Run]) -> list[Judgement]:
    """The judgements on those claims of `CLAIMS` of which `runs` can say anything."""
    judgements = [judge(claim, runs) for claim in CLAIMS if claim.tests]
    return [judgement for judgement in judgements if len(judgement.tests)]


def _tested(test: Test, claim: Claim, table: pd.DataFrame, varying: Sequence[str], comparisons: int) -> Effect:
    """The effect that a test is about: of pairs, or of each run's own value where it is held against a number."""
    if not isinstance(test.than, Mapping):
        return level(table[_having(table, test.of)], test.metric, comparisons)
    # How large luck is, only runs say that the claim is about: others may be far more, or less, unruly.
    sides = [side for each in claim.tests for side in (each.of, each.than) if isinstance(side, Mapping)]
    table = table[np.logical_or.reduce([_having(table, side) for side in sides])]
    apart = [name for name in varying if name not in test.of and name not in test.than]
    return contrast(table, test.metric, _having(table, test.of), _having(table, test.than), apart, comparisons)


def _having(table: pd.DataFrame, settings: Mapping[str, Any]) -> pd.Series:
    """Which rows have these settings."""
    return pd.Series(np.logical_and.reduce([table[name] == value for name, value in settings.items()]), index=table.index)


def _applies(test: Test, table: pd.DataFrame) -> bool:
    if test.metric not in table:
        return False
    sides = [test.of, test.than] if isinstance(test.than, Mapping) else [test.of]
    return all(table.loc[_having(table, side), test.metric].notna().any() for side in sides)


def _makes_none(effect: Effect) -> bool:
    """Whether the whole interval lies within ± MARGIN of no difference."""
    return effect.scale == "ratio" and 1 / (1 + MARGIN) <= effect.low and effect.high <= 1 + MARGIN


def _direction(effect: Effect, less: str, more: str) -> str:
    if _makes_none(effect):
        return same(MARGIN)
    if effect.high < effect.neutral:
        return less
    return more if effect.low > effect.neutral else UNDECIDED


def _judged(test: Test, effect: Effect) -> str:
    """The verdict of one test. A limit that is met exactly ("at most", "at least") is met."""
    if np.isnan(effect.low):
        return UNDECIDED
    if test.expect == "at most":
        wanted, other = effect.high <= test.than, effect.low > test.than
    elif test.expect == "at least":
        wanted, other = effect.low >= test.than, effect.high < test.than
    elif _makes_none(effect):
        return NO_DIFFERENCE
    else:
        below, above = effect.high < effect.neutral, effect.low > effect.neutral
        wanted, other = (below, above) if test.expect == "less" else (above, below)
    return "supported" if wanted else "contradicted" if other else UNDECIDED


def _together(verdicts: Sequence[str]) -> str:
    """A claim's verdict from those of its tests: one contradiction contradicts it, support takes all."""
    if not verdicts:
        return "not tested"
    for verdict in ("contradicted", UNDECIDED, NO_DIFFERENCE):
        if verdict in verdicts:
            return verdict
    return "supported"


def _words(side: Mapping[str, Any] | float) -> str:
    return ", ".join(f"{name}={value}" for name, value in side.items()) if isinstance(side, Mapping) else f"{side:g}"
