"""Are the tests any good? `make mutants`: faults put into the code by lot, one at a time, and how many the unit tests find.

    python -m tests.mutants [--count 10] [--seed 1] [MODULE…]

By cosmic-ray (`tests/mutate.py`), in a copy of the checkout's last commit; of each module as many mutants as asked for, drawn
by lot. A mutant meets the tests that call the function it stands in, the quickest first, until one fails: which these are,
each file of tests tells once, run on the code as it is. A test that fails there is told and left out. pytest runs in a fork of
this process, which has imported the large libraries. Outcomes go to docs/mutants.csv, one line a module; those that lived
are printed as a diff.
"""

from __future__ import annotations

import argparse
import ast
import csv
import difflib
import gc
import hashlib
import importlib
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
COPY = ROOT / "build" / "mutants"
CALLS = ROOT / "build" / "mutants-calls"
COSMIC_RAY = ROOT / "build" / "cosmic-ray" / "bin" / "python"
OUTCOMES = ROOT / "docs" / "mutants.csv"
COLUMNS = ("module", "mutants", "killed", "share")
WINGS = ("stacklab/runs", "stacklab/study", "stacklab/stack", "app/chat", "app/improvements")
MORE = ("provision/commit-settings",)
BY_WAY = {
    "app/": ("test_app_parts", "test_app_chat_sockets", "test_app_instance", "test_app_presence"),
    "provision/commit-settings": ("test_commit_steps", "test_commit"),
    "stacklab/runs/foreign/": ("test_foreign", "test_percentiles"),
    "stacklab/runs/rows": ("test_loadgen_http", "test_loadgen_chat"),
    "stacklab/runs/disturbance": ("test_validity",),
    "stacklab/runs/flow": ("test_validity",),
    "stacklab/runs/validity": ("test_plans",),
    "stacklab/stack/services/": ("test_services", "test_render"),
    "stacklab/stack/limits": ("test_limits",),
    "stacklab/stack/processes": ("test_processes",),
    "stacklab/stack/render": ("test_render",),
    "stacklab/stack/": ("test_services", "test_site", "test_tasks"),
    "stacklab/study/effects": ("test_analysis",),
    "stacklab/study/drawing": ("test_plots",),
    "stacklab/study/pictures": ("test_report",),
    "stacklab/study/verdicts": ("test_claims",),
    "stacklab/study/words": ("test_report", "test_claims"),
}
# What takes a second to import, and is the same in each run.
LARGE = ("hypothesis.strategies", "jinja2", "matplotlib.pyplot", "numpy", "pandas", "pyarrow.parquet", "scipy.stats")
PYTEST = (
    "-q", "--tb=no", "--assert=plain", "--hypothesis-seed=1", "--disable-plugin-autoload",
    "-p", "no:cacheprovider", "-p", "pytest_timeout", "-p", "_hypothesis_pytestplugin",
)  # fmt: skip
IMPORTING = 99
FILES = 2  # of tests for a module: where fewer are its own, such that import it
MEMORY_BYTES = 4 << 30
NO_TEST_TIMES_OUT_S = 600


def modules() -> list[str]:
    """What is mutated by default: the wings that judge, keep and change, and the site."""
    files = (path for wing in WINGS for path in (ROOT / wing).rglob("*.py") if path.name[:2] != "__")
    return [*sorted(str(path.relative_to(ROOT)) for path in files), *MORE]


def tests_of(module: str) -> list[str]:
    """The unit tests named after a module and those of BY_WAY; where these are few, some that import it."""
    parts = list(Path(module).with_suffix("").parts)[module.startswith("app/") :]
    package, name = ".".join(parts[:-1]), parts[-1]
    whole = rf"{package}\.{name}\b"
    imports = re.compile(rf"(?m)^\s*(from {whole} import|import {whole}|from {package} import .*\b{name}\b)")
    others = next((names for prefix, names in BY_WAY.items() if module.startswith(prefix)), ())
    ranks = {}
    for path in sorted((ROOT / "tests" / "unit").rglob("test_*.py")):
        if path.stem in others:
            ranks[path] = 1 + others.index(path.stem)
        elif path.stem.endswith(f"_{name}") and path.stem != "test_power":  # which is of power cuts
            ranks[path] = 0
        elif imports.search(path.read_text()):
            ranks[path] = IMPORTING
    own = sorted(ranks, key=ranks.get)
    few = max(FILES, sum(rank < IMPORTING for rank in ranks.values()))
    return [str(path.relative_to(ROOT)) for path in own[:few]]


class Calls:
    """A plugin of pytest's: of each test whether it passed, how long it took, and which functions of the copy it called."""

    def __init__(self, told: Path) -> None:
        self.told = told
        self.tests: dict[str, dict] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item):
        called = set()

        def trace(frame, event, argument) -> None:
            called.add((frame.f_code.co_filename, frame.f_code.co_firstlineno))

        begun_s = time.monotonic()
        threading.settrace(trace)
        sys.settrace(trace)
        try:
            return (yield)
        finally:
            sys.settrace(None)
            threading.settrace(None)
            own = [(str(Path(file).relative_to(COPY)), line) for file, line in called if file.startswith(f"{COPY}/")]
            self.tests.setdefault(item.nodeid, {}).update(duration_s=time.monotonic() - begun_s, called=own)

    def pytest_runtest_logreport(self, report) -> None:
        test = self.tests.setdefault(report.nodeid, {"passed": False})
        test["passed"] = report.passed and (report.when == "setup" or test["passed"])

    def pytest_sessionfinish(self) -> None:
        self.told.write_text(json.dumps(self.tests))


class Chosen:
    """A plugin of pytest's: these tests of a file, in this order, until one fails."""

    def __init__(self, names: list[str]) -> None:
        self.places = {name: place for place, name in enumerate(names)}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config, items: list) -> None:
        config.option.maxfail = 1
        items[:] = sorted((item for item in items if item.nodeid in self.places), key=lambda item: self.places[item.nodeid])


def forked(file: str, limit_s: float, plugin: Calls | Chosen) -> int:
    """pytest's exit code for a file of the copy's tests, or the number of the signal that ended it, negative."""
    if not (pid := os.fork()):
        os.setsid()
        os.chdir(COPY)
        nowhere = os.open("pytest.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        # Of what a mutant does without end, time that it computes has a limit of its own, however busy the computer is.
        resource.setrlimit(resource.RLIMIT_CPU, (int(limit_s) + 1, int(limit_s) + 2))
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
        sys.path[:] = [str(COPY), *(path for path in sys.path if path not in ("", str(ROOT)))]
        os.environ["PYTHONPATH"], sys.dont_write_bytecode = str(COPY), False
        sys.modules.pop("tests", None)
        code = 99
        try:
            code = pytest.main([*PYTEST, file], [plugin])
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(code)
    ends_s, ended = time.monotonic() + max(300, 30 * limit_s), (0, 0)
    try:
        while not ended[0] and time.monotonic() < ends_s:
            time.sleep(0.02)
            ended = os.waitpid(pid, os.WNOHANG)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)  # and what the tests started
    status = ended[1] if ended[0] else os.waitpid(pid, 0)[1]
    return os.waitstatus_to_exitcode(status)


@cache
def code_sum() -> bytes:
    """A sum of all that the copy's tests try."""
    files = (path for folder in ("stacklab", "app", "provision", "loadtests") for path in sorted((COPY / folder).rglob("*")))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files if path.is_file() and path.suffix != ".pyc")).digest()


@cache
def calls_of(file: str) -> dict[str, dict]:
    """The tests of a file that pass on the code as it is: see `Calls`. Kept until the file or the code is another."""
    kept = CALLS / f"{Path(file).stem}-{hashlib.sha256(code_sum() + (COPY / file).read_bytes()).hexdigest()[:16]}.json"
    if not kept.exists():
        CALLS.mkdir(parents=True, exist_ok=True)
        forked(file, NO_TEST_TIMES_OUT_S, Calls(kept))
    tests = json.loads(kept.read_text()) if kept.exists() else {}  # it was ended, by its limit
    if failed := [name for name, test in tests.items() if not test.get("passed")]:
        print(f"{file}: skipped, or failing on the code as it is, and left out:", *failed, sep="\n    ", flush=True)
    return {name: test for name, test in tests.items() if test.get("passed")}


def functions(code: str) -> list[tuple[int, int]]:
    """(first, last) line of each function, the inner ones last."""
    defs = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return sorted(
        (min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)]), node.end_lineno or 0) for node in defs
    )


def calling(module: str, line: int, code: str) -> Iterator[tuple[str, list[str], float]]:
    """(file, its tests, the quickest first, and how long they take, in s) that call the function around a line; if none
    does, that call the module; if none does, all, since what runs in a process of its own is not seen.
    """
    around = [first for first, last in functions(code) if first <= line <= last]
    of_function = {(module, first) for first in around[-1:]}
    ways = (lambda test: of_function & calls(test), lambda test: any(of == module for of, _ in calls(test)), calls)
    for wanted in ways if around else ways[1:]:
        some = False
        for file in tests_of(module):
            tests = calls_of(file)
            names = sorted(filter(lambda name: wanted(tests[name]), tests), key=lambda name: tests[name]["duration_s"])
            if names:
                some = True
                yield file, names, sum(tests[name]["duration_s"] for name in names)
        if some:
            return


def calls(test: dict) -> set[tuple[str, int]]:
    return {(file, line) for file, line in test["called"]}


@contextmanager
def mutated(module: str, mutant: str, number: int) -> Iterator[None]:
    """The copy with a mutant in it, with a time of its own: Python knows a compiled file by its source's second and size."""
    path = COPY / module
    code, was = path.read_text(), path.stat()
    path.write_text(mutant)
    os.utime(path, (was.st_atime, was.st_mtime + number))
    yield
    path.write_text(code)
    os.utime(path, (was.st_atime, was.st_mtime))


def found(module: str, line: int, code: str, mutant: str, number: int) -> bool | None:
    """Whether a test fails with the mutant; None where there are no tests."""
    failed = None
    for file, tests, takes_s in calling(module, line, code):
        with mutated(module, mutant, number):
            failed = forked(file, 10 + 3 * takes_s, Chosen(tests)) != pytest.ExitCode.OK
        if failed:
            break
    return failed


def tried(module: str, count: int, seed: int) -> tuple[int, int, list[str]]:
    """(mutants, killed, the diffs of those that lived) of a module; those that no test tries are left out."""
    code = (COPY / module).read_text()
    drawing = [COSMIC_RAY, ROOT / "tests" / "mutate.py", COPY / module, str(count), str(seed)]
    mutants = json.loads(subprocess.run(drawing, check=True, capture_output=True, text=True).stdout)
    outcomes = [(found(module, line, code, mutant, number), mutant) for number, (line, mutant) in enumerate(mutants, 1)]
    lived = [
        "\n".join(difflib.unified_diff(code.splitlines(), mutant.splitlines(), module, "lived", lineterm="", n=1))
        for killed, mutant in outcomes if killed is False
    ]  # fmt: skip
    killed = sum(bool(killed) for killed, _ in outcomes)
    return killed + len(lived), killed, lived


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", default=modules(), metavar="MODULE")
    parser.add_argument("--count", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    shutil.rmtree(COPY, ignore_errors=True)
    subprocess.run(["git", "clone", "-q", ROOT, COPY], check=True)
    for name in LARGE:
        importlib.import_module(name)
    code_sum()
    gc.freeze()  # no fork has to walk through them again
    for module in asked.modules:
        mutants, killed, lived = tried(module, asked.count, asked.seed)
        print(f"{module}: {killed} of {mutants} killed", *lived, sep="\n", flush=True)
        keep(module, mutants, killed)


def keep(module: str, mutants: int, killed: int) -> None:
    """A module's line in docs/mutants.csv, in the place of its last."""
    known = {}
    if OUTCOMES.exists():
        with OUTCOMES.open(newline="") as file:
            known = {row["module"]: row for row in csv.DictReader(file)}
    share = f"{killed / mutants:.0%}" if mutants else ""
    known[module] = dict(zip(COLUMNS, (module, mutants, killed, share), strict=True))
    with OUTCOMES.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(known[name] for name in sorted(known))


if __name__ == "__main__":
    main()
