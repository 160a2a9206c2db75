"""Run pip by this Python, and tell it of a person's configuration where packages come from and how one gets there.

    python -I provision/own_pip.py install …

Nothing else of it is for us: a target, a prefix, `user`, somebody's constraints or PYTHONPATH would put packages elsewhere,
think them there already, or hold them to other versions than the lock's.
"""

import ast
import os
import re
import subprocess
import sys

# Mirrors and folders of packages; the proxy, and whom to trust behind one; patience with a slow network.
LET_THROUGH = (
    "index-url", "extra-index-url", "no-index", "find-links", "trusted-host", "proxy", "cert", "client-cert", "keyring-provider",
    "timeout", "default-timeout", "retries", "no-cache-dir", "cache-dir",
)  # fmt: skip
SECTIONS = ("global", "install", "download")  # of a pip.conf: what is more special goes first, and a variable before all


def environment() -> dict[str, str]:
    """This process's variables, but of pip's own only what is let through, also where a file said it."""
    outer = {name: value for name, value in os.environ.items() if name != "PIP_PYTHON"}  # which is yet another pip
    # (Verbose, since somebody may have it be quiet.)
    ask = [sys.executable, "-I", "-m", "pip", "config", "list", "-vv"]
    listed = subprocess.run(ask, env=outer, stdout=subprocess.PIPE, text=True, errors="replace").stdout
    said = dict(re.findall(r"(?m)^(\S+?)=('.*'|\".*\")$", listed))
    kept = {}
    for name in LET_THROUGH:
        variable = f"PIP_{name.upper().replace('-', '_')}"
        values = [ast.literal_eval(said[key]) for section in SECTIONS if (key := f"{section}.{name}") in said]
        if variable in outer or values:
            kept[variable] = outer.get(variable) or values[-1]
    others = {name: value for name, value in outer.items() if not name.startswith("PIP_")}
    return others | kept | {"PIP_CONFIG_FILE": os.devnull, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


if __name__ == "__main__":
    os.execve(sys.executable, [sys.executable, "-I", "-m", "pip", *sys.argv[1:]], environment())
