"""Does `fab compare` find what is there, and nothing else? `python -m tests.tries [HOW_MANY]`, on a lab of its own.

Twenty tries each: 22 ms of computing against 20, five minutes at most; a page against itself, five minutes; a page against
itself, ten minutes. Each outcome is appended to docs/tries.csv as it comes; the next call goes on with what is missing.
"""

from __future__ import annotations

import csv
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from stacklab import stack
from stacklab.bench.comparison import compare
from stacklab.bench.plan import Point
from stacklab.files import ROOT
from stacklab.labs.container import ContainerLab
from stacklab.settings import StackSettings
from stacklab.workload import HttpLoad

OUTCOMES = ROOT / "docs" / "tries.csv"
COLUMNS = ("kind", "try", "verdict", "estimate", "low", "high", "blocks", "disturbed", "took_s")
LAB = "stacklab-tries"


@dataclass(frozen=True)
class Kind:
    """What is tried: two pages, and how long it may take."""

    a: str
    b: str
    budget_s: float


KINDS = {
    "22 ms against 20": Kind("/cpu/?ms=20", "/cpu/?ms=22", 300),
    "a page against itself, 5 min": Kind("/cpu/?ms=20", "/cpu/?ms=20", 300),
    "a page against itself, 10 min": Kind("/cpu/?ms=20", "/cpu/?ms=20", 600),
}


def left(how_many: int) -> list[tuple[str, int]]:
    """The tries that have no outcome yet, the kinds in turn."""
    done = set()
    if OUTCOMES.exists():
        with OUTCOMES.open(newline="") as file:
            done = {(row["kind"], int(row["try"])) for row in csv.DictReader(file)}
    return [(kind, number) for number in range(1, how_many + 1) for kind in KINDS if (kind, number) not in done]


def outcome(lab: ContainerLab, kind: str, number: int) -> dict[str, object]:
    """One try, from nothing, with an order of its own."""
    what = KINDS[kind]
    a, b = (Point(label, StackSettings(), HttpLoad(path=path, users=20)) for label, path in (("A", what.a), ("B", what.b)))
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="stacklab-try-") as folder:
        seen = compare(a, b, lab, budget_s=what.budget_s, seed=number, root=Path(folder))
    throughput = asdict(seen.metrics[0])
    estimate = [round(throughput[name], 4) for name in ("estimate", "low", "high")]
    took_s = round(time.monotonic() - began)
    values = (kind, number, throughput["verdict"], *estimate, seen.blocks, seen.disturbed, took_s)
    return dict(zip(COLUMNS, values, strict=True))


def main() -> None:
    lab = ContainerLab(LAB)
    try:
        lab.up()
        stack.provision(lab.web())
        for kind, number in left(int(sys.argv[1]) if sys.argv[1:] else 20):
            row = outcome(lab, kind, number)
            new = not OUTCOMES.exists()
            with OUTCOMES.open("a", newline="") as file:
                writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
                if new:
                    writer.writeheader()
                writer.writerow(row)
            print(*row.values(), sep=" | ", flush=True)
    finally:
        lab.destroy()


if __name__ == "__main__":
    main()
