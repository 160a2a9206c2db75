"""The fault matrix: a row a fault, of all tests that are marked `fault(what, where)`. `make faults` prints it and keeps it.

A test may say what was lost, of how many, and how long after the fault all was well again: the fixture `told`. Tests of the
same fault and place make one row. `python -m tests.matrix` writes what was kept last into docs/faults.md.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

KEPT = Path("build", "faults.json")
DOCUMENT = Path("docs", "faults.md")
BEGIN, END = "<!-- made by `make faults` and `python -m tests.matrix` -->\n", "<!-- the end of what was made -->\n"


@pytest.fixture
def told(record_property) -> Callable[..., None]:
    """`told(back_s=1.2, pages=(3, 210))`: seconds until all was well again; of 210 pages 3 were lost."""
    return lambda back_s=None, **lost: record_property("told", {"back_s": back_s, "lost": lost})


def by_count(few: int, many: int, what: str, where: str = "from outside") -> list:
    """Parameters of a test that is quick with `few` and slow with `many`: each a row of its own."""
    row = pytest.mark.fault
    return [
        pytest.param(few, marks=row(what.format(few), where)),
        pytest.param(many, marks=[pytest.mark.faults, row(what.format(many), where)]),
    ]


def mark(items: Sequence[pytest.Item]) -> None:
    """Have each item's report say which fault it is about."""
    for item in items:
        for row in item.iter_markers("fault"):
            item.user_properties.append(("fault", row.args))


def rows(reports: Sequence[Any]) -> list[dict[str, Any]]:
    """A row a fault: {"fault", "where", "survived", "lost", "back_s", "tries"}, in the order of the tests.

    `survived`: every promise was kept (True), or not, or it was not tried here (None). `lost`: {what: [lost, of]}, sums;
    `back_s`: the longest.
    """
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for report in reports:
        properties = dict(report.user_properties)
        if "fault" not in properties or (report.when != "call" and report.passed):
            continue
        what, where = properties["fault"]
        row = found.setdefault(
            (what, where), {"fault": what, "where": where, "survived": None, "lost": {}, "back_s": None, "tries": 0}
        )
        if report.skipped:
            continue
        row["survived"] = row["survived"] is not False and report.passed
        row["tries"] += 1
        said = properties.get("told", {"back_s": None, "lost": {}})
        for name, (lost, of) in said["lost"].items():
            before = row["lost"].get(name, [0, 0])
            row["lost"][name] = [before[0] + lost, before[1] + of]
        row["back_s"] = max((s for s in (row["back_s"], said["back_s"]) if s is not None), default=None)
    return list(found.values())


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    words = {True: "yes", False: "**no**", None: "not tried"}
    lines = ["| fault | where | survived | lost | back after |", "|---|---|---|---|---|"]
    for row in rows:
        lost = ", ".join(f"{lost} of {of} {name}" for name, (lost, of) in row["lost"].items()) or "–"
        back = "–" if row["back_s"] is None else f"{row['back_s']:.1f} s"
        tries = f" ({row['tries']} tries)" if row["tries"] > 1 else ""
        lines.append(f"| {row['fault']} | {row['where']} | {words[row['survived']]}{tries} | {lost} | {back} |")
    return "\n".join(lines) + "\n"


def keep(rows: Sequence[dict[str, Any]], path: Path = KEPT) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    made = BEGIN + "\n" + table(json.loads(KEPT.read_text(encoding="utf-8"))) + "\n" + END
    text = DOCUMENT.read_text(encoding="utf-8")
    DOCUMENT.write_text(re.sub(f"{re.escape(BEGIN)}.*{re.escape(END)}", lambda _: made, text, flags=re.DOTALL), encoding="utf-8")
