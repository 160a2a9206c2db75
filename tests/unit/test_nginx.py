"""What is seen of nginx on a web host, and what it cannot be given there."""

from types import SimpleNamespace

import pytest

from stacklab.settings import StackSettings
from stacklab.stack.render import render
from stacklab.stack.services import nginx

SETTINGS = nginx.NGINX.settings


def machine(settings: StackSettings | None = None, **more) -> SimpleNamespace:
    """A web host on which nginx runs with two workers, while a third is leaving; its files are older than these."""
    files = {file.path: file.text for file in render(settings or StackSettings())}
    titles = {80: "nginx: master process", 81: "nginx: worker process", 82: "nginx: worker process",
              83: "nginx: worker process is shutting down"}  # fmt: skip
    return SimpleNamespace(**{
        "main_pid": {"nginx": 80}.get, "children": {80: [81, 82, 83]}.get, "title": titles.get,
        "started_s": {81: 100.0, 82: 110.0, 83: 50.0}.get, "written_s": {nginx.CONF: 90.0, nginx.SITE: 95.0}.get,
        "nginx_config": files[nginx.CONF] + files[nginx.SITE], "open_files_limit": {80: (1024, 20_000), 81: (4512, 20_000),
        82: (1536, 20_000), 83: (512, 512)}.get, **more,
    })  # fmt: skip


def test_workers_are_those_that_take_connections():
    assert nginx.workers(machine()) == {81, 82} and nginx.leaving(machine()) == 1
    assert SETTINGS["nginx_worker_processes"].read(machine()) == 2
    assert nginx.NGINX.shows["nginx_open_files_limit"](machine()) == 1536, "the least of those that serve"
    assert nginx.NGINX.shows["nginx_open_files_limit"](machine(children=lambda pid: [])) == 0


def test_what_is_configured_is_read_from_the_files_that_the_workers_were_started_with():
    asked = StackSettings(nginx_worker_connections=777, balance_max_fails=4, balance_fail_timeout_s=9, balance_zone=False)
    seen = {name: one.read(machine(asked)) for name, one in SETTINGS.items()}
    assert seen == {
        "nginx_worker_processes": 2, "nginx_worker_connections": 777, "balance": asked.balance, "balance_zone": False,
        "balance_max_fails": 4, "balance_fail_timeout_s": 9,
    }  # fmt: skip
    assert SETTINGS["balance_zone"].read(machine()) is True
    assert [name for name, one in SETTINGS.items() if not one.of_instances] == list(seen)[:2], "of a site without a chat"


@pytest.mark.parametrize(("path", "written_s", "known"), [
    (nginx.CONF, 101.0, True), (nginx.CONF, 101.5, False), (nginx.SITE, 101.5, False),
])  # fmt: skip
def test_files_that_are_newer_than_a_worker_say_nothing_of_it(path, written_s, known):
    times = {nginx.CONF: 90.0, nginx.SITE: 95.0} | {path: written_s}
    host = machine(written_s=times.get)
    found = [SETTINGS[name].read(host) for name in ("nginx_worker_connections", "balance", "balance_zone")]
    assert [value is not None for value in found] == [known] * 3
    nobody = machine(children=lambda pid: [])
    assert [SETTINGS[name].read(nobody) for name in ("nginx_worker_connections", "balance", "balance_max_fails")] == [None] * 3


def test_servers_that_are_not_told_the_same_have_no_one_value():
    text = machine().nginx_config
    assert SETTINGS["balance_max_fails"].read(machine(nginx_config=text)) == StackSettings().balance_max_fails
    first = text.index("max_fails=", text.index("upstream daphne-server"))
    other = text[:first] + "max_fails=9" + text[first + len("max_fails=") :]
    assert SETTINGS["balance_max_fails"].read(machine(nginx_config=other)) is None


def test_a_directive_is_a_line_of_its_own():
    assert nginx.directive("events {\n    worker_connections 55;\n}", "worker_connections") == 55
    assert nginx.directive("# worker_connections 55;\n", "worker_connections") is None


def test_each_connection_takes_an_open_file_and_512_more_are_spare():
    assert [nginx.open_files_needed(connections) for connections in (1, 512, 513, 4000)] == [1024, 1024, 1025, 4512]


def test_a_hard_limit_is_told_with_the_most_that_it_allows():
    limits = nginx.NGINX.limits
    assert limits(machine(), {"nginx_worker_connections": 19_488}) == ""
    assert limits(machine(), {"nginx_worker_connections": 19_489}) == (
        "nginx_worker_connections=19489 needs 20001 open files in each worker, and this machine's hard limit is nofile=20000; "
        "take at most 19488, or more nginx_worker_processes"
    )
    assert limits(machine(open_files_limit=lambda pid: (0, 0)), {"nginx_worker_connections": 60_000}) == "", "it is not known"


def test_fewer_open_files_than_needed_are_no_success():
    unproven, asked = nginx.NGINX.unproven, {"nginx_worker_connections": 4000}
    assert unproven(asked, {"nginx_open_files_limit": 4512}) == ""
    assert unproven(asked, {"nginx_open_files_limit": 4511}) == "nginx was to have nofile=4512 and has 4511"
