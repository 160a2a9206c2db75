"""`check`: may a run decide, and did the service do well? Pure: it reads the run's tables and says why not, with numbers.

What is done to the stack on purpose (`run.events`: an instance killed, a setting changed) may cost sockets
and messages: from the first event on, such losses are what the run shows, and no reason to doubt it.

It works on a saved run and on one that is not saved yet (a Run whose `path` is the folder being written).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from stacklab.errors import ResultsError
from stacklab.runs import flow
from stacklab.runs.calibration import Calibration
from stacklab.runs.disturbance import (
    TIMES_USUAL,
    came_with_the_load,
    generator_gauge,
    generator_share,
    load_window,
    numbers_of,
    on_one_computer,
)
from stacklab.runs.results import OF_REQUESTS, Run, Validity
from stacklab.workload import TALKER, ChatLoad, HttpLoad, PlanLoad

MAX_GENERATOR_SHARE = 0.9  # of one core, for the busiest process of the load generator; of all it may use, for a plan's tool
READING_S = 0.5  # that a reading of the load generator is of
MAX_STEAL_SHARE = 0.1  # of the CPU time that the machine wanted; verdicts hold it equal (`study.steal`), up to there
MAX_OTHERS_CORES = 0.25  # that other work on the same computer may use
MAX_SAMPLER_SHARE = 0.05  # of one core
MAX_GAP_INTERVALS = 3  # between two samples
MAX_LAG_S = 0.05  # of a scheduled request's start, for the 95th percentile
MAX_LAG_SHARE = 0.25  # of the median latency, for the 95th percentile of the generator's own lag …
MIN_LAG_S = 0.005  # … which is no matter below this
MIN_CLOCK_ERROR_S = 0.02  # a clock known this well is good enough for samples taken twice a second
MESSAGES_TOLERANCE = 0.1  # between the messages sent and those asked for
FLIGHT_S = 1.0  # what was sent so shortly before an event may have been caught by it
NORMAL_CLOSE = 1000  # RFC 6455, section 7.4.1: the client is done

EXPECTED_TABLES = {
    "http": ("requests", "server", "resources", "gauges", "generator"),
    "plan": ("requests", "server", "resources", "gauges", "generator"),
    "chat": ("messages", "connections", "resources", "gauges", "generator"),
}


def check(run: Run, problems: Sequence[str] = (), calibration: Calibration | None = None) -> Validity:
    """Whether the run may decide, with a sentence for each reason why not, and whether the service did well.

    `problems`: what was noticed while measuring. `calibration`: this machine's, if there is one; what is usual on it is no
    reason. A slice shares its block with what it is compared to: what disturbs all of a block alike costs it nothing (see
    `uneven`). Of another tool's file nothing is known.
    """
    if run.kind == "foreign":
        return Validity(known=False)
    numbers = numbers_of(run)
    rules = (_tables, _settings, flow.window, _http, _plan, _chat, _generator, _one_cpu, _gauges, _samples, _clock)
    reasons = [*problems, *_heard(run, *rules)]
    reasons += _heard(run, lambda run: flow.ceiling(run, calibration), lambda run: flow.drift(run, calibration))
    reasons += [] if run.whole else _machine(numbers, calibration)
    failures = _heard(run, _answers, _sockets, _messages)
    return Validity(tuple(dict.fromkeys(reasons)), tuple(dict.fromkeys(failures)), numbers)


def contradictions(run: Run) -> list[str]:
    """What a run's tables have against each other, read anew: rows that are missing, not the load's, or of another pace."""
    return _heard(run, _tables, _http, _plan, _chat)


def _heard(run: Run, *rules: Callable[[Run], Iterator[str]]) -> list[str]:
    """What the rules say, each on its own: a table that one of them cannot read is a sentence too."""
    said = []
    for rule in rules:
        try:
            said += rule(run)
        except ResultsError as error:
            said.append(f"A table cannot be read: {error}.")
    return said


def _tables(run: Run) -> Iterator[str]:
    for name in EXPECTED_TABLES[run.kind]:
        if not run.has(name) and not (name == "requests" and run.has("stated")):
            yield f"The table {name} is missing."


def _settings(run: Run) -> Iterator[str]:
    for name, asked in run.settings.to_dict().items():
        seen = run.observed.get(name)
        if seen is not None and seen != asked:
            yield f"{name} was {seen} on the web host, {asked} was asked for."
    ports = run.observed.get("daphne_ports")
    if ports is not None and sorted(ports) != run.settings.daphne_ports():
        yield f"The instances listened on {_listed(ports) or 'no port'}, not on {_listed(run.settings.daphne_ports())}."
    for unit, state in (run.observed.get("units") or {}).items():
        if state != "active":
            yield f"The unit {unit} was {state}, not active."


def _http(run: Run) -> Iterator[str]:
    if not isinstance(run.workload, HttpLoad) or not run.has("requests"):
        return
    requests = run.table("requests")
    if run.whole:
        yield from _slice(run, requests)
        return
    counted = requests[~requests["warmup"].astype(bool)]
    asked = run.workload.requests
    if len(counted) != asked:
        yield f"{len(counted):,} counted requests are on disk, {asked:,} were asked for."
    if run.has("server"):
        logged, answered = len(run.table("server")), int((requests["status"] > 0).sum())
        if logged < answered:
            yield f"nginx logged {logged:,} requests, {answered:,} were answered: {answered - logged:,} rows are missing."
        # A request that was sent again, on a fresh connection, may have been logged on the old one too.
        again, lost = int(requests["retried"].sum()), max(0, asked - len(counted))
        yield from _foreign(run, run.workload.path, len(requests) + again + lost)
        yield from flow.rates(run, requests)
    if run.workload.requests_per_s is None:
        yield from flow.little(run, counted, requests)
    else:
        lag = (counted["start_s"] - counted["scheduled_s"]).quantile(0.95)
        if lag > MAX_LAG_S:
            yield (
                f"One request in twenty started {lag:.2f} s or more behind its schedule: "
                f"{run.workload.users} users, or the generator's CPU, were too few for {run.workload.requests_per_s:g}/s."
            )


def _plan(run: Run) -> Iterator[str]:
    """Of a plan one knows neither its pages nor its pace, only that nginx must have seen what was answered, and nobody else.

    A plan's tool has an address of its own, that of most rows, or those of the lab's clients.
    """
    if not isinstance(run.workload, PlanLoad) or not run.has("server"):
        return
    requests, logged = run.table("requests") if run.has("requests") else None, run.table("server")
    if requests is not None:
        requests = _logged_ones(run, requests)
        answered = len(requests)
    else:
        answered = 0 if _is_static(run) else stated(run, "samples")
    if len(logged) < answered:
        yield f"nginx logged {len(logged):,} requests, {answered:,} were answered: {answered - len(logged):,} rows are missing."
    addresses = [*run.environment.get("client_addresses", ()), *logged["client"].mode()[:1]]
    if len(others := logged[~logged["client"].isin(addresses)]):
        yield f"nginx logged {len(others):,} requests from other addresses than the load's: somebody else used the site."
    if requests is not None and len(logged) == answered:  # a row a request: no redirects followed, nothing embedded
        yield from flow.rates(run, requests)


def _logged_ones(run: Run, requests: pd.DataFrame) -> pd.DataFrame:
    """The answers of a plan that nginx has logged: not those that are static files, as far as a label tells the path."""
    path = requests["name"].astype(str).str.rpartition(" ")[2]
    static = path.str.startswith(run.site.static_url) if run.site.static_url else False
    return requests[(requests["status"] > 0) & ~pd.Series(static, index=requests.index)]


def _is_static(run: Run) -> bool:
    """Whether a plan says that it asks for one static file, which nginx does not log."""
    return bool(run.site.static_url) and run.workload.named().get("path", "").startswith(run.site.static_url)


def stated(run: Run, quantity: str) -> int:
    """A count of all, of a tool that tells no samples."""
    table = run.table("stated")
    return int(table.loc[table["name"].isna() & (table["quantity"] == quantity), "value"].sum())


def _foreign(run: Run, path: str, most: int) -> Iterator[str]:
    """What nginx logged and this load cannot have asked: another path, from another address, or more than `most`."""
    logged = run.table("server")
    ours = logged["path"].str.startswith(path) if isinstance(run.workload, ChatLoad) else logged["path"] == path
    if addresses := run.environment.get("client_addresses"):
        ours &= logged["client"].isin(addresses)
    others, too_many = logged[~ours], max(0, int(ours.sum()) - most)
    if len(others) + too_many:
        clients = (logged if too_many else others)["client"].nunique()
        yield (
            f"nginx logged {len(logged):,} requests, and {len(others) + too_many:,} of them are not this load's: somebody else "
            f"used the site ({clients} address{'es' if clients > 1 else ''}{' in all' if too_many else ''})."
        )


def _slice(run: Run, requests: pd.DataFrame) -> Iterator[str]:
    if len(requests) < flow.MIN_REQUESTS:
        yield f"Only {len(requests)} requests began in this slice; {flow.MIN_REQUESTS} are the least that says anything."
    if run.has("server"):
        logged, answered = len(run.table("server")), int((requests["status"] > 0).sum())
        yield from _foreign(run, run.workload.path, most=logged)
        if abs(logged - answered) > flow.RATES_TOLERANCE * answered + flow.MIN_REQUESTS:
            yield f"nginx logged {logged:,} requests of this slice, the client made {answered:,}: some are not ours, or missing."


def _answers(run: Run) -> Iterator[str]:
    if run.has("stated") and run.kind == "plan":
        kinds = {kind: stated(run, f"socket_errors_{kind}") for kind in ("connect", "read", "write", "timeout")}
        kinds = {"not 2xx or 3xx": stated(run, "failures")} | {f"socket errors, {kind}": count for kind, count in kinds.items()}
        if said := ", ".join(f"{kind} ({count:,})" for kind, count in kinds.items() if count):
            yield f"Of {stated(run, 'samples'):,} requests some failed: {said}."
    if not run.has("requests"):
        return
    requests = run.table("requests")
    counted = requests[~requests["warmup"].astype(bool)]
    failed = counted["error"].dropna()
    if len(failed):
        yield f"{len(failed):,} of {len(counted):,} counted requests failed: {_kinds(failed)}."


def _chat(run: Run) -> Iterator[str]:
    if not isinstance(run.workload, ChatLoad) or not run.has("connections"):
        return
    connections = run.table("connections")
    yield from _networks(run, connections)
    if run.has("server"):
        yield from _foreign(run, run.site.load_path, len(connections))
    yield from _changes(run, connections)
    yield from _storm(run, connections)
    if run.has("messages"):
        messages = run.table("messages")
        counted = messages[~messages["warmup"].astype(bool)]
        asked = _talking_s(run, connections) * run.workload.messages_per_s
        sent = len(counted.loc[~counted["burst"].astype(bool), ["sender", "n"]].drop_duplicates())
        # And who was made to lose its socket could not say anything meanwhile.
        if not run.events and not _as_many(sent, asked):
            yield f"{sent:,} messages were sent and counted, about {asked:,.0f} were asked for: the generator lagged."


def _as_many(seen: int, asked: float) -> bool:
    """Waits are random, so the count is too: its standard deviation is the root of what is expected."""
    return abs(seen - asked) <= asked * MESSAGES_TOLERANCE + 4 * np.sqrt(asked)


def _counted_time(run: Run) -> tuple[float, float]:
    start, _ = load_window(run)
    return start, start + run.workload.duration_s


def _talking_s(run: Run, connections: pd.DataFrame) -> float:
    """For how long those who talk were connected while it counted, in all."""
    start, end = _counted_time(run)
    mine = connections[connections["connect_s"].notna() & (connections["role"] == TALKER)]
    begun, ended = mine["connect_start_s"] + mine["connect_s"], mine["end_s"].fillna(np.inf)
    return float((ended.clip(upper=end) - begun.clip(lower=start)).clip(lower=0).sum())


def _changes(run: Run, connections: pd.DataFrame) -> Iterator[str]:
    """As many clients left, and others came, as were asked for."""
    left = int((connections["left"].astype(bool) & connections["end_s"].between(*_counted_time(run))).sum())
    asked = run.workload.churn_per_s * run.workload.duration_s
    if not run.events and not _as_many(left, asked):
        yield f"{left:,} clients left and made room for others, about {asked:,.0f} were asked for: the generator lagged."


def _storm(run: Run, connections: pd.DataFrame) -> Iterator[str]:
    """While all come back at once, it is the stack that is to be what they wait for."""
    again = connections[connections["attempt"] > 1]
    if run.workload.storm_at_s is None or again.empty or not run.has("generator"):
        return
    began_s = load_window(run)[0] + run.workload.storm_at_s
    most_back_s = (again["connect_start_s"] + again["connect_s"].fillna(0)).median()  # one straggler waits for something else
    samples = run.table("generator")
    samples = samples[samples["name"] == "generator_cpu_busiest"]
    ends_s = samples["time_s"]  # a reading is of the half second before it
    busiest = samples.loc[(ends_s > began_s) & (ends_s - READING_S < most_back_s), "value"].max()
    if busiest > MAX_GENERATOR_SHARE:
        yield (
            f"While all clients came back, the load generator's busiest process used {busiest:.0%} of a core: "
            "it may be what they waited for."
        )


def _first_event_s(run: Run) -> float:
    return min((event["began_s"] for event in run.events), default=np.inf)


def _sockets(run: Run) -> Iterator[str]:
    if not run.has("connections"):
        return
    connections = run.table("connections")
    connected = connections[connections["connect_s"].notna() & came_with_the_load(run, connections)]
    if (clients := connected["client"].nunique()) != run.workload.clients:
        yield f"{clients:,} clients connected, {run.workload.clients:,} were asked for."
    before = connections[connections["end_s"].fillna(connections["connect_start_s"]) < _first_event_s(run)]
    refused = before.loc[before["connect_s"].isna()]
    if len(refused):
        yield f"{len(refused):,} attempts to connect failed: {_kinds(refused['error'].fillna('no reason given'))}."
    dropped = disconnects(before)
    if len(dropped):
        codes = dropped["close_code"].map(lambda code: "no close code" if pd.isna(code) else f"{code:.0f}")
        yield f"{len(dropped):,} open sockets were closed early: {_kinds(codes)}."


def _networks(run: Run, connections: pd.DataFrame) -> Iterator[str]:
    """Where clients have no addresses of their own, which counts as one network, they all come from the desk's."""
    seen = len({str(address).rpartition(".")[0] for address in connections["source_address"]})
    if run.settings.balance == "ip_hash" and seen < run.workload.networks:
        yield (
            f"The clients came from {seen} /24 networks, {run.workload.networks} were asked for; "
            "ip_hash sends all of one /24 to one instance."
        )


def disconnects(connections: pd.DataFrame) -> pd.DataFrame:
    """The rows of sockets that were open and were closed by something else than their client being done."""
    closed = connections["close_code"].notna() & (connections["close_code"] != NORMAL_CLOSE)
    return connections[connections["connect_s"].notna() & (closed | connections["error"].notna())]


def _messages(run: Run) -> Iterator[str]:
    if not run.has("messages"):
        return
    messages = run.table("messages")
    counted = messages[~messages["warmup"].astype(bool) & (messages["sent_s"] < _first_event_s(run) - FLIGHT_S)]
    present = counted["receiver_connected"].astype(bool)
    for rows, where in ((counted[present], "to connected receivers"), (counted[~present], "to receivers that were away")):
        lost = int((rows["copies"] == 0).sum())
        if lost:
            yield f"{lost:,} of {len(rows):,} deliveries {where} were lost ({lost / len(rows):.2%})."
    twice = int((counted["copies"] > 1).sum())
    if twice:
        yield f"{twice:,} of {len(counted):,} deliveries came more than once."


def _generator(run: Run) -> Iterator[str]:
    if not run.has("generator"):
        return
    used = generator_share(run, "generator_cpu_busiest")  # one process cannot use more than one core …
    if np.isnan(used):
        yield "The load generator's CPU was not measured."
    elif used > MAX_GENERATOR_SHARE:
        of = "a core" if run.kind != "plan" else "the cores it can use"  # … but one of many threads
        yield f"The load generator's busiest process used {used:.0%} of {of}: it may be what limited the run."
    late_s, typical_s = generator_gauge(run, "generator_lag_s").quantile(0.95), _typical_latency_s(run)
    if late_s > max(MIN_LAG_S, MAX_LAG_SHARE * typical_s):
        what = "connect times" if np.isnan(typical_s) else f"latencies, {typical_s:.3f} s in the median,"
        yield f"The load generator itself was {late_s:.3f} s late or more, one time in twenty: {what} may be too long by as much."


def _typical_latency_s(run: Run) -> float:
    """The median of the requests' or the messages' time; NaN if there are none."""
    name, column = ("requests", "duration_s") if run.kind in OF_REQUESTS else ("messages", "latency_s")
    return float(run.table(name)[column].median()) if run.has(name) else float("nan")


def _machine(numbers: Mapping[str, float], calibration: Calibration | None) -> list[str]:
    said = []
    usual = calibration.usual if calibration else {}
    if numbers.get("steal_share", 0) > max(MAX_STEAL_SHARE, TIMES_USUAL * usual.get("steal_share", 0)):
        share = f"{numbers['steal_share']:.1%}"
        said.append(f"Steal: {share} of the CPU time that the computer wanted went to other virtual machines.")
    if numbers.get("sampler_cores", 0) > MAX_SAMPLER_SHARE:
        said.append(f"The sampler itself took {numbers['sampler_cores']:.1%} of a core.")
    if numbers.get("others_cores", 0) > max(MAX_OTHERS_CORES, TIMES_USUAL * usual.get("others_cores", 0)):
        said.append(f"Other work on the web host's computer took {numbers['others_cores']:.1f} cores while the load was on.")
    return said


def _one_cpu(run: Run) -> Iterator[str]:
    desk = run.environment.get("desk", {})
    if on_one_computer(run) and desk.get("cores", desk.get("cpus")) == 1:
        yield "Web host and load generator share the computer's only CPU: each takes time from the other."


def _gauges(run: Run) -> Iterator[str]:
    """Of steal and others' work nothing is known where these are not."""
    if run.has("gauges") and run.table("gauges").empty:
        yield "The CPU time of the web host's computer was not measured."


def _samples(run: Run) -> Iterator[str]:
    if not run.has("resources"):
        return
    resources = run.table("resources")
    if resources.empty:
        yield "There is no sample of any service."
        return
    interval = resources.sort_values("time_s").groupby("service")["time_s"].diff().median()
    times = np.unique(resources["time_s"]) - (run.clock_offset_s or 0.0)
    start, end = load_window(run)
    inside = times[(times > start) & (times < end)]
    gaps = np.diff(np.concatenate([[start], inside, [end]]))
    if not interval > 0 or gaps.max() > MAX_GAP_INTERVALS * interval:
        yield (
            f"The samples have a gap of {gaps.max():.1f} s"
            + (f", at an interval of {interval:.1f} s." if interval > 0 else ": there is one of each service.")
        )


def _clock(run: Run) -> Iterator[str]:
    if run.clock_offset_s is None or run.clock_error_s is None:
        yield "The clock offset between desk and web host was not measured."
        return
    typical = _typical_latency_s(run)
    allowed = np.nanmax([MIN_CLOCK_ERROR_S, typical])
    if run.clock_error_s > allowed:
        yield (
            f"The clocks of desk and web host are known to within {run.clock_error_s:.3f} s only, "
            f"more than the median latency of {typical:.3f} s: do not compare their times."
        )


def _kinds(values: pd.Series) -> str:
    """The most frequent values with their counts: "HTTP 502 (100), timed out (3)"."""
    counts = values.value_counts()
    words = ", ".join(f"{kind} ({count:,})" for kind, count in counts.head(3).items())
    others = int(counts.iloc[3:].sum())
    return words + (f", of other kinds ({others:,})" if others else "")


def _listed(values: Sequence[object]) -> str:
    return ", ".join(str(value) for value in values)
