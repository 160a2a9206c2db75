"""`python -m stacklab.labs.clean`: remove every container lab that this checkout made. Base images stay."""

from __future__ import annotations

import sys

from stacklab.errors import LabError
from stacklab.labs.container import all_labs
from stacklab.labs.storage import say


def main() -> int:
    """Remove them all, also after one that cannot be removed; 1 if there was such a one."""
    failed = False
    for lab in all_labs():
        say(f"removing lab {lab.name}")
        try:
            lab.destroy()
        except LabError as error:
            print(error, file=sys.stderr)
            failed = True
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
