"""The `fab` command: Fabric's own program, which else reads a person's SSH and Fabric files before it reads our tasks."""

from __future__ import annotations

import os
import sys
import warnings
from typing import Any

from fabric import Config
from fabric.main import program
from paramiko import SSHConfig

NOWHERE = "/nonexistent/"  # what Fabric puts before the names of configuration files


class OwnConfig(Config):
    """Fabric's configuration with no file in it but what the checkout itself may hold: see `surroundings`."""

    def __init__(self, *args: Any, **given: Any):
        super().__init__(*args, **{"ssh_config": SSHConfig(), "system_prefix": NOWHERE, "user_prefix": NOWHERE} | given)


def main() -> None:
    """Run what the command line says. A warning, as of a damaged run that is left out, is a line like any other; where
    nobody reads on (`fab --list | head -1`), it ends, and nobody need be told.
    """
    warnings.showwarning = lambda message, *_: print(message, file=sys.stderr)
    program.config_class = OwnConfig
    try:
        try:
            program.run()
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


if __name__ == "__main__":
    main()
