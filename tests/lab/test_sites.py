"""Somebody's own site in the lab: three that nobody of the lab wrote, and what stands in the way of one."""

import json

import foreign_sites
import pytest
from here import slowly

from stacklab import stack
from stacklab.runs.results import load_runs
from stacklab.settings import StackSettings
from stacklab.site import LAB

LEAST_LOAD = ("--users", "4", "--requests", "200", "--ramp-s", "0.5", "--warmup-s", "0.5")


@pytest.fixture(scope="module")
def projects(tmp_path_factory):
    return tmp_path_factory.mktemp("projects")


@pytest.fixture(scope="module", autouse=True)
def lab_again(host):
    """The lab's own site serves again afterwards."""
    yield
    stack.use_site(host, None)
    assert stack.site_of(host) == LAB


@pytest.fixture
def run_of(tmp_path):
    """The run that `fab` has just measured."""
    return lambda: load_runs(tmp_path / "results" / "adhoc")[-1]


def done(result) -> str:
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


# ---------------------------------------------------------------- three sites


@pytest.fixture(scope="module")
def tutorial(projects):
    return foreign_sites.tutorial(projects)


@pytest.fixture(scope="module")
def plain(projects):
    return foreign_sites.plain(projects)


def test_the_chat_of_the_channels_tutorial(fab, host, site, tutorial, run_of):
    done(fab("provision", "--site", str(tutorial)))
    assert site("/chat/")[0] == 200
    done(fab("set", "--daphne-instances", "2", "--balance", "hash"))
    assert stack.observe(host)["daphne_instances"] == 2
    said = done(fab("chat", "--clients", "12", "--rooms", "3", "--messages-per-s", "1", "--duration-s", "5", "--ramp-s", "1"))
    run = run_of()
    messages = run.table("messages")
    counted = messages[~messages["warmup"]]  # once all have come
    assert run.site.name == "mysite" and "100.00%" in said
    assert messages["received_s"].notna().all() and set(messages["room"]) == {"load-0", "load-1", "load-2"}
    assert counted.groupby(["sender", "n"])["receiver"].nunique().eq(4).all(), "each message reached all four in its room"
    assert run.validity.failures == () and not any("not this load's" in reason for reason in run.validity.reasons)
    refused = fab("set", "--channel-layer", "core")
    assert refused.returncode == 1 and "channel_layer='core' would have no effect" in refused.stderr
    said = done(fab("experiment", "uwsgi-workers", "--quick", "--repeats", "1"))
    assert "The site mysite has no page /io/?ms=50" in said and "results/uwsgi-workers-quick@mysite/report.html" in said


def test_a_new_project_without_channels(fab, host, site, plain):
    before = stack.current(host)
    said = done(fab("provision", "--site", str(plain)))
    assert "Python environment" not in said, "it names no requirements: the lab's own environment is there"
    assert site("/admin/login/")[0] == 200
    assert stack.current(host) == before != StackSettings(), "the settings stay"
    refused = fab("chat", "--clients", "3", "--rooms", "1")
    assert refused.returncode == 1 and "the site plainsite has no WebSocket" in refused.stderr
    places = host.run("ls /var/lib/stacklab/sites").split()
    assert places == ["lab", f"plainsite-{stack.site_of(host).code}"], "the one before is gone"


# ---------------------------------------------------------------- what stands in the way


def edited(root, name: str, old: str, new: str) -> None:
    text = (root / name).read_text()
    assert old in text
    (root / name).write_text(text.replace(old, new))


def toml(root, *lines: str) -> None:
    edited(root, "stacklab.toml", "[site]\n", "[site]\n" + "".join(f"{line}\n" for line in lines))


def asks_for(root, requirements: str) -> str:
    (root / "requirements.txt").write_text(requirements)
    toml(root, 'requirements = "requirements.txt"')
    return "its requirements.txt cannot be fetched as wheels"


def no_such_package(root):
    return asks_for(root, "django==5.2.19\nno-such-package-as-this==1.0\n"), "no-such-package-as-this==1.0"


def another_hash(root):
    return asks_for(root, f"sqlparse==0.5.3 --hash=sha256:{'0' * 64}\n"), "THESE PACKAGES DO NOT MATCH THE HASHES"


def failing_migration(root):
    folder = root / "shop" / "migrations"
    folder.mkdir(parents=True)
    (root / "shop" / "__init__.py").touch()
    (folder / "__init__.py").touch()
    (folder / "0001_initial.py").write_text(
        "from django.db import migrations\n\n\ndef fill(apps, editor):\n    raise ValueError('no till')\n\n\n"
        "class Migration(migrations.Migration):\n    operations = [migrations.RunPython(fill)]\n"
    )
    edited(root, "plainsite/settings.py", "INSTALLED_APPS = [", "INSTALLED_APPS = ['shop',")
    return "its migration failed", "ValueError: no till"


def failing_page(root):
    edited(root, "plainsite/urls.py", "urlpatterns = [", "urlpatterns = [path('broken/', lambda request: 1 / 0),")
    edited(root, "stacklab.toml", "/admin/login/", "/broken/")
    return "its health page /broken/ answers 500", "ZeroDivisionError"


def another_host(root):
    toml(root, 'host = "www.example.org"')
    return "answers 400; is its host 'www.example.org' among its ALLOWED_HOSTS?", "Invalid HTTP_HOST header"


def missing_static_files(root):
    edited(root, "plainsite/settings.py", "STATIC_URL = 'static/'", "STATIC_URL = 'static/'\nSTATIC_ROOT = BASE_DIR / 'other'")
    toml(root, 'static_root = "static"')
    return "its static files are missing: collectstatic put nothing into static", "STATIC_ROOT=<project>/other"


def no_static_root(root):
    toml(root, 'static_root = "static"')
    return "collecting its static files failed", "without having set the STATIC_ROOT setting"


def later_python(root):
    (root / "pyproject.toml").write_text('[project]\nname = "plainsite"\nrequires-python = ">=3.99"\n')
    return "it asks for Python >=3.99 (requires-python in its pyproject.toml), and this web host has 3.", ""


def asgi_that_is_not_there(root):
    toml(root, 'asgi = "plainsite.sockets:application"')
    return "its asgi plainsite.sockets:application cannot be imported", "No module named 'plainsite.sockets'"


def wsgi_that_is_not_there(root):
    edited(root, "stacklab.toml", "plainsite.wsgi", "plainsite.wisgi")
    return "uWSGI could not serve its plainsite.wisgi:application", "No module named 'plainsite.wisgi'"


def settings_that_tell_a_secret(root):
    edited(root, "plainsite/settings.py", "DEBUG = True", "raise ValueError('key is ' + __import__('os').environ['SECRET_KEY'])")
    (root / "stacklab.toml").write_text((root / "stacklab.toml").read_text() + f'[site.environment]\nSECRET_KEY = "{SECRET}"\n')
    return "its migration failed", "ValueError: key is …"


def websocket_that_is_not_there(root):
    edited(root, "plainsite/asgi.py", "get_asgi_application()", "__import__('channels.routing').routing.ProtocolTypeRouter({})")
    toml(root, 'asgi = "plainsite.asgi"', 'websocket = "/ws/echo/"')
    return "the WebSocket /ws/echo/ answers 500 to a handshake", "No application configured for scope type 'websocket'"


SECRET = "hunter2-hunter2"
FAULTS = (
    no_such_package, another_hash, failing_migration, failing_page, another_host, missing_static_files, no_static_root,
    later_python, asgi_that_is_not_there, wsgi_that_is_not_there, settings_that_tell_a_secret, websocket_that_is_not_there,
)  # fmt: skip


@pytest.mark.parametrize("fault", [*FAULTS[:3], *slowly(*FAULTS[3:])], ids=lambda fault: fault.__name__)
def test_what_stands_in_the_way_is_said_and_the_site_before_serves_on(fab, host, site, plain, tmp_path, fault):
    if stack.site_of(host).name != "plainsite":
        done(fab("provision", "--site", str(plain)))
    before, places = stack.state(host)["applied"], host.run("ls /var/lib/stacklab/sites")
    pid = host.run("systemctl show -P MainPID uwsgi")
    root = foreign_sites.plain(tmp_path)
    says, words = fault(root)
    refused = fab("provision", "--site", str(root))
    assert refused.returncode == 1 and says in refused.stderr and words in refused.stderr, refused.stderr
    assert "The site before serves on." in refused.stderr and SECRET not in refused.stdout + refused.stderr
    assert site("/admin/login/")[0] == 200
    assert stack.state(host)["applied"] | {"applied_s": 0} == before | {"applied_s": 0}
    assert host.run("ls /var/lib/stacklab/sites") == places
    if fault is not websocket_that_is_not_there:  # which only the real Daphne can tell, after the switch
        assert host.run("systemctl show -P MainPID uwsgi") == pid


# ---------------------------------------------------------------- the largest, and back


def test_a_site_of_wagtail(fab, host, site, projects, run_of, tmp_path):
    root = foreign_sites.wagtail(projects)
    said = done(fab("provision", "--site", str(root)))
    assert "the site under test: wagtailsite (" in said and "Python environment /opt/stacklab/venvs/" in said
    assert fab("provision", "--site", str(root)).stdout.endswith("nothing to change: the stack is set up already\n")
    status, page = site("/")
    assert status == 200 and b"Wagtail" in page
    static = page.decode().partition('href="/static/')[2].partition('"')[0]
    assert site(f"/static/{static}")[0] == 200 and site("/static/no-such.css")[0] == 404
    assert site("/ws/chat/x/")[0] == 404, "a page of the site's own: nothing is known of WebSockets"
    assert set(stack.observe(host)["units"]) == {"nginx", "uwsgi", "redis-server"}, "no Daphne"
    assert "site: wagtailsite (" in (shown := done(fab("status"))) and "no Daphne" in shown and "not as asked" not in shown
    done(fab("set", "--uwsgi-processes", "2"))
    done(fab("http", "--path", "/search/?query=a", *LEAST_LOAD))
    run = run_of()
    assert (run.site.name, run.site.pages) == ("wagtailsite", ("/", "/search/"))
    assert run.environment["versions"]["django"] == foreign_sites.DJANGO_FOR_WAGTAIL
    assert (run.table("requests")["status"] == 200).all() and len(run.table("server")) >= 200
    assert {"nginx", "uwsgi"} <= set(run.table("resources")["service"]) and run.observed["uwsgi_processes"] == 2
    done(fab("http", "--path", "/cpu/?ms=20", *LEAST_LOAD))
    assert run_of().workload.path == "/" and "has no page /cpu/?ms=20" in run_of().environment["notes"][-1]
    # Its SECRET_KEY is where the services read it, and nowhere else: not even with what belongs to it.
    search = "grep -rlsF -f - /etc /opt /var/lib/stacklab /var/log /run/systemd || true"
    found = host.run(search, sudo=True, input=foreign_sites.SECRET).split()
    assert found == [f"{stack.site_of(host).place}/site.env"]
    assert host.run(f"stat -c '%a %U:%G' {found[0]}", sudo=True).strip() == "640 root:stacklab"
    kept = [path for path in (tmp_path / "results").rglob("*") if path.is_file()]
    assert kept and not any(foreign_sites.SECRET.encode() in path.read_bytes() for path in kept)
    assert foreign_sites.SECRET not in shown + done(fab("status", "--json"))


def test_back_to_the_labs_own(fab, host, site):
    done(fab("provision", "--site", "lab"))
    assert site("/healthz") == (200, b"ok\n") and stack.site_of(host) == LAB
    assert set(stack.observe(host)["units"].values()) == {"active"} and len(stack.observe(host)["daphne_ports"]) == 2
    assert json.loads(done(fab("status", "--json")))["site"]["name"] == "lab"
    done(fab("reset"))
    with_nothing_to_change = fab("provision", "--site", "lab")
    assert with_nothing_to_change.stdout.endswith("nothing to change: the stack is set up already\n")
