"""Visitors of a site, as a small file tells what they do (visits.toml): an ordinary locustfile, on Locust's FastHttpUser.

    locust -f loadtests/visits.py --headless -u 50 -r 10 -t 60s --host https://10.83.0.2 --visits loadtests/visits.toml

A visitor comes without a cookie and on a new connection, may log in and may chat, looks at pages, thinks between them, and goes;
then its user is another. Where the file has [arrivals], a user waits until a visit is due, and --users is the most at once.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode, urljoin

import alone
import gevent
import gevent.event
import gevent.ssl
from guests import Guest, guests_of
from locust import FastHttpUser, events, task
from locust.env import Environment
from webpage import WebPage

sys.path.append(str(Path(__file__).resolve().parent.parent))  # where the lab is, whoever starts this

from stacklab.errors import SettingsError  # noqa: E402
from stacklab.visits import Form, Login, Visits, parse  # noqa: E402

LATE_S = 1.0  # a visit that begins later than this was one too many for its users


@events.init_command_line_parser.add_listener
def tell(parser) -> None:
    """What can be told of the load, besides Locust's own."""
    ours = Path(__file__).with_name("visits.toml")
    parser.add_argument(
        "--visits", metavar="FILE", type=_file, default=str(ours), include_in_web_ui=False,
        help="what the visitors do; if not told, visits.toml beside this file",
    )  # fmt: skip


def _file(name: str) -> str:
    try:
        read(name)
    except (OSError, UnicodeDecodeError, SettingsError) as error:
        raise argparse.ArgumentTypeError(f"{name}: {error}") from error
    return name


def read(name: str) -> Visits:
    """What the file says; SettingsError or OSError if it says nothing."""
    return parse(Path(name).read_text(encoding="utf-8-sig"))


@events.init.add_listener
def set_up(environment: Environment, **_) -> None:
    """Visits are due once all users are there."""
    environment.events.spawning_complete.add_listener(lambda **_: environment.schedule.open())


@events.test_start.add_listener
def begin(environment: Environment, **_) -> None:
    """Nobody has come yet."""
    environment.visits = read(environment.parsed_options.visits)
    environment.schedule = Schedule(environment.visits)


@events.test_stop.add_listener
def end(environment: Environment, **_) -> None:
    """Whether there were users enough."""
    schedule = getattr(environment, "schedule", None)
    late, due = schedule.late_and_due() if schedule else (0, 0)
    if late:
        logging.getLogger(__name__).warning(
            "%d of %d visits began more than %g s late or not at all, for all users were at one: give more users (-u)",
            late, due, LATE_S,
        )  # fmt: skip


def is_fine(answer) -> bool:
    """Whether what was asked for came."""
    return 0 < answer.status_code < 400


def on(answer) -> WebPage:
    """What is on it, if it is HTML."""
    kind = (answer.headers or {}).get("content-type", "")
    return WebPage(answer.text or "" if kind.startswith("text/html") else "", answer.url or "")


class Schedule:
    """When the next visit of this process is due: at once, or as [arrivals] says, of each process."""

    def __init__(self, visits: Visits):
        self.instants: Iterator[float] | None = visits.arrivals and visits.arrivals.instants(random.Random())
        self.opened = gevent.event.AsyncResult()
        self.begun = self.late = 0

    def open(self) -> None:
        """The first may come now."""
        if not self.opened.ready():
            self.opened.set(time.monotonic())

    def wait(self) -> None:
        """Until it is."""
        if self.instants:
            due_s = self.opened.get() + next(self.instants)
            gevent.sleep(max(0.0, due_s - time.monotonic()))
            self.late += time.monotonic() - due_s > LATE_S
        self.begun += 1

    def late_and_due(self) -> tuple[int, int]:
        """How many visits began too late, or should have begun and did not; of how many."""
        missed = 0
        if self.instants and self.opened.ready():
            last_s = time.monotonic() - self.opened.get() - LATE_S
            missed = sum(1 for _ in itertools.takewhile(lambda due_s: due_s < last_s, self.instants))
        return self.late + missed, self.begun + missed


class Visitor(FastHttpUser):
    """One visitor after the other."""

    insecure = False
    network_timeout = 75.0
    connection_timeout = 15.0

    def __init__(self, environment: Environment):
        alone.site(environment)
        self.host = environment.host.rstrip("/")
        self.ssl_context_factory = lambda: gevent.ssl.create_default_context(cafile=environment.ca)
        super().__init__(environment)
        self.visits: Visits = environment.visits
        self.guests = self.visits.chat and guests_of(environment, self.visits.chat.size_bytes)
        self.seen: set[str] = set()

    @task
    def come(self) -> None:
        """One visit."""
        self.environment.schedule.wait()
        self.client.cookiejar.clear()
        self.client.client.close()
        self.seen.clear()
        chat = self.visits.chat
        chatting = gevent.spawn(self.chat) if chat and random.random() < chat.share else None
        try:
            self.look_around()
        finally:
            if chatting:
                chatting.kill()

    def look_around(self) -> None:
        """Log in, perhaps; then page after page."""
        visits, login = self.visits, self.visits.login
        if login and random.random() < login.share:
            self.send(login)
            self.think()
        for number in range(visits.visit.pages_per_visit):
            if number:
                self.think()
            (step,) = random.choices(list(visits.steps), visits.steps.values())
            self.send(step) if isinstance(step, Form) else self.look_at(step)

    def think(self) -> None:
        """A pause."""
        if self.visits.visit.think_s:
            gevent.sleep(random.expovariate(1 / self.visits.visit.think_s))

    def look_at(self, path: str) -> WebPage | None:
        """A page, and those of its files that this visitor has not seen. None if it did not come."""
        answer = self.client.get(path)
        if not is_fine(answer):
            return None
        page = on(answer)
        for address in page.files if self.visits.visit.with_files else ():
            file = self.at(page, address)
            if file.startswith("/") and file not in self.seen:
                self.seen.add(file)
                self.client.get(file)
        return page

    def at(self, page: WebPage, address: str) -> str:
        """The path of an address that stands on the page; all of it, if it is another site's; "" if it is none."""
        try:
            return urljoin(page.address, address).removeprefix(self.host)
        except ValueError:
            return ""

    def send(self, form: Form | Login) -> None:
        """The form on its page, filled in. A login after which its fields are there again has failed."""
        page = self.look_at(form.path)
        if page is None:
            return
        fields = self.visits.fields[form.path]
        there = next((each for each in page.forms if fields.keys() <= each.names), None)
        action = self.at(page, there.action) if there else ""
        if not action.startswith("/"):
            why = f"no form on this page is sent by POST and has {', '.join(fields)}"
            why = f"its form is sent to another site: {action}" if there else why
            alone.tell_locust(self.environment, "POST", form.path, self.environment.site.now(), 0.0, 0, why)
            return
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Referer": page.address}
        data = urlencode({**there.hidden, **fields})
        with self.client.post(action, name=form.path, data=data, headers=headers, catch_response=True) as answer:
            if isinstance(form, Login) and is_fine(answer) and any(fields.keys() <= each.names for each in on(answer).forms):
                answer.failure("the login was refused: its form came back")

    def chat(self) -> None:
        """Be in a room, and say something now and then."""
        told = self.visits.chat
        guest = Guest(self.guests, told.rooms)
        try:
            while True:
                gevent.sleep(random.expovariate(told.messages_per_min / 60) if told.messages_per_min else 3600)
                guest.say()
        finally:
            guest.leave()
