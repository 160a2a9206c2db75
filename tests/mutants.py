"""Are the tests any good? `make mutants`: faults put into the code by lot, one at a time, and how many the unit tests find.

    python -m tests.mutants [--count 10] [--seed 1] [MODULE…]

By cosmic-ray, in a copy of the checkout; of each module as many of its mutants as asked for, drawn by lot, against the tests
named after it and those of BY_WAY, else some that import it. Outcomes go to docs/mutants.csv, one line a module; those that
lived are printed as a diff.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COPY = ROOT / "build" / "mutants"
COSMIC_RAY = ROOT / "build" / "cosmic-ray" / "bin" / "cosmic-ray"
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
IMPORTING = 99  # the rank of a file that only imports the module
FEWEST = 2  # files of tests for a module: where fewer are named after it, such as import it
TIMEOUT_S = 300.0
# A note of a type says nothing to a program that runs.
SAYS_NOTHING = "core/ReplaceBinaryOperator_BitOr%"
CONFIG = """
[cosmic-ray]
module-path = "{module}"
timeout = {timeout_s}
excluded-modules = []
test-command = "{python} -m pytest -x -q -p no:cacheprovider {tests}"
[cosmic-ray.distributor]
name = "local"
"""


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
    few = max(FEWEST, sum(rank < IMPORTING for rank in ranks.values()))
    return [str(path.relative_to(ROOT)) for path in own[:few]]


def draw(session: Path, count: int, seed: int) -> None:
    """Leave `count` mutants of a session, by lot."""
    with sqlite3.connect(session) as sessions:
        sessions.execute("delete from mutation_specs where operator_name like ?", (SAYS_NOTHING,))
        all_of_them = sorted(row[0] for row in sessions.execute("select job_id from mutation_specs"))
        drawn = random.Random(seed).sample(all_of_them, min(count, len(all_of_them)))
        marks = ",".join("?" * len(drawn))
        for table in ("mutation_specs", "work_items"):
            sessions.execute(f"delete from {table} where job_id not in ({marks})", drawn)


def tried(module: str, count: int, seed: int) -> tuple[int, int, list[str]]:
    """(mutants, killed, the diffs of those that lived) of a module; (0, 0, []) where no unit test imports it.

    SystemExit where its tests fail on the code as it is, which would call every mutant killed.
    """
    if not (tests := tests_of(module)):
        return 0, 0, []
    config, session = COPY / "mutants.toml", COPY / "mutants.sqlite"
    session.unlink(missing_ok=True)
    path = COPY / module
    if not path.suffix:  # cosmic-ray looks for .py
        path = path.with_suffix(".py")
        path.unlink(missing_ok=True)
        path.symlink_to(COPY / module)
    words = {"module": path.relative_to(COPY), "timeout_s": TIMEOUT_S, "python": sys.executable, "tests": " ".join(tests)}
    config.write_text(CONFIG.format(**words))
    if subprocess.run([COSMIC_RAY, "baseline", config.name], cwd=COPY, check=False).returncode:
        sys.exit(f"{module}: its tests fail on the code as it is: {' '.join(tests)}")
    for step in ("init", "exec"):
        subprocess.run([COSMIC_RAY, step, config.name, session.name], cwd=COPY, check=True)
        if step == "init":
            draw(session, count, seed)
    dumped = subprocess.run([COSMIC_RAY, "dump", session.name], cwd=COPY, check=True, capture_output=True, text=True).stdout
    results = [result for line in dumped.splitlines() if (result := json.loads(line)[1])]
    lived = [result["diff"] for result in results if result["test_outcome"] == "survived"]
    return len(results), len(results) - len(lived), lived


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", default=modules(), metavar="MODULE")
    parser.add_argument("--count", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    shutil.rmtree(COPY, ignore_errors=True)
    subprocess.run(["git", "clone", "-q", ROOT, COPY], check=True)
    known = {}
    if OUTCOMES.exists():
        with OUTCOMES.open(newline="") as file:
            known = {row["module"]: row for row in csv.DictReader(file)}
    for module in asked.modules:
        mutants, killed, lived = tried(module, asked.count, asked.seed)
        share = f"{killed / mutants:.0%}" if mutants else ""
        known[module] = dict(zip(COLUMNS, (module, mutants, killed, share), strict=True))
        print(f"{module}: {killed} of {mutants} killed", *lived, sep="\n", flush=True)
        with OUTCOMES.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(known[name] for name in sorted(known))


if __name__ == "__main__":
    main()
