"""The `ssh` lab, on a machine that the container lab lends it."""

import json
import subprocess
import sys

import pytest
from here import wait_until

from stacklab.errors import LabError, LabNotRunning
from stacklab.files import ROOT
from stacklab.labs import open_lab
from stacklab.labs.keys import new_key


@pytest.fixture
def home(lab, tmp_path, monkeypatch):
    """A home whose SSH configuration knows the machine, as that of a person who works there does."""
    folder = tmp_path / ".ssh"
    folder.mkdir()
    (folder / "known_hosts").write_text(lab._machine.known_hosts_path.read_text())
    (folder / "config").write_text(
        f"Host borrowed\n HostName {lab.status()['address']}\n IdentityFile {lab._machine.key_path}\n"
    )
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return folder


def test_up_checks_the_host_and_leaves_it_as_it_is(lab, home):
    borrowed = open_lab("stacklab@borrowed")
    assert borrowed.up().run("hostname").strip() == "web"
    assert borrowed.status()["state"] == "running"
    assert borrowed.status()["address"] == lab.status()["address"]
    with pytest.raises(LabError, match="nothing was changed"):
        borrowed.destroy()


@pytest.fixture
def behind(lab, home, monkeypatch):
    """The same machine as one that only a jump host reaches: it is its own, and its inner address is that of its loopback."""
    known = (home / "known_hosts").read_text()
    (home / "known_hosts").write_text(known + f"127.0.0.1 {' '.join(known.split()[1:3])}\n")
    config = (home / "config").read_text()
    key = f" IdentityFile {lab._machine.key_path}\n"
    (home / "config").write_text(f"{config}Host inner\n HostName 127.0.0.1\n ProxyJump stacklab@borrowed\n{key}")
    return home


def test_ssh_goes_through_a_jump_host_and_the_load_past_it(lab, behind, monkeypatch):
    address = lab.status()["address"]
    monkeypatch.setenv("STACKLAB_WEB", address)
    host = open_lab("stacklab@inner").up()
    assert host.run("echo $SSH_CONNECTION").split()[0] == "127.0.0.1"  # so it came through sshd there
    assert (host.address, host.url) == ("127.0.0.1", f"https://{address}")
    host.put(behind / "config", "/tmp/config")
    assert host.run("cat /tmp/config; rm /tmp/config") == (behind / "config").read_text()
    host.gateway._connection.close()  # a jump host that went away is gone to anew
    assert host.run("hostname").strip() == "web"
    host.close()
    assert open_lab("stacklab@inner").status()["state"] == "running"


def test_a_jump_host_is_held_to_its_key_and_one_that_leads_nowhere_is_named(fab, behind):
    address = next(line.split()[1] for line in (behind / "config").read_text().splitlines() if "HostName" in line)
    known = (behind / "known_hosts").read_text()
    (behind / "known_hosts").write_text(known.replace(address, "192.0.2.1"))
    done = fab("status", "--lab", "stacklab@inner")
    assert done.returncode == 1 and done.stderr.startswith(f"fab status: unknown host key: stacklab@{address}:22"), done.stderr
    (behind / "known_hosts").write_text(known)
    done = fab("up", "--lab", "stacklab@inner:2")
    assert done.returncode == 1, done.stdout
    assert f"stacklab@127.0.0.1:2 (through {address}) does not answer on SSH" in done.stderr


def never_accepted(home, known):
    (home / "known_hosts").write_text("@cert-authority * ssh-ed25519 AAAA\na broken line\n")


def changed(home, known):
    (home / "known_hosts").write_text(f"{known.split()[0]} {new_key('another')[1]}")


def revoked(home, known):
    (home / "known_hosts").write_text(f"{known}@revoked * {' '.join(known.split()[1:3])}\n")


def wrong_user(home, known):
    (home / "config").write_text((home / "config").read_text().replace("IdentityFile", "#"))


def wrong_key(home, known):
    write_key(home, new_key("another")[0])


def key_that_is_none(home, known):
    write_key(home, "no key at all\n")


def write_key(home, text):
    (home / "key").write_text(text)
    (home / "key").chmod(0o600)
    config = (home / "config").read_text().splitlines()
    (home / "config").write_text("\n".join([*config[:-1], f" IdentityFile {home}/key", ""]))


REFUSALS = {
    never_accepted: "unknown host key", changed: "changed host key", revoked: "revoked host key",
    wrong_user: "login refused", wrong_key: "login refused", key_that_is_none: "unusable key",
}  # fmt: skip


@pytest.mark.parametrize("refuse", REFUSALS)
def test_a_refusal_is_named_by_status_and_up_alike_and_is_not_a_halt(fab, home, refuse):
    refuse(home, (home / "known_hosts").read_text())
    for words in (("status",), ("status", "--json"), ("up",), ("set", "--uwsgi-processes", "3")):
        done = fab(*words, "--lab", "stacklab@borrowed")
        assert done.returncode == 1 and done.stderr.startswith(f"fab {words[0]}: {REFUSALS[refuse]}: "), done.stderr
        if words[-1] == "--json":
            assert json.loads(done.stdout)["state"] == REFUSALS[refuse]
        elif words == ("status",):
            assert done.stdout == f"lab stacklab@borrowed (ssh): {REFUSALS[refuse]}\n"


@pytest.mark.parametrize("named", ["by the environment", "by the configuration"])
def test_a_key_with_a_passphrase_is_used_where_the_agent_holds_it(lab, home, tmp_path, monkeypatch, named):
    write_key(home, lab._machine.key_path.read_text())
    socket = tmp_path / "agent"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.DEVNULL)
    try:
        wait_until(socket.exists, "the agent listens")
        monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
        subprocess.run(["ssh-add", "-q", home / "key"], check=True, stderr=subprocess.DEVNULL)
        subprocess.run(["ssh-keygen", "-q", "-p", "-N", "secret", "-f", home / "key"], check=True, stdout=subprocess.DEVNULL)
        if named == "by the configuration":
            monkeypatch.setenv("SSH_AUTH_SOCK", "/nonexistent")
            (home / "config").write_text((home / "config").read_text() + f" IdentityAgent {socket}\n")
        assert open_lab("stacklab@borrowed").status()["state"] == "running"
    finally:
        agent.terminate()
        agent.wait()
    assert open_lab("stacklab@borrowed").status()["state"] == "unusable key"


def test_a_user_who_may_not_become_root_is_refused(lab, home):
    with lab.web().stream("sh", sudo=True) as root_shell:  # the way back
        root_shell.send("mv /etc/sudoers.d/stacklab /etc/held-back; echo moved\n")
        assert next(iter(root_shell)) == "moved"
        try:
            with pytest.raises(LabError, match="without a password.*sudoers"):
                open_lab("stacklab@borrowed").up()
        finally:
            root_shell.send("mv /etc/held-back /etc/sudoers.d/stacklab; echo back\n")
            assert next(iter(root_shell)) == "back"
    lab.web().run("true", sudo=True)


def test_a_host_that_does_not_answer_is_not_running(home):
    nowhere = open_lab("stacklab@borrowed:2")
    assert nowhere.status()["state"] == "halted"
    with pytest.raises(LabNotRunning, match="does not answer on SSH .*see .fab status"):
        nowhere.up()


HAND_MADE = """set -e
# nginx is somebody's here, and runs; rsync is not here, and comes from a place of packages of this machine's own.
systemctl enable -q --now nginx
echo '# mine' >> /etc/nginx/nginx.conf
mkdir -p /var/tmp/rsync/DEBIAN /var/tmp/packages
dpkg -L rsync | sort -u | tar -c --no-recursion --ignore-failed-read -T - 2>/dev/null | tar -x -C /var/tmp/rsync
dpkg -s rsync | sed '/^Status:/d; /^Conffiles:/,/^[A-Z]/{/^Conffiles:/d; /^ /d}' > /var/tmp/rsync/DEBIAN/control
cd /var/tmp/packages
dpkg-deb --build ../rsync rsync.deb > /dev/null
{ cat ../rsync/DEBIAN/control; echo Filename: ./rsync.deb; echo "Size: $(stat -c %s rsync.deb)"
  echo "SHA256: $(sha256sum rsync.deb | cut -d' ' -f1)"; } > Packages
dpkg --purge rsync > /dev/null 2>&1
rm -f /etc/apt/sources.list /etc/apt/sources.list.d/*
echo 'deb [trusted=yes] file:/var/tmp/packages ./' > /etc/apt/sources.list
"""
# All that a machine has, but what changes by itself: logs, caches, what apt and dpkg remember, backups of the shadow file, and
# what this machine's own Redis keeps of its data when it stops.
LOOK = r"""no="-path /proc"; for path in /sys /run /tmp /var/tmp /var/log /var/cache /var/lib/apt /var/lib/dpkg \
    /var/lib/logrotate /var/lib/systemd; do
    no="$no -o -path $path"; done
{ find / -xdev \( $no -o -name __pycache__ \) -prune -o -type f ! -path '/etc/*-' ! -name dump.rdb -print0 | xargs -0 sha256sum
find / -xdev \( $no -o -name __pycache__ -o -name dump.rdb \) -prune -o -printf '%p %y %u %m %l\n'
find /var/log -type d -o -name 'requests*'
dpkg-query -W -f 'package ${Package} ${Status}\n'
systemctl list-unit-files --no-legend --no-pager | sed 's/^/unit /'
systemctl list-units --no-legend --plain --state=active,failed --type=service,timer,target | awk '{print $1, $3}'
sysctl net.core.somaxconn; } | sort"""


# By IPv6: the status of what is asked for by our own address, and by somebody else's name.
ASKED_BY_IPV6 = """python3 - <<'END'
import http.client, ssl
tls = ssl.create_default_context(cafile="/etc/stacklab/tls/ca.crt")
for host in ("[::1]", "other.example"):
    site = http.client.HTTPSConnection("[::1]", context=tls)
    site.request("GET", "/healthz", headers={"Host": host})
    print(site.getresponse().status)
END
"""


# Taking away is killed in the moment in which it calls this program with this first word.
CUT_OFF = """rm -rf /tmp/cut; mkdir /tmp/cut
printf '#!/bin/sh\\n[ "$1" != {1} ] || kill -9 $PPID\\nexec /usr/bin/{0} "$@"\\n' > /tmp/cut/{0}
chmod +x /tmp/cut/{0}
PATH=/tmp/cut:$PATH python3 /opt/stacklab/provision/brought --take-away
[ $? != 137 ] || echo killed
"""


@pytest.mark.faults
def test_destroy_lists_what_provisioning_brought_and_then_leaves_the_machine_as_it_was(other, tmp_path, monkeypatch):
    other.up()
    owned = other.web()
    owned.run(HAND_MADE, sudo=True)
    before = owned.run(LOOK, sudo=True, timeout_s=300).splitlines()
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh/known_hosts").write_text(other._machine.known_hosts_path.read_text())
    address = other.status()["address"]
    (tmp_path / ".ssh/config").write_text(
        f"Host mine\n HostName {address}\n User stacklab\n IdentityFile {other._machine.key_path}\n"
    )
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setenv("STACKLAB_WEB", "::1")

    def fab(*words):
        command = [sys.executable, "-m", "stacklab.command", *words, "--lab", "@mine"]
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)

    done = fab("destroy")
    assert (done.returncode, "has no list" in done.stderr) == (1, True), done.stderr
    done = fab("provision")
    assert done.returncode == 0 and "changed: packages rsync" in done.stdout, done.stdout + done.stderr
    assert "nothing to change" in fab("provision").stdout
    assert owned.run(ASKED_BY_IPV6).split() == ["200", "421"]
    assert fab("set", "--asgi-server", "uvicorn", "--database", "postgresql", "--wsgi-server", "gunicorn").returncode == 0
    done = fab("destroy")
    assert done.returncode == 1 and "with --yes it is" in done.stderr
    for words in (
        "goes: packages  rsync\n", " /etc/redis/redis.conf /etc/nginx/nginx.conf\n", "goes: users     uwsgi daphne\n",
        "stays: packages ca-certificates iproute2 logrotate nginx",
    ):  # fmt: skip
        assert words in done.stdout, done.stdout
    assert "settings" in fab("status", "--json").stdout  # nothing has happened
    for step in ("systemctl daemon-reload", "dpkg --purge", "rm -rf"):  # the next goes on from there
        assert owned.run(CUT_OFF.format(*step.split()), sudo=True).endswith("killed\n"), step
    done = fab("destroy", "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    after = owned.run(LOOK, sudo=True, timeout_s=300).splitlines()
    changes = [*(f"- {line}" for line in before if line not in after), *(f"+ {line}" for line in after if line not in before)]
    assert changes == [], "\n".join(changes)
    assert "has no list" in fab("destroy", "--yes").stderr


def test_a_hosts_speed_is_told_against_the_labs_as_size_wants_it(lab, home, fab):
    done = fab("calibrate", "--host", "stacklab@borrowed", "--json")
    assert done.returncode == 0, done.stderr
    speed = json.loads(done.stdout)
    assert 0.5 < speed["low"] <= speed["estimate"] <= speed["high"] < 2, "it is the same machine"
