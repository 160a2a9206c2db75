"""The `ssh` lab, on a machine that the container lab lends it."""

import pytest

from stacklab.errors import LabError, LabNotRunning
from stacklab.labs import open_lab


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


def test_a_host_whose_key_the_user_never_accepted_is_refused(home):
    (home / "known_hosts").write_text("")
    with pytest.raises(LabNotRunning):
        open_lab("stacklab@borrowed").up()


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
