"""The pages that HTTP load is put on. Each costs one thing: a template, CPU, waiting, or the database."""

import asyncio
import os
import time
from collections.abc import Callable
from functools import wraps

from asgiref.sync import async_to_sync
from django.db import connection
from django.db.models import Avg, Max, Min
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from pages.models import Reading, Visit
from pages.work import ROUNDS_PER_MS, spin

MAX_MS = 5_000
LAYERS = [
    ("nginx", "speaks TLS on port 443, serves static files, passes pages and /ws/ to the servers behind it"),
    ("uWSGI or gunicorn", "runs this Django project in several worker processes behind a unix socket"),
    ("Django", "answered this request"),
    ("Daphne", "holds the chat's WebSockets, one process an instance, several instances behind nginx"),
    ("Redis", "carries messages between the instances, so that everyone in a room hears everyone"),
]
PAGES = [
    ("/cpu/?ms=20", "a fixed amount of CPU work, about 20 ms of one core"),
    ("/io/?ms=50", "waits 50 ms, as a page does that asks another service"),
    ("/db/", "reads rows from the database"),
    ("/visit/", "writes a row into the database"),
    ("/healthz", "says ok and touches nothing else"),
]


@require_safe
def index(request: HttpRequest) -> HttpResponse:
    """What this site is, and the stack that it runs on: a real template, rendered anew for each request."""
    return render(request, "pages/index.html", {"layers": LAYERS, "pages": PAGES, "worker": os.getpid()})


@require_safe
def healthz(request: HttpRequest) -> HttpResponse:
    """'ok' while Django answers at all."""
    return HttpResponse("ok\n", content_type="text/plain")


def with_ms(default: int) -> Callable:
    """A view that takes `ms`, a whole number from 1 to `MAX_MS`, from the query; 400 with one clear line otherwise."""

    def decorate(view: Callable[[HttpRequest, int], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
        @wraps(view)
        def checked(request: HttpRequest) -> HttpResponse:
            text = request.GET.get("ms", str(default))
            # str.isdecimal alone would take other scripts' digits, and int() any length of them
            if not (text.isascii() and text.isdecimal() and len(text) <= 5 and 1 <= int(text) <= MAX_MS):
                return plain(f"ms={text[:40]!r} is not allowed: ms takes a whole number from 1 to {MAX_MS}", 400)
            return view(request, int(text))

        return require_safe(checked)

    return decorate


@with_ms(default=20)
def cpu(request: HttpRequest, ms: int) -> HttpResponse:
    """Keeps one core busy for about `ms` milliseconds, always with the same work (see `pages.work`)."""
    rounds = ms * ROUNDS_PER_MS
    return JsonResponse({"ms": ms, "rounds": rounds, "value": spin(rounds)})


@with_ms(default=50)
def io(request: HttpRequest, ms: int) -> HttpResponse:
    """Waits `ms` milliseconds and uses no CPU meanwhile."""
    time.sleep(ms / 1000)
    return JsonResponse({"ms": ms})


@with_ms(default=50)
def pool(request: HttpRequest, ms: int) -> HttpResponse:
    """Waits as /io/ does, but in the event loop's own pool of threads, which Daphne's ASGI_THREADS bounds."""
    async_to_sync(asyncio.to_thread)(time.sleep, ms / 1000)
    return JsonResponse({"ms": ms})


@require_safe
def db(request: HttpRequest) -> HttpResponse:
    """The day's figures of each sensor and the last hour of one of them: two queries, some seventy rows."""
    figures = Reading.objects.values("sensor").annotate(low=Min("celsius"), mean=Avg("celsius"), high=Max("celsius"))
    last_hour = Reading.objects.filter(sensor="sensor 01").order_by("-minute")[:60]
    return JsonResponse(
        {
            "database": connection.vendor,
            "sensors": list(figures.order_by("sensor")),
            "last_hour": [{"minute": row.minute, "celsius": row.celsius} for row in last_hour],
        }
    )


@require_safe
def visit(request: HttpRequest) -> HttpResponse:
    """Writes down that somebody was here. So that whoever stays long fills no disk, the oldest go from time to time."""
    now = Visit.objects.create()
    if now.pk % 10_000 == 0:
        Visit.objects.filter(pk__lte=now.pk - Visit.KEPT).delete()
    return JsonResponse({"database": connection.vendor, "visit": now.pk})


def plain(line: str, status: int) -> HttpResponse:
    """One line of plain text."""
    return HttpResponse(line + "\n", status=status, content_type="text/plain; charset=utf-8")


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's 400: most often a Host that is not in ALLOWED_HOSTS."""
    return plain("bad request", 400)


def only_read(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Anything that is sent to a page: none takes it, so that Django asks for a token (CSRF) which no page has given."""
    answer = plain("the pages of this site are only read: GET and HEAD", 405)
    answer.headers["Allow"] = "GET, HEAD"
    return answer


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's 404."""
    return render(request, "pages/not_found.html", status=404)


def server_error(request: HttpRequest) -> HttpResponse:
    """Django's 500; the exception is in the journal of the server that runs it."""
    return plain("the site could not answer this; its journal says why", 500)
