"""Starting three Daphnes at once, again and again: with readiness as the lab has it, and without, as the post had it."""

from __future__ import annotations

import json
from typing import Any

from stacklab.labs.host import Host

# One round on the web host. With readiness, a unit is started when its port listens (daphne@N.service waits for it).
# Without, the same unit but for that: systemd holds it for started as soon as its process exists.
ROUND = r"""
import json, os, re, subprocess, sys, time
ready, instances = sys.argv[1] == "ready", int(sys.argv[2])
numbers = range(1, instances + 1)
units = [f"daphne@{n}" if ready else f"plain-daphne@{n}" for n in numbers]

def call(*command):
    return subprocess.run(command, capture_output=True, text=True)

def listening():
    lines = call("ss", "-tlnH").stdout.splitlines()
    ports = {int(line.split()[3].rsplit(":", 1)[1]) for line in lines}
    return [8442 + n in ports for n in numbers]

call("systemctl", "stop", *(f"daphne@{n}" for n in numbers))
plain = "/run/systemd/system/plain-daphne@.service"
if not ready:
    unit = re.sub(r"\\\n", " ", open("/etc/systemd/system/daphne@.service").read())
    open(plain, "w").write(re.sub("(?m)^(ExecStartPost|Restart).*$", "", unit))
    call("systemctl", "daemon-reload")
began = time.monotonic()
call("systemctl", "start", *units)
returned_s = time.monotonic() - began
at_once = listening()
states = call("systemctl", "is-active", *units).stdout.split()
while not all(listening()) and time.monotonic() - began < 30:
    time.sleep(0.02)
listening_s, in_the_end = time.monotonic() - began, sum(listening())
if not ready:
    call("systemctl", "stop", *units)
    os.remove(plain)
    call("systemctl", "daemon-reload")
print(json.dumps({"returned_s": returned_s, "active": states.count("active"), "listening_at_return": sum(at_once),
                  "listening_s": listening_s, "listening": in_the_end}))
"""


def start_together(host: Host, rounds: int, ready: bool = True, instances: int = 3) -> list[dict[str, Any]]:
    """Stop the instances and start them all at once, `rounds` times; one row a round.

    Columns: round, ready, returned_s (until the command to start returned), active (units that systemd
    calls active then), listening_at_return (ports that listen then), listening_s (until all listen),
    listening (ports that listen in the end). The instances run as before when it ends.
    """
    rows = []
    try:
        for number in range(1, rounds + 1):
            kind = "ready" if ready else "plain"
            row = json.loads(host.run(f"python3 - {kind} {instances}", sudo=True, input=ROUND, timeout_s=120))
            rows.append({"round": number, "ready": ready} | row)
    finally:
        host.run("systemctl start daphne.target " + " ".join(f"daphne@{n}" for n in range(1, instances + 1)), sudo=True)
    return rows
