"""What provisioning brought to somebody's machine, and how it is taken away again: provision/brought, asked from here."""

from __future__ import annotations

import json
from typing import Any

from stacklab.errors import LabError
from stacklab.files import ROOT
from stacklab.labs.host import Host

PATIENCE_S = 900


def brought(host: Host) -> dict[str, Any]:
    """What came by provisioning: {"goes": {what: names}, "stays": [what is left, and why]}. LabError if there is no list."""
    return _ask(host, "")


def take_away(host: Host) -> dict[str, Any]:
    """Remove what provisioning brought, and put back what it replaced; the answer is `brought`'s, of what was to be done, with
    "failed": [what could not be, and why].

    Safe to repeat, also after it was cut off; what failed is then tried again. What somebody else's things need stays.
    """
    return _ask(host, "--take-away")


def _ask(host: Host, word: str) -> dict[str, Any]:
    # This checkout's own program, by standard input: it works where provisioning was cut off before its code was there.
    program = (ROOT / "provision" / "brought").read_text()
    answer = json.loads(host.run(f"python3 - {word}", sudo=True, timeout_s=PATIENCE_S, input=program))
    if answer is None:
        raise LabError(
            f"{host.name} has no list of anything that provisioning brought; where an older version of it did, 'fab provision' "
            "begins one"
        )
    return answer
