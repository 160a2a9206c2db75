"""`bill_of_materials`: what the web host is made of, as scanners read it: CycloneDX 1.6, from dpkg and the venvs."""

from __future__ import annotations

import re
import uuid
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from stacklab import __version__
from stacklab.labs.host import Host
from stacklab.stack.change import require_provisioned

LOOK = r"""
. /etc/os-release; printf 'os\t%s\t%s\n' "$ID" "${VERSION_ID:-}"
dpkg-query -W -f 'deb\t${Package}\t${Version}\t${Architecture}\t${db:Status-Status}\n' | sed -n 's/\tinstalled$//p'
for venv in $(readlink -e /opt/stacklab/venv /opt/stacklab/site/venv | sort -u); do
    "$venv/bin/python" -I -c '
import importlib.metadata
for found in importlib.metadata.distributions():
    print("pypi", found.metadata["Name"], found.version, sep="\t")
'
done
"""


def bill_of_materials(host: Host) -> dict[str, Any]:
    """The bill of materials of what is installed on the host now: Debian's packages, and those of the Python environments of
    the lab's site and of the one under test. Ready for JSON; LabError where the stack was never set up."""
    require_provisioned(host)
    (_, system, release), *rows = [line.split("\t") for line in host.run(LOOK).splitlines()]
    components = {one["bom-ref"]: one for one in (_component(row, system, release) for row in rows)}
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid4()}",
        "version": 1,
        "metadata": {
            "timestamp": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
            "tools": {"components": [{"type": "application", "name": "stacklab", "version": __version__}]},
            "component": {"type": "operating-system", "name": system, "version": release},
        },
        "components": [components[ref] for ref in sorted(components)],
    }


def _component(row: list[str], system: str, release: str) -> dict[str, str]:
    """A component, by the package URL under which databases of vulnerabilities know it."""
    kind, name, version, *architecture = row
    if kind == "deb":
        purl = f"pkg:deb/{system}/{quote(name)}@{quote(version)}?arch={architecture[0]}&distro={system}-{release}"
    else:
        purl = f"pkg:pypi/{re.sub(r'[-_.]+', '-', name).lower()}@{quote(version)}"
    return {"type": "library", "name": name, "version": version, "purl": purl, "bom-ref": purl}
