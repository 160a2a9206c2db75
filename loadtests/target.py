"""`Target`: the site that load is put on: how one connects to it, and the clock by which that is told."""

from __future__ import annotations

import resource
import socket
import time
from collections.abc import Sequence
from urllib.parse import urlsplit

import gevent.ssl

MOST_FILES = 65_536
CONNECT_TIMEOUT_S = 15
ANSWER_TIMEOUT_S = 75  # longer than nginx's own 60 s, so that its 504 is seen and not our impatience


class Target:
    """The site at `url`, verified with the CA in the file `ca` (None: with those that this computer trusts).

    `host`: its name for browsers, where that is another. `client_addresses`: source addresses to spread connections over.
    `clock_offset_s`: epoch time minus the monotonic clock.
    """

    def __init__(
        self, url: str, ca: str | None, host: str | None = None, client_addresses: Sequence[str] = (),
        clock_offset_s: float | None = None,
    ):  # fmt: skip
        parts = urlsplit(url)
        self.host = parts.hostname
        self.authority = parts.netloc
        self.origin = f"https://{host or parts.netloc}"  # of the pages from which a browser would connect
        self.port = parts.port or 443
        self.tls = gevent.ssl.create_default_context(cafile=ca)
        self.client_addresses = client_addresses
        self._clock_offset_s = time.time() - time.monotonic() if clock_offset_s is None else clock_offset_s
        self._resolved: tuple | None = None
        raise_open_files()

    def now(self) -> float:
        """Seconds since the epoch on a clock that never steps, the same in all processes of a load."""
        return self._clock_offset_s + time.monotonic()

    def source_address(self, index: int) -> str | None:
        """The address that connection number `index` comes from (None: whatever the system picks)."""
        return self.client_addresses[index % len(self.client_addresses)] if self.client_addresses else None

    def connect(self, source_address: str | None) -> gevent.ssl.SSLSocket:
        """A new TLS connection to the site, verified. OSError if there is none."""
        if self._resolved is None:
            self._resolved = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)[0]
        family, kind, protocol, _, address = self._resolved
        plain = socket.socket(family, kind, protocol)
        try:
            plain.settimeout(CONNECT_TIMEOUT_S)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if source_address:
                plain.bind((source_address, 0))
            plain.connect(address)
            return self.tls.wrap_socket(plain, server_hostname=self.host)
        except BaseException:
            plain.close()
            raise


def raise_open_files() -> None:
    """Let this process open as many files as the machine allows, as far as that makes sense."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def error_text(error: BaseException) -> str:
    """The class and the text of an exception, as the rows record it."""
    return f"{type(error).__name__}: {error}"
