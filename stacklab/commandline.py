"""The tasks as `fab` offers them: their flags, what these may be, and what is said of a mistake."""

from __future__ import annotations

import functools
import inspect
import os
import re
import sys
from collections.abc import Callable
from typing import Any

from stacklab import tasks
from stacklab.errors import LabError
from stacklab.files import hand_over
from stacklab.settings import Checked, StackSettings
from stacklab.stack.services import SERVICES
from stacklab.typed import BETWEEN
from stacklab.workload import ChatLoad, Demand, Fleet, HttpLoad


def _settings_flags(of: type[Checked]) -> dict[str, str]:
    return {name: f"{rule.help} ({rule.allowed()})" for name, rule in of.rules().items()}


FLAGS = {
    "name": "of an experiment; to export, also of a run: adhoc/2026…",
    "service": f"{', '.join(SERVICES)}, or an instance, such as daphne@1",
    "lab": "which lab (default: $STACKLAB_LAB, or the container)",
    "json": "print JSON",
    "host": "of calibrate: another host's speed against the lab's instead (user@server, as for --lab)",
    "point": "what to call this run on plots",
    "site": "the folder of a Django project with a stacklab.toml (docs/your-site.md), or lab for the lab's own",
    "pin": "keep the web host and the load generator on different CPUs",
    "yes": "of an SSH host: do take away what provisioning brought, instead of listing it",
    "quick": "a small version: less load, mostly fewer points and one repeat",
    "repeats": "how often each point is measured",
    "seed": "seed of the random order (1)",
    "fresh": "start over; the runs so far are kept under another name",
    "as_is": "do not raise settings that cannot hold so many clients",
    "lines": "how many lines to begin with",
    "follow": "go on as new lines come",
    "out": "where to write",
    "margin": "how large a difference makes none: 0.05 is 5 %",
    "budget_s": "seconds after which it ends, decided or not (300)",
    "chat": "compare under chat load instead of HTTP load",
    "file": "a plan of JMeter (.jmx), Locust (.py), k6 (.js) or wrk (.lua); or what visitors do (.toml)",
    "parameters": "what the plan is to know: threads=200,loops=100",
    "warmup_s": "seconds at the beginning that are not counted: of http those under full load (0 to 600)",
    "generator": "what puts the load on: locust, or jmeter (of eight-cases), or wrk (of nginx-workers)",
    "files": "result files of other tools, and kept runs; to compare, with commas between them: A1,A2",
    "with_": "the files to compare these with: B1,B2",
    "as_": "keep the runs in results/NAME",
}
TASKS: dict[str, tuple[Callable, tuple[type[Checked], ...]]] = {
    "up": (tasks.up, ()), "halt": (tasks.halt, ()), "destroy": (tasks.destroy, ()), "provision": (tasks.provision, ()),
    "status": (tasks.status, ()), "set": (tasks.set_, (StackSettings,)), "reset": (tasks.reset, ()),
    "logs": (tasks.logs, ()), "ca": (tasks.ca, ()), "sbom": (tasks.sbom, ()), "doctor": (tasks.doctor, ()),
    "http": (tasks.http, (HttpLoad,)), "chat": (tasks.chat, (ChatLoad,)), "load": (tasks.load, ()),
    "experiment": (tasks.experiment, ()),
    "calibrate": (tasks.calibrate, ()), "compare": (tasks.compare, (StackSettings, HttpLoad, ChatLoad)),
    "import": (tasks.import_, ()), "report": (tasks.report, ()), "export": (tasks.export, ()), "verdicts": (tasks.verdicts, ()),
    "size": (tasks.size, (Demand,)), "fleet": (tasks.fleet, (Fleet,)),
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
    program.core.unparsed[:] = gathered(program.core.unparsed)
    try:
        # Of a namespace of its own: reading a task's flags uses its help up.
        Parser(initial=program.initial_context, contexts=namespace().to_contexts()).parse_argv(program.core.unparsed)
    except ParseError as error:
        raise Exit(_mistake(str(error), error.context), code=1) from None


def gathered(words: list[str]) -> list[str]:
    """A command line in which all files of `import` are one word: Invoke knows no list of words without a flag."""
    if words[:1] != ["import"]:
        return words
    files, flags, rest = [], [], list(words[1:])
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            files.append(word)
            continue
        flags.append(word)
        if word == "--as" and rest:
            flags.append(rest.pop(0))
    return ["import", *([BETWEEN.join(files)] if files else []), *flags]


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
    return str(default) if type(default) in (int, float) else default


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
