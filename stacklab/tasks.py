"""The tasks: the same functions from `fab` (see `namespace`) and from a notebook.

Values may be text, as a command line gives them, or what they stand for. Every task prints what
it did and returns it. Whatever goes wrong is a LabError; `fab` shows its message and exits with 1.
"""

from __future__ import annotations

import functools
import inspect
import json as json_format
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stacklab import show, stack
from stacklab.bench import found
from stacklab.bench.measuring import measured_by
from stacklab.errors import LabError
from stacklab.files import ROOT, hand_over
from stacklab.labs import Lab, open_lab, require_running
from stacklab.settings import Checked, StackSettings
from stacklab.stack.limits import raised_for
from stacklab.surroundings import plain_pictures
from stacklab.typed import decimal, values, whole_number
from stacklab.version import code_version
from stacklab.workload import ChatLoad, HttpLoad, Workload

if TYPE_CHECKING:
    from stacklab.bench.compare import Comparison
    from stacklab.labs.host import Host
    from stacklab.runs.results import Run


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


def destroy(lab: str | None = None) -> None:
    """Remove the lab's machine; results are kept."""
    machine = open_lab(lab)
    machine.destroy()
    print(f"lab {machine.name} is gone")


def provision(lab: str | None = None) -> stack.Applied:
    """Set up the whole stack; a second time changes nothing."""
    host = open_lab(lab).web()
    _require_unmeasured(host)
    applied = stack.provision(host)
    print("\n".join(f"changed: {what}" for what in applied.changed) or "nothing to change: the stack is set up already")
    return applied


def status(lab: str | None = None, json: bool = False) -> dict[str, Any]:
    """Show the lab, its services, its settings and what really runs."""
    machine = open_lab(lab)
    seen = machine.status()
    if seen["state"] == "running":
        seen |= _stack_status(machine)
    print(json_format.dumps(seen, indent=1) if json else show.status_text(seen))
    require_running(machine, seen)
    return seen


def _stack_status(machine) -> dict[str, Any]:
    host = machine.web()
    if not stack.is_provisioned(host):
        return {"settings": None}
    state = stack.state(host)
    return {
        "url": host.url,
        "settings": state["applied"]["settings"],
        "observed": state["observed"],
        "changing": state["changing"],
        "unfinished": state["unfinished"],
        "version": state["applied"]["version"],
        "checkout_version": code_version(ROOT),
    }


def doctor() -> None:
    """Say whether this computer can run a lab, and if not, what to do."""
    from stacklab.doctor import diagnose, diagnose_container

    container, vagrant = diagnose_container(), diagnose()
    print(show.findings_text("a lab in a container (make lab)", container))
    print(show.findings_text("a lab by Vagrant (vagrant up)", vagrant))
    if all(any(finding.state == "fail" for finding in findings) for findings in (container, vagrant)):
        raise LabError("this computer can run neither lab as it is; the lines marked FAIL say what to do")


def ca(out: str = "stacklab-ca.crt", lab: str | None = None) -> Path:
    """Write the lab's CA certificate; say how to trust it."""
    path = Path(out)
    path.write_text(stack.ca_certificate(open_lab(lab).web()))
    print(show.trust_text(path))
    return path


def logs(service: str, lab: str | None = None, lines: str | int = 20, follow: bool = True) -> None:
    """Follow the journal of nginx, uwsgi, daphne, daphne@1 or redis."""
    unit = stack.unit_of(service)
    count = whole_number("lines", lines, low=0)
    host = open_lab(lab).web()
    # nginx writes to a file of its own what it has to say of requests; the journal has only its starts and stops.
    errors = "tail -n {n} {f} /var/log/nginx/error.log & " if service == "nginx" else ""
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
    return _apply(opened, now.replace(**wanted), now, json)


def reset(lab: str | None = None, json: bool = False) -> stack.Applied:
    """Go back to the default settings."""
    opened = open_lab(lab)
    return _apply(opened, StackSettings(), stack.current(opened.web()), json)


def _apply(lab: Lab, settings: StackSettings, expect: StackSettings, json: bool) -> stack.Applied:
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


def http(lab: str | None = None, point: str = "", **load: Any) -> Run:
    """Put HTTP load on the stack; save the run in results/adhoc/."""
    return _measure(lab, point, HttpLoad(**values(HttpLoad, load)))


def chat(lab: str | None = None, point: str = "", as_is: bool = False, **load: Any) -> Run:
    """Put chat load on the stack; save the run in results/adhoc/."""
    workload = ChatLoad(**values(ChatLoad, load))
    return _measure(lab, point, workload, None if as_is else lambda before: raised_for(workload.clients, before))


def _measure(
    lab: str | None, point: str, workload: Workload, fit: Callable[[StackSettings], StackSettings] | None = None
) -> Run:
    """Measure the stack as it is set, or as `fit` has it for this run; the settings found are back afterwards."""
    from stacklab.bench.experiment import bench, measure
    from stacklab.console import Bar, run_text

    with bench(open_lab(lab), what=f"fab {'http' if isinstance(workload, HttpLoad) else 'chat'}") as on, Bar() as bar:
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
    lab: str | None = None,
) -> list[Run]:
    """Measure an experiment; goes on where it was interrupted."""
    from stacklab import console
    from stacklab.bench.experiment import estimate, run_experiment
    from stacklab.bench.experiments import experiment_named

    plan = experiment_named(name, quick, whole_number("repeats", repeats), whole_number("seed", seed))
    if fresh:
        print(f"starting over; runs there are already are kept as {plan.name}.1 and so on")
    print(console.estimate_text(plan, estimate(plan, fresh=fresh)))
    try:
        with console.Bar() as bar:
            runs = run_experiment(plan, open_lab(lab), fresh=fresh, on_run=bar.on_run, progress=bar)
    except KeyboardInterrupt:
        print("\nstopped; without --fresh, the same command goes on from here")
        raise
    report(plan.name)
    return runs


def compare(
    margin: str | float = 0.05, budget_s: str | float = 300, chat: bool = False, seed: str | int = 1, fresh: bool = False,
    json: bool = False, lab: str | None = None, **flags: Any,
) -> Comparison:
    """Is B better than A? Of flags with two values: --users 50,100."""
    from stacklab import console
    from stacklab.bench.compare import compare as measure_both
    from stacklab.bench.points import two_points

    a, b = two_points(found.at_rest(open_lab(lab).web()), flags, chat)
    with console.Bar(sys.stderr if json else sys.stdout) as bar:
        seen = measure_both(
            a, b, open_lab(lab), margin=decimal("margin", margin, 0.001, 1), budget_s=decimal("budget_s", budget_s, 1, 86_400),
            seed=whole_number("seed", seed), fresh=fresh, on_slice=bar.on_run, progress=bar,
            on_look=lambda seen: None if json else bar.say(show.look_text(seen)),
        )
    print(json_format.dumps(seen.to_dict(), indent=1) if json else show.comparison_text(seen))
    return seen


# ---------------------------------------------------------------- results


def report(name: str) -> Path:
    """Write the report of an experiment: one HTML file."""
    plain_pictures()  # before Matplotlib is imported
    from stacklab.files import RESULTS
    from stacklab.runs.results import load_runs
    from stacklab.study.report import write_report

    runs = load_runs(RESULTS / name)
    if not runs:
        raise LabError(f"{RESULTS / name} holds no whole run yet; measure first ('fab experiment')")
    path = write_report(runs, RESULTS / name / "report.html")
    print(f"report: {path}")
    return path


def export(name: str, out: str | None = None) -> list[Path]:
    """Write the tables of an experiment or a run as CSV."""
    from stacklab.files import RESULTS
    from stacklab.runs.export import export_csv
    from stacklab.runs.results import load_runs

    files = export_csv(load_runs(RESULTS / name), Path(out or ROOT / "exports" / name))
    print("\n".join(map(str, files)))
    return files


# ---------------------------------------------------------------- this computer


# ---------------------------------------------------------------- for fab


def _settings_flags(of: type[Checked]) -> dict[str, str]:
    return {name: f"{rule.help} ({rule.allowed()})" for name, rule in of.rules().items()}


FLAGS = {
    "lab": "which lab (default: $STACKLAB_LAB, or the container)",
    "json": "print JSON",
    "point": "what to call this run on plots",
    "pin": "keep the web host and the load generator on different CPUs",
    "quick": "a small version: less load, fewer points, one repeat",
    "repeats": "how often each point is measured",
    "seed": "seed of the random order",
    "fresh": "start over; the runs so far are kept under another name",
    "as_is": "do not raise settings that cannot hold so many clients",
    "lines": "how many lines to begin with",
    "follow": "go on as new lines come",
    "out": "where to write",
    "margin": "how large a difference makes none: 0.05 is 5 %",
    "budget_s": "seconds after which it ends, decided or not",
    "chat": "compare under chat load instead of HTTP load",
}
TASKS: dict[str, tuple[Callable, tuple[type[Checked], ...]]] = {
    "up": (up, ()), "halt": (halt, ()), "destroy": (destroy, ()), "provision": (provision, ()),
    "status": (status, ()), "set": (set_, (StackSettings,)), "reset": (reset, ()), "logs": (logs, ()), "ca": (ca, ()),
    "doctor": (doctor, ()),
    "http": (http, (HttpLoad,)), "chat": (chat, (ChatLoad,)), "experiment": (experiment, ()),
    "compare": (compare, (StackSettings, HttpLoad, ChatLoad)),
    "report": (report, ()), "export": (export, ()),
}  # fmt: skip


def namespace():
    """The tasks as an Invoke collection, for the fabfile. Flags are text; LabError ends in one line and exit code 1."""
    from invoke import Collection

    collection = Collection()
    for name, (function, flags_of) in TASKS.items():
        collection.add_task(_as_task(name, function, flags_of))
    return collection


def refuse_mistakes() -> None:
    """Read the command line as `fab` is about to, and say in the lab's own words what cannot be meant.

    Invoke's own are "No idea what '--frob' is!". Called while `fab` loads the tasks; elsewhere it does nothing.
    """
    from fabric.main import program
    from invoke import ParseError, Parser
    from invoke.exceptions import Exit

    if not hasattr(program, "core"):
        return
    try:
        # Of a namespace of its own: reading a task's flags uses its help up.
        Parser(initial=program.initial_context, contexts=namespace().to_contexts()).parse_argv(program.core.unparsed)
    except ParseError as error:
        raise Exit(_mistake(str(error), error.context), code=1) from None


def _mistake(words: str, task) -> str:
    """What Invoke says, put so that one knows what to do."""
    named = task.name if task is not None else None
    unknown = re.fullmatch(r"No idea what '(.+)' is!", words)
    if named is None:
        return f"fab: there is no task {unknown[1]!r}; 'fab --list' names those there are" if unknown else f"fab: {words}"
    if unknown:
        flags = ", ".join(flag for flag in task.flags if flag.startswith("--"))
        return f"fab {named}: {unknown[1]!r} is not known; there are {flags} (see 'fab --help {named}')"
    if needy := re.fullmatch(r"Flag <Argument: (\w+)> needed value and was not given one!", words):
        return f"fab {named}: --{needy[1].replace('_', '-')} needs a value (see 'fab --help {named}')"
    if missing := re.fullmatch(r"'.+' did not receive required positional arguments: (.+)", words):
        return f"fab {named}: {missing[1]} is missing (see 'fab --help {named}')"
    return f"fab {named}: {words}"


def _as_text(default: Any) -> Any:
    return str(default) if type(default) is int else default


def _as_task(name: str, function: Callable, flags_of: tuple[type[Checked], ...]):
    from invoke import Task
    from invoke.exceptions import Exit

    @functools.wraps(function)
    def body(context, **flags):
        for stream in (sys.stdout, sys.stderr):  # a terminal of ASCII gets "?" for an arrow, and no error after the deed
            stream.reconfigure(errors="replace")
        try:
            function(**flags)
            sys.stdout.flush()
        except LabError as error:
            raise Exit(f"fab {name}: {error}", code=1) from error
        except BrokenPipeError:  # `fab status | head`: nobody reads on, and nobody need be told
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise Exit(code=1) from None
        except OSError as error:
            where = f": {error.filename}" if error.filename else ""
            raise Exit(f"fab {name}: {error.strerror or error}{where}", code=1) from error
        except KeyboardInterrupt:
            raise Exit(f"fab {name}: stopped", code=130) from None
        finally:
            hand_over()

    # No annotations, no numbers as defaults: Invoke would convert flags by them, and end in a traceback.
    empty = inspect.Parameter.empty
    given = inspect.signature(function).parameters.values()
    plain = [p.replace(annotation=empty) for p in given if p.kind is not p.VAR_KEYWORD]
    fields = {field: None for of in flags_of for field in of.rules()}
    keyword = inspect.Parameter.POSITIONAL_OR_KEYWORD
    body.__signature__ = inspect.Signature([
        inspect.Parameter("context", keyword),
        *(p.replace(default=_as_text(p.default)) for p in plain),
        *(inspect.Parameter(field, keyword, default=None) for field in fields),
    ])
    help_of = {flag: words for of in flags_of for flag, words in _settings_flags(of).items()} | FLAGS
    known = [p for p in body.__signature__.parameters if p in help_of]
    return Task(body, name=name, auto_shortflags=False, help={flag: help_of[flag] for flag in known})
