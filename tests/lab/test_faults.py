"""What goes wrong while settings change: one clear message, and a stack that serves as before."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from fabric.main import program
from here import slowly, wait_until

from stacklab import stack
from stacklab.errors import ApplyError, LabError, LabNotRunning
from stacklab.files import ROOT
from stacklab.labs.container import ContainerLab
from stacklab.settings import StackSettings
from stacklab.stack import change
from stacklab.stack.render import TEMPLATES, render

CONFIG = "cat /etc/nginx/nginx.conf /etc/nginx/conf.d/stacklab.conf /etc/uwsgi/stacklab.ini /etc/stacklab/daphne.env"
PROCESSES = "systemctl show -P MainPID nginx uwsgi daphne@1 daphne@2 daphne@3"
CHANGED = StackSettings(nginx_worker_connections=2000, uwsgi_processes=3)


@contextmanager
def left_as_it_was(host, site):
    """After the block: the same files and settings, every service as observed before, and an answer from the site."""
    before = host.run(CONFIG, sudo=True), stack.current(host), stack.observe(host)
    yield
    assert (host.run(CONFIG, sudo=True), stack.current(host)) == before[:2]
    assert stack.observe(host) == before[2]
    state = stack.state(host)
    assert not state["unfinished"] and not state["changing"]
    assert site() == (200, b"ok\n")
    assert leftovers(host) == ""


def leftovers(host) -> str:
    """Helper files of a change that should be gone by now."""
    return host.run("find /etc /var/lib/stacklab/commit -name '.*stacklab-*' -o -name journal.json", sudo=True)


@pytest.fixture
def refused(lab, capsys, monkeypatch):
    """What `fab` writes when it refuses; run in this process, so that a test can break what it renders."""

    def run(*words: str) -> str:
        monkeypatch.setenv("STACKLAB_LAB", lab.name)
        monkeypatch.chdir(ROOT)
        with pytest.raises(SystemExit) as caught:
            program.run(["fab", *words])
        assert caught.value.code == 1
        said = capsys.readouterr()
        assert said.out == "" and "Traceback" not in said.err
        return said.err

    return run


@pytest.fixture
def templates(tmp_path, monkeypatch):
    """`templates(name, old, new)` breaks a copy of the templates, which is rendered from then on."""
    copy = shutil.copytree(TEMPLATES, tmp_path / "templates")
    generation = iter(range(100))

    def edit(name: str, old: str, new: str) -> None:
        text = (copy / name).read_text()
        assert old in text
        (copy / name).write_text(text.replace(old, new))
        edition = shutil.copytree(copy, tmp_path / f"templates-{next(generation)}")
        monkeypatch.setattr(change, "render", lambda settings, site: render(settings, site, edition))

    return edit


# ---------------------------------------------------------------- a service refuses


def test_what_nginx_cannot_read_is_refused_in_its_own_words(at_defaults, site, templates, refused):
    templates("site.conf.j2", "proxy_http_version 1.1;", "proxy_http_version 1.1")
    with left_as_it_was(at_defaults, site):
        said = refused("set", "--nginx-worker-connections", "2000")
    assert said.startswith("fab set: nginx -t failed. The old settings are in force.\n")
    assert "[emerg]" in said and "conf.d/stacklab.conf" in said


def test_what_nginx_would_not_give_is_refused_in_its_own_words(at_defaults, site, templates, refused):
    templates("nginx.conf.j2", "worker_rlimit_nofile {{ open_files }};", "worker_rlimit_nofile 512;")
    with left_as_it_was(at_defaults, site):
        said = refused("set", "--nginx-worker-connections", "2000")
    assert "nginx would accept the setting and not give it" in said and "exceed open file resource limit: 512" in said


def test_an_option_that_uwsgi_does_not_know_is_refused_in_its_own_words(at_defaults, site, templates, refused):
    templates("uwsgi.ini.j2", "vacuum = true", "vacuum = true\nfrobnicate = true")
    with left_as_it_was(at_defaults, site):
        said = refused("set", "--uwsgi-processes", "3")
    assert said.startswith("fab set: uwsgi --no-server failed. The old settings are in force.\n")
    assert "unknown config directive: frobnicate" in said


@pytest.mark.fault("a site that cannot be loaded", "web")
def test_a_site_that_cannot_be_loaded_is_refused(at_defaults, site, templates, refused):
    templates("uwsgi.ini.j2", "module = {{ site.wsgi }}", "module = config.nothing")
    with left_as_it_was(at_defaults, site):
        assert "No module named 'config.nothing'" in refused("set", "--uwsgi-processes", "3")


def test_an_environment_that_the_chat_cannot_take_is_refused(at_defaults, site, templates, refused):
    templates("daphne.env.j2", "{{ s.channel_layer }}", "carrier-pigeons")
    with left_as_it_was(at_defaults, site):
        said = refused("set", "--channel-layer", "core")
    assert said.startswith("fab set: manage.py check failed. The old settings are in force.\n")
    assert "carrier-pigeons" in said


def test_a_template_with_a_name_that_is_not_there_changes_nothing(at_defaults, site, templates, refused):
    templates("uwsgi.ini.j2", "{{ s.uwsgi_processes }}", "{{ s.uwsgi_workers }}")
    with left_as_it_was(at_defaults, site):
        said = refused("set", "--uwsgi-processes", "3")
    assert said.count("\n") == 1 and "the template uwsgi.ini.j2 cannot be rendered" in said


def test_nginx_refusing_live_what_its_checker_took_puts_the_old_settings_back(at_defaults, site, templates, refused):
    # A zone whose key changes: only the running nginx knows what it was.
    templates("nginx.conf.j2", "sendfile on;", "sendfile on;\n    limit_req_zone $binary_remote_addr zone=trial:1m rate=9r/s;")
    stack.apply(at_defaults, StackSettings())
    templates("nginx.conf.j2", "$binary_remote_addr zone=trial", "$uri zone=trial")
    with left_as_it_was(at_defaults, site):
        said = refused("set", "--nginx-worker-connections", "2000")
    assert said.startswith("fab set: new nginx workers did not happen within 15 s") and "The old settings are in force.\n" in said
    assert 'limit_req "trial" uses' in said, "nginx's own words, which it writes to its log only"


def test_uwsgi_refusing_live_what_the_trial_took_puts_the_old_settings_back(at_defaults, site, templates, refused):
    # Only under systemd's eyes is there such a variable, so the trial does not meet the unknown option.
    templates("uwsgi.ini.j2", "vacuum = true", "vacuum = true\nif-env = NOTIFY_SOCKET\nfrobnicate = true\nendif =")
    with left_as_it_was(at_defaults, site):
        said = refused("set", "--uwsgi-processes", "3")
    assert "The old settings are in force." in said
    assert "frobnicate" in said, "uWSGI's own words, from the journal"


@pytest.mark.fault("a port is taken by somebody else", "web")
def test_a_port_that_is_taken_puts_the_old_settings_back(at_defaults, site, refused):
    listen = "import socket, time; s = socket.create_server(('127.0.0.1', 8446)); time.sleep(600)"
    at_defaults.run(f'systemd-run -q --unit=squatter python3 -c "{listen}"', sudo=True)
    try:
        wait_until(lambda: ":8446" in at_defaults.run("ss -tlnH"), "the port is taken")
        # The squatter is seen as a port of Daphne's: compare what matters.
        before = at_defaults.run(PROCESSES), at_defaults.run(CONFIG, sudo=True)
        said = refused("set", "--daphne-instances", "4")
        assert (at_defaults.run(PROCESSES), at_defaults.run(CONFIG, sudo=True)) == before
    finally:
        at_defaults.run("systemctl stop squatter", sudo=True)
    assert "starting daphne@4" in said and "8446" in said and "The old settings are in force" in said
    assert at_defaults.run("systemctl list-units --failed --plain --no-legend") == ""
    assert stack.current(at_defaults) == StackSettings()
    assert site() == (200, b"ok\n")


# ---------------------------------------------------------------- no room


@contextmanager
def full(host, folder: str):
    """`folder` lies on a disk without room, its files as they were."""
    host.run(
        f"mkdir -p {folder} /mnt/full && mount -t tmpfs -o size=256k tmpfs /mnt/full && cp -a {folder}/. /mnt/full/ && "
        f"mount --bind /mnt/full {folder} && (dd if=/dev/zero of={folder}/.filler bs=4k 2>/dev/null || true)",
        sudo=True,
    )
    try:
        yield
    finally:
        host.run(f"umount {folder} /mnt/full", sudo=True)


@pytest.mark.fault("disk full in a change", "web")
@pytest.mark.parametrize("folder", ["/var/lib/stacklab/commit", "/etc/nginx", "/etc/stacklab"])
def test_a_full_disk_is_named_and_changes_nothing(at_defaults, site, refused, folder):
    with left_as_it_was(at_defaults, site), full(at_defaults, folder):
        said = refused("set", "--nginx-worker-connections", "2000")
    assert re.fullmatch(rf"fab set: cannot write {folder}/.*: No space left on device; nothing was changed\..*\n", said), said


# ---------------------------------------------------------------- cut off


def settled(host) -> StackSettings:
    """The settings in force once no change is under way; what runs is what is applied."""
    state = wait_until(lambda: (state := stack.state(host)) and not state["changing"] and state, "no change is under way")
    assert not state["unfinished"]
    settings = StackSettings.from_dict(state["applied"]["settings"])
    seen = state["observed"]
    assert {name: seen[name] for name in settings.to_dict() if name in seen} == {
        name: value for name, value in settings.to_dict().items() if name in seen
    }
    assert {file.path: file.text for file in render(settings)} == {
        file.path: host.run(f"cat {file.path}", sudo=True) for file in render(settings)
    }
    return settings


@pytest.mark.fault("SSH cut in a change", "between")
@pytest.mark.parametrize("cut", ["here", "there"])
@pytest.mark.parametrize("after_s", [0.4, *slowly(0.0, 1.2)])
def test_ssh_cut_in_the_middle_ends_in_the_old_or_the_new_state(lab, at_defaults, site, cut, after_s):
    mine = lab.web()
    mine.run("true")
    client = mine.run("echo $SSH_CONNECTION").split()[1]
    errors = []

    def change():
        try:
            stack.apply(mine, CHANGED)
        except LabError as error:
            errors.append(error)

    thread = threading.Thread(target=change)
    thread.start()
    wait_until(lambda: stack.state(at_defaults)["changing"] or not thread.is_alive(), "the change begins")
    time.sleep(after_s)
    was_alive = thread.is_alive()
    if cut == "here":
        mine._connection.transport.sock.close()
    else:
        at_defaults.run(
            f"kill -9 $(ss -tnpH 'sport = 22 and dport = {client}' | grep -o 'pid=[0-9]*' | cut -d= -f2 | sort -u)", sudo=True
        )
    thread.join(60)
    assert not thread.is_alive()
    if was_alive and errors:
        assert isinstance(errors[0], LabNotRunning) and "the SSH connection broke" in str(errors[0])
        assert "look with 'fab status'" in str(errors[0])
    assert settled(at_defaults) in (StackSettings(), CHANGED)
    assert site() == (200, b"ok\n")
    mine.close()


@pytest.mark.fault("a change is killed at its steps", "web")
@pytest.mark.parametrize("whom", ["main", "all"])
@pytest.mark.parametrize("after_s", [0.3, 1.5, *slowly(0.0, 0.8, 2.5)])
def test_a_change_that_is_killed_on_the_host_is_undone_there(at_defaults, site, whom, after_s):
    killer = at_defaults.run(
        "cat > /tmp/killer; chmod +x /tmp/killer; systemd-run -q --collect --unit=killer /tmp/killer", sudo=True,
        input=f"""#!/bin/sh
        while unit=$(systemctl list-units --plain --no-legend 'stacklab-commit-*' | cut -d' ' -f1); [ -z "$unit" ]; do
            sleep 0.02
        done
        sleep {after_s}; systemctl kill --signal=KILL --kill-whom={whom} "$unit"
        """,
    )
    assert killer == ""
    try:
        stack.apply(at_defaults, CHANGED)
    except ApplyError as error:
        assert "the change was cut off on the web host" in str(error)
    state = settled(at_defaults)
    assert state in (StackSettings(), CHANGED)
    assert site() == (200, b"ok\n")
    at_defaults.run("systemctl stop killer 2>/dev/null || true", sudo=True)
    stack.apply(at_defaults, StackSettings())
    assert leftovers(at_defaults) == ""


def test_what_a_change_killed_in_its_trial_has_left_is_gone_after_the_next_even_if_that_changes_nothing(at_defaults):
    at_defaults.run(
        """mkdir -p /var/lib/stacklab/commit/stage/etc/stacklab
        touch /var/lib/stacklab/commit/stage/etc/stacklab/.daphne.env.stacklab-new /etc/nginx/.nginx.conf.stacklab-new""",
        sudo=True,
    )
    assert not stack.apply(at_defaults, StackSettings()).changed
    assert leftovers(at_defaults) == ""


@pytest.mark.fault("the recovery of a killed change is killed too", "web")
def test_the_recovery_being_killed_too_is_mended_by_the_next_change(at_defaults, site):
    # A journal without anybody at work: whoever should have recovered was killed as well.
    at_defaults.run(
        """cd /etc/nginx && cp -p nginx.conf .nginx.conf.stacklab-old && sed -i 's/worker_connections 1024/&0/' nginx.conf
        echo '{"old": {"/etc/nginx/nginx.conf": "/etc/nginx/.nginx.conf.stacklab-old"}, "units": ["nginx"]}' \
            > /var/lib/stacklab/commit/journal.json
        systemctl reload nginx""",
        sudo=True,
    )
    state = stack.state(at_defaults)
    assert state["unfinished"] and not state["changing"]
    # `systemctl reload` comes back before the new workers are there; until then an observation says "not known".
    wait_until(lambda: stack.observe(at_defaults)["nginx_worker_connections"] == 10240, "nginx took it")
    stack.apply(at_defaults, StackSettings(uwsgi_processes=3))
    assert settled(at_defaults) == StackSettings(uwsgi_processes=3)
    assert site() == (200, b"ok\n")


# ---------------------------------------------------------------- two at once


@pytest.mark.fault("two changes at once", "desk")
def test_of_two_changes_at_once_one_is_refused_in_one_line(lab, at_defaults, site):
    outcomes: list[object] = []

    def change(settings):
        host = lab.web()
        try:
            outcomes.append(stack.apply(host, settings, expect=StackSettings()))
        except LabError as error:
            outcomes.append(error)
        finally:
            host.close()

    wanted = [StackSettings(uwsgi_processes=2), StackSettings(uwsgi_processes=3)]
    threads = [threading.Thread(target=change, args=(settings,)) for settings in wanted]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    errors = [str(outcome) for outcome in outcomes if isinstance(outcome, ApplyError)]
    assert len(errors) == 1 and len(outcomes) == 2
    assert errors[0].startswith("the settings changed while this change"), "it waited, and then looked"
    assert settled(at_defaults) in wanted
    assert site() == (200, b"ok\n")


def test_whoever_looks_all_the_while_keeps_no_change_from_beginning(lab, at_defaults):
    end = threading.Event()

    def look():
        host = lab.web()
        while not end.is_set():
            stack.state(host)
        host.close()

    looking = threading.Thread(target=look)
    looking.start()
    try:
        for processes in (3, 4):
            stack.apply(at_defaults, StackSettings(uwsgi_processes=processes))
    finally:
        end.set()
        looking.join()


def test_a_change_based_on_settings_that_are_gone_is_refused(at_defaults, site):
    with left_as_it_was(at_defaults, site), pytest.raises(ApplyError, match="the settings changed while this change"):
        stack.apply(at_defaults, CHANGED, expect=StackSettings(uwsgi_processes=4))


def test_status_tells_of_a_change_under_way(lab, at_defaults, fab):
    other = lab.web()
    thread = threading.Thread(target=stack.apply, args=(other, StackSettings(uwsgi_processes=3)))
    thread.start()
    wait_until(lambda: stack.state(at_defaults)["changing"], "the change begins")
    thread.join()
    other.close()
    shown = fab("status")
    assert shown.returncode == 0 and "!" not in shown.stdout
    assert not stack.state(at_defaults)["changing"]


# ---------------------------------------------------------------- the lab is not as one thinks


def test_a_lab_that_is_not_up_is_one_line(fab, container_labs):
    assert ContainerLab("no-such-lab").status()["state"] == "absent"
    done = fab("set", "--uwsgi-processes", "3", STACKLAB_LAB="no-such-lab")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "fab set: the lab no-such-lab is absent; start it with 'fab up'\n"


def test_a_machine_without_the_stack_is_one_line(host, fab):
    host.run("mv /etc/stacklab/settings.json /etc/stacklab/settings.json.away", sudo=True)
    try:
        done = fab("set", "--uwsgi-processes", "3")
        shown = fab("status")
    finally:
        host.run("mv /etc/stacklab/settings.json.away /etc/stacklab/settings.json", sudo=True)
    assert done.stderr.endswith("runs, but the stack is not set up on it; run 'fab provision'\n") and done.stderr.count("\n") == 1
    assert "the stack is not set up yet: run 'fab provision'" in shown.stdout


def test_a_record_of_another_version_is_one_line(host, fab):
    record = host.run("cat /etc/stacklab/settings.json")
    host.write("/etc/stacklab/settings.json", json.dumps(json.loads(record) | {"settings": {"gunicorn_workers": 3}}))
    try:
        done = fab("set", "--uwsgi-processes", "3")
    finally:
        host.write("/etc/stacklab/settings.json", record)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "has settings that this checkout cannot read" in done.stderr and "run 'fab provision'" in done.stderr


def test_ctrl_c_while_settings_change_stops_the_waiting_not_the_change(at_defaults, lab, tmp_path):
    command = [Path(sys.executable).with_name("fab"), "set", "--uwsgi-processes", "3"]
    environment = os.environ | {"STACKLAB_LAB": lab.name}
    child = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: stack.state(at_defaults)["changing"], "the change begins")
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=30)
    assert child.returncode == 130 and "Traceback" not in said and said.count("\n") == 1
    assert settled(at_defaults) in (StackSettings(), StackSettings(uwsgi_processes=3))
