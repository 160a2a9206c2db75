"""`speeds`: how many times a lab's web host's work a core of another host does, so that costs of one are carried to the other."""

from __future__ import annotations

import random

from stacklab.errors import HostError
from stacklab.files import ROOT
from stacklab.labs.host import Host

PAIRS = 12
ROUNDS = 2_000_000  # a third of a second on the core that ROUNDS_PER_MS was made for
ORDER_SEED = 1
WORK = ROOT / "app" / "pages" / "work.py"  # what /cpu/ computes
TIMED = "\nimport time\nbegan_s = time.process_time()\nspin({rounds})\nprint(time.process_time() - began_s)\n"


def speeds(host: Host, measured: Host, pairs: int = PAIRS) -> list[float]:
    """CPU seconds of the same Python on `measured` by those on `host`: a ratio a pair, made in turn, in an order drawn by lot.

    CPU seconds, so other work there costs it nothing, but for what shares its core's speed. Ten seconds; nothing is
    installed or changed, and no sudo needed. HostError where there is no python3.
    """
    draw, ratios = random.Random(ORDER_SEED), []
    for _ in range(pairs):
        pair = [host, measured]
        draw.shuffle(pair)
        took_s = {each: _cpu_s(each) for each in pair}
        ratios.append(took_s[measured] / took_s[host])
    return ratios


def _cpu_s(host: Host) -> float:
    said = host.run("python3 -", input=WORK.read_text(encoding="utf-8") + TIMED.format(rounds=ROUNDS))
    try:
        return float(said)
    except ValueError as error:
        raise HostError(f"{host.name}: python3 said {said!r} instead of how long it took") from error
