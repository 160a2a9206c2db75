"""What needs root (up, halt, destroy of a container lab) runs in a process of its own, through sudo if need be."""

from __future__ import annotations

import argparse
import errno
import os
import shutil
import subprocess
import sys

from stacklab.errors import LabError
from stacklab.files import ROOT
from stacklab.labs import image, storage
from stacklab.labs.obstacles import ELSEWHERE, SYSTEM_PATH, obstacles
from stacklab.surroundings import own

ACTIONS = ("image", "up", "halt", "destroy")

# Which packages, and where they come from, may be set in the environment, which sudo would drop.
KEPT_VARIABLES = ("STACKLAB_SUITE", "http_proxy", "https_proxy", "no_proxy", "PIP_INDEX_URL", "PIP_DEFAULT_TIMEOUT")


def check_computer() -> None:
    """LabError, with what to do, if this computer cannot have a container lab."""
    for what, do in obstacles():
        raise LabError(f"{what}; {do}")


def check_possible() -> None:
    """LabError, with what to do, if this computer cannot have a container lab, or not without asking a person."""
    check_computer()
    _sudo()


def as_root(action: str, name: str = "", *, pin: bool = True) -> None:
    """Run `action` ("up", "halt" or "destroy") on the container lab `name` as root; or make the base "image". Raises LabError."""
    check_computer()
    words = [action, *([name] if name else []), *([] if pin else ["--no-pin"])]
    command = [sys.executable, "-B", "-m", "stacklab.labs.asroot", *words]
    done = subprocess.run(_sudo() + command, cwd=ROOT, env=own(), stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise LabError(done.stdout.strip() or f"'{action}' of lab {name} ended with exit code {done.returncode}")


def _sudo() -> list[str]:
    """What to put before a command so that root runs it: nothing for root, else sudo that can work here."""
    if os.geteuid() == 0:
        return []
    if not shutil.which("sudo"):
        raise LabError(f"a container lab needs root, and there is no sudo: run this as root, or {ELSEWHERE}")
    kept = [f"{name}={os.environ[name]}" for name in KEPT_VARIABLES if name in os.environ]
    without_password = subprocess.run(["sudo", "-n", "true"], capture_output=True).returncode == 0
    if without_password:
        return ["sudo", "-n", "env", *kept]
    if sys.stdin.isatty():
        return ["sudo", "env", *kept]
    raise LabError(
        "a container lab needs root for up, halt and destroy, and sudo wants a password: "
        f"run this in a terminal, or {ELSEWHERE}"
    )


def main() -> int:
    """Called by `as_root`: progress goes to standard error, the one line of an error to standard output.

    `make lab` calls "image" by the system's Python, while it makes the environment: nothing else is imported for that.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("action", choices=ACTIONS)
    parser.add_argument("name", nargs="?", default="")
    parser.add_argument("--no-pin", dest="pin", action="store_false")
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        return _through_sudo(arguments.action)
    os.environ["PATH"] = SYSTEM_PATH
    os.umask(0o022)
    owner = int(os.environ.get("SUDO_UID", os.getuid()))
    try:
        if arguments.action == "image":
            image.ensure_image()
            return 0
        from stacklab.labs import machine

        if arguments.action == "up":
            machine.up(arguments.name, pin=arguments.pin, owner=owner)
        elif arguments.action == "halt":
            machine.halt(arguments.name)
        else:
            machine.destroy(arguments.name)
    except LabError as error:
        print(error)
        return 1
    except OSError as error:
        print(storage.disk_full(str(error)) if error.errno == errno.ENOSPC else f"{arguments.action}: {error}")
        return 1
    except KeyboardInterrupt:
        print(f"{arguments.action} was interrupted; run it again to go on")
        return 130
    return 0


def _through_sudo(action: str) -> int:
    try:
        as_root(action)
    except LabError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
