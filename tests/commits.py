"""What did a change of the lab's own code cost its site? `python -m tests.commits BEFORE AFTER [BLOCKS]`, two commits.

Each commit is cloned and has a lab of its own, both on this computer. Pages and chat are measured in turn, in an order by lot
within each block, by that commit's own `fab`; what is printed is AFTER against BEFORE. The runs are kept in results/commits/.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import pandas as pd

from stacklab.files import RESULTS, ROOT
from stacklab.runs.results import read_run
from stacklab.study.paired import ONE_LOOK_ERROR, look
from stacklab.study.summary import summarize

LOADS = {
    "pages": ("http", "--requests", "2000", "--users", "20"),
    "chat": ("chat", "--clients", "100", "--rooms", "10", "--messages-per-s", "1", "--duration-s", "10", "--ramp-s", "3"),
}
METRICS = {
    "pages": ("throughput_per_s", "p50_s", "p95_s", "cpu_s_per_1000_requests"),
    "chat": ("latency_p50_s", "latency_p95_s", "cpu_s_per_1000_deliveries", "delivered_share", "pss_peak_bytes_daphne"),
}
BLOCKS = 12


class Commit:
    """A clone of the lab at `commit`, in `folder`, with a lab called `lab`; what it measures goes to `results`."""

    def __init__(self, commit: str, folder: Path, results: Path, lab: str) -> None:
        self.folder, self.results, self.lab = folder, results, lab
        subprocess.run(["git", "clone", "-q", "--shared", "--no-checkout", ROOT, folder], check=True)
        subprocess.run(["git", "-C", folder, "checkout", "-q", commit], check=True)

    def fab(self, *words: str) -> None:
        """Run its own `fab`, in words; CalledProcessError if it fails."""
        environment = os.environ | {
            "STACKLAB_LAB": self.lab, "STACKLAB_RESULTS": str(self.results), "PYTHONPATH": str(self.folder),
        }  # fmt: skip
        subprocess.run([sys.executable, "-m", "stacklab.command", *words], cwd=self.folder, env=environment, check=True)

    def measured(self, *words: str) -> Path:
        """The folder of the run that a `fab http` or `fab chat` saves."""
        before = set((self.results / "adhoc").glob("*/run.json"))
        self.fab(*words)
        (new,) = set((self.results / "adhoc").glob("*/run.json")) - before
        return new.parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before")
    parser.add_argument("after")
    parser.add_argument("blocks", nargs="?", type=int, default=BLOCKS)
    compare(**vars(parser.parse_args()))


def compare(before: str, after: str, blocks: int, seed: int = 1) -> None:
    lot, found = random.Random(seed), {kind: [] for kind in LOADS}
    kept = RESULTS / "commits" / time.strftime("%Y-%m-%d-%H%M%S")
    with ExitStack() as ends:
        folder = Path(ends.enter_context(tempfile.TemporaryDirectory(prefix="stacklab-commits-")))
        sides = {
            "A": Commit(before, folder / "before", kept / "before", "stacklab-before"),
            "B": Commit(after, folder / "after", kept / "after", "stacklab-after"),
        }
        for commit in sides.values():
            ends.callback(commit.fab, "destroy")
            commit.fab("up", "provision")
        for repeat in range(blocks):
            turns = [(side, kind) for side in sides for kind in LOADS]
            for side, kind in lot.sample(turns, len(turns)):
                run = read_run(sides[side].measured(*LOADS[kind]))
                row = summarize([run]).iloc[0].to_dict()
                found[kind].append(row | {"repeat": repeat, "side": side, "valid": run.validity.measurement == "sound"})
    for kind, rows in found.items():
        print(f"\n{kind}, {after} against {before}")
        for one in look(pd.DataFrame(rows), METRICS[kind], error=ONE_LOOK_ERROR):
            sign = "×" if one.scale == "ratio" else "by"
            interval = f"{sign} {one.estimate:.3f} [{one.low:.3f} to {one.high:.3f}]"
            print(f"  {one.metric:<28} {interval:<32} {one.verdict}, {one.blocks} blocks")


if __name__ == "__main__":
    main()
