"""`exposure`: how much each unit of the stack could do if somebody took hold of it, as systemd itself counts it."""

from __future__ import annotations

import json
from fnmatch import fnmatch

from stacklab.labs.host import Host
from stacklab.stack.services import SERVICES


def exposure(host: Host) -> dict[str, float]:
    """{unit: its exposure}, from 0 (can do nothing) to 10 (all), for the stack's units that run; 'systemd-analyze security'.

    LabNotRunning if the host does not answer.
    """
    rows = json.loads(host.run("systemd-analyze security --json=short --no-pager", sudo=True))
    runs = set(host.run("systemctl list-units --type=service --state=active --plain --no-legend | cut -d ' ' -f 1").split())
    units = {row["unit"]: float(row["exposure"]) for row in rows if row["unit"] in runs}  # some are known, and do not run
    return {
        unit: units[unit] for service in SERVICES.values() for unit in sorted(units)
        if fnmatch(unit, f"{service.unit}.service")
    }
