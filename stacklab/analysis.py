"""Runs as tidy DataFrames, their summary, comparisons with intervals, and verdicts on claims.

Tidy: one row an observation, with `experiment`, `run`, `point`, `repeat`, `valid` and every setting and
workload field that differs between the runs given. Times `t_s` are seconds since the start of the
counted load, on the desk's clock: the web host's clock is brought to it by the run's clock offset.

Percentiles are of the raw rows, by linear interpolation. Verdicts follow from Student's t-intervals over
runs, never over requests: thousands of requests of one run share that run's luck (see `effects`). Where
several comparisons are made at once, the intervals are widened so that all of them hold together with 95 %
(Bonferroni); a verdict is given only where such an interval leaves out "no difference".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from stacklab.claims import CLAIMS, Claim, Test
from stacklab.effects import EFFECT_COLUMNS, Effect, contrast, level
from stacklab.errors import ResultsError
from stacklab.results import TABLES, WEB_CLOCK_TABLES, Run
from stacklab.settings import StackSettings
from stacklab.validity import disconnects, load_window
from stacklab.workload import ChatLoad, HttpLoad

RULES = HttpLoad.rules() | ChatLoad.rules() | StackSettings.rules()
FACTORS = tuple(RULES)
"""Every field of workloads and settings: what can differ between the points of an experiment."""

METRIC_NAMES = {
    "throughput_per_s": "throughput",
    "mean_s": "mean response time",
    "p50_s": "median response time",
    "p95_s": "95th percentile of the response time",
    "p99_s": "99th percentile of the response time",
    "latency_p50_s": "median latency",
    "latency_p95_s": "95th percentile of the latency",
    "latency_p99_s": "99th percentile of the latency",
    "delivered_share": "share delivered",
    "away_p50_s": "median time until a client was back",
    "away_max_s": "longest time until a client was back",
    "silence_max_s": "longest time in which nobody received anything",
    "cpu_s": "CPU seconds of all services",
    "cpu_s_daphne": "CPU seconds of all Daphnes",
    "cpu_s_per_1000_requests": "CPU seconds per 1000 requests",
    "pss_peak_bytes": "peak memory of all services",
    "pss_peak_bytes_daphne": "peak memory of all Daphnes",
    "busiest_share": "sockets on the busiest instance, as a multiple of an even share",
    "instances_silent": "instances that no socket met",
    "instances_per_room": "instances that a room is spread over",
    "crossed_share": "deliveries that crossed between instances",
}
"""Columns of `summarize` in words, for titles and sentences."""

PERCENTILES = (50, 95, 99)
NO_DIFFERENCE = "no detectable difference"
TOO_FEW = "too few repeats"


def factors(runs: Sequence[Run]) -> list[str]:
    """The settings and workload fields in which `runs` differ."""
    table = _fields(runs)
    return [name for name in table.columns if len({repr(value) for value in table[name]}) > 1]


def requests(runs: Sequence[Run]) -> pd.DataFrame:
    """Every request as the client saw it, warm-up included.

    Columns of the table, `t_s` of its start, and `response_s`: how long a person would have waited. It
    is the duration; on a schedule, counted from when the request should have started.
    """
    table = _tidy(runs, "requests", "start_s")
    table["response_s"] = _response_s(table)
    return table


def server(runs: Sequence[Run]) -> pd.DataFrame:
    """Every request as nginx logged it; `t_s` is its end."""
    return _tidy(runs, "server", "end_s")


def resources(runs: Sequence[Run]) -> pd.DataFrame:
    """Every sample of every service, and `cpu_share`: CPU seconds a second since the sample before (1.0 = one core)."""
    table = _tidy(runs, "resources", "time_s").sort_values(["experiment", "run", "service", "time_s"], ignore_index=True)
    grouped = table.groupby(["experiment", "run", "service"], sort=False, observed=True)
    grown = grouped["cpu_s"].diff()
    # After a restart the count begins at 0 again: what it shows then is all new.
    grown = grown.where(~(grown < 0), table["cpu_s"])
    table["cpu_share"] = grown / grouped["time_s"].diff()
    return table


def gauges(runs: Sequence[Run]) -> pd.DataFrame:
    """Every reading of the machine's gauges and of the load generator's."""
    parts = [_tidy(runs, name, "time_s") for name in ("gauges", "generator")]
    return pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)


def messages(runs: Sequence[Run]) -> pd.DataFrame:
    """One row a message and expected receiver; `t_s` is when it was sent."""
    return _tidy(runs, "messages", "sent_s")


def crossings(runs: Sequence[Run]) -> pd.DataFrame:
    """One row a point, the least first: how far its rooms are spread, how many deliveries went from one instance to another.

    Columns `point`, `instances_per_room` (instances that delivered in a room, mean over rooms) and
    `crossed_share` (of the deliveries that arrived; the others went out by the instance they came in by).
    """
    arrived = messages(runs).dropna(subset=["via", "instance"])
    crossed = arrived.assign(crossed_share=arrived["via"] != arrived["instance"])
    rooms = crossed.groupby(["experiment", "run", "point", "room"]).agg(
        instances_per_room=("instance", "nunique"), crossed_share=("crossed_share", "mean")
    )
    return rooms.groupby("point").mean().sort_values("crossed_share").reset_index()


def connections(runs: Sequence[Run]) -> pd.DataFrame:
    """One row an attempt to connect; `t_s` is its start, `t_end_s` the end of the socket."""
    table = _tidy(runs, "connections", "connect_start_s")
    table["t_end_s"] = table["t_s"] + (table["end_s"] - table["connect_start_s"])
    return table


def events(runs: Sequence[Run]) -> pd.DataFrame:
    """What was done to the stack while a run was measured: `what`, `t_s` when it began, `t_end_s` when it was done."""
    rows = [
        {"experiment": run.experiment, "run": run.run, "point": run.point or run.run, "what": event["what"]}
        | {"t_s": event["began_s"] - load_window(run)[0], "t_end_s": event["ended_s"] - load_window(run)[0]}
        for run in runs
        for event in run.events
    ]
    return pd.DataFrame(rows, columns=["experiment", "run", "point", "what", "t_s", "t_end_s"])


def sockets(runs: Sequence[Run]) -> pd.DataFrame:
    """Daphne's memory against its open sockets, one row a reading: `t_s`, `sockets`, `pss_bytes` (all instances)."""
    runs = [run for run in runs if run.has("connections")]
    labels = list(_labels(runs, FACTORS).columns)
    samples = resources(runs)
    samples = samples[samples["service"].map(_family) == "daphne"].dropna(subset=["pss_bytes"])
    memory = samples.groupby([*labels, "t_s"], as_index=False, observed=True, dropna=False)["pss_bytes"].sum()
    memory["sockets"] = 0
    opened = connections(runs).dropna(subset=["connect_s"])
    for (experiment, run), at in memory.groupby(["experiment", "run"], observed=True):
        mine = opened[(opened["experiment"] == experiment) & (opened["run"] == run)]
        memory.loc[at.index, "sockets"] = open_at(mine["t_s"] + mine["connect_s"], mine["t_end_s"], at["t_s"].to_numpy())
    return memory


def open_at(begun: pd.Series, ended: pd.Series, times: np.ndarray) -> np.ndarray:
    """How many sockets are open at each of `times`; those without an end (NaN) stay open."""
    opened = np.searchsorted(np.sort(begun.to_numpy(dtype=float)), times, "right")
    return opened - np.searchsorted(np.sort(ended.dropna().to_numpy(dtype=float)), times, "right")


def summarize(runs: Sequence[Run]) -> pd.DataFrame:
    """One row a run, in the order given.

    All runs: the columns of a tidy table, `position`, `started_s`, `kind`, `reasons`; from the samples
    `cpu_s` (CPU seconds under load, all services), `cpu_s_<service>` (nginx, uwsgi, daphne: all
    instances, redis), `pss_peak_bytes`, `pss_peak_bytes_<service>`.

    HTTP: `counted`, `errors`, `error_share`, `retried`, `load_s` (first counted start to last counted
    end), `throughput_per_s` (counted successes / load_s), `mean_s`, `p50_s`, `p95_s`, `p99_s` of the
    successful counted requests, `server_p50_s` … of nginx's own times, `cpu_s_per_1000_requests`.

    Chat: `clients_connected`, `disconnects`, `connect_p95_s`, `away_p50_s`, `away_max_s` (from a socket's early
    end until its client is connected again), `instances_silent` (instances that no socket met), `busiest_share`
    (sockets of the busiest instance × instances: 1.0 is even), `deliveries` (expected), `delivered_share`, `lost`
    (receiver connected), `lost_while_away`, `duplicated`, `out_of_order`, `silence_max_s` (longest time
    in which nobody received anything), `latency_p50_s` ….
    """
    rows = [run.once("summary", lambda run=run: _summary(run)) for run in runs]
    return pd.concat([_labels(runs, FACTORS), pd.DataFrame(rows)], axis=1)


def compare(runs: Sequence[Run], metric: str, by: str = "point", base: Any = None) -> pd.DataFrame:
    """How `metric` (a column of `summarize`) of each value of `by` differs from that of `base`.

    `by` is "point" or a factor; `base` one of its values (default: the first in order). Runs are
    paired within a repeat, and within equal values of all other factors; how large luck is, all runs say
    (see `effects`). Columns: by, `metric`, `base`, `scale`, `estimate`, `low`, `high`, `n` (pairs), `suspect`
    (suspect runs among them), `verdict`. The scale is "ratio" to the base, or "difference" from it where a
    value is 0 or negative. The verdict is "faster" or "slower" for times, else "more" or "less", or "no
    detectable difference", or "too few repeats" (fewer than two).
    """
    summary = summarize(runs)
    if metric not in summary or by not in summary:
        unknown = metric if metric not in summary else by
        raise ResultsError(f"{unknown!r} is not in the summary of these runs; it has {', '.join(summary.columns)}")
    values = point_order(summary) if by == "point" else sorted(summary[by].unique(), key=lambda value: _rank(by, value))
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


def point_order(table: pd.DataFrame) -> list[str]:
    """The points of a tidy table or summary, by the factors that differ (workload first), then as they come."""
    firsts = table.drop_duplicates("point")
    keys = [name for name in FACTORS if name in table.columns and name not in UNORDERED]
    ranks = [tuple(_rank(key, row[key]) for key in keys) for row in firsts.to_dict("records")]
    return [point for _, point in sorted(zip(ranks, firsts["point"], strict=True), key=lambda pair: pair[0])]


def in_order(summary: pd.DataFrame) -> pd.DataFrame:
    """The rows of a summary in the order in which plots show their points; repeats in their own."""
    places = {point: place for place, point in enumerate(point_order(summary))}
    ranked = summary.assign(place=summary["point"].map(places))
    return ranked.sort_values(["place", "repeat"], ignore_index=True).drop(columns="place")


UNORDERED = ("duration_s",)  # also a column of `requests`, where it is no factor


def _rank(name: str, value: Any) -> tuple[int, float, str]:
    """Any factor's value as something that sorts: none first, choices in their own order, numbers, words."""
    choices = RULES[name].choices
    if value in choices:
        return (1, choices.index(value), "")
    if value is None or value != value:  # NaN is unequal to itself
        return (0, 0.0, "")
    return (1, float(value), "") if isinstance(value, (int, float, np.number)) else (2, 0.0, str(value))


def is_time(metric: str) -> bool:
    """Whether `metric` is a waiting time, of which less is faster (CPU seconds are not)."""
    return metric.endswith("_s") and not metric.startswith(("cpu_", "throughput", "load_"))


@dataclass(frozen=True, eq=False)
class Judgement:
    """What the runs say of a claim.

    `verdict`: "supported", "contradicted", "no detectable difference", "too few repeats" or "not tested".
    `tests` has one row a test: metric, of, than, expect, `each` value, scale, estimate, low, high, n,
    suspect, verdict.
    """

    claim: Claim
    verdict: str
    tests: pd.DataFrame = field(repr=False)


def judge(claim: Claim, runs: Sequence[Run]) -> Judgement:
    """What `runs` say of `claim`.

    "contradicted" if a test's interval lies on the other side, "supported" if all lie on the expected
    side; the intervals of one claim hold together with 95 % (Bonferroni).
    """
    table = pd.concat([_fields(runs), summarize(runs).drop(columns=list(FACTORS), errors="ignore")], axis=1)
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


def percentiles(seconds: pd.Series, prefix: str = "") -> dict[str, float]:
    """{"p50_s": …, "p95_s": …, "p99_s": …} of raw values; NaN if there are none."""
    values = seconds.dropna().to_numpy(dtype=float)
    found = np.percentile(values, PERCENTILES) if len(values) else [np.nan] * len(PERCENTILES)
    return {f"{prefix}p{q}_s": float(value) for q, value in zip(PERCENTILES, found, strict=True)}


def _fields(runs: Sequence[Run]) -> pd.DataFrame:
    """One row a run: every field of its settings and workload."""
    rows = [run.settings.to_dict() | run.workload.to_dict() for run in runs]
    used = [name for name in FACTORS if any(name in row for row in rows)]
    return pd.DataFrame(rows, columns=used, dtype=object).infer_objects()


def _labels(runs: Sequence[Run], allowed: Sequence[str]) -> pd.DataFrame:
    """One row a run: its place in the experiment, whether it is valid, and the `allowed` factors that differ."""
    place = pd.DataFrame(
        {
            "experiment": [run.experiment for run in runs],
            "run": [run.run for run in runs],
            "point": [run.point or run.run for run in runs],  # a run outside an experiment stands for itself
            "repeat": [run.repeat for run in runs],
            "valid": [run.validity.valid for run in runs],
        }
    )
    return pd.concat([place, _fields(runs)[[name for name in factors(runs) if name in allowed]]], axis=1)


def _tidy(runs: Sequence[Run], name: str, time: str) -> pd.DataFrame:
    """The table `name` of those `runs` that have it, labelled, with `t_s` made from the column `time`."""
    allowed = [factor for factor in FACTORS if factor not in TABLES[name]]
    labels = _labels(runs, allowed)
    holders = [position for position, run in enumerate(runs) if run.has(name)]
    tables = []
    for position in holders:
        run = runs[position]
        table = run.table(name)[list(TABLES[name])]
        offset = (run.clock_offset_s or 0.0) if name in WEB_CLOCK_TABLES else 0.0
        table["t_s"] = table[time] - offset - load_window(run)[0]
        tables.append(table)
    if not tables:
        return pd.DataFrame(columns=[*labels.columns, *TABLES[name], "t_s"])
    repeated = labels.loc[np.repeat(holders, [len(table) for table in tables])].reset_index(drop=True)
    filled = [table for table in tables if len(table)] or tables[:1]
    return pd.concat([repeated, pd.concat(filled, ignore_index=True)], axis=1)


def _response_s(table: pd.DataFrame) -> pd.Series:
    late = (table["start_s"] - table["scheduled_s"].astype(float)).clip(lower=0).fillna(0.0)
    return table["duration_s"] + late


def _family(service: str) -> str:
    """"daphne" for daphne@1 …; other services are their own family."""
    return service.partition("@")[0]


def _summary(run: Run) -> dict[str, Any]:
    row = {"kind": run.kind, "position": run.position, "started_s": run.started_s}
    row |= {"reasons": " ".join(run.validity.reasons)}
    row |= _summarize_http(run) if run.kind == "http" else _summarize_chat(run)
    return row | _summarize_resources(run, row.get("counted"))


def _summarize_http(run: Run) -> dict[str, Any]:
    if not run.has("requests"):
        return {}
    table = run.table("requests")
    counted = table[~table["warmup"].astype(bool)]
    good = counted[counted["error"].isna()]
    start, end = load_window(run)
    response_s = _response_s(good)
    row = {
        "counted": len(counted),
        "errors": len(counted) - len(good),
        "error_share": 1 - len(good) / len(counted) if len(counted) else np.nan,
        "retried": int(counted["retried"].astype(bool).sum()),
        "load_s": end - start,
        "throughput_per_s": len(good) / (end - start) if end > start else np.nan,
        "mean_s": response_s.mean(),
        **percentiles(response_s),
    }
    if run.has("server"):
        logged = run.table("server")
        began = logged["end_s"] - logged["duration_s"] - (run.clock_offset_s or 0.0)
        fine = logged["status"].between(200, 399) & began.between(start - (run.clock_error_s or 0.0), end)
        row |= percentiles(logged.loc[fine, "duration_s"], "server_")
    return row


def _summarize_chat(run: Run) -> dict[str, Any]:
    row: dict[str, Any] = {}
    if run.has("connections"):
        table = run.table("connections")
        opened = table[table["connect_s"].notna()]
        met = opened["instance"].dropna().value_counts()
        row |= {
            "clients_connected": opened["client"].nunique(),
            "disconnects": len(disconnects(table)),
            "connect_p95_s": percentiles(opened["connect_s"])["p95_s"],
            "away_p50_s": _away_s(opened).median(),
            "away_max_s": _away_s(opened).max(),
            "instances_silent": max(0, run.settings.daphne_instances - len(met)),
            "busiest_share": met.max() / met.sum() * run.settings.daphne_instances if len(met) else np.nan,
        }
    if run.has("messages"):
        table = run.table("messages")
        counted = table[~table["warmup"].astype(bool)]
        lost = counted["copies"] == 0
        present = counted["receiver_connected"].astype(bool)
        row |= {
            "deliveries": len(counted),
            "delivered_share": 1 - lost.mean() if len(counted) else np.nan,
            "lost": int((lost & present).sum()),
            "lost_while_away": int((lost & ~present).sum()),
            "duplicated": int((counted["copies"] > 1).sum()),
            "out_of_order": int((counted["in_order"] == False).sum()),  # noqa: E712 (null is neither)
            "silence_max_s": counted["received_s"].dropna().sort_values().diff().max(),
            **percentiles(counted["latency_s"], "latency_"),
        }
    return row


def _away_s(opened: pd.DataFrame) -> pd.Series:
    """For each socket that ended early and whose client came back: the seconds until it was connected again."""
    ordered = opened.sort_values(["client", "connect_start_s"])
    back_s = (ordered["connect_start_s"] + ordered["connect_s"]).groupby(ordered["client"]).shift(-1)
    return (back_s - ordered["end_s"]).dropna().clip(lower=0)


def _summarize_resources(run: Run, counted: int | None) -> dict[str, Any]:
    if not run.has("resources"):
        return {}
    samples = run.table("resources").sort_values("time_s")
    window = np.array(load_window(run)) + (run.clock_offset_s or 0.0)
    samples["family"] = samples["service"].map(_family)
    cpu_s: dict[str, float] = {}
    for service, rows in samples.groupby("service"):
        family = _family(service)
        cpu_s[family] = cpu_s.get(family, 0.0) + _used(rows, window)
    memory = samples.dropna(subset=["pss_bytes"]).groupby(["time_s", "family"])["pss_bytes"].sum()
    row = {"cpu_s": sum(cpu_s.values())} | {f"cpu_s_{family}": value for family, value in cpu_s.items()}
    if counted:
        row["cpu_s_per_1000_requests"] = row["cpu_s"] / counted * 1000
    if len(memory):
        row["pss_peak_bytes"] = memory.groupby("time_s").sum().max()
        row |= {f"pss_peak_bytes_{family}": peak for family, peak in memory.groupby("family").max().items()}
    return row


def _used(samples: pd.DataFrame, window: np.ndarray) -> float:
    """CPU seconds of one service within `window`, between its cumulative readings; restarts count from 0."""
    readings = samples["cpu_s"].to_numpy(dtype=float)
    steps = np.diff(readings)
    grown = np.concatenate([[0.0], np.cumsum(np.where(steps < 0, readings[1:], steps))])
    begin, end = np.interp(window, samples["time_s"].to_numpy(dtype=float), grown)
    return float(end - begin)


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


def _direction(effect: Effect, less: str, more: str) -> str:
    if np.isnan(effect.low):
        return TOO_FEW
    if effect.high < effect.neutral:
        return less
    return more if effect.low > effect.neutral else NO_DIFFERENCE


def _judged(test: Test, effect: Effect) -> str:
    """The verdict of one test. A limit that is met exactly ("at most", "at least") is met."""
    if np.isnan(effect.low):
        return TOO_FEW
    if test.expect == "at most":
        wanted, other = effect.high <= test.than, effect.low > test.than
    elif test.expect == "at least":
        wanted, other = effect.low >= test.than, effect.high < test.than
    else:
        below, above = effect.high < effect.neutral, effect.low > effect.neutral
        wanted, other = (below, above) if test.expect == "less" else (above, below)
    return "supported" if wanted else "contradicted" if other else NO_DIFFERENCE


def _together(verdicts: Sequence[str]) -> str:
    """A claim's verdict from those of its tests: one contradiction contradicts it, support takes all."""
    if not verdicts:
        return "not tested"
    for verdict in ("contradicted", TOO_FEW, NO_DIFFERENCE):
        if verdict in verdicts:
            return verdict
    return "supported"


def _words(side: Mapping[str, Any] | float) -> str:
    return ", ".join(f"{name}={value}" for name, value in side.items()) if isinstance(side, Mapping) else f"{side:g}"
