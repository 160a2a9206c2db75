"""The response headers that Django has no setting for."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse


def is_localhost(host: str) -> bool:
    """Whether `host` ('localhost', 'localhost:8443', 'web.localhost') means the browser's own machine."""
    name = host.rpartition(":")[0] if ":" in host else host
    return name == "localhost" or name.endswith(".localhost")


class SiteHeaders:
    """Content-Security-Policy on every page, and no HSTS for localhost.

    In a class the site is reached through a forwarded port of localhost. HSTS knows no ports: one such
    header would force https on everything that the student runs on localhost, Jupyter first of all.
    (Browsers ignore HSTS for addresses such as 127.0.0.1 by themselves.)
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        # get_host() refuses hosts that are not allowed, and such a request still needs its answer
        host = request.META.get("HTTP_HOST", "")
        if is_localhost(host):
            response.headers.pop("Strict-Transport-Security", None)
        response.headers["Content-Security-Policy"] = (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
            "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
        )
        return response
