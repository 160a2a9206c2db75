"""Whether the page that opens a socket is this site's own."""

from collections.abc import Iterable
from urllib.parse import urlsplit

from django.conf import settings
from django.http.request import split_domain_port, validate_host


def origin_allowed(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether the Origin header names https and an allowed host, on any port (a lab's port is often forwarded).

    No Origin at all is refused too: every browser sends one with a WebSocket.
    """
    origin = next((value.decode("latin1") for name, value in headers if name == b"origin"), "")
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    domain, _port = split_domain_port(parts.netloc)
    return parts.scheme == "https" and bool(domain) and validate_host(domain, settings.ALLOWED_HOSTS)
