"""Provisioning a real web host: what it makes, who may see it, and that a second time changes nothing."""

import json
import re
import time
from contextlib import contextmanager

import pytest

from stacklab import stack
from stacklab.errors import LabError, LabNotRunning
from stacklab.files import ROOT
from stacklab.settings import StackSettings
from stacklab.version import code_version

# Everything that provisioning makes: path, mode, owner, time of change of the content.
FILES = (
    "find /etc/stacklab /etc/nginx /etc/uwsgi /etc/redis /etc/systemd/system /etc/sysctl.d /etc/logrotate.d /opt/stacklab "
    "/var/lib/stacklab/static /var/lib/stacklab/db ! -path '*/source*' ! -name '*.pyc' ! -name '*.sqlite3*' "
    "! -name __pycache__ ! -path /opt/stacklab -printf '%p %m %u:%g %T@\\n' | sort"
)
MAIN_PIDS = "systemctl show -P MainPID nginx uwsgi redis-server daphne@1 daphne@2 daphne@3; id uwsgi; id daphne"


@contextmanager
def unchanged(host):
    """Nothing on disk and no process is another one after the block."""
    files, processes = host.run(FILES, sudo=True), host.run(MAIN_PIDS)
    yield
    assert host.run(FILES, sudo=True) == files
    assert host.run(MAIN_PIDS) == processes


def test_provisioning_a_second_time_changes_nothing(at_defaults):
    stack.provision(at_defaults)  # the first may have met a later checkout than the host's
    with unchanged(at_defaults):
        assert stack.provision(at_defaults).changed == ()


def test_apply_straight_after_provision_changes_nothing(at_defaults):
    stack.provision(at_defaults)
    with unchanged(at_defaults):
        applied = stack.apply(at_defaults, StackSettings())
    assert (applied.changed, applied.reloaded, applied.diff) == ((), (), "")


def test_provisioning_keeps_the_settings_it_finds(at_defaults):
    settings = StackSettings(uwsgi_processes=2)
    stack.apply(at_defaults, settings)
    with unchanged(at_defaults):
        assert stack.provision(at_defaults).changed == ()
    assert stack.current(at_defaults) == settings


def test_the_host_knows_which_version_it_has(host):
    assert stack.state(host)["applied"]["version"] == code_version(ROOT)


@pytest.mark.fault("provisioning is killed at its steps", "web")
def test_a_provisioning_that_was_killed_is_completed_by_the_next(at_defaults):
    host = at_defaults
    before = host.run("cat /etc/stacklab/app.env /etc/stacklab/tls/ca.crt", sudo=True)
    host.run("rm /opt/stacklab/venv/.lock /etc/systemd/system/uwsgi.service", sudo=True)
    # Killed while pip is at work.
    host.run(
        "bash /opt/stacklab/source/provision/web.sh >/dev/null 2>&1 & pid=$!; "
        "while ! pgrep -f '[p]ip install' >/dev/null; do sleep 0.05; done; kill -9 $pid; pkill -9 -f '[p]ip install'",
        sudo=True,
    )
    changed = stack.provision(host).changed
    assert "Python environment /opt/stacklab/venv" in changed and "/etc/systemd/system/uwsgi.service" in changed
    assert stack.provision(host).changed == ()
    assert host.run("cat /etc/stacklab/app.env /etc/stacklab/tls/ca.crt", sudo=True) == before, "secrets are made once"
    assert stack.observe(host)["uwsgi_processes"] == 5


def test_a_provisioning_that_cannot_go_on_says_why_in_its_last_words(host):
    host.run("mv /etc/debian_version /etc/debian_version.away", sudo=True)
    try:
        with pytest.raises(LabError, match="(?s)provisioning .* stopped; .*web.sh: this is not Debian or Ubuntu"):
            stack.provision(host)
    finally:
        host.run("mv /etc/debian_version.away /etc/debian_version", sudo=True)


# ---------------------------------------------------------------- no open door


def test_djangos_own_check_for_deployment_is_clean(host):
    said = host.run(
        "set -a; . /etc/stacklab/app.env; cd /opt/stacklab/app; "
        "setpriv --reuid=uwsgi --regid=uwsgi --init-groups /opt/stacklab/venv/bin/python -B manage.py check --deploy 2>&1",
        sudo=True,
    )
    assert re.fullmatch(r"System check identified no issues \(\d silenced\)\.", said.strip()), said


def test_only_nginx_and_sshd_listen_beyond_loopback(host):
    lines = host.run("ss -tulnpH", sudo=True).splitlines()
    doors = set()
    for line in lines:
        kind, _, _, _, local, _, *who = line.split()
        address, port = local.rsplit(":", 1)
        if not re.match(r"127\.|\[::1\]", address):
            doors.add((kind, int(port), re.search(r'"([^"]+)"', "".join(who))[1]))
    assert {(kind, port) for kind, port, _ in doors} == {("tcp", 22), ("tcp", 443)}
    assert {name for _, port, name in doors if port == 443} == {"nginx"}
    assert {name for _, port, name in doors if port == 22} <= {"sshd", "systemd"}


def test_services_run_as_their_own_users(host):
    users: dict[str, set[str]] = {}
    for unit in ("nginx", "uwsgi", "redis-server", "daphne@1", "daphne@2", "daphne@3"):
        group = host.run(f"systemctl show -P ControlGroup {unit}").strip()
        pids = host.run(f"cat /sys/fs/cgroup{group}/cgroup.procs").split()
        users[unit] = set(host.run(f"ps -o user= -p {','.join(pids)}").split())
    assert users.pop("nginx") == {"root", "www-data"}  # its master binds port 443 and opens the key
    assert users == {
        "uwsgi": {"uwsgi"}, "redis-server": {"redis"}, "daphne@1": {"daphne"}, "daphne@2": {"daphne"}, "daphne@3": {"daphne"},
    }  # fmt: skip


def test_services_are_sandboxed(at_defaults):
    seen = stack.exposure(at_defaults)
    assert set(seen) == {f"{unit}.service" for unit in ("nginx", "uwsgi", "redis-server", "daphne@1", "daphne@2", "daphne@3")}
    assert {unit: value for unit, value in seen.items() if value > 3.0} == {}


@pytest.mark.parametrize("unit", ["nginx", "uwsgi", "redis-server", "daphne@1"])
def test_the_sandbox_is_around_what_runs_and_not_in_the_files_alone(host, unit):
    status = host.run(f"cat /proc/$(systemctl show -P MainPID {unit})/status")
    seen = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert seen["Seccomp"] == "2" and seen["NoNewPrivs"] == "1"
    assert (int(seen["CapBnd"], 16) == 0) == (unit != "nginx"), "only nginx begins as root"


def test_nothing_but_ssh_and_https_listens_beyond_this_machine(host):
    listening = [line.split()[3] for line in host.run("ss -tlnH; ss -ulnH").splitlines()]
    beyond = {address.rpartition(":")[2] for address in listening if not address.startswith(("127.", "[::1]"))}
    assert beyond == {"22", "443"}


@pytest.mark.parametrize(
    ("path", "mode", "owner"),
    [
        ("/etc/stacklab/app.env", "640", "root:stacklab"),
        ("/etc/stacklab/tls/ca.pem", "600", "root:root"),
        ("/etc/stacklab/tls/web.pem", "600", "root:root"),
        ("/etc/stacklab/tls/daphne.pem", "640", "root:daphne"),
        ("/etc/stacklab/tls/ca.crt", "644", "root:root"),
        ("/var/lib/stacklab/db", "770", "root:stacklab"),
    ],
)
def test_who_may_read_what(host, path, mode, owner):
    assert host.run(f"stat -c '%a %U:%G' {path}", sudo=True).split() == [mode, owner]


def test_the_cas_key_is_readable_by_root_alone(host):
    for user in ("uwsgi", "daphne", "www-data", "redis", "stacklab"):
        seen = host.run(f"setpriv --reuid={user} --clear-groups cat /etc/stacklab/tls/ca.pem", sudo=True, check=False)
        assert seen == "", user


def test_no_secret_is_in_what_everybody_may_read(host):
    key = re.search("STACKLAB_SECRET_KEY=(.+)", host.run("cat /etc/stacklab/app.env", sudo=True))[1]
    assert len(key) >= 50
    # By standard input: sudo writes the words of a command to the journal.
    search = "grep -rlsF -f - /etc /opt /var/lib/stacklab /var/log /run/systemd || true"
    found = host.run(search, sudo=True, input=key)
    assert found.split() == ["/etc/stacklab/app.env"]


def test_the_site_is_reached_by_name_and_address_with_its_own_ca(host, site):
    assert site("/healthz") == (200, b"ok\n")
    assert site("/")[0] == 200
    status, _ = site("/", headers={"Host": "elsewhere.example"})
    assert status == 421, "a foreign host name is refused by nginx"
    names = host.run("openssl x509 -in /etc/stacklab/tls/web.pem -noout -ext subjectAltName", sudo=True)
    for name in (f"IP Address:{host.address}", "IP Address:127.0.0.1", "DNS:localhost"):
        assert name in names


def test_static_files_come_from_nginx_and_leave_no_line_in_the_log(host, site):
    page = site("/")[1].decode()
    static = re.search(r'"(/static/[^"]+\.css)"', page)[1]
    before = host.run("tail -n 3 /var/log/nginx/requests.jsonl", sudo=True)
    assert site(static)[0] == 200
    assert host.run("tail -n 3 /var/log/nginx/requests.jsonl", sudo=True) == before
    site("/healthz?mark=1")
    last = json.loads(host.run("tail -n 1 /var/log/nginx/requests.jsonl", sudo=True))
    assert (last["path"], last["status"], last["upstream_addr"]) == ("/healthz?mark=1", "200", "unix:/run/uwsgi/stacklab.sock")


@pytest.mark.fault("logs grow without end", "web")
def test_logs_that_have_grown_are_put_aside_and_written_anew(host, site):
    timer = host.run("systemctl is-active logrotate.timer; systemctl show -P TimersCalendar logrotate.timer").split(None, 1)
    assert timer[0] == "active" and "*:00/10:00" in timer[1] and "daily" not in timer[1]
    requests, daphne = "/var/log/nginx/requests.jsonl", "/var/log/daphne/daphne1.log"
    host.run(f"truncate -s +600M {requests} {daphne} && systemctl start logrotate.service", sudo=True)
    try:
        site("/healthz?mark=rotated")
        assert "/healthz?mark=rotated" in host.run(f"cat {requests}", sudo=True)
        written = host.run("ls -l /proc/$(systemctl show -P MainPID daphne@1)/fd", sudo=True)
        assert f"{daphne}\n" in written and f"{daphne}.1" not in written
        assert host.run(f"du -b {requests} {daphne} | awk '$1 > 1e8'", sudo=True) == ""
    finally:
        host.run(f"rm -f {requests}.1 {daphne}.1", sudo=True)


def test_no_unit_of_a_fresh_host_has_changed_on_disk(host):
    assert host.run("systemctl show -P NeedDaemonReload '*' | sort -u").split() == ["no"]


# ---------------------------------------------------------------- booting


def booted(lab):
    """The lab's host after a boot, once its services run."""
    lab.halt()
    host = lab.up()
    end, seen = time.monotonic() + 120, None
    while True:
        try:
            seen = stack.observe(host)  # one after the other: the ports may open while the units are told
            if set(seen["units"].values()) == {"active"} and seen["daphne_instances"] == len(seen["daphne_ports"]) == 3:
                return seen
        except LabNotRunning:
            pass
        assert time.monotonic() < end, seen
        time.sleep(0.5)


def test_after_a_boot_the_stack_serves_with_the_settings_it_had(lab, at_defaults, site):
    stack.apply(at_defaults, StackSettings(uwsgi_processes=2, uwsgi_listen=5000))
    seen = booted(lab)
    assert (seen["uwsgi_processes"], seen["uwsgi_listen"], seen["somaxconn"]) == (2, 5000, 5000)
    assert site() == (200, b"ok\n")


@pytest.mark.fault("a power cut in a change of servers", "web")
def test_servers_start_by_the_old_units_where_a_power_cut_ended_a_change_of_them(lab, at_defaults, site):
    host = at_defaults
    for server in ("gunicorn", "uwsgi"):  # which leaves what gunicorn needs to start
        stack.apply(host, StackSettings(wsgi_server=server))
    # systemd reads the new units at boot, before the old ones are back.
    host.run(
        """cd /etc/systemd/system && cp -p daphne@.service .daphne@.service.stacklab-old
        sed -i 's/-e ssl:.*pem /-e tcp:$$((8442 + %i)):interface=127.0.0.1 /' daphne@.service && grep -q 'e tcp:' daphne@.service
        cp -p stacklab.target .stacklab.target.stacklab-old
        sed -i 's/uwsgi/gunicorn/' stacklab.target && grep -q gunicorn.service stacklab.target
        cp -p daphne.target .daphne.target.stacklab-old
        sed -i 's/daphne@3/daphne@4/' daphne.target && grep -q daphne@4 daphne.target
        echo '{"old": {"'$PWD'/daphne@.service": "'$PWD'/.daphne@.service.stacklab-old",
            "'$PWD'/daphne.target": "'$PWD'/.daphne.target.stacklab-old",
            "'$PWD'/stacklab.target": "'$PWD'/.stacklab.target.stacklab-old"}, "units": []}' \
            > /var/lib/stacklab/commit/journal.json""",
        sudo=True,
    )
    seen = booted(lab)
    assert (seen["daphne_instances"], seen["wsgi_server"]) == (3, "uwsgi") and "gunicorn" not in seen["units"]
    assert host.run("systemctl show -P ActiveState gunicorn daphne@4").split() == ["inactive", "inactive"]
    assert set(host.run("systemctl show -P NeedDaemonReload daphne.target stacklab.target daphne@1").split()) == {"no"}
    assert "daphne -e ssl:" in host.run("cat /proc/$(systemctl show -P MainPID daphne@1)/cmdline | tr '\\0' ' '", sudo=True)
    assert site() == (200, b"ok\n")


@pytest.mark.fault("a power cut in a change", "web")
def test_a_change_that_a_power_cut_ended_is_undone_at_the_next_boot(lab, at_defaults, site):
    host = at_defaults
    # What the disk holds when the power fails between the swap and the end of the change.
    host.run(
        """cd /etc/uwsgi && cp -p stacklab.ini .stacklab.ini.stacklab-old && sed -i 's/^processes.*/processes = 9/' stacklab.ini
        echo '{"old": {"/etc/uwsgi/stacklab.ini": "/etc/uwsgi/.stacklab.ini.stacklab-old"}, "units": ["uwsgi"]}' \
            > /var/lib/stacklab/commit/journal.json""",
        sudo=True,
    )
    assert stack.state(host)["unfinished"]
    assert booted(lab)["uwsgi_processes"] == 5
    state = stack.state(host)
    assert not state["unfinished"] and state["applied"]["settings"]["uwsgi_processes"] == 5
    assert site() == (200, b"ok\n")
