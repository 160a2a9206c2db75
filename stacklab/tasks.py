"""The tasks: the same functions from `fab` (see `commandline`) and from a notebook.

Values may be text, as a command line gives them, or what they stand for. Every task prints what
it did and returns it. Whatever goes wrong is a LabError; `fab` shows its message and exits with 1.
"""

from __future__ import annotations

import json as json_format
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stacklab import show, stack
from stacklab.bench import found
from stacklab.bench.measuring import measured_by, measuring
from stacklab.errors import HostRefused, LabError
from stacklab.files import ROOT, place
from stacklab.labs import Lab, open_lab, require_running
from stacklab.settings import StackSettings
from stacklab.site import LAB_NAME, read_project
from stacklab.stack.limits import raised_for
from stacklab.surroundings import plain_pictures
from stacklab.typed import BETWEEN, decimal, values, whole_number
from stacklab.workload import ChatLoad, Demand, Fleet, HttpLoad, PlanLoad, Workload

if TYPE_CHECKING:
    from stacklab.bench.comparison import Comparison
    from stacklab.bench.plan import Experiment
    from stacklab.console import Bar
    from stacklab.labs.host import Host
    from stacklab.runs.calibration import Calibration
    from stacklab.runs.results import Run
    from stacklab.study.costs import Figure
    from stacklab.study.sides import Sides
    from stacklab.study.verdicts import Judgement


# ---------------------------------------------------------------- the machine


def up(lab: str | None = None, pin: bool = True):
    """Make and boot the lab's machine (needs root, or sudo)."""
    machine = open_lab(lab)
    host = machine.up(pin=pin)
    print(f"lab {machine.name} is up at {host.address}")
    return host


def halt(lab: str | None = None) -> None:
    """Shut the lab's machine down; it keeps what it holds."""
    machine = open_lab(lab)
    machine.halt()
    print(f"lab {machine.name} is halted")


def destroy(lab: str | None = None, yes: bool = False) -> None:
    """Remove the lab's machine, or the lab from an SSH host."""
    machine = open_lab(lab)
    if machine.kind == "ssh":
        return _take_away(machine.web(), yes)
    machine.destroy()
    print(f"lab {machine.name} is gone")


def _take_away(host: Host, yes: bool) -> None:
    _require_unmeasured(host)
    brought = stack.brought(host)
    if not yes:
        print(show.brought_text(brought))
        raise LabError(f"nothing was removed from {host.name} yet; with --yes it is, and sites and databases put there go too")
    with measuring(host, "fab destroy --yes"):  # nobody measures, or changes settings, meanwhile
        done = stack.take_away(host)
    print(show.brought_text(done))
    if done["failed"]:
        raise LabError(f"{host.name} is not yet as it was before: mend what FAILED; 'fab destroy --yes' then does what is left")
    print(f"{host.name} is as it was before, but for what stays")


def provision(lab: str | None = None, site: str | None = None) -> stack.Applied:
    """Set up the whole stack; --site PATH: with that project on it."""
    project = read_project(place(site)) if site not in (None, LAB_NAME) else None
    host = open_lab(lab).web()
    _require_unmeasured(host)
    applied = stack.provision(host)
    if site is not None:
        with measuring(host, f"fab provision --site {site}"):  # nobody measures, or changes sites, meanwhile
            switched = stack.use_site(host, project)
        applied = replace(switched, changed=(*applied.changed, *switched.changed))
        print(show.switched_text(stack.site_of(host), switched))
    print("\n".join(f"changed: {what}" for what in applied.changed) or "nothing to change: the stack is set up already")
    return applied


def status(lab: str | None = None, json: bool = False) -> dict[str, Any]:
    """Show the lab, its services, its settings and what really runs."""
    machine = open_lab(lab)
    seen = machine.status()
    if seen["state"] == "running":
        try:
            seen |= stack.status(machine.web(), exposed=json)
        except HostRefused as refused:
            seen |= refused.as_state()
    print(json_format.dumps(seen, indent=1) if json else show.status_text(seen))
    require_running(machine, seen)
    return seen


def doctor() -> None:
    """Say whether this computer can run a lab, and if not, what to do."""
    from stacklab.doctor import diagnose, fails

    container, vagrant, lab = diagnose()
    print(show.findings_text("a lab in a container (make lab)", container))
    print(show.findings_text("a lab by Vagrant (vagrant up)", vagrant))
    print(show.findings_text("the lab that fab is about here", lab))
    if fails(container):  # and Vagrant's too, and no lab runs: else it were a warning
        raise LabError("this computer can run neither lab as it is; the lines marked FAIL say what to do")


def ca(out: str = "stacklab-ca.crt", lab: str | None = None) -> Path:
    """Write the lab's CA certificate; say how to trust it."""
    path = Path(out)
    path.write_text(stack.ca_certificate(open_lab(lab).web()))
    print(show.trust_text(path))
    return path


def sbom(out: str = "stacklab-sbom.json", lab: str | None = None) -> Path:
    """Write what the web host is made of: an SBOM (CycloneDX)."""
    path = Path(out)
    bill = stack.bill_of_materials(open_lab(lab).web())
    path.write_text(json_format.dumps(bill, indent=1) + "\n")
    print(f"{path}: {len(bill['components'])} packages of Debian and of Python")
    return path


def logs(service: str, lab: str | None = None, lines: str | int = 20, follow: bool = True) -> None:
    """Follow the journal of a service, or of an instance (daphne@1)."""
    unit, known = stack.unit_of(service), stack.SERVICES.get(service)
    count = whole_number("lines", lines, low=0)
    host = open_lab(lab).web()
    errors = f"tail -n {{n}} {{f}} {known.words} & " if known and known.words else ""  # which the journal has not
    command = errors + "journalctl -q --no-pager -n {n} {f} -u '{unit}'"
    with host.stream(command.format(n=count, f="-f" if follow else "", unit=unit), sudo=True) as journal:
        for line in journal:
            print(line, flush=True)


def _require_unmeasured(host: Host) -> None:
    if measured := measured_by(host):
        raise LabError(f"{measured}; a change now would spoil that and not outlast it, so wait for it to end")


# ---------------------------------------------------------------- settings


def set_(lab: str | None = None, json: bool = False, **changes: Any) -> stack.Applied:
    """Change the settings that are named, keep the rest."""
    wanted = values(StackSettings, changes)
    opened = open_lab(lab)
    now = stack.current(opened.web())
    if not wanted:
        print(json_format.dumps(now.to_dict(), indent=1) if json else show.settings_text(now))
        return stack.Applied()
    return apply_on(opened, now.replace(**wanted), now, json)


def reset(lab: str | None = None, json: bool = False) -> stack.Applied:
    """Go back to the default settings."""
    opened = open_lab(lab)
    return apply_on(opened, stack.fitting(StackSettings(), stack.site_of(opened.web())), stack.current(opened.web()), json)


def apply_on(lab: Lab, settings: StackSettings, expect: StackSettings, json: bool = False) -> stack.Applied:
    """Have `settings` in force in the place of `expect`, and say what that did. LabError while the lab is measured."""
    host = lab.web()
    _require_unmeasured(host)
    applied = stack.apply(host, settings, expect=expect)
    found.forget(host)
    if json:
        print(json_format.dumps(applied.to_dict() | {"settings": settings.to_dict()}, indent=1))
    else:
        print(show.applied_text(applied))
    return applied


# ---------------------------------------------------------------- load

COMMANDS = {HttpLoad: "http", ChatLoad: "chat", PlanLoad: "load"}


def http(lab: str | None = None, point: str = "", **load: Any) -> Run:
    """Put HTTP load on the stack; save the run in results/adhoc/."""
    return _measure(lab, point, HttpLoad(**values(HttpLoad, load)))


def chat(lab: str | None = None, point: str = "", as_is: bool = False, **load: Any) -> Run:
    """Put chat load on the stack; save the run in results/adhoc/."""
    workload = ChatLoad(**values(ChatLoad, load))
    return _measure(lab, point, workload, None if as_is else lambda before: raised_for(workload.clients, before))


def load(file: str | Path, parameters: str = "", warmup_s: str | float = 2, lab: str | None = None, point: str = "") -> Run:
    """Put the load of a plan of any tool on the stack; keep the run."""
    from stacklab.bench.plans import plan_load
    from stacklab.bench.tools import versions_of

    workload = plan_load(file, parameters, decimal("warmup_s", warmup_s, 0, 600))
    versions_of([workload])  # or the error that there is no such tool, before a machine is asked
    return _measure(lab, point, workload)


def _measure(
    lab: str | None, point: str, workload: Workload, fit: Callable[[StackSettings], StackSettings] | None = None
) -> Run:
    """Measure the stack as it is set, or as `fit` has it for this run; the settings found are back afterwards."""
    from stacklab.bench.experiment import bench, measure
    from stacklab.console import Bar, run_text

    with bench(open_lab(lab), what=f"fab {COMMANDS[type(workload)]}") as on, Bar() as bar:
        if fit is None:
            run = measure(on, stack.current(on.host), workload, point=point, progress=bar)
        else:
            with found.going_back(on.host) as before:
                fitted = fit(before)
                if fitted != before:
                    print(show.raised_text(before, fitted))
                run = measure(on, fitted, workload, point=point, progress=bar)
    print(run_text(run))
    return run


def experiment(
    name: str, quick: bool = False, repeats: str | int | None = None, seed: str | int = 1, fresh: bool = False,
    lab: str | None = None, generator: str = "locust",
) -> list[Run]:
    """Measure an experiment, or all of the claims'; it can go on."""
    from stacklab.bench.experiment import estimate, site_under
    from stacklab.bench.experiments import CLAIMS, plans_of
    from stacklab.bench.generators import of_those_here
    from stacklab.bench.onsite import on_site
    from stacklab.console import measure_plan
    from stacklab.study.verdicts import judge_all

    times, start = whole_number("repeats", repeats), whole_number("seed", seed)
    plans = plans_of(name, quick, times, start, generator)
    site = site_under(open_lab(lab))
    if name == CLAIMS and not site.is_labs:
        raise LabError(f"the claims are about the lab's own site, and {site.name} is under test: 'fab provision --site lab'")
    plans, lacking = zip(*(of_those_here(plan) for plan in plans), strict=True)
    plans, said = zip(*(on_site(plan, site) for plan in plans), strict=True)
    print("".join(f"{line}\n" for lines in (*lacking, *said) for line in lines), end="")
    if name == CLAIMS:
        left_s = sum(estimate(plan, fresh=fresh).duration_s for plan in plans)
        print(f"{len(plans)} experiments judge the claims; about {show.duration(left_s)} of them are left to measure")
    runs = []
    for plan in plans:
        runs += measure_plan(plan, open_lab(lab), fresh, _first_look)
        report(plan.name)
    print(show.side_by_side_text(runs), end="")
    if generator != "locust":  # `fab verdicts` is of the lab's own load
        print(show.verdicts_text(judge_all(runs)))
    if name == CLAIMS:
        verdicts()
    return runs


def _first_look(plan: Experiment, bar: Bar, repeat: int) -> None:
    """The report so far, after 1, 2, 4, 8 … blocks: people look at it while more come."""
    if repeat & (repeat - 1) == 0 and repeat < plan.repeats:
        with warnings.catch_warnings(action="ignore"):  # of what is being measured now
            path = write_report_of(plan.name)
        if repeat == 1:
            bar.say(f"a first look, while more comes: {path}")


def calibrate(quick: bool = False, json: bool = False, host: str | None = None, lab: str | None = None) -> Calibration | Figure:
    """What can this machine tell? A page against itself, six minutes."""
    from stacklab import console
    from stacklab.bench.calibration import calibrate as measure_itself

    if host is not None:
        if quick:
            raise LabError("--quick is not for --host: a host's speed takes ten seconds")
        from stacklab.bench.speed import speeds
        from stacklab.study.costs import figure

        speed = figure(speeds(open_lab(host).web(), open_lab(lab).web()))
        print(json_format.dumps(speed.to_dict()) if json else show.speed_text(host, speed))
        return speed
    with console.Bar(sys.stderr if json else sys.stdout) as bar:
        seen = measure_itself(open_lab(lab), quick=quick, on_slice=bar.on_run)
    print(json_format.dumps(seen.to_dict(), indent=1) if json else show.calibration_text(seen))
    return seen


def compare(
    margin: str | float = 0.05, budget_s: str | float | None = None, chat: bool = False, seed: str | int | None = None,
    fresh: bool = False, json: bool = False, lab: str | None = None, files: str | None = None, with_: str | None = None,
    **flags: Any,
) -> Comparison | Sides:
    """Is B better than A? Of flags with two values: --users 50,100."""
    if files is not None or with_ is not None:
        given = flags | {"budget_s": budget_s, "chat": chat or None, "seed": seed, "fresh": fresh or None, "lab": lab}
        from stacklab.study import sides

        others = [name for name, value in given.items() if value is not None]
        both = sides.compare_files(files, with_, decimal("margin", margin, 0.001, 1), others)
        print(json_format.dumps(both.to_dict(), indent=1) if json else sides.text(both))
        return both
    from stacklab import console
    from stacklab.bench.comparison import compare as measure_both
    from stacklab.bench.points import two_points

    a, b = two_points(found.at_rest(open_lab(lab).web()), flags, chat)
    with console.Bar(sys.stderr if json else sys.stdout) as bar:
        seen = measure_both(
            a, b, open_lab(lab), margin=decimal("margin", margin, 0.001, 1),
            budget_s=decimal("budget_s", 300 if budget_s is None else budget_s, 1, 86_400),
            seed=whole_number("seed", 1 if seed is None else seed), fresh=fresh, on_slice=bar.on_run, progress=bar,
            on_look=lambda seen: None if json else bar.say(show.look_text(seen)),
        )
    print(json_format.dumps(seen.to_dict(), indent=1) if json else show.comparison_text(seen))
    return seen


# ---------------------------------------------------------------- results


def import_(files: str | Path | Sequence[str | Path], as_: str | None = None, json: bool = False) -> list[dict[str, Any]]:
    """What other tools' result files tell; --as NAME keeps it."""
    from stacklab.files import RESULTS
    from stacklab.runs.foreign import keeping
    from stacklab.study import figures

    given = files.split(BETWEEN) if isinstance(files, str) else [files] if isinstance(files, Path) else files
    runs = keeping.read_files(given)
    told = [figures.to_dict(run) for run in runs]
    if as_ is not None:
        kept = keeping.keep_all(runs, keeping.folder_of(as_, RESULTS))
        told = [one | {"path": str(run.path)} for one, run in zip(told, kept, strict=True)]
    print(json_format.dumps(told, indent=1) if json else "\n\n".join(map(figures.text, told)))
    return told


def size(json: bool = False, **demand: Any) -> dict[str, Any]:
    """How many machines does a load take? Of `capacity`'s runs."""
    from stacklab.study import sizing

    seen = sizing.size(sizing.kept(), Demand(**values(Demand, demand)))
    print(json_format.dumps(seen, indent=1) if json else sizing.text(seen))
    return seen


def fleet(json: bool = False, out: str | None = None, **asked: Any) -> dict[str, Any]:
    """How do many such hosts fare on a bad day? Of `capacity`'s runs."""
    plain_pictures()
    from stacklab.study import fleet as fleets
    from stacklab.study import sizing

    told = fleets.reckon(sizing.kept(), Fleet(**values(Fleet, asked)))
    print(json_format.dumps(told, indent=1, allow_nan=False) if json else fleets.text(told))
    if out:
        fleets.picture(told).savefig(out)
    return told


def report(name: str) -> Path:
    """Write the report of an experiment: one HTML file."""
    path = write_report_of(name)
    print(f"report: {path}")
    return path


def write_report_of(name: str) -> Path:
    """The report of the runs that there are of an experiment; LabError if there is none."""
    plain_pictures()  # before Matplotlib is imported
    from stacklab.study.report import report_of

    return report_of(name)


def export(name: str, out: str | None = None) -> list[Path]:
    """Write the tables of an experiment or a run as CSV."""
    from stacklab.files import RESULTS
    from stacklab.runs.export import export_csv
    from stacklab.runs.results import load_runs

    files = export_csv(load_runs(RESULTS / name), Path(out or ROOT / "exports" / name))
    print("\n".join(map(str, files)))
    return files


def verdicts(json: bool = False) -> list[Judgement]:
    """What the results say of each of the post's claims."""
    from stacklab.files import RESULTS
    from stacklab.study.verdicts import judge_results

    judgements = judge_results(RESULTS)
    print(json_format.dumps([one.to_dict() for one in judgements], indent=1) if json else show.verdicts_text(judgements))
    return judgements
