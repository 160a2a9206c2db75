"""PostgreSQL in sqlite's place: the pages read and write there, sqlite's rows are kept, an outage passes by itself."""

import json
import re
import ssl
import threading
from collections import Counter

import pytest
from here import wait_until
from strangers import Site

from stacklab import stack
from stacklab.errors import ApplyError, SettingsError
from stacklab.settings import StackSettings
from stacklab.site import read_project
from stacklab.stack.processes import processes

POSTGRESQL = StackSettings(database="postgresql")
PROJECT = {
    "stacklab.toml": """
[site]
wsgi = "notes.wsgi"
health = "/"
database = "postgresql"
[site.environment]
DJANGO_SETTINGS_MODULE = "notes.settings"
""",
    "manage.py": "import sys\nfrom django.core import management\nmanagement.execute_from_command_line(sys.argv)\n",
    "notes/__init__.py": "",
    "notes/wsgi.py": "from django.core.wsgi import get_wsgi_application\napplication = get_wsgi_application()\n",
    "notes/settings.py": """
import os
from urllib.parse import unquote, urlsplit
url = urlsplit(os.environ["DATABASE_URL"])
SECRET_KEY, ALLOWED_HOSTS, ROOT_URLCONF = "x" * 50, ["localhost"], "notes.urls"
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth"]
DATABASES = {"default": {"ENGINE": "django.db.backends." + url.scheme, "USER": url.username, "HOST": unquote(url.hostname),
                         "NAME": url.path[1:], "CONN_HEALTH_CHECKS": True}}
""",
    "notes/urls.py": """
from django.contrib.auth.models import Group
from django.db import connection
from django.http import HttpResponse
from django.urls import path
def home(request):
    Group.objects.create(name=f"g{Group.objects.count()}")
    return HttpResponse(f"{connection.vendor} {connection.settings_dict['NAME']} {Group.objects.count()}")
urlpatterns = [path("", home)]
""",
}


@pytest.fixture
def served(host):
    """The host with PostgreSQL; sqlite is back afterwards."""
    stack.apply(host, POSTGRESQL)
    yield host
    stack.apply(host, StackSettings())


def asked(site, path: str) -> dict:
    status, body = site(path)
    assert status == 200, body
    return json.loads(body)


def figures(answer: dict) -> list[tuple[str, float, float, float]]:
    return [(each["sensor"], *(round(float(each[name]), 6) for name in ("low", "mean", "high"))) for each in answer["sensors"]]


@pytest.mark.parametrize("server", ["uwsgi", "gunicorn"])
def test_the_pages_read_and_write_there_and_what_stands_in_either_is_kept(at_defaults, site, server):
    stack.apply(at_defaults, StackSettings(wsgi_server=server))
    rows, visits = asked(site, "/db/"), asked(site, "/visit/")
    assert rows["database"] == visits["database"] == "sqlite" and len(rows["sensors"]) == 10
    observed = stack.apply(at_defaults, POSTGRESQL.replace(wsgi_server=server)).observed
    assert observed["database"] == "postgresql" and observed["units"]["stacklab-postgresql"] == "active"
    there = asked(site, "/db/")
    assert there["database"] == "postgresql" and there["last_hour"] == rows["last_hour"], "the same rows"
    assert figures(there) == figures(rows), "and the same means, which each adds up in its own way"
    first = asked(site, "/visit/")
    assert first["database"] == "postgresql" and asked(site, "/visit/")["visit"] == first["visit"] + 1
    observed = stack.apply(at_defaults, StackSettings(wsgi_server=server)).observed
    assert observed["database"] == "sqlite" and "stacklab-postgresql" not in observed["units"]
    assert asked(site, "/visit/") == {"database": "sqlite", "visit": visits["visit"] + 1}
    stack.apply(at_defaults, POSTGRESQL.replace(wsgi_server=server))
    assert asked(site, "/visit/")["visit"] == first["visit"] + 2


def test_it_runs_as_its_own_user_in_a_sandbox_on_a_socket_alone_and_starts_at_boot(served):
    table = processes(served)
    mine = table[table["service"] == "postgresql"]
    assert set(mine["user"]) == {"postgres"} and (mine["role"] == "server").sum() == 1 and not any(mine["ports"])
    shown = served.run("systemctl show stacklab-postgresql -p NoNewPrivileges,ProtectSystem,PrivateTmp,ProtectHome")
    assert set(shown.split()) == {"NoNewPrivileges=yes", "PrivateTmp=yes", "ProtectHome=yes", "ProtectSystem=strict"}
    assert stack.exposure(served)["stacklab-postgresql.service"] <= 3.0
    assert "stacklab-postgresql.service" in served.run("systemctl list-dependencies --plain multi-user.target")
    stranger = served.run("/opt/stacklab/postgresql/bin/psql -U site lab -c 'SELECT 1' 2>&1 || true", sudo=True)
    assert "Peer authentication failed" in stranger, "root itself is nobody there"
    assert re.search(r"postgresql=\d+\.\d+", "\n".join(f"{k}={v}" for k, v in stack.versions(served).items()))


@pytest.mark.fault("kill -9 of PostgreSQL", "web")
def test_killed_it_is_back_by_itself_and_the_site_with_it(served, site):
    assert {asked(site, "/visit/")["database"] for _ in range(20)} == {"postgresql"}, "each worker holds a connection"
    served.run("systemctl kill --signal=KILL stacklab-postgresql", sudo=True)
    wait_until(lambda: site("/visit/")[0] == 200, "the site answers again", 30)
    assert Counter(site("/visit/")[0] for _ in range(30)) == {200: 30}, "whichever worker: none keeps a dead connection"


@pytest.mark.faults
def test_no_page_fails_while_one_takes_the_others_place(at_defaults, site):
    over, seen = threading.Event(), Counter()

    def asking() -> None:
        while not over.is_set():
            status, body = site("/db/")
            seen[json.loads(body)["database"] if status == 200 else status] += 1

    people = [threading.Thread(target=asking) for _ in range(3)]
    for person in people:
        person.start()
    try:
        both = {"wsgi_server": "gunicorn", "database": "sqlite"}
        for changes in ({}, {"database": "sqlite"}, {"wsgi_server": "gunicorn"}, both):
            stack.apply(at_defaults, POSTGRESQL.replace(**changes))
    finally:
        over.set()
        for person in people:
            person.join()
    assert set(seen) == {"sqlite", "postgresql"}, seen


def test_a_change_of_the_labs_code_makes_new_tables_while_the_server_goes_on(served, site):
    psql = "setpriv --reuid=uwsgi --regid=stacklab --init-groups /opt/stacklab/postgresql/bin/psql -U site lab -c"
    gone = "DROP TABLE pages_visit; DELETE FROM django_migrations WHERE app = 'pages' AND name = '0002_visit'"
    main_pid = served.run("systemctl show -P MainPID stacklab-postgresql")
    served.run(f'{psql} "{gone}" && rm /var/lib/stacklab/site', sudo=True)  # without the stamp its code counts as new
    changed = stack.provision(served).changed
    assert "reloaded uwsgi" in changed and "reloaded postgresql" not in changed
    assert served.run("systemctl show -P MainPID stacklab-postgresql") == main_pid
    assert asked(site, "/visit/") == {"database": "postgresql", "visit": 1}


def test_one_that_cannot_start_leaves_sqlite_in_its_place(at_defaults, site):
    link = "/opt/stacklab/postgresql"
    at_defaults.run(f"mv {link} {link}.away", sudo=True)
    try:
        with pytest.raises(ApplyError, match="starting PostgreSQL failed.*The old settings are in force") as refused:
            stack.apply(at_defaults, POSTGRESQL)
    finally:
        at_defaults.run(f"mv {link}.away {link}", sudo=True)
    assert refused.value.unit == "postgresql" and refused.value.journal
    assert asked(site, "/visit/")["database"] == "sqlite"
    assert "stacklab-postgresql" not in stack.observe(at_defaults)["units"]


def test_more_connections_than_it_has_are_refused_by_name(served):
    with pytest.raises(ApplyError, match=r"uwsgi_processes=8 × uwsgi_threads=64 may hold 512 connections to PostgreSQL"):
        stack.apply(served, POSTGRESQL.replace(uwsgi_processes=8, uwsgi_threads=64))


def test_fab_changes_and_shows_it(at_defaults, fab):
    said = fab("set", "--database", "postgresql").stdout
    assert "start postgresql" in said and "taken up by postgresql, stacklab.target, uwsgi" in said
    lines = [line.split() for line in fab("status").stdout.splitlines()]
    assert ["database", "postgresql", "postgresql"] in lines and ["stacklab-postgresql", "active"] in lines


@pytest.mark.faults
def test_a_foreign_site_has_a_database_of_its_own_there_and_says_so_itself(at_defaults, tmp_path):
    root = tmp_path / "notes-site"
    for name, text in PROJECT.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    reached = Site(at_defaults.address, ssl.create_default_context(cadata=stack.ca_certificate(at_defaults)))
    try:
        stack.use_site(at_defaults, read_project(root))
        answer = [reached.send(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").decode() for _ in range(20)][-1]
        place = stack.site_of(at_defaults).place.rpartition("/")[2]
        assert re.search(rf"postgresql {place} \d", answer), answer
        assert stack.current(at_defaults).database == "postgresql"
        with pytest.raises(SettingsError, match="database='sqlite' would have no effect: notes-site has 'postgresql'"):
            stack.apply(at_defaults, StackSettings())
        stack.use_site(at_defaults, None)
        stack.use_site(at_defaults, read_project(root))
        answer = reached.send(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").decode()
        assert int(re.search(rf"postgresql {place} (\d+)", answer)[1]) < 20, "its database is a new one"
    finally:
        stack.use_site(at_defaults, None)
    observed = stack.observe(at_defaults)
    assert observed["database"] == "sqlite" and "stacklab-postgresql" not in observed["units"]
