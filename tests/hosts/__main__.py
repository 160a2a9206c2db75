"""What the README says to type, on the Debians that people have: `make test-hosts`.

    python -m tests.hosts [12 13 testing]     a small `make lab`, and the tests without a lab (docs/changing-the-lab.md)
    python -m tests.hosts --quick 13          `fab up provision http` in place of `make lab`, and tests of what Debians differ in
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
import time

from stacklab.errors import LabError
from stacklab.labs.storage import locked, say
from tests.hosts.desk import DESKS, SUITES, Desk

VERSIONS = """
cat /etc/debian_version
python3 -c 'import platform; print(platform.python_version())'
dpkg-query --show mmdebstrap systemd | sed 's/.*\\t//; s/[-~].*//'
"""
HEAD = "| Debian | Python | mmdebstrap | systemd | `{lab}`, s | tests |\n|---|---|---|---|---|---|"
MAKE_LAB = "make lab BLOCKS=1"
QUICK_LAB = "make .venv/.lock && provision/needs lab && .venv/bin/fab up provision http --users 10 --requests 1000"
TESTS = "make test-unit"
# Who may do what, processes, packages, shells, SSH, Python.
DIFFER_IN = "brought changing commit commit_steps doctor files host imports labs_machine make measuring own_pip provisioning site"
QUICK_TESTS = "make .venv/.tests && provision/needs unit && .venv/bin/python -m pytest -n auto --dist loadfile " + " ".join(
    f"tests/unit/test_{name}.py" for name in DIFFER_IN.split()
)


def try_out(desk: Desk, lab: str, tests: str) -> str:
    """Set up `desk`, do `lab` and `tests` there, and tell what these skipped; the row of the table."""
    with desk.booted():
        began = time.monotonic()
        desk.step(lab)
        lab_s = time.monotonic() - began
        versions = desk.step(VERSIONS).split()
        said = desk.step(tests)
    for skipped in re.findall(r"^SKIPPED .*", said, re.MULTILINE):
        say(f"{skipped} (on Debian {desk.release})")
    passed = re.search(r"\d+ passed.*?(?= in )", said)
    return f"| {' | '.join(versions)} | {lab_s:.0f} | {passed[0]} |"


def main() -> int:
    """1 if a desk did not do; the others are tried all the same."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("releases", nargs="*", default=list(SUITES), choices=SUITES)
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    os.umask(0o022)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # a desk that is up is taken away then, as after Ctrl-C
    lab, tests = (QUICK_LAB, QUICK_TESTS) if arguments.quick else (MAKE_LAB, TESTS)
    rows, failed = [HEAD.format(lab=lab)], False
    with locked("desks"):
        DESKS.mkdir(parents=True, exist_ok=True)
        for release in arguments.releases:
            log = DESKS / f"{release}.log"
            log.write_text("")
            say(f"a desk of Debian {release}: {log}")
            began = time.monotonic()
            try:
                rows.append(try_out(Desk(release, log), lab, tests))
            except LabError as error:
                failed = True
                say(f"FAILED: {error}")
            say(f"Debian {release}: {time.monotonic() - began:.0f} s")
    print("\n".join(rows))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
