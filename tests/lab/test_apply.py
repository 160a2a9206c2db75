"""Settings on a real web host: each has its effect, seen without the lab's own eyes, and none drops a request."""

import json
import re
import socket
import ssl
from collections import Counter

import pytest
import websocket
from here import wait_until
from strangers import Site
from under_load import CHANGES, changes_under_load, enough_s

from stacklab import stack
from stacklab.bench.found import FOUND
from stacklab.errors import ApplyError
from stacklab.settings import IMPROVEMENTS, StackSettings

OTHERWISE = StackSettings(
    nginx_worker_processes=2, nginx_worker_connections=3000, uwsgi_processes=3, uwsgi_threads=2, uwsgi_listen=5000,
    daphne_instances=4, daphne_tls=False, daphne_drain_s=1, asgi_threads=7, balance="least_conn", balance_zone=False,
    balance_max_fails=3, balance_fail_timeout_s=4, channel_layer="core", channel_capacity=77, redis_pool=9, chat_resume=True,
    lean_dispatch=True, tidy_channels=True, layer_reconnects=True, bounded_sockets=True,
)  # fmt: skip
# Another layer is needed for the one (test_an_improvement_is_seen_alive); what chooses a server has tests of its own.
ELSEWHERE = {"one_subscription", "asgi_server", "wsgi_server", "database"}


def test_the_test_changes_every_setting():
    same = [name for name, value in OTHERWISE.to_dict().items() if value == getattr(StackSettings(), name)]
    assert set(same) == ELSEWHERE


@pytest.fixture(scope="module")
def changed(host):
    """The host with every setting changed at once, and what the change said of itself."""
    stack.apply(host, StackSettings())
    applied = stack.apply(host, OTHERWISE)
    yield applied
    stack.apply(host, StackSettings())


def main_pid(host, unit: str) -> str:
    return host.run(f"systemctl show -P MainPID {unit}").strip()


def titles_below(host, unit: str) -> list[tuple[str, str]]:
    """(pid, title) of the processes that a unit's main process started."""
    lines = host.run(f"ps -o pid=,args= --ppid {main_pid(host, unit)}").splitlines()
    return [tuple(line.strip().split(None, 1)) for line in lines]


def new_nginx_workers(host) -> list[str]:
    return [pid for pid, title in titles_below(host, "nginx") if title == "nginx: worker process"]


def daphne_environment(host, number: int) -> dict[str, str]:
    text = host.run(f"tr '\\0' '\\n' < /proc/{main_pid(host, f'daphne@{number}')}/environ", sudo=True)
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


# ---------------------------------------------------------------- each setting, live


def test_a_change_tells_what_it_did(changed):
    assert set(changed.reloaded) == {"daphne", "daphne.target", "nginx", "uwsgi"}
    assert "/etc/nginx/nginx.conf" in changed.changed
    assert "-processes = 5\n" in changed.diff and "+processes = 3\n" in changed.diff
    assert {"validate", "swap", "roll daphne", "reload uwsgi", "reload nginx", "verify"} <= set(changed.durations_s)
    assert all(seconds >= 0 for seconds in changed.durations_s.values())


def test_nginx_worker_processes(host, changed):
    assert len(new_nginx_workers(host)) == 2


def test_nginx_worker_connections(host, changed):
    for pid in new_nginx_workers(host):
        limits = host.run(f"cat /proc/{pid}/limits", sudo=True)
        assert int(re.search(r"Max open files +(\d+)", limits)[1]) > 3000
    assert "worker_connections 3000;" in host.run("nginx -T 2>/dev/null", sudo=True)


def test_uwsgi_processes_and_threads(host, changed):
    workers = titles_below(host, "uwsgi")
    assert len(workers) == 3
    for pid, _ in workers:
        status = host.run(f"cat /proc/{pid}/status")
        assert int(re.search(r"Threads:\s+(\d+)", status)[1]) >= 2


def test_uwsgi_listen(host, changed):
    line = next(line for line in host.run("ss -xlnH").splitlines() if "/run/uwsgi/stacklab.sock" in line)
    assert line.split()[3] == "5000"
    assert host.run("cat /proc/sys/net/core/somaxconn").strip() == "5000"


def test_daphne_instances(host, changed):
    ports = {int(line.split()[3].rsplit(":", 1)[1]) for line in host.run("ss -tlnH").splitlines()}
    assert {port for port in ports if 8443 <= port < 8459} == {8443, 8444, 8445, 8446}


def test_daphne_tls(host, changed):
    ask = (
        "import http.client; daphne = http.client.HTTPConnection('127.0.0.1', 8443, timeout=5); "
        "daphne.request('GET', '/nothing'); print(daphne.getresponse().status)"
    )
    assert host.run(f'python3 -c "{ask}"').strip().isdigit(), "without TLS it answers plain HTTP"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("STACKLAB_DAPHNE_TLS", "0"), ("STACKLAB_DAPHNE_DRAIN_S", "1"), ("ASGI_THREADS", "7"), ("STACKLAB_CHANNEL_LAYER", "core"),
        ("STACKLAB_CHANNEL_CAPACITY", "77"), ("STACKLAB_REDIS_POOL", "9"), ("STACKLAB_CHAT_RESUME", "1"),
        ("STACKLAB_LEAN_DISPATCH", "1"), ("DJANGO_SETTINGS_MODULE", "improvements.settings"),
    ],
)  # fmt: skip
def test_every_instance_was_started_with_its_settings(host, changed, name, value):
    assert [daphne_environment(host, number)[name] for number in (1, 2, 3, 4)] == [value] * 4


def daphne_command(host, number: int) -> str:
    return host.run(f"tr '\\0' ' ' < /proc/{main_pid(host, f'daphne@{number}')}/cmdline", sudo=True)


def test_an_improvement_of_the_server_is_a_launcher_on_daphnes_own_command(host, changed):
    assert " -m improvements.server -e tcp:8446:" in daphne_command(host, 4)
    assert " improvements.asgi:application" in daphne_command(host, 4)


def test_the_upstream_as_nginx_has_read_it(host, changed):
    config = host.run("nginx -T 2>/dev/null", sudo=True)
    upstream = re.search(r"upstream daphne-server \{(.*?)\n\}", config, re.DOTALL)[1]
    assert "least_conn;" in upstream and "zone" not in upstream
    assert upstream.count("max_fails=3 fail_timeout=4s;") == 4


def test_the_lab_sees_the_same(host, changed):
    seen = stack.observe(host)
    asked = OTHERWISE.to_dict()
    assert {name: asked[name] for name in asked if name in seen} == {name: seen[name] for name in asked if name in seen}
    assert seen == changed.observed
    assert stack.current(host) == OTHERWISE


# ---------------------------------------------------------------- stock, and an improvement


def test_stock_is_daphnes_own_command_and_django_as_it_is(at_defaults):
    command = daphne_command(at_defaults, 1)
    assert "/opt/stacklab/site/venv/bin/daphne -e ssl:8443:" in command and command.strip().endswith(" config.asgi:application")
    environment = daphne_environment(at_defaults, 1)
    assert environment["STACKLAB_INSTANCE"] == "daphne@1" and "DJANGO_SETTINGS_MODULE" not in environment
    seen = stack.observe(at_defaults)
    assert not any(seen[name] for name in IMPROVEMENTS)


def test_an_improvement_is_seen_alive(at_defaults):
    applied = stack.apply(at_defaults, StackSettings(one_subscription=True))
    assert applied.observed["one_subscription"] is True and applied.reloaded == ("daphne",)
    assert " improvements.asgi:application" in daphne_command(at_defaults, 1)


# ---------------------------------------------------------------- balancing, as clients meet it


@pytest.fixture
def instances(host, lab):
    """`instances(room, addresses)`: which instance greets a chat socket from each of the desk's addresses."""
    tls = ssl.create_default_context(cadata=stack.ca_certificate(host))

    def greet(room: str, addresses: list[str]) -> list[str]:
        names = []
        for address in addresses:
            plain = socket.create_connection((host.address, 443), timeout=10, source_address=(address, 0))
            chat = websocket.create_connection(
                f"wss://{host.address}/ws/chat/{room}/", socket=tls.wrap_socket(plain, server_hostname=host.address),
                origin=host.url, timeout=10,
            )  # fmt: skip
            names.append(json.loads(chat.recv())["instance"])
            chat.close()
        return names

    return greet


def test_balancing_methods_do_what_their_names_say(at_defaults, lab, instances):
    addresses = lab.status()["client_addresses"]
    first_24 = addresses[:12]
    spread = Counter(instances("a", first_24))
    assert set(spread) == {"daphne@1", "daphne@2", "daphne@3"} and set(spread.values()) == {4}, "round robin is even"
    stack.apply(at_defaults, StackSettings(balance="ip_hash"))
    assert len(set(instances("a", first_24))) == 1, "one /24 always meets one instance"
    assert len(set(instances("a", addresses[::2]))) > 1
    stack.apply(at_defaults, StackSettings(balance="hash"))
    by_room = {room: set(instances(room, addresses[:4])) for room in ("a", "b", "c", "d", "e", "%ED%95%9C")}
    assert all(len(met) == 1 for met in by_room.values()), "everybody in a room meets the same instance"
    assert len(set().union(*by_room.values())) > 1


@pytest.fixture
def chat(host):
    """`chat()` opens a chat socket that its room has welcomed."""
    return Site(host.address, ssl.create_default_context(cadata=stack.ca_certificate(host))).chat


def test_a_worker_that_a_reload_left_is_shown_and_serves_its_sockets_for_a_bounded_time(at_defaults, fab, chat):
    def left() -> bool:
        return "nginx: 1 worker of before a reload" in fab("status").stdout

    assert not left()
    sockets = [chat()]
    stack.apply(at_defaults, StackSettings(nginx_worker_connections=2000))
    assert left()
    sockets[0].send('{"type":"message","text":"still here"}')
    while "still here" not in sockets[0].recv():
        pass
    sockets[0].close()
    at_defaults.run("sed -i 's/^worker_shutdown_timeout .*/worker_shutdown_timeout 1s;/' /etc/nginx/nginx.conf", sudo=True)
    reload = "systemctl reload nginx && sleep 1"
    at_defaults.run(reload, sudo=True)
    sockets.append(chat())
    at_defaults.run(reload, sudo=True)
    wait_until(lambda: not left(), "the bound ends the worker", 30)
    sockets[1].shutdown()


def test_after_all_instances_were_killed_the_first_that_is_back_is_asked_where_no_failure_counts(at_defaults, chat):
    stack.apply(at_defaults, StackSettings(balance_max_fails=0))
    at_defaults.run("systemctl kill --signal=KILL 'daphne@*'", sudo=True)
    for _ in range(3):  # which nginx would hold against them, by default
        with pytest.raises((OSError, websocket.WebSocketException)):
            chat()
    at_defaults.run("for n in 1 2 3; do until systemctl is-active -q daphne@$n; do sleep 0.1; done; done")
    for _ in range(6):
        chat().close()


# ---------------------------------------------------------------- the commands


def test_set_keeps_the_rest_and_reset_goes_back(at_defaults, lab, fab, tmp_path):
    at_defaults.write(FOUND, json.dumps(StackSettings(uwsgi_threads=3).to_dict()))  # as a killed measurement leaves it
    first = fab("set", "--uwsgi-processes", "3", "--json")
    assert first.returncode == 0, first.stderr
    outcome = json.loads(first.stdout)
    assert outcome["settings"] == StackSettings(uwsgi_processes=3).to_dict()
    assert (outcome["changed"], outcome["reloaded"]) == (["/etc/uwsgi/stacklab.ini"], ["uwsgi"])
    second = fab("set", "--nginx-worker-connections", "2048")
    assert second.returncode == 0 and "+    worker_connections 2048;" in second.stdout
    assert "taken up by nginx (" in second.stdout
    assert stack.current(at_defaults) == StackSettings(uwsgi_processes=3, nginx_worker_connections=2048)
    assert at_defaults.run(f"ls {FOUND} 2>/dev/null || true") == "", "what the user has set since is what counts"
    assert fab("set", "--uwsgi-processes", "3").stdout == "nothing to change: these settings are in force already\n"
    assert json.loads(fab("set", "--json").stdout)["uwsgi_processes"] == 3
    back = fab("reset", "--json")
    assert json.loads(back.stdout)["settings"] == StackSettings().to_dict()
    assert stack.observe(at_defaults)["uwsgi_processes"] == 5


def test_a_unit_that_reads_no_changed_file_is_left_alone(at_defaults):
    before = {unit: main_pid(at_defaults, unit) for unit in ("nginx", "uwsgi", "daphne@1", "daphne@2", "redis-server")}
    workers = titles_below(at_defaults, "uwsgi")
    applied = stack.apply(at_defaults, StackSettings(nginx_worker_processes=2, balance="hash"))
    assert applied.reloaded == ("nginx",)
    assert {unit: main_pid(at_defaults, unit) for unit in before} == before
    assert titles_below(at_defaults, "uwsgi") == workers


def test_services_start_anew_when_asked_though_nothing_changes(at_defaults):
    units = ("nginx", "uwsgi", "daphne@1", "daphne@2", "daphne@3", "redis-server")
    before, workers = {unit: main_pid(at_defaults, unit) for unit in units}, new_nginx_workers(at_defaults)
    applied = stack.apply(at_defaults, StackSettings(), anew=("daphne", "nginx"))
    assert (applied.changed, applied.diff, applied.reloaded) == ((), "", ("daphne", "nginx"))
    new = {unit for unit in units if main_pid(at_defaults, unit) != before[unit]}
    assert new == {"daphne@1", "daphne@2", "daphne@3"}
    assert not set(new_nginx_workers(at_defaults)) & set(workers)


# ---------------------------------------------------------------- what stopped or went astray is set right


def test_a_service_that_stopped_is_started_by_the_next_change(at_defaults, site):
    at_defaults.run("systemctl stop uwsgi daphne@2; systemctl kill --signal=KILL nginx", sudo=True)
    applied = stack.apply(at_defaults, StackSettings())
    assert applied.changed == () and "uwsgi" in applied.reloaded
    assert site() == (200, b"ok\n")
    assert stack.observe(at_defaults)["daphne_ports"] == [8443, 8444, 8445]


def test_a_file_that_somebody_edited_is_put_right_by_the_next_change(at_defaults):
    at_defaults.run("sed -i 's/^processes = .*/processes = 9/' /etc/uwsgi/stacklab.ini && systemctl reload uwsgi", sudo=True)
    applied = stack.apply(at_defaults, StackSettings())
    assert applied.changed == ("/etc/uwsgi/stacklab.ini",)
    assert len(titles_below(at_defaults, "uwsgi")) == 5


# ---------------------------------------------------------------- limits of this host


@pytest.fixture
def few_open_files(at_defaults):
    """nginx on a machine whose hard limit of open files is 5000."""
    drop_in = "/etc/systemd/system/nginx.service.d/few.conf"
    restart = "systemctl daemon-reload && systemctl restart nginx"
    at_defaults.run(f"printf '[Service]\\nLimitNOFILE=1024:5000\\n' > {drop_in} && {restart}", sudo=True)
    yield at_defaults
    at_defaults.run(f"rm {drop_in} && {restart}", sudo=True)


def test_more_connections_than_open_files_are_refused_by_the_limits_name(few_open_files, site):
    before = few_open_files.run("cat /etc/nginx/nginx.conf")
    with pytest.raises(ApplyError, match=r"nginx_worker_connections=8000 needs 8512 open files.* hard limit is nofile=5000"):
        stack.apply(few_open_files, StackSettings(nginx_worker_connections=8000))
    assert few_open_files.run("cat /etc/nginx/nginx.conf") == before
    assert stack.current(few_open_files) == StackSettings()
    assert site() == (200, b"ok\n")
    assert stack.apply(few_open_files, StackSettings(nginx_worker_connections=4400)).observed["nginx_worker_connections"] == 4400


def test_more_processes_than_memory_are_refused_by_the_limits_name(at_defaults):
    # The machine's memory is this computer's, so the limit is met with a uWSGI whose workers seem huge.
    script = (
        "import importlib.machinery as m\n"
        "c = m.SourceFileLoader('c', '/opt/stacklab/provision/commit-settings').load_module()\n"
        "c.live.Machine.rss_bytes = lambda self, pid: 1 << 40\n"
        "try: c.check_limits({'uwsgi_processes': 6, 'nginx_worker_connections': 1024})\n"
        "except c.Refused as e: print(e)\n"
    )
    said = at_defaults.run("python3 -B -W ignore -", sudo=True, input=script)
    assert re.match(r"uwsgi_processes=6 needs about \d+ MiB more memory \(\d+ MiB a process\) and \d+ MiB are available", said)


# ---------------------------------------------------------------- no request is dropped


def test_no_request_is_dropped_while_settings_change_under_load(at_defaults, lab, tmp_path):
    # A third of the rate that `make benchmark` uses: what a slow machine must queue while uWSGI reloads fits its backlog.
    seconds = enough_s(at_defaults, CHANGES, 25)
    seen = changes_under_load(at_defaults, lab, tmp_path, seconds, requests_per_s=100)
    assert seen.counted == 100 * seconds
    assert not seen.errors
    reloads = len(CHANGES) + 1
    assert seen.retried <= reloads * seen.connections, "a connection meets the server's close once a reload at most"
    assert sum(count > 20 for count in seen.requests_during) >= 3, "the changes fell into the time of the load"
