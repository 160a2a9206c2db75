"""The functions of web.sh and desk.sh, run here: their folders lie below one of the test's, and commands may be others."""

import os
import re
import subprocess
from pathlib import Path

from stacklab.files import ROOT

FOLDERS = ("/var/lib/stacklab", "/etc/stacklab", "/opt/stacklab", "/home/", "/usr/local/bin", "/etc/jupyter", "/etc/profile.d",
           "/etc/systemd/system")  # fmt: skip


def put(root, *paths, text="ours\n"):
    """Files that are there."""
    for path in paths:
        file = Path(f"{root}{path}")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


def stub(folder, name, script):
    """A command of this machine, as the scripts find it."""
    put(folder, f"/stubs/{name}", text=f"#!/bin/sh\n{script}\n")
    (folder / "stubs" / name).chmod(0o755)


def run(folder, script, commands):
    """Runs `commands` among the functions of `script` (web.sh, desk.sh); what came of it."""
    text = (ROOT / "provision" / script).read_text()
    head = text[: re.search(r"(?m)^(case \$\{1:-\} in|\[ \"\$\(id -u\)\" = 0 \].*\ncase .*)$", text).start()]
    head = "".join(line for line in head.splitlines(keepends=True) if not line.startswith(('[ "$(id -u)"', "[ -f /etc/debian")))
    for path in FOLDERS:
        head = re.sub(rf"(?<![\w/]){re.escape(path)}", f"{folder}{path}", head)
    head = head.replace('source_dir=$(cd "$(dirname "$0")/.." && pwd)', f"source_dir={ROOT}")
    environment = os.environ | {"PATH": f"{folder}/stubs:{os.environ['PATH']}", "STACKLAB_WEB": "192.0.2.1"}
    return subprocess.run(["bash", "-c", f"{head}\n{commands}"], capture_output=True, text=True, env=environment)
