"""A helper that fails ends web.sh and desk.sh, wherever it is called, and nothing is written by what it did not say."""

import itertools
import re
import shutil

import pytest
from shell import put, run, stub

from stacklab.files import ROOT

BEGINS = {"web.sh": "mkdir -p $etc/tls; chown() { :; }", "desk.sh": "chown() { :; }; systemctl() { :; }; setpriv() { :; }"}
INSTALL = """for word; do case $word in -o | -g) skip=2 ;; esac; [ ${skip:-0} -gt 0 ] && skip=$((skip - 1)) || set -- "$@" "$word"
shift; done; exec /usr/bin/install "$@" """  # whose users are not here


def went_on(folder, script, commands):
    """Whether the script came through `commands`."""
    if not (folder / "stubs/install").exists():
        stub(folder, "install", INSTALL)
    done = run(folder, script, f"{BEGINS[script]}; {commands}; echo came through")
    assert (done.returncode == 0) == done.stdout.endswith("came through\n"), done.stderr
    return done.returncode == 0


def broken(folder, helper, at, made, script, step):
    """The helper fails at its `at`-th call in a step. Whether the step asked it so often, and came through."""
    made(folder)
    real = {"install": INSTALL, "rsync": ""}.get(helper, f'exec "{shutil.which(helper)}" "$@"')
    stub(folder, helper, f'echo >> {folder}/calls; [ "$(/usr/bin/wc -l < {folder}/calls)" != {at} ] || exit 1\n{real}')
    came_through = went_on(folder, script, step)
    return (folder / "calls").exists() and (folder / "calls").read_text().count("\n") >= at, came_through


def require_stops(tmp_path, helper, made, script, step):
    """Fails unless a step ends wherever in it the helper fails. How often it asks it."""
    for at in itertools.count(1):
        asked, came_through = broken(tmp_path / f"{at}", helper, at, made, script, step)
        assert asked != came_through, f"{helper}, call {at}"
        if not asked:
            return at - 1


def fresh(folder):
    put(folder, "/etc/stacklab/address", text="lab.example\n")


def made_before(folder):
    fresh(folder)
    assert went_on(folder, "web.sh", "secrets")


@pytest.mark.parametrize(
    ("helper", "made"),
    [
        ("hostname", fresh), ("sed", fresh), ("paste", fresh), ("tr", fresh), ("mktemp", fresh), ("sort", fresh),
        ("openssl", fresh), ("install", fresh), ("hostname", made_before), ("sed", made_before),
    ],
)  # fmt: skip
def test_no_secret_and_no_name_is_made_of_what_a_helper_that_failed_did_not_say(tmp_path, helper, made):
    assert require_stops(tmp_path, helper, made, "web.sh", "secrets")


def test_an_address_that_cannot_be_read_is_not_left_out(tmp_path):
    fresh(tmp_path)
    stub(tmp_path, "cat", 'case "$*" in *address) exit 1 ;; esac; exec /usr/bin/cat "$@"')
    assert not went_on(tmp_path, "web.sh", "secrets")


def test_secrets_and_names_are_written_once_all_helpers_do(tmp_path):
    put(tmp_path, "/etc/stacklab/address", text="lab.example\n")
    assert went_on(tmp_path, "web.sh", "secrets")
    before = (tmp_path / "etc/stacklab/app.env").read_text()
    assert "lab.example" in before and "lab.example" in (tmp_path / "etc/stacklab/names.conf").read_text()
    assert went_on(tmp_path, "web.sh", "secrets") and (tmp_path / "etc/stacklab/app.env").read_text() == before


@pytest.mark.parametrize("part", ["app", "provision", "stacklab"])
def test_code_of_which_a_part_was_not_copied_is_not_gone_on_with(tmp_path, part):
    stub(tmp_path, "rsync", f'case "$*" in *"{ROOT}/{part}/ "*) exit 23 ;; esac')
    assert not went_on(tmp_path, "web.sh", "code")
    stub(tmp_path, "rsync", "")
    put(tmp_path, "/var/lib/stacklab/sites/lab/x")
    assert went_on(tmp_path, "web.sh", "code")


def test_what_openssl_and_apt_say_is_shown_before_what_to_do(tmp_path):
    stub(tmp_path, "openssl", "echo no entropy here >&2; exit 1")
    done = run(tmp_path, "web.sh", f"{BEGINS['web.sh']}; certificates localhost")
    assert done.returncode == 1 and "no entropy here" in done.stderr
    stub(tmp_path, "dpkg-query", "exit 1")
    stub(tmp_path, "apt-get", "echo E: apt has its reason; exit 100")
    done = run(tmp_path, "web.sh", "packages")
    assert done.returncode == 1 and re.search("its reason\nweb.sh: no ca-certificates .*is the network there", done.stderr)
    stub(tmp_path, "apt-get", 'case "$*" in *-s*) echo E: apt has its reason; exit 100 ;; esac')
    done = run(tmp_path, "web.sh", "packages")
    assert done.returncode == 1 and re.search("apt has its reason\nweb.sh: apt-get cannot install ca-certificates", done.stderr)


def test_the_certificates_of_a_host_whose_names_cannot_be_read_stay(tmp_path):
    text = (ROOT / "provision/web.sh").read_text()
    renew = re.search(r"(?ms)^    certificates\)\n(.*?)\n        ;;", text)[1]
    assert not went_on(tmp_path, "web.sh", f"settings() {{ :; }}; certificates() {{ :; }}; {renew}")
    put(tmp_path, "/etc/stacklab/names.conf", text="server_name localhost;\n")
    assert went_on(tmp_path, "web.sh", f"settings() {{ :; }}; certificates() {{ :; }}; {renew}")


def desk(folder):
    put(folder, "/home/student/.ssh/web", "/home/student/.ssh/web.pub", "/etc/stacklab/there", "/usr/local/bin/there",
        "/opt/stacklab/desk-venv/bin/there", "/etc/systemd/system/there", "/etc/profile.d/there")  # fmt: skip


@pytest.mark.parametrize(
    ("helper", "step"),
    [
        ("mktemp", "way_to_web"), ("cat", "way_to_web"), ("install", "way_to_web"), ("install", "fab_command"),
        ("install", "jupyterlab"), ("mktemp", "jupyterlab"), ("python3", "jupyterlab"), ("rsync", "working_folder"),
    ],
)  # fmt: skip
def test_desk_goes_on_after_no_helper_that_failed(tmp_path, helper, step):
    assert require_stops(tmp_path, helper, desk, "desk.sh", step)


def test_jupyterlab_is_restarted_where_what_it_reads_is_another_and_only_there(tmp_path):
    desk(tmp_path)
    stub(tmp_path, "install", INSTALL)
    said = [run(tmp_path, "desk.sh", f"{BEGINS['desk.sh']}; jupyterlab").stdout for _ in range(2)]
    assert "JupyterLab restarted" in said[0] and said[1] == ""


def test_desks_python_that_does_not_say_where_its_packages_lie_has_nothing_written_elsewhere(tmp_path):
    put(tmp_path, "/opt/stacklab/desk-venv/bin/python", text=f'#!/bin/sh\n[ "$1" = -I ] || {{ echo {tmp_path}; exit 1; }}\n')
    (tmp_path / "opt/stacklab/desk-venv/bin/python").chmod(0o755)
    assert not went_on(tmp_path, "desk.sh", "environment")
    assert not (tmp_path / "stacklab.pth").exists()
