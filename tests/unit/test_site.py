"""Somebody's stacklab.toml: what it may say, and what is said of a mistake; and what of a project is sent."""

import io
import json
import tarfile

import pytest

from stacklab.errors import LabError, SettingsError
from stacklab.settings import NEEDS_LAYER, StackSettings
from stacklab.site import FILE, LAB, LAB_PAGES, Chat, Site, read_project
from stacklab.stack import sites
from stacklab.stack.change import OF_THE_LABS_SITE, fitting, require_effect
from stacklab.stack.sites import pack

LEAST = '[site]\nwsgi = "mysite.wsgi:application"\nhealth = "/hello/"\n'
WHOLE = """
[site]
wsgi = "mysite.wsgi"
asgi = "mysite.asgi:application"
requirements = "requirements.txt"
static_root = "static"
health = "/hello/"
websocket = "/ws/chat/"
migrate = false
database = "sqlite"
host = "www.example.org"
pages = ["/", "/hello/"]
leave_out = ["media"]
[site.environment]
DJANGO_SETTINGS_MODULE = "mysite.settings"
SECRET_KEY = "hunter2-hunter2"
[chat]
path = "/ws/chat/{room}/"
send = '{"message": "{text}"}'
"""


@pytest.fixture
def project(tmp_path):
    """`project(toml, **files)` writes a project, and reads it."""

    def make(toml: str = LEAST, **files: str):
        root = tmp_path / "My Site"
        root.mkdir(exist_ok=True)
        (root / "requirements.txt").write_text("django\n")
        (root / "manage.py").touch()
        (root / FILE).write_text(toml)
        for name, text in files.items():
            (root / name.replace("__", ".")).write_text(text)
        return read_project(root)

    return make


def test_the_least_that_a_project_says(project):
    read = project()
    assert read.site == Site(name="my-site", code="", wsgi="mysite.wsgi:application", health="/hello/", host="localhost")
    assert (read.requirements, read.static_root, read.migrate, read.environment) == (None, None, True, {})


def test_all_that_a_project_may_say(project):
    read = project(WHOLE)
    assert read.site == Site(
        name="my-site", code="", wsgi="mysite.wsgi:application", asgi="mysite.asgi:application", health="/hello/",
        websocket="/ws/chat/", host="www.example.org", pages=("/", "/hello/"),
        chat=Chat(path="/ws/chat/{room}/", send='{"message": "{text}"}'),
    )  # fmt: skip
    assert (read.requirements, read.static_root, read.migrate) == ("requirements.txt", "static", False)
    assert read.leave_out == ("media",)
    assert read.environment["SECRET_KEY"] == "hunter2-hunter2"


def test_what_it_needs_of_python_stands_where_python_has_it(project):
    assert project(pyproject__toml='[project]\nrequires-python = ">=3.99"\n').requires_python == ">=3.99"
    assert project(pyproject__toml="not [toml").requires_python is None


def test_a_site_goes_to_disk_and_back(project):
    for site in (LAB, project().site, project(WHOLE).site):
        assert Site.from_dict(json.loads(json.dumps(site.to_dict()))) == site
    assert Site.from_dict(LAB.to_dict() | {"of_a_later_version": 1}) == LAB


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('wsgi = "mysite.wsgi"', "", "[site] lacks wsgi: add it"),
        ('health = "/hello/"', "", "[site] lacks health"),
        ('wsgi = "mysite.wsgi"', "wsgi = 5", "wsgi=5 must be a text"),
        ('wsgi = "mysite.wsgi"', 'wsgi = "mysite/wsgi.py"', "wsgi='mysite/wsgi.py' must be a module and its application"),
        ('wsgi = "mysite.wsgi"', 'wsgy = "mysite.wsgi"', "[site] wsgy is not known: take it out, or one of name, wsgi,"),
        ("[chat]", "[talk]", "[talk] is not known; there are [site],"),
        ('health = "/hello/"', 'health = "http://localhost:8000/"', "health='http://localhost:8000/' must be a path of the site"),
        ('health = "/hello/"', 'health = "hello/"', "it begins with /"),
        ('health = "/hello/"', 'health = "/hello/\\u0020x"', "must be a path"),
        ('websocket = "/ws/chat/"', 'websocket = "/ws/{room}/"', "must be a plain path"),
        ('websocket = "/ws/chat/"', 'websocket = "/ws; }"', "must be a path"),
        ('websocket = "/ws/chat/"', "websocket = \"/w's/\"", "must be a plain path"),
        ('websocket = "/ws/chat/"', 'websocket = "/"', "would hand every page to Daphne"),
        ('websocket = "/ws/chat/"', "", "[chat] needs websocket in [site]"),
        ('asgi = "mysite.asgi:application"', "", "websocket='/ws/chat/' needs asgi"),
        ('static_root = "static"', 'static_root = "../static"', "static_root='../static' lies outside the project"),
        ('static_root = "static"', 'static_root = "/srv/static"', "lies outside the project"),
        ('requirements = "requirements.txt"', 'requirements = "../requirements.txt"', "lies outside the project"),
        ('requirements = "requirements.txt"', 'requirements = "other.txt"', "requirements='other.txt' is not there"),
        ("migrate = false", 'migrate = "no"', "migrate='no' must be true or false"),
        ('database = "sqlite"', 'database = "mysql"', "database='mysql' must be one of sqlite, postgresql"),
        ('host = "www.example.org"', 'host = "www.example.org:8000"', "must be a host name alone"),
        ('pages = ["/", "/hello/"]', 'pages = "/"', "must be a list of paths"),
        ('path = "/ws/chat/{room}/"', 'path = "/chat/{room}/"', "is not below websocket='/ws/chat/'"),
        ('path = "/ws/chat/{room}/"', "", "heard_by='room' does not go with path='/ws/chat/'"),
        ("send = '{\"message\": \"{text}\"}'", 'send = "hello"', "send='hello' must say {text}"),
        ("send = '{\"message\": \"{text}\"}'", "", "[chat] lacks send"),
        ('SECRET_KEY = "hunter2-hunter2"', "SECRET_KEY = 5", "[site] environment has SECRET_KEY, which must be a text"),
        ('SECRET_KEY = "hunter2-hunter2"', 'UWSGI_PROCESSES = "5"', "no UWSGI_"),
        ('SECRET_KEY = "hunter2-hunter2"', 'GUNICORN_CMD_ARGS = "-w 5"', "GUNICORN_…, which servers take for options"),
        ("[site.environment]", "[site.environment", "is not TOML"),
    ],
)
def test_a_mistake_is_one_line_that_names_file_key_value_and_what_to_do(project, old, new, said):
    assert WHOLE.count(old) == 1
    with pytest.raises(LabError) as caught:
        project(WHOLE.replace(old, new))
    message = str(caught.value)
    assert FILE in message and said in message and "\n" not in message
    assert "hunter2" not in message


def test_a_folder_without_a_description_says_where_one_is(tmp_path):
    with pytest.raises(LabError, match=r"has no stacklab.toml: put one there .*your-site\.md"):
        read_project(tmp_path)
    (tmp_path / FILE).write_text(LEAST)
    with pytest.raises(LabError, match="has no manage.py: stacklab.toml belongs beside it"):
        read_project(tmp_path)


def test_a_link_that_leads_out_is_outside(project, tmp_path):
    (tmp_path / "elsewhere.txt").write_text("django\n")
    read = project()
    (read.root / "requirements.txt").unlink()
    (read.root / "requirements.txt").symlink_to(tmp_path / "elsewhere.txt")
    with pytest.raises(LabError, match="lies outside the project"):
        project(LEAST + 'requirements = "requirements.txt"\n')


# ---------------------------------------------------------------- secrets


def test_what_is_secret_shows_nowhere(project):
    read = project(WHOLE)
    assert "hunter2" not in repr(read) + str(read.site) + json.dumps(read.site.to_dict())
    assert read.hidden("KeyError: 'hunter2-hunter2' in mysite.settings") == "KeyError: '…' in mysite.settings"


# ---------------------------------------------------------------- its pages and its WebSocket


def test_a_page_that_the_site_lacks_is_replaced_by_its_health_page(project):
    site = project(WHOLE).site
    assert [site.page(path) for path in ("/", "/io/?ms=50", "/healthz", "/search/?q=a")] == [
        "/", "/hello/", "/hello/", "/search/?q=a",
    ]  # fmt: skip
    assert [LAB.page(path) for path in (*LAB_PAGES, "/io/?ms=50")] == [*LAB_PAGES, "/io/?ms=50"]


def test_a_room_has_its_path(project):
    assert project(WHOLE).site.chat_path("blue") == "/ws/chat/blue/"
    with pytest.raises(LabError, match="the site my-site has no WebSocket"):
        project().site.chat_path("blue")


def test_a_setting_of_the_labs_own_chat_is_refused_by_name_elsewhere(project):
    site = project(WHOLE).site
    require_effect(site, StackSettings(uwsgi_processes=9))
    for name in OF_THE_LABS_SITE:
        other = "core" if name == "channel_layer" else True if StackSettings.default(name) is False else 7
        layer = {} if name == "channel_layer" or "pubsub" in NEEDS_LAYER.get(name, ("pubsub",)) else {"channel_layer": "core"}
        settings = StackSettings(**{name: other} | layer)
        require_effect(LAB, settings)
        with pytest.raises(SettingsError, match=f"{'channel_layer' if layer else name}=.* would have no effect"):
            require_effect(site, settings)


def test_a_site_says_itself_which_database_it_has(project):
    site = project(WHOLE.replace('"sqlite"', '"postgresql"')).site
    assert fitting(StackSettings(), site).database == "postgresql" and fitting(StackSettings(), LAB).database == "sqlite"
    require_effect(site, StackSettings(database="postgresql"))
    with pytest.raises(SettingsError, match="database='sqlite' would have no effect: .* has 'postgresql', as its stacklab.toml"):
        require_effect(site, StackSettings())
    with pytest.raises(SettingsError, match="database='postgresql' would have no effect"):
        require_effect(project(WHOLE).site, fitting(StackSettings(database="postgresql"), project(WHOLE).site))


@pytest.mark.parametrize(
    ("serving", "asked", "database"),
    [("lab", "lab", "postgresql"), ("own", "lab", "sqlite"), ("lab", "own", "sqlite"), ("lab", "theirs", "postgresql")],
)
def test_the_labs_own_site_keeps_the_database_that_is_set_and_a_change_of_sites_brings_the_sites(
    project, monkeypatch, serving, asked, database
):
    there = {"lab": LAB, "own": project(WHOLE).site, "theirs": project(WHOLE.replace('"sqlite"', '"postgresql"')).site}
    before = StackSettings(uwsgi_processes=9, database="postgresql" if serving == "lab" else there[serving].database)
    monkeypatch.setattr(sites, "site_of", lambda host: there[serving])
    monkeypatch.setattr(sites, "current", lambda host: before)
    monkeypatch.setattr(sites, "apply", lambda host, settings, site: (settings, site))
    assert sites._switch(None, there[asked]) == (before.replace(database=database), there[asked])


# ---------------------------------------------------------------- what is sent


def sent(project) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(pack(project)[0])) as archive:
        return {entry.name: entry for entry in archive.getmembers()}


def test_the_project_is_sent_without_what_nobody_needs(project):
    read = project(WHOLE)
    for name in ("mysite/settings.py", "media/film.mp4", "static/collected.css", ".git/config", "node_modules/x/index.js",
                 "mysite/__pycache__/settings.pyc", ".venv/pyvenv.cfg", ".venv/bin/python", "db.sqlite3", "run.sh"):  # fmt: skip
        (read.root / name).parent.mkdir(parents=True, exist_ok=True)
        (read.root / name).write_text(name)
    (read.root / "run.sh").chmod(0o755)
    (read.root / "latest").symlink_to(read.root / "mysite" / "settings.py")
    (read.root / ".#settings.py").symlink_to("somebody@desk.4711")
    entries = sent(read)
    assert set(entries) == {"mysite/settings.py", "db.sqlite3", "run.sh", "latest", "requirements.txt", "manage.py"}
    assert entries["run.sh"].mode & 0o100 and not entries["db.sqlite3"].mode & 0o100
    assert entries["latest"].linkname == "mysite/settings.py"


def test_the_sum_is_of_all_that_makes_the_site(project):
    first = pack(project(WHOLE))[1]
    assert pack(project(WHOLE))[1] == first
    assert pack(project(WHOLE, views__py="x = 1"))[1] != first
    assert pack(project(WHOLE.replace("hunter2", "hunter3"), views__py=""))[1] not in (first, pack(project(WHOLE))[1])


def test_a_link_out_of_the_project_is_not_followed(project, tmp_path):
    (tmp_path / "private").mkdir()
    read = project(WHOLE)
    (read.root / "shared").symlink_to(tmp_path / "private")
    with pytest.raises(LabError, match=r"shared leads out of the project, to .*private: put a copy in its place"):
        pack(read)
    assert "shared" not in sent(project(WHOLE.replace('["media"]', '["media", "shared"]')))


def test_a_project_that_is_too_large_says_what_to_do(project, monkeypatch):
    monkeypatch.setattr(sites, "MOST_BYTES", 1000)
    with pytest.raises(LabError, match="holds more than 0 MB; name in .* leave_out"):
        pack(project(big__bin="x" * 2000))
