"""The access log of one instance, in Daphne's own format."""

import logging
from typing import Any

from daphne.access import AccessLogGenerator

log = logging.getLogger("stacklab.access_log")


class AccessLog(AccessLogGenerator):
    """Writes to the file at `path`, a line at a time, and can open it anew after logrotate moved it away."""

    def __init__(self, path: str) -> None:
        super().__init__(open(path, "a", buffering=1, encoding="utf-8"))
        self.path = path

    def reopen(self) -> None:
        """Go on in a new file at the same path."""
        try:
            renewed = open(self.path, "a", buffering=1, encoding="utf-8")
        except OSError as error:
            log.warning("keeping the old access log open: %s", error)
            return
        self.stream.close()
        self.stream = renewed

    def write_entry(self, *args: Any, **kwargs: Any) -> None:
        """One line. A full disk must not cost anybody a socket."""
        try:
            super().write_entry(*args, **kwargs)
        except OSError as error:
            log.warning("the access log lost a line: %s", error)
