"""Loads and experiments on the site under test: what they ask of the lab's own site, another may not have. Pure.

The one place that says so is `Site`: its pages, its WebSocket, who hears a message.
"""

from __future__ import annotations

from dataclasses import replace

from stacklab.bench.plan import Experiment, Point
from stacklab.errors import LabError, SettingsError
from stacklab.site import FILE, Site
from stacklab.stack.change import fitting, require_effect
from stacklab.workload import HttpLoad, Look, PlanLoad, Workload

NEEDS: dict[str, tuple[str, ...]] = {
    "clients_held": ("a Daphne", "sockets"), "daphne_processes": ("a Daphne",), "starts": ("a Daphne",),
    "sync_threads": ("a Daphne", "the lab's pages"), "socket_shares": ("a Daphne", "sockets"),
    "most_clients": ("a Daphne", "sockets", "talk"), "most_requests": (), "server_stops": ("a Daphne", "sockets"),
}  # fmt: skip
"""{sight: what a look at it asks of a site, besides a page}."""


def load_on(workload: Workload, site: Site) -> Workload:
    """`workload` as `site` can bear it; the same where nothing stands against it, as on the lab's own site.

    LabError for sockets without a WebSocket, for a look at a Daphne that is not there, at the lab's own pages, or at what
    clients say where nobody knows how; SettingsError for a burst of more than there are in a room.
    """
    if isinstance(workload, PlanLoad):  # what else it asks for, only its author knows
        named = workload.named()
        if (page := site.page(named.get("path", ""))) == named.get("path", ""):
            return workload
        return workload.replace(parameters=",".join(f"{name}={value}" for name, value in (named | {"path": page}).items()))
    if isinstance(workload, HttpLoad):
        return workload.replace(path=site.page(workload.path))
    if isinstance(workload, Look):
        needs = NEEDS[workload.sight]
        if "a Daphne" in needs and site.asgi is None:
            raise LabError(
                f"the site {site.name} has no Daphne to look at: its {FILE} names no asgi; 'fab provision --site lab' goes back "
                "to the lab's own"
            )
        if "the lab's pages" in needs and not site.is_labs:
            raise LabError(f"{workload.sight} looks at /io/ and /pool/ of the lab's own site, and {site.name} is under test")
        if "sockets" in needs:
            site.chat_path("")  # or the error that there is none
        if "talk" in needs and not (site.is_labs or site.chat):
            raise LabError(
                f"{workload.sight} needs clients that talk: how to on {site.name} is not known ([chat] in its {FILE})"
            )
        return workload
    site.chat_path("")  # or the error that there is none
    if site.is_labs:
        return workload
    if site.chat is None:
        return workload.replace(messages_per_s=0.0, burst_at_s=None, burst_messages=1)
    rooms = {"room": workload.rooms, "all": 1, "sender": workload.clients}[site.chat.heard_by]
    return workload if rooms == workload.rooms else workload.replace(rooms=rooms, largest_room=None)


def instead(asked: Workload, made: Workload, site: Site) -> str | None:
    """One line that says what is measured in place of what was asked; None if it is the same."""
    if asked == made:
        return None
    if isinstance(asked, HttpLoad | PlanLoad):
        path, page = (load.path if isinstance(load, HttpLoad) else load.named()["path"] for load in (asked, made))
        return f"The site {site.name} has no page {path} (pages in its {FILE}): {page} is asked in its place."
    if site.chat is None:
        return f"How to talk on {site.name} is not known ([chat] in its {FILE}): sockets stay open, and say nothing."
    heard = {"all": "all hear all, in 1 room", "sender": f"each hears itself alone, as in {made.rooms} rooms"}[site.chat.heard_by]
    return f"On {site.name} {heard}, not in {asked.rooms} rooms."


def made_on(workload: Workload, site: Site) -> tuple[Workload, list[str]]:
    """What is measured of `workload` on `site`, and the line that a run is to note of it where that is not what was asked."""
    made = load_on(workload, site)
    return made, [said] if (said := instead(workload, made, site)) else []


def on_site(plan: Experiment, site: Site) -> tuple[Experiment, list[str]]:
    """The experiment as it is measured on `site`, under a name of its own, and what is otherwise than planned, a line each.

    A page that is asked in another's place is named in the labels, and what is measured in place of what was asked in the
    notes; points that are the same then are measured once.
    The database is the site's own, but in a plan that compares databases: of that the other one's points are left out. So is
    a point with settings of the lab's own chat, or that `load_on` refuses; SettingsError says so where none is left. Twice
    does no harm.
    """
    if site.is_labs:
        return plan, []
    points: dict[tuple, Point] = {}
    compares_databases = len({point.settings.database for point in plan.points}) > 1
    notes, said = dict.fromkeys(plan.notes), {}
    for point in plan.points:
        settings = point.settings if compares_databases else fitting(point.settings, site)
        try:
            require_effect(site, settings)
            load, lines = made_on(point.workload, site)
        except LabError as refusal:
            said[f"Left out: {point.label}. {refusal}"] = None
            continue
        notes |= dict.fromkeys(lines)
        said |= dict.fromkeys(lines)
        label = _renamed(point.label, point.workload, load)
        points.setdefault((settings, load, point.events), replace(point, label=label, settings=settings, workload=load))
    if not points:
        raise SettingsError(f"nothing of {plan.name} can be measured on {site.name}. {next(iter(said))}")
    name = plan.name if plan.name.endswith(f"@{site.name}") else f"{plan.name}@{site.name}"
    return replace(plan, name=name, points=tuple(points.values()), notes=tuple(notes)), list(said)


def _renamed(label: str, asked: Workload, made: Workload) -> str:
    """A label such as "/io/?ms=50, 5 × 1" with the page that is asked instead."""
    if isinstance(asked, HttpLoad) and label.startswith(f"{asked.path},"):
        return made.path + label.removeprefix(asked.path)
    return label
