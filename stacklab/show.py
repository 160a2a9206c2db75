"""What the tasks print: text for people, made from what the other modules return. Pure."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stacklab.runs.calibration import MINUTES, Calibration, in_words
from stacklab.settings import StackSettings
from stacklab.site import Site
from stacklab.stack import Applied

if TYPE_CHECKING:
    from stacklab.bench.comparison import Comparison
    from stacklab.runs.results import Run
    from stacklab.study.costs import Figure
    from stacklab.study.paired import MetricVerdict
    from stacklab.study.verdicts import Judgement


def status_text(status: dict[str, Any]) -> str:
    """The lab, its services, and its settings beside what really runs."""
    lines = [f"lab {status['lab']} ({status['kind']}): {status['state']}"]
    if status["state"] != "running":
        return lines[0]
    lines[0] += f" at {status['address']}"
    if status.get("pinned_cpus"):
        lines.append(f"pinned to CPU {numbers(status['pinned_cpus'])}; load comes from CPU {numbers(status['generator_cpus'])}")
    if status.get("settings") is None:
        return "\n".join([*lines, "the stack is not set up yet: run 'fab provision'"])
    lines.append(f"open {status['url']}/ (its certificate: 'fab ca')")
    lines.append(site_text(Site.from_dict(status["site"])))
    if status["changing"]:
        lines.append("! a change is being applied at this moment; look again when it has ended")
    if status["unfinished"]:
        lines.append("! a change was cut off half-way; the next 'fab set' or 'fab reset' puts the old settings back first")
    if status["version"] != status["checkout_version"]:
        lines.append(f"! provisioned by {status['version']}, this checkout is {status['checkout_version']}: run 'fab provision'")
    lines += ["", f"{'service':<20} state"]
    lines += [f"{unit:<20} {state}" for unit, state in status["observed"]["units"].items()]
    if leaving := status.get("leaving"):
        workers = "1 worker" if leaving == 1 else f"{leaving} workers"
        lines.append(f"nginx: {workers} of before a reload, for the sockets open since then (worker_shutdown_timeout ends them)")
    lines += ["", f"{'setting':<26} {'asked':>12} {'runs':>12}"]
    for name, asked in status["settings"].items():
        runs = status["observed"].get(name)
        mark = "  <- not as asked" if runs is not None and runs != asked else ""
        lines.append(f"{name:<26} {value(asked):>12} {value(runs) if name in status['observed'] else '':>12}{mark}")
    return "\n".join(lines)


def brought_text(seen: dict[str, Any]) -> str:
    """What goes with a lab from somebody's machine, and what stays there."""
    goes = [f"goes: {what:<9} {' '.join(names)}" for what, names in seen["goes"].items()]
    return "\n".join([*goes, *(f"stays: {what}" for what in seen["stays"]), *(f"FAILED: {what}" for what in seen["failed"])])


def site_text(site: Site) -> str:
    """Which site is under test."""
    if site.is_labs:
        return "site: the lab's own"
    sockets = f"WebSockets at {site.websocket}" if site.websocket else "no WebSocket" if site.asgi else "no Daphne"
    return f"site: {site} · {site.wsgi} · health {site.health} · {sockets} · {site.database}"


def numbers(values: list[int]) -> str:
    """[0, 1] as '0, 1'."""
    return ", ".join(map(str, values))


def value(of: Any) -> str:
    """A setting's value as one types it."""
    if of is None:
        return "none"
    return str(of).lower() if isinstance(of, bool) else str(of)


def applied_text(applied: Applied) -> str:
    """What a change did: the diff, who took it up, how long each step took."""
    if not applied.changed and not applied.reloaded:
        return "nothing to change: these settings are in force already"
    diff = applied.diff or "no file had to change, but not everything that runs was as asked"
    return f"{diff}\ntaken up by {', '.join(applied.reloaded) or 'nobody'} ({steps_text(applied)})"


def switched_text(site: Site, applied: Applied) -> str:
    """Which site is under test now, and how long each step took."""
    return f"the site under test: {site}" + (f" ({steps})" if (steps := steps_text(applied)) else "")


def steps_text(applied: Applied) -> str:
    """How long each step took."""
    return " · ".join(f"{step} {seconds:.2f} s" for step, seconds in applied.durations_s.items())


def settings_text(settings: StackSettings) -> str:
    """Each setting: its value, what it is, what it may be."""
    rules = StackSettings.rules()
    return "\n".join(
        f"{name:<26} {value(now):>12}   {rules[name].help} ({rules[name].allowed()})" for name, now in settings.to_dict().items()
    )


def raised_text(before: StackSettings, after: StackSettings) -> str:
    """Which settings are raised for one run."""
    old, new = before.to_dict(), after.to_dict()
    raised = ", ".join(f"{name} {old[name]} → {new[name]}" for name in old if old[name] != new[name])
    return f"so many clients need more connections; for this run alone: {raised} (--as-is leaves the settings alone)"


def duration(seconds: float) -> str:
    """95 → '1 min 35 s'."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def findings_text(title: str, findings: list) -> str:
    """A heading, and a line for each finding with what to do about it."""
    lines = [title]
    for finding in findings:
        lines.append(f"  {finding.state.upper():<5} {finding.check}: {finding.what}")
        if finding.todo:
            lines.append(f"        {finding.todo}")
    return "\n".join(lines)


def trust_text(path: Path) -> str:
    """How to have each system trust the lab's CA."""
    return f"""the lab's CA certificate is in {path}. To trust it (and to stop: remove it at the same place):
  curl       curl --cacert {path} …
  Debian     sudo cp {path} /usr/local/share/ca-certificates/ && sudo update-ca-certificates
  macOS      security add-trusted-cert -k ~/Library/Keychains/login.keychain-db {path}
  Windows    certutil -user -addstore Root {path}
  Chromium   certutil -d sql:$HOME/.pki/nssdb -A -t C,, -n StackLab -i {path}   (Linux; package libnss3-tools)
  Firefox    Settings, Privacy & Security, View Certificates, Authorities, Import"""


BAR_FACTOR = 1.25  # an interval's bar reaches from 1/1.25 to 1.25, on a logarithmic scale
BAR_CELLS = 20  # on each side of "no difference"


def interval_bar(verdict: MetricVerdict) -> str:
    """An interval of ratios as a line of characters: | no difference, : the margin, = the interval, O the estimate."""

    def cell(ratio: float) -> int:
        place = math.log(min(max(ratio, 1e-9), 1e9)) / math.log(BAR_FACTOR) * BAR_CELLS
        return round(min(max(place, -BAR_CELLS), BAR_CELLS)) + BAR_CELLS

    cells = [" "] * (2 * BAR_CELLS + 1)
    for place in range(cell(verdict.low), cell(verdict.high) + 1):
        cells[place] = "="
    for ratio, sign in ((1 / (1 + verdict.margin), ":"), (1 + verdict.margin, ":"), (1.0, "|"), (verdict.estimate, "O")):
        cells[cell(ratio)] = sign
    return "".join(cells)


def look_text(comparison: Comparison) -> str:
    """One line at each look: how far the interval has closed."""
    first = comparison.metrics[0]
    return f"{comparison.blocks:3d} blocks  [{interval_bar(first)}]  {first.verdict}"


def comparison_text(comparison: Comparison) -> str:
    """A comparison as a table, with what it could have found."""
    from stacklab.study import steal
    from stacklab.study.summary import METRIC_NAMES

    lines = [f"A: {comparison.a}    B: {comparison.b}", ""]
    for verdict in comparison.metrics:
        sign = "×" if verdict.scale == "ratio" else "+"
        found = f"{sign} {verdict.estimate:.3f} [{verdict.low:.3f}, {verdict.high:.3f}]"
        lines.append(f"{METRIC_NAMES[verdict.metric]:40s} {found:28s} {_said(verdict)}")
    left_out = f", {comparison.disturbed} more were disturbed and are left out" if comparison.disturbed else ""
    lines += ["", f"{comparison.blocks} blocks{left_out}; {duration(comparison.duration_s)} under load"]
    return "\n".join([*lines, steal.SAID, in_words(comparison.calibration), str(comparison.path)])


def calibration_text(calibration: Calibration) -> str:
    """What a machine can tell, as a table of metrics and a few lines."""
    from stacklab.study.summary import METRIC_NAMES

    left_out = f" ({calibration.disturbed} more were disturbed)" if calibration.disturbed else ""
    lines = [
        f"a page against itself, {calibration.blocks} sound blocks of two slices of {calibration.slice_s:g} s{left_out}", "",
        f"{'':40s} {'noise':>7s} {'called':>10s}   smallest effect found, after",
        f"{'':40s} {'':>7s} {'different':>10s}   " + "".join(f"{f'{minutes} min':>9s}" for minutes in MINUTES),
    ]  # fmt: skip
    for metric, noise in calibration.noise.items():
        found = [calibration.smallest[metric].get(str(minutes)) for minutes in MINUTES]
        smallest = "".join(f"{'none' if effect is None else f'{effect:.1%}':>9s}" for effect in found)
        lines.append(f"{METRIC_NAMES[metric]:40s} {noise:7.1%} {calibration.false_share[metric]:10.1%}   {smallest}")
    ceiling = f"{calibration.ceiling_per_s:,.0f} requests/s" if calibration.ceiling_per_s else "not measured: no empty page here"
    words = {"steal_share": "{:.1%} of the CPU time stolen", "others_cores": "{:.2f} cores taken by other work"}
    usual = ", ".join(words[name].format(value) for name, value in calibration.usual.items())
    lines += [
        "", f"claims' tests that find a difference where there is none: {calibration.false_share_claims:.1%}",
        f"the load generator's ceiling: {ceiling}", f"the sampler takes {calibration.sampler_cores or 0:.3f} cores",
        f"usual here: {usual}", str(calibration.path),
    ]  # fmt: skip
    return "\n".join(lines)


def speed_text(host: str, speed: Figure) -> str:
    """How quick another host's cores are, and what to do with it."""
    ends = f"{speed.estimate:.2f} ({speed.low:.2f}–{speed.high:.2f})"
    return (
        f"a core of {host} does {ends} times the work of one of the lab's web host, by the CPU seconds of the same Python\n"
        f"fab size --host-speed {speed.estimate:.2f} says how many such hosts a load takes"
    )


def side_by_side_text(runs: list[Run]) -> str:
    """What was set side by side: ASGI servers, load generators, improvements and stock; nothing where none was."""
    from stacklab.study import generators, improvements, servers

    said = servers.text(runs) + generators.text(runs)
    if not improvements.is_of_improvements(runs):
        return said
    worth = improvements.worth_rows(improvements.worth(runs))
    tables = {"Against stock": worth, "What clients felt": improvements.felt_rows(runs)}
    return said + "".join(f"\n{title}\n{improvements.text(rows)}\n" for title, rows in tables.items() if rows)


def _said(verdict: MetricVerdict) -> str:
    """The verdict; where there is none, what would decide."""
    if verdict.decided:
        return f"B is {verdict.verdict}" if verdict.verdict in ("better", "worse") else verdict.verdict
    if not math.isfinite(verdict.detectable):
        return "undecided: too few blocks"
    smallest = f"{verdict.detectable - 1:.0%}" if verdict.scale == "ratio" else f"{verdict.detectable:.3f}"
    return f"undecided: about {verdict.more_blocks:.0f} more blocks; smallest effect found so far: {smallest}"


def verdicts_text(judgements: list[Judgement]) -> str:
    """Each claim and its verdict; below it a line a test, those that decide nothing in brackets. Then what is not tested; last,
    what the machines that measured can tell at all.
    """
    from stacklab.study import steal
    from stacklab.study.verdicts import NOT_TESTED
    from stacklab.study.words import judgement_words

    lines, untested, told = [], {}, {}
    for judgement in judgements:
        words, rows = judgement_words(judgement), judgement.tests.to_dict("records")
        if judgement.verdict == NOT_TESTED:
            untested[words["id"]] = dict.fromkeys(row["command"] for row in rows if row["decides"])
            continue
        told.setdefault(in_words(judgement.calibration), []).append(words["id"])
        lines += [f"{words['id']}  {words['sentence']}", f"     {words['verdict'].upper()}"]
        for test, row in zip(words["tests"], rows, strict=True):
            measured = f"{test['figure']} [{test['interval']}], n {test['n']}: " if row["scale"] else ""
            line = f"{row['of'] or 'all'}: {test['what']}, {test['than']}: {measured}{test['verdict']}"
            lines.append(f"     {line}" if row["decides"] else f"     ({line})")
        lines += [f"     {words['note']}"] * bool(words["note"]) + [""]
    if untested:
        lines += [f"{NOT_TESTED}; 'fab experiment claims' measures whatever is missing:"]
        lines += [*(f"{name:<4} {' and '.join(commands)}" for name, commands in untested.items()), ""]
    lines += [steal.SAID] if told else []
    lines += [said if len(told) == 1 else f"{', '.join(ids)}: {said}" for said, ids in told.items()]
    return "\n".join(lines).rstrip("\n")
