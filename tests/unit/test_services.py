"""A service is one file: each is complete, and what others need to know of services is derived from these files."""

import re
import string
from collections import Counter
from types import SimpleNamespace

import pytest

from stacklab.errors import LabError
from stacklab.settings import ASGI_SERVERS, BALANCE_METHODS, DATABASES, NEEDS_SERVER, WSGI_SERVERS, StackSettings
from stacklab.stack.render import TEMPLATES, render
from stacklab.stack.services import (
    SERVICE_COLOURS,
    SERVICES,
    gunicorn,
    in_force,
    nginx,
    observable,
    order_of,
    postgresql,
    service_of,
    unit_of,
    uwsgi,
)


@pytest.fixture(params=list(SERVICES))
def each(request):
    return SERVICES[request.param]


@pytest.mark.parametrize("server", ASGI_SERVERS)
def test_every_setting_belongs_to_a_service_and_can_be_seen_in_what_runs(server):
    unknown = {name for name, servers in NEEDS_SERVER.items() if server not in servers}
    assert set(observable({"asgi_server": server})) == set(StackSettings.rules()) - unknown


@pytest.mark.parametrize("server", ASGI_SERVERS)
def test_one_asgi_server_is_in_force_and_a_record_that_names_none_means_daphne(server):
    assert set(in_force({"asgi_server": server})) & set(ASGI_SERVERS) == {server}
    assert set(in_force({})) & set(ASGI_SERVERS) == {"daphne"}
    assert SERVICES[server].wanted({"asgi_server": server, "daphne_instances": 2}) == [f"{server}@1", f"{server}@2"]
    others = [SERVICES[other] for other in ASGI_SERVERS if other != server]
    assert not any(other.wanted({"asgi_server": server, "daphne_instances": 2}) for other in others)


@pytest.mark.parametrize("server", WSGI_SERVERS)
def test_one_wsgi_server_is_in_force_nginx_passes_to_it_and_it_starts_at_boot(server):
    assert set(in_force({"wsgi_server": server})) & set(WSGI_SERVERS) == {server}
    assert set(in_force({})) & set(WSGI_SERVERS) == {"uwsgi"}, "a record that names none"
    files = {file.path: file.text for file in render(StackSettings(wsgi_server=server))}
    assert files["/etc/systemd/system/stacklab.target"].count("Wants=") == 1
    assert f"Wants={server}.service\n" in files["/etc/systemd/system/stacklab.target"]
    assert files[nginx.SITE].count(f"server unix:{SERVICES[server].socket} max_fails=0;") == 2
    assert re.findall(r"(?:uwsgi|proxy)_pass (?:http://)?(\w+)-server;", files[nginx.SITE]) == [server]
    assert (f"bind = \"unix:{SERVICES[server].socket}\"" if server == "gunicorn" else f"socket = {SERVICES[server].socket}") in (
        files["/etc/gunicorn/stacklab.py" if server == "gunicorn" else "/etc/uwsgi/stacklab.ini"]
    )


@pytest.mark.parametrize("server", WSGI_SERVERS)
def test_postgresql_runs_and_starts_at_boot_where_it_is_chosen_and_the_workers_are_told(server):
    assert "postgresql" not in in_force({}) and "postgresql" in in_force({"database": "postgresql"})
    for database in DATABASES:
        files = {file.path: file.text for file in render(StackSettings(database=database, wsgi_server=server))}
        chosen = database == "postgresql"
        assert ("Wants=stacklab-postgresql.service\n" in files["/etc/systemd/system/stacklab.target"]) == chosen
        told = {"uwsgi": f"\nenv = STACKLAB_DATABASE_SERVER={database}\n", "gunicorn": f'["STACKLAB_DATABASE_SERVER={database}"]'}
        assert told[server] in files[{"uwsgi": uwsgi.INI, "gunicorn": gunicorn.CONFIG}[server]]


def test_uwsgis_database_is_what_its_master_told_when_it_loaded_the_site(monkeypatch):
    monkeypatch.setattr(uwsgi, "listed", lambda machine: [{"pid": 7, "cores": [1]}, {"pid": 8, "cores": [1]}])
    for note, seen in (('{"database": "postgresql"}', "postgresql"), ("", None)):
        machine = SimpleNamespace(text_of={uwsgi.TOLD: note}.get)
        assert uwsgi.UWSGI.settings["database"].read(machine) == seen
    assert uwsgi.TOLD.rpartition("/")[0] == uwsgi.UWSGI.socket.rpartition("/")[0], "beside the socket"


@pytest.mark.parametrize(("running", "more"), [("uwsgi", 8), ("gunicorn", 6)])
def test_a_server_that_takes_anothers_place_is_to_have_memory_for_all_its_workers(monkeypatch, running, more):
    notes = {f"{gunicorn.READY}/{pid}": '{"threads": 1}' for pid in (8, 9)} if running == "gunicorn" else {}
    machine = SimpleNamespace(
        main_pid=lambda unit: 7 if unit == running else 0, children=lambda pid: [8, 9] if pid else [],
        text_of=lambda path: notes.get(path, ""), rss_bytes=lambda pid: 100 << 20, memory_available=lambda: 700 << 20,
    )  # fmt: skip
    refusal = SERVICES["gunicorn"].limits(machine, {"uwsgi_processes": 8})
    assert refusal.startswith(f"uwsgi_processes=8 needs about {more}00 MiB more memory (100 MiB a process)")
    assert SERVICES["gunicorn"].limits(machine, {"uwsgi_processes": 5}) == ""


def test_postgresql_has_a_connection_for_each_thread_twice_or_says_so():
    conf = (TEMPLATES.parent / "files" / "postgresql.conf").read_text()
    most = int(re.search(r"^max_connections = (\d+)$", conf, re.MULTILINE)[1])
    assert most > 2 * postgresql.MOST_CONNECTIONS + 3, "three are the superuser's"
    limits = SERVICES["postgresql"].limits
    assert limits(None, {"uwsgi_processes": 45, "uwsgi_threads": 10}) == ""
    assert "uwsgi_processes=64 × uwsgi_threads=8 may hold 512" in limits(None, {"uwsgi_processes": 64, "uwsgi_threads": 8})


@pytest.mark.parametrize("tls", [True, False])
@pytest.mark.parametrize("server", [server for server in ASGI_SERVERS if server != "daphne"])
def test_a_servers_unit_says_what_its_documentation_says(server, tls):
    files = {file.path: file for file in render(StackSettings(asgi_server=server, daphne_tls=tls, daphne_instances=2))}
    unit = files[f"/etc/systemd/system/{server}@.service"]
    start = re.search(r"^ExecStart=/bin/sh -c 'exec /opt/stacklab/site/venv/bin/(.*?)'$", unit.text, re.DOTALL | re.MULTILINE)[1]
    command = start.replace("\\\n", " ").split()
    assert command[0] == server and "config.asgi:application" in command and ("/etc/stacklab/tls/daphne.pem" in command) == tls
    assert unit.unit == server
    assert f"Wants={server}@2.service\n" in files["/etc/systemd/system/daphne.target"].text
    assert not any("daphne@" in file.text for file in files.values())


def test_a_service_is_told_whole(each):
    assert (TEMPLATES.parents[1] / "stacklab/stack/services" / f"{each.name}.py").is_file()
    assert each.label and each.unit and each.roles and each.colour.startswith("#")
    assert bool(each.chosen_by) == bool(each.target), "a target starts at boot what was chosen"
    assert bool(each.workers) == (bool(each.templates) and not each.instances), "a reload is seen by new workers"
    assert callable(each.limits) and callable(each.unproven)


def test_a_template_is_there_and_is_read_by_a_checker_before_it_counts(each):
    checked = {check.part for check in each.checks} | {"sysctl"}  # which has none: it is one number
    for file in each.templates:
        assert (TEMPLATES / f"{file.name}.j2").is_file()
        assert file.part in checked, f"{file.name} would be swapped unread"
        assert file.path.startswith("/etc/")


def test_what_a_checker_is_given_is_what_the_commit_fills_in(each):
    for check in each.checks:
        names = {name for word in check.command for _, name, _, _ in string.Formatter().parse(word) if name}
        assert names <= {"stage", "trial", "site"} and ("trial" in names) == bool(check.instead_of)


def test_whoever_takes_a_setting_up_is_a_part_of_its_service(each):
    parts = {file.part for file in each.templates}
    assert {seen.part or each.name for seen in each.settings.values()} <= parts


@pytest.mark.parametrize("wsgi", WSGI_SERVERS)
@pytest.mark.parametrize("server", ASGI_SERVERS)
def test_no_two_services_share_what_is_one_services_own(server, wsgi):
    for own in ("unit", "colour", "label"):
        assert max(Counter(getattr(service, own) for service in SERVICES.values()).values()) == 1, own
    together = in_force({"asgi_server": server, "wsgi_server": wsgi}).values()
    paths = [file.path for service in together for file in service.templates]
    settings = [name for service in together for name in service.settings]
    assert len(set(paths)) == len(paths) and len(set(settings)) == len(settings)


def test_a_unit_is_known_by_its_service_and_a_service_by_its_unit():
    assert unit_of("redis") == "redis-server" and unit_of("daphne") == "daphne@*" and unit_of("daphne@12") == "daphne@12"
    assert service_of("redis-server.service") == "redis" and service_of("daphne@2.service") == "daphne@2"
    assert service_of("sshd.service") is None and service_of("daphne@x.service") is None
    with pytest.raises(LabError, match=r"there is no service 'nginx@1'; there are nginx, uwsgi"):
        unit_of("nginx@1")


def test_services_are_sorted_as_a_request_meets_them():
    assert sorted(["else", "redis", "daphne@10", "daphne@2", "nginx", "uwsgi"], key=order_of) == [
        "nginx", "uwsgi", "daphne@2", "daphne@10", "redis", "else",
    ]  # fmt: skip
    assert list(SERVICE_COLOURS) == list(SERVICES)


@pytest.mark.parametrize("method", BALANCE_METHODS)
def test_how_nginx_balances_is_read_as_it_was_written(method, monkeypatch):
    site = next(file.text for file in render(StackSettings(balance=method)) if file.path == nginx.SITE)
    monkeypatch.setattr(nginx, "_config", lambda machine: site)
    assert nginx.NGINX.settings["balance"].read(None) == method
