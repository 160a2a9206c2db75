"""render: settings in, configuration files out; nothing else."""

import difflib
import shutil

import pytest
from hypothesis import given
from test_settings import stack_settings

from stacklab.errors import SettingsError
from stacklab.files import ROOT
from stacklab.settings import APP_IMPROVEMENTS, BALANCE_METHODS, StackSettings
from stacklab.site import LAB, Site
from stacklab.stack.render import TEMPLATES, ConfigFile, render
from stacklab.stack.services.nginx import open_files_needed
from stacklab.stack.services.wsgi import somaxconn_needed

DAPHNE = ["/etc/stacklab/daphne.env", "/etc/systemd/system/daphne@.service"]


def text_of(settings: StackSettings, path: str, on: Site = LAB) -> str:
    return next(file.text for file in render(settings, on) if file.path == path)


def site(**changes) -> str:
    return text_of(StackSettings(**changes), "/etc/nginx/conf.d/stacklab.conf")


@given(stack_settings())
def test_every_allowed_settings_renders_the_same_each_time(settings):
    files = render(settings)
    assert files == render(StackSettings.from_dict(settings.to_dict()))
    for file in files:
        assert file.text.endswith("\n") and "{{" not in file.text and "{%" not in file.text
        assert file.path.startswith("/etc/")
        assert file.unit
        if not file.path.endswith(".py"):  # in Python these are words of its own
            assert "None" not in file.text and "True" not in file.text and "False" not in file.text


@given(stack_settings())
def test_a_backlog_and_open_files_are_raised_with_what_needs_them(settings):
    open_files, somaxconn = open_files_needed(settings.nginx_worker_connections), somaxconn_needed(settings.uwsgi_listen)
    assert f"worker_rlimit_nofile {open_files};" in text_of(settings, "/etc/nginx/nginx.conf")
    assert open_files > settings.nginx_worker_connections
    assert somaxconn >= settings.uwsgi_listen
    assert f"net.core.somaxconn = {somaxconn}\n" in text_of(settings, "/etc/sysctl.d/90-stacklab.conf")


def test_the_readme_shows_the_diff_that_its_change_makes():
    path = "/etc/uwsgi/stacklab.ini"
    five, ten = (text_of(StackSettings(uwsgi_processes=number), path).splitlines() for number in (5, 10))
    diff = difflib.unified_diff(five, ten, path, path, n=1, lineterm="")
    assert "\n".join(line.rstrip() for line in diff) in (ROOT / "README.md").read_text()


def test_nginx_says_which_instance_took_a_socket_where_the_chat_is_not_the_labs_own():
    own = Site(name="own", code="1", wsgi="a:b", asgi="a:c", health="/", websocket="/ws/")
    text = text_of(StackSettings(daphne_instances=2), "/etc/nginx/conf.d/stacklab.conf", own)
    assert '"~:8443$" daphne@1;' in text and '"~:8444$" daphne@2;' in text and "X-StackLab-Instance $instance always;" in text
    assert "$instance" not in site()
    pages_only = Site(name="own", code="1", wsgi="a:b", health="/")
    assert "$instance" not in text_of(StackSettings(), "/etc/nginx/conf.d/stacklab.conf", pages_only)


def test_rendering_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in TEMPLATES.iterdir()}
    render(StackSettings(uwsgi_processes=9))
    assert list(tmp_path.iterdir()) == []
    assert {path: path.stat().st_mtime_ns for path in TEMPLATES.iterdir()} == before


@pytest.mark.parametrize(
    ("changes", "paths"),
    [
        ({"nginx_worker_processes": 2}, ["/etc/nginx/nginx.conf"]),
        ({"nginx_worker_connections": 4000}, ["/etc/nginx/nginx.conf"]),
        ({"uwsgi_processes": 10}, ["/etc/uwsgi/stacklab.ini"]),
        ({"uwsgi_threads": 2}, ["/etc/uwsgi/stacklab.ini"]),
        ({"uwsgi_listen": 100}, ["/etc/uwsgi/stacklab.ini"]),
        ({"uwsgi_listen": 5000}, ["/etc/sysctl.d/90-stacklab.conf", "/etc/uwsgi/stacklab.ini"]),
        ({"wsgi_server": "gunicorn"}, [
            "/etc/gunicorn/stacklab.py", "/etc/systemd/system/stacklab.target", "/etc/nginx/conf.d/stacklab.conf",
        ]),
        ({"database": "postgresql"}, ["/etc/uwsgi/stacklab.ini", "/etc/systemd/system/stacklab.target"]),
        ({"asgi_server": "granian"}, [
            "/etc/stacklab/daphne.env", "/etc/systemd/system/granian@.service", "/etc/systemd/system/daphne.target",
        ]),
        ({"daphne_instances": 5}, ["/etc/systemd/system/daphne.target", "/etc/nginx/conf.d/stacklab.conf"]),
        ({"daphne_tls": False}, [*DAPHNE, "/etc/nginx/conf.d/stacklab.conf"]),
        ({"daphne_drain_s": 1}, DAPHNE),
        ({"asgi_threads": 8}, ["/etc/stacklab/daphne.env"]),
        ({"balance": "hash"}, ["/etc/nginx/conf.d/stacklab.conf"]),
        ({"balance_zone": False}, ["/etc/nginx/conf.d/stacklab.conf"]),
        ({"balance_max_fails": 0}, ["/etc/nginx/conf.d/stacklab.conf"]),
        ({"balance_fail_timeout_s": 1}, ["/etc/nginx/conf.d/stacklab.conf"]),
        ({"channel_layer": "core"}, ["/etc/stacklab/daphne.env"]),
        ({"channel_capacity": 1, "channel_layer": "core"}, ["/etc/stacklab/daphne.env"]),
        ({"redis_pool": 2, "channel_layer": "core"}, ["/etc/stacklab/daphne.env"]),
        *(({name: True}, DAPHNE) for name in (*APP_IMPROVEMENTS, "bounded_sockets")),
    ],
)
def test_a_setting_changes_its_own_files_and_no_other(changes, paths):
    before = {file.path: file.text for file in render(StackSettings())}
    assert [file.path for file in render(StackSettings(**changes)) if before.get(file.path) != file.text] == paths


def test_no_setting_is_without_a_file():
    covered = {name for changes, _ in _cases() for name in changes}
    assert covered == set(StackSettings.rules())


def _cases():
    return test_a_setting_changes_its_own_files_and_no_other.pytestmark[0].args[1]


@pytest.mark.parametrize("method", BALANCE_METHODS)
def test_each_method_has_its_own_line(method):
    words = {
        "round_robin": None, "least_conn": "    least_conn;", "ip_hash": "    ip_hash;",
        "hash": "    hash $room consistent;", "random_two": "    random two least_conn;",
    }  # fmt: skip
    lines = site(balance=method).splitlines()
    assert [word for word in words.values() if word in lines] == [word for word in [words[method]] if word]


def test_the_upstream_names_each_instance_on_loopback():
    servers = [line.split()[1] for line in site(daphne_instances=4).splitlines() if line.strip().startswith("server 127")]
    assert servers == ["127.0.0.1:8443", "127.0.0.1:8444", "127.0.0.1:8445", "127.0.0.1:8446"]


def test_tls_between_nginx_and_daphne_is_verified_or_absent():
    assert "proxy_ssl_verify on;" in site() and "proxy_pass https://daphne-server;" in site()
    plain = site(daphne_tls=False)
    assert "proxy_ssl" not in plain and "proxy_pass http://daphne-server;" in plain


def test_the_zone_comes_before_the_method_and_can_be_left_out():
    assert site(balance="hash").index("zone daphne-server") < site(balance="hash").index("hash $room")
    assert "zone daphne-server" not in site(balance_zone=False)


def test_threads_for_synchronous_code_are_only_set_where_asked():
    assert "ASGI_THREADS" not in text_of(StackSettings(), "/etc/stacklab/daphne.env")
    assert "ASGI_THREADS=7\n" in text_of(StackSettings(asgi_threads=7), "/etc/stacklab/daphne.env")


def test_daphne_is_started_by_its_own_command_unless_an_improvement_of_the_server_is_on():
    unit = text_of(StackSettings(lean_dispatch=True), DAPHNE[1])
    assert "exec /opt/stacklab/site/venv/bin/daphne \\\n" in unit and " improvements.asgi:application'" in unit
    assert " config.asgi:application'" in text_of(StackSettings(), DAPHNE[1])
    for changes in ({"daphne_drain_s": 1}, {"bounded_sockets": True}):
        unit = text_of(StackSettings(**changes), DAPHNE[1])
        assert "python -m improvements.server" in unit and " config.asgi:application'" in unit
    assert "-e tcp:$$((8442 + %i)):" in text_of(StackSettings(daphne_tls=False), DAPHNE[1])


def test_a_template_that_names_what_is_not_there_is_refused_by_name(tmp_path):
    templates = shutil.copytree(TEMPLATES, tmp_path / "templates")
    (templates / "nginx.conf.j2").write_text("worker_processes {{ s.nginx_workers }};\n")
    with pytest.raises(SettingsError, match=r"the template nginx\.conf\.j2 cannot be rendered: .*nginx_workers"):
        render(StackSettings(), templates=templates)


@pytest.mark.parametrize("damage", ["{% if %}", "{{ s.", None])
def test_a_damaged_or_missing_template_is_refused_by_name(tmp_path, damage):
    templates = shutil.copytree(TEMPLATES, tmp_path / "templates")
    if damage is None:
        (templates / "uwsgi.ini.j2").unlink()
    else:
        (templates / "uwsgi.ini.j2").write_text(damage)
    with pytest.raises(SettingsError, match=r"the template uwsgi\.ini\.j2 cannot be rendered"):
        render(StackSettings(), templates=templates)


def test_a_file_goes_over_the_wire_as_a_dict():
    file = ConfigFile("/etc/x", "text\n", "nginx")
    assert file.to_dict() == {"path": "/etc/x", "text": "text\n", "unit": "nginx"}
