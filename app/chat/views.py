"""The chat's HTML pages. The conversation itself goes over a WebSocket, see `chat.consumers`."""

from urllib.parse import quote

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.views.decorators.http import require_safe

from chat.frames import TEXT_LIMIT
from chat.rooms import NAME_LIMIT, composed, room_problem


@require_safe
def choose(request: HttpRequest) -> HttpResponse:
    """A form that asks for a room; with ?room=…, on to that room."""
    name = composed(request.GET.get("room", "").strip())
    if "room" not in request.GET:
        return ask(request)
    if problem := room_problem(name):
        return ask(request, name, problem)
    return HttpResponseRedirect(f"/chat/{quote(name, safe='')}/")


@require_safe
def room(request: HttpRequest, room: str) -> HttpResponse:
    """The page of one room."""
    if problem := room_problem(room):
        return ask(request, room, problem)
    return render(request, "chat/room.html", {"room": composed(room), "text_limit": TEXT_LIMIT})


def ask(request: HttpRequest, name: str = "", problem: str = "") -> HttpResponse:
    """The form, with what was wrong with the name that was given."""
    values = {"name": name[:NAME_LIMIT], "problem": problem}
    return render(request, "chat/choose.html", values, status=400 if problem else 200)
