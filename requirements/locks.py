"""The locks: made anew by uv, with what moved from which version to which, and looked up among known vulnerabilities.

    python requirements/locks.py lock                what the inputs ask for; what need not move does not
    python requirements/locks.py lock --upgrade      the newest versions that they allow
    python requirements/locks.py audit               by pip-audit, of this Python's environment

What moved is printed, and put at the head of requirements/CHANGES.md. Standard library only.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
CHANGES = HERE / "CHANGES.md"
# The locks hold versions and hashes, no addresses.
UV = (
    "uv", "pip", "compile", "-q", "--universal", "--python-version", "3.11", "--generate-hashes", "--no-emit-index-url",
    "--no-header", "--no-annotate",
)  # fmt: skip
# In this order: a later one is held to an earlier's versions.
LOCKS = {
    "provision/requirements.lock": ("provision/requirements.in",),
    "requirements/desk.lock": ("pyproject.toml", "-c", "provision/requirements.lock"),
    "requirements/test.lock": ("--extra", "test", "pyproject.toml", "provision/requirements.in", "-c", "requirements/desk.lock"),
    "requirements/audit.lock": ("requirements/audit.in",),
    "requirements/mutants.lock": ("requirements/mutants.in",),
}
PINNED = re.compile(r"(?m)^([\w.-]+)==([^\s;]+)")
AUDIT = ("-I", "-m", "pip_audit", "--require-hashes", "--disable-pip", "--progress-spinner", "off", "-f", "json", "-r")


def versions(lock: str) -> dict[str, str]:
    """{package: its version, or its versions where that depends on the Python} of a lock; empty if there is none."""
    path = ROOT / lock
    found: dict[str, list[str]] = {}
    for name, version in PINNED.findall(path.read_text()) if path.exists() else ():
        found.setdefault(name, []).append(version)
    return {name: ", ".join(several) for name, several in found.items()}


def moved(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """What is another, new or gone, a line each."""
    lines = []
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name), after.get(name)
        if old != new:
            lines.append(f"{name} {old} → {new}" if old and new else f"{name} {new}, new" if new else f"{name} {old}, gone")
    return lines


def lock(upgrade: bool) -> tuple[str, str]:
    """(what moved, as Markdown, empty if nothing did; the lock that could not be made, before which it ended)."""
    before, failed = {name: versions(name) for name in LOCKS}, ""
    for name, words in LOCKS.items():
        try:
            done = subprocess.run([*UV, *(["--upgrade"] if upgrade else []), *words, "-o", name], cwd=ROOT)
        except FileNotFoundError:
            sys.exit("locks.py: no 'uv' here, which makes the locks: 'pip install uv' brings it")
        if done.returncode:
            failed = name
            break
    told = ""
    for name in LOCKS:
        if lines := moved(before[name], versions(name)):
            told += f"\n{name}\n\n" + "".join(f"- {line}\n" for line in lines)
    return told, failed


def keep(told: str) -> None:
    """Put what moved at the head of CHANGES.md, below its title."""
    title, _, rest = (CHANGES.read_text() if CHANGES.exists() else "# What moved in the locks\n").partition("\n")
    CHANGES.write_text(f"{title}\n\n## {time.strftime('%Y-%m-%d')}\n{told}{rest}")


def audit(name: str) -> tuple[list[str], int, int]:
    """(what is known against the packages of a lock, a line each; how many were looked up; how many could not be).

    Those for other systems and Pythons are neither.
    """
    done = subprocess.run([sys.executable, *AUDIT, name], cwd=ROOT, capture_output=True, text=True)
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):  # it asks before it answers anything
        said = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        print(f"{name}: pip-audit broke off and said: {said[:300]}")
        return [], 0, len(versions(name))
    # Where the index has no knowledge of vulnerabilities, pip-audit passes each package over, and ends with "none known".
    known = [
        f"{one['name']} {one['version']}: {fault['id']}, mended in {', '.join(fault['fix_versions']) or 'no version yet'}"
        for one in packages for fault in one.get("vulns", ())
    ]
    skipped = sum("skip_reason" in one for one in packages)
    return known, len(packages) - skipped, skipped


def main(words: list[str]) -> None:
    """Do what the words say; exit code 0 only if it was done and nothing is known against any package."""
    if words[:1] == ["audit"]:
        code = 0
        for name in LOCKS:
            known, looked_up, skipped = audit(name)
            print("\n".join([*(f"{name}: {line}" for line in known), f"{name}: {looked_up} packages looked up, {skipped} not"]))
            code |= bool(known) | 2 * bool(skipped)
        if code & 2:
            print("NOT AUDITED: no index that knows of vulnerabilities answers here for those that were not looked up")
        sys.exit(code)
    if words not in (["lock"], ["lock", "--upgrade"]):
        sys.exit(__doc__)
    told, failed = lock(upgrade="--upgrade" in words)
    if told:
        keep(told)
    print(told or "nothing moved")
    if failed:
        sys.exit(f"locks.py: uv could not make {failed} (above); is an index of packages reachable? Those before it are made")


if __name__ == "__main__":
    main(sys.argv[1:])
