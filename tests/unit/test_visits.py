"""Visitors, as visits.toml describes them: what such a file may say, and what becomes of it on a Django with logins and forms."""

from __future__ import annotations

import itertools
import os
import random
import re
import socket
import subprocess
import sys
import time
from collections import Counter

import pyarrow.parquet as pq
import pytest

from stacklab.bench.plans import plan_load, run_plan
from stacklab.errors import SettingsError
from stacklab.files import ROOT
from stacklab.surroundings import own
from stacklab.visits import Arrivals, parse

OURS = ROOT / "loadtests" / "visits.toml"
PAGE = '[pages]\n"/" = 1\n'


def test_the_file_that_is_there_says_every_word_and_with_all_of_it_read_says_what_it_shows():
    source = OURS.read_text()
    visits = parse(source)
    assert visits.steps == {"/": 5, "/db/": 3, "/visit/": 1} and visits.login is visits.arrivals is None
    whole = re.sub(r"^# (?=\[|\w+ = )", "", source, flags=re.MULTILINE)
    every = parse(whole)
    assert [form.path for form in every.steps if not isinstance(form, str)] == ["/guestbook/"]
    assert every.login.share == 0.3 and every.fields["/admin/login/"]["username"] == "ann"
    assert (every.arrivals.per_s, every.arrivals.burst_per_s) == (2, 10) and every.chat == visits.chat


@pytest.mark.parametrize(("source", "words"), [
    ("", "[pages] is missing"),
    ("pages = 3", "pages=3 is not allowed: write [pages] on a line of its own"),
    ('[pages]\n"/" = 0\n', "[pages] is missing"),
    ('[pages]\n"/" = "often"\n', "[pages] /='often' is not allowed: / takes a number from 0 to"),
    ('[pages]\nabout = 1\n', "[pages] 'about' is not allowed: a path starts with /"),
    (f"think = 2\n{PAGE}", "Visit has no field think; its fields are pages_per_visit, think_s, with_files"),
    (f"think_s = -1\n{PAGE}", "think_s=-1 is not allowed: think_s takes a number from 0 to 3600"),
    (f"{PAGE}[chat]\nshare = 2\n", "[chat] share=2 is not allowed: share takes a number from 0 to 1"),
    (f"{PAGE}[chat]\nroms = 2\n", "[chat] Chatting has no field roms; its fields are share, rooms"),
    (f"{PAGE}[login]\nshare = 1\n", "[login] '' is not allowed: a path starts with /"),
    (f'{PAGE}[login]\npath = "/l/"\n', "[login] fields is missing"),
    (f'{PAGE}[login]\npath = "/l/"\nweight = 2\nfields = {{ a = "b" }}\n', "[login] Login has no field weight"),
    ('[[forms]]\npath = "/l/"\nshare = 0.3\nfields = { a = "b" }\n', "[forms] Form has no field share"),
    (2 * '[[forms]]\npath = "/l/"\nfields = { a = "b" }\n', "[forms] '/l/' is told twice"),
    (f"{PAGE}[login]\npath = 7\n", "[login] path=7 is not allowed: path takes text"),
    (f'{PAGE}[login]\npath = "/l/"\nfields = {{ age = 7 }}\n', "[login.fields] age=7 is not allowed: age takes text"),
    (f'{PAGE}[login]\npath = "/l/"\nfields = "ann"\n', "login.fields='ann' is not allowed"),
    (f"{PAGE}[arrivals]\nper_s = 0\n", "[arrivals] per_s=0 is not allowed"),
    (f"{PAGE}[arrivals]\nburst_at_s = 3\n", "[arrivals] burst_at_s and burst_per_s are not allowed without each other"),
    ("[pages\n", "this is not TOML"),
    ("forms = [3]\n", "forms=3 is not allowed"),
])  # fmt: skip
def test_what_cannot_be_is_one_line_that_names_the_field(source, words, tmp_path):
    with pytest.raises(SettingsError) as caught:
        parse(source)
    assert words in str(caught.value) and "\n" not in str(caught.value)
    (tmp_path / "mine.toml").write_text(source)
    with pytest.raises(SettingsError, match=re.escape(f"mine.toml: {words}")):
        plan_load(tmp_path / "mine.toml")


def test_visits_begin_as_often_as_the_file_says_rising_and_in_a_burst():
    arrivals = Arrivals(per_s=50, rise_s=20, burst_at_s=60, burst_s=10, burst_per_s=200)
    instants = itertools.takewhile(lambda at_s: at_s < 100, arrivals.instants(random.Random(1)))
    per_second = Counter(int(at_s) for at_s in instants)

    def mean(first_s: int, end_s: int) -> float:
        return sum(per_second[second] for second in range(first_s, end_s)) / (end_s - first_s)

    assert 20 < mean(0, 20) < 30 and 45 < mean(20, 60) < 55 and 190 < mean(60, 70) < 210 and 45 < mean(70, 100) < 55
    assert mean(0, 5) < mean(5, 10) < mean(10, 15) < mean(15, 20)
    assert len(set(per_second.values())) > 20, "at random"


def test_a_page_tells_its_files_and_its_forms(of_loadtests):
    page = of_loadtests("webpage").WebPage(
        '<link rel="Stylesheet" href="/a.css"><link rel="canonical" href="/"><script src="b.js"></script><script>x</script>'
        '<img src="c.png"><img><form action="/search"><input name="q"></form><input name="nowhere">'
        '<form METHOD="POST" action="?in"><input type=hidden name=token value="t&amp;t"><textarea name="text"></textarea>'
        '<input type="submit"></form>'
    )
    assert page.files == ["/a.css", "b.js", "c.png"]
    (form,) = page.forms
    assert (form.action, form.hidden, form.names) == ("?in", {"token": "t&t"}, {"token", "text"})


# ---------------------------------------------------------------- on a Django with sessions, a login and a form


@pytest.fixture(scope="module")
def shop(certificates, tmp_path_factory):
    """Its address. What it was asked for is in shop.asked, a line each: the session, the method and the path."""
    folder = tmp_path_factory.mktemp("shop")
    (folder / "shop.py").write_text(SHOP)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    _, certificate, key = certificates
    endpoint = f"ssl:{port}:privateKey={key}:certKey={certificate}:interface=127.0.0.1"
    with open(folder / "said", "wb") as said:
        server = subprocess.Popen(
            [sys.executable, "-m", "daphne", "-e", endpoint, "shop:application"],
            cwd=folder, env=own(), stdout=said, stderr=said,
        )  # fmt: skip
    try:
        until = time.monotonic() + 60
        while time.monotonic() < until and server.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                time.sleep(0.05)
        else:
            pytest.fail((folder / "said").read_text())
        yield f"https://127.0.0.1:{port}", folder / "asked"
    finally:
        server.kill()
        server.wait()


SHOP = '''
import secrets
import time

from channels.routing import ProtocolTypeRouter
from django.conf import settings

settings.configure(
    ALLOWED_HOSTS=["127.0.0.1"], ROOT_URLCONF=__name__, SECRET_KEY="of a test",
    SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies", CSRF_COOKIE_SECURE=True,
    SECURE_PROXY_SSL_HEADER=None,
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware", "django.middleware.csrf.CsrfViewMiddleware",
        "shop.write_down",
    ],
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates"}],
)

from django.core.asgi import get_asgi_application
from django.http import HttpResponse
from django.shortcuts import redirect
from django.template import engines
from django.urls import path

HEAD = '<link rel="stylesheet" href="/static/look.css">'
FORM = HEAD + '<form method="post">{% csrf_token %}<input name="name"><input name="password"></form>'
BOOK = HEAD + '<form method="post" action="/book/?sign">{% csrf_token %}<textarea name="text"></textarea></form>'


def write_down(get_response):
    def write(request):
        who = request.session.setdefault("who", secrets.token_hex(4))
        with open("asked", "a") as file:
            file.write(f"{who} {request.method} {request.get_full_path()} {request.POST.get('text', '')}\\n")
        return get_response(request)
    return write


def show(request, source):
    return HttpResponse(engines["django"].from_string(source).render({}, request))


def login(request):
    if request.method == "POST" and request.POST["password"] == "of ann":
        request.session["name"] = request.POST["name"]
        return redirect("/book/")
    return show(request, FORM)


def book(request):
    if request.method == "POST":
        return redirect("/book/") if request.session.get("name") == "ann" else HttpResponse("who are you?", status=403)
    return show(request, BOOK)


def members(request):
    return redirect("/login/?next=/members/")


def elsewhere(request):
    form = '<form method="post" action="https://other.example/in"><input name="text"></form>'
    return show(request, HEAD + '<img src="//[cdn]/a.png">' + form)


def slow(request):
    time.sleep(2)
    return HttpResponse("at last")


urlpatterns = [
    path("", lambda request: show(request, HEAD)), path("login/", login), path("book/", book), path("slow/", slow),
    path("members/", members), path("elsewhere/", elsewhere),
    path("static/look.css", lambda request: HttpResponse("p {}", content_type="text/css")),
]
application = get_asgi_application()
'''


@pytest.fixture
def visited(shop, certificates, tmp_path):
    """Locust's table and its words, its exit code, and what the shop was asked for, by each who came in turn."""
    url, asked = shop

    def visit(source: str, users: int = 3, run_time_s: int = 4):
        asked.write_text("")
        (tmp_path / "mine.toml").write_text(source)
        done = subprocess.run(
            [
                sys.executable, "-m", "locust", "-f", ROOT / "loadtests" / "visits.py", "--headless", "--only-summary",
                "-u", str(users), "-r", str(users), "-t", f"{run_time_s}s", "--host", f"{url}/", "--ca", certificates[0],
                "--visits", "mine.toml",
            ],
            cwd=tmp_path, env=own(HOME=os.fspath(tmp_path)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=400, check=False,
        )  # fmt: skip
        by: dict[str, list[str]] = {}
        for line in asked.read_text().splitlines():
            who, _, what = line.partition(" ")
            by.setdefault(who, []).append(what.strip())
        return done.returncode, done.stdout, list(by.values())

    return visit


LOGIN = '[login]\npath = "/login/"\nfields = { name = "ann", password = "of ann" }\n'
BOOK = '[[forms]]\npath = "/book/"\nweight = 1\nfields = { text = "well done" }\n'


def test_a_visitor_logs_in_signs_the_book_with_the_token_gets_each_file_once_and_goes(visited):
    code, said, visits = visited(f"pages_per_visit = 2\nthink_s = 0.05\n{LOGIN}{BOOK}", run_time_s=15)
    assert code == 0, said
    whole = ["GET /login/", "GET /static/look.css", "POST /login/", "GET /book/"]
    whole += ["GET /book/", "POST /book/?sign well done", "GET /book/"] * 2
    ended = [visit for visit in visits if len(visit) == len(whole)]
    assert len(ended) > 1 and len(visits) - len(ended) <= 3, "at most one of each user is under way at the end"
    assert all(visit == whole for visit in ended)


@pytest.mark.parametrize(("source", "words"), [
    (LOGIN.replace("of ann", "of bob") + PAGE, "the login was refused: its form came back"),
    (LOGIN.replace("password", "pin") + PAGE, "no form on this page is sent by POST and has name, pin"),
    (BOOK, "403"), (BOOK.replace("/book/", "/elsewhere/"), "its form is sent to another site: https://other.example/in"),
    ('[pages]\n"/nowhere" = 1\n', "404"),
])  # fmt: skip
def test_what_a_visitor_is_refused_is_a_failure_in_the_table(visited, source, words):
    code, said, _ = visited(f"think_s = 0.2\n{source}", users=1, run_time_s=6)
    assert code == 1 and words in said, said


def test_a_form_is_sent_to_where_its_page_is_after_a_redirect(visited):
    redirected = LOGIN.replace("/login/", "/members/")
    code, said, visits = visited(f"think_s = 0.2\npages_per_visit = 1\n{redirected}{PAGE}", users=1, run_time_s=6)
    assert code == 0 and "POST /login/?next=/members/" in visits[0], said


def test_visits_begin_when_they_are_due_however_slow_the_site_is(visited):
    """A page of two seconds, eight visits a second: with users enough more of them are begun than two users could begin."""
    slow = 'pages_per_visit = 1\nwith_files = false\n[pages]\n"/slow/" = 1\n[arrivals]\nper_s = 8\n'
    begun = {}
    for users in (40, 2):
        _, said, _ = visited(slow, users, run_time_s=14)
        begun[users] = int(re.search(r"^GET +/slow/ +(\d+) ", said, re.MULTILINE)[1])
        late = re.search(r"(\d+) of (\d+) visits began more than 1 s late or not at all, .* give more users", said)
    assert begun[2] < begun[40], begun
    assert int(late[1]) >= int(late[2]) / 2, said


def test_a_file_that_says_nothing_ends_it_before_it_begins(visited):
    code, said, visits = visited("")
    assert code != 0 and "mine.toml: [pages] is missing" in said and not visits and "Traceback" not in said


def test_as_a_plan_it_is_a_run_with_its_pages_by_name_and_notes_what_locust_warned_of(shop, certificates, tmp_path):
    source = 'think_s = 0\npages_per_visit = 1\n[pages]\n"/" = 1\n"/slow/" = 1\n[arrivals]\nper_s = 10\n'
    (tmp_path / "mine.toml").write_text(source)
    workload = plan_load(tmp_path / "mine.toml", "users=2,duration_s=6", warmup_s=0)
    assert (workload.tool, workload.users) == ("Locust", 2)
    out = tmp_path / "run"
    out.mkdir()
    told = run_plan(workload, shop[0], out, certificates[0])
    names = set(pq.read_table(out / "requests.parquet")["name"].to_pylist())
    assert names == {"GET /", "GET /slow/", "GET /static/look.css"}
    assert [note for note in told["notes"] if "give more users" in note] and (out / "plan.toml").read_text() == source
