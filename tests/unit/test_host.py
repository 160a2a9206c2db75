"""Host: what it makes of a machine that does not answer, vanishes, or says no. The machine is a tiny SSH server here."""

import contextlib
import socket
import subprocess
import threading
from pathlib import Path

import paramiko
import pytest

from stacklab.errors import HostError, HostRefused, LabNotRunning, Refusal
from stacklab.labs import host as host_module
from stacklab.labs.host import Host


class Session(paramiko.ServerInterface):
    """Lets one key in and runs each command in a shell of this computer."""

    def __init__(self, allowed: paramiko.PKey):
        self.allowed = allowed

    def get_allowed_auths(self, username):
        return "publickey"

    def check_auth_publickey(self, username, key):
        return paramiko.AUTH_SUCCESSFUL if key == self.allowed else paramiko.AUTH_FAILED

    def check_channel_request(self, kind, chanid):
        return paramiko.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel, command):
        # Not at once: paramiko says yes to the client only after this returns, and a command that had ended by then would
        # have closed the channel first, which no real server does.
        later = threading.Timer(0.05, self.execute, (channel, command))
        later.daemon = True
        later.start()
        return True

    @staticmethod
    def execute(channel, command):
        process = subprocess.Popen(
            command, shell=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )

        def feed():
            while chunk := channel.recv(65536):
                process.stdin.write(chunk)
                process.stdin.flush()
            process.stdin.close()

        def pass_on(source, send):
            while chunk := source.read1(65536):
                send(chunk)

        def finish():
            channel.send_exit_status(process.wait())
            channel.close()

        def unless_gone(act, *arguments):
            # A client that went away first, as in the tests of broken connections, is no fault of the server's.
            with contextlib.suppress(EOFError, OSError):
                act(*arguments)

        works = [(feed,), (pass_on, process.stdout, channel.sendall), (pass_on, process.stderr, channel.sendall_stderr)]
        threads = [threading.Thread(target=unless_gone, args=work, daemon=True) for work in works]
        for thread in threads:
            thread.start()
        for thread in threads[1:]:
            thread.join()
        unless_gone(finish)


class Machine:
    """An SSH server on a free port of the loopback address."""

    def __init__(self, folder: Path):
        self.key = paramiko.RSAKey.generate(2048)
        self.host_key = paramiko.RSAKey.generate(2048)
        self.key_path = folder / "key"
        self.key.write_private_key_file(str(self.key_path))
        self.known_hosts_path = folder / "known_hosts"
        self.transports: list[paramiko.Transport] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.pin(self.host_key)
        threading.Thread(target=self.serve, daemon=True).start()

    def pin(self, key: paramiko.PKey) -> None:
        self.known_hosts_path.write_text(f"[127.0.0.1]:{self.port} {key.get_name()} {key.get_base64()}\n")

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            transport = paramiko.Transport(connection)
            transport.add_server_key(self.host_key)
            try:
                transport.start_server(server=Session(self.key))
            except (paramiko.SSHException, EOFError):
                continue
            self.transports.append(transport)

    def cut(self) -> None:
        """Every connection breaks; new ones are taken."""
        for transport in self.transports:
            transport.close()
        self.transports.clear()

    def close(self) -> None:
        if self.listener.fileno() != -1:
            self.listener.shutdown(socket.SHUT_RDWR)
            self.listener.close()
        self.cut()

    def host(self, **changes) -> Host:
        options = {"key_path": self.key_path, "known_hosts_path": self.known_hosts_path, "connect_timeout_s": 60} | changes
        return Host("127.0.0.1", "someone", self.port, name="web", **options)


@pytest.fixture
def machine(tmp_path):
    machine = Machine(tmp_path)
    yield machine
    machine.close()


@pytest.fixture
def host(machine):
    host = machine.host()
    yield host
    host.close()


def test_run_returns_what_the_command_prints(host):
    assert host.run("echo 안녕; echo words >&2") == "안녕\n"


def test_input_is_the_commands_standard_input(host):
    assert host.run("cat", input="a" * 300_000) == "a" * 300_000
    assert host.run("cat") == ""


def test_a_command_that_fails_gives_its_own_words(host):
    with pytest.raises(HostError, match="web: 'echo no room >&2; exit 7' failed with exit code 7: no room") as caught:
        host.run("echo no room >&2; exit 7")
    assert (caught.value.exit_code, caught.value.stderr) == (7, "no room")
    assert host.run("exit 7", check=False) == ""


def test_a_silent_command_is_given_up_without_a_traceback_of_any_thread(host, capfd):
    with pytest.raises(HostError, match=r"'sleep 5' took longer than 0\.3 s"):
        host.run("sleep 5", timeout_s=0.3)
    assert "Traceback" not in capfd.readouterr().err
    assert host.run("echo still here") == "still here\n"


def test_what_a_command_says_late_on_standard_error_is_not_lost(host, capfd):
    with pytest.raises(HostError, match="late words"):
        host.run("for i in $(seq 21); do echo $i; sleep 0.5; done; echo late words >&2; exit 1", timeout_s=10)
    assert "Traceback" not in capfd.readouterr().err


def test_write_changes_a_file_once_and_sets_its_mode(host, tmp_path):
    file = tmp_path / "a file"
    assert host.write(str(file), "one\n", mode=0o600, sudo=False)
    assert not host.write(str(file), "one\n", mode=0o600, sudo=False)
    assert host.write(str(file), "", mode=0o600, sudo=False)
    assert file.read_text() == "" and file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.glob(".stacklab*")] == []


def test_put_and_get_copy_bytes(host, tmp_path):
    data = bytes(range(256)) * 5000
    (tmp_path / "here").write_bytes(data)
    host.put(tmp_path / "here", str(tmp_path / "there"))
    host.get(str(tmp_path / "there"), tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == data
    with pytest.raises(HostError, match="cannot read"):
        host.get(str(tmp_path / "nothing"), tmp_path / "back")


def test_a_stream_gives_lines_as_they_come_and_ends_the_input_on_close(host):
    with host.stream("while read line; do echo got $line; done; echo bye") as stream:
        stream.send("one\n")
        lines = iter(stream)
        assert next(lines) == "got one"
        stream.close()
        assert list(lines) == ["bye"]
        assert stream.wait() == 0


def test_nothing_listens_there():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(LabNotRunning, match=rf"someone@127\.0\.0\.1:{port} does not answer on SSH .*see 'fab status'"):
        Host("127.0.0.1", "someone", port, connect_timeout_s=2).run("true")


def test_a_machine_that_breaks_off_in_its_handshake_or_is_not_done_in_time_says_so():
    with socket.create_server(("127.0.0.1", 0)) as server:
        ends = (
            (lambda it: it.shutdown(socket.SHUT_WR), "it broke the connection off", 60),  # a close with unread bytes is a reset
            (lambda it: None, "not done in 1 s; it is very busy", 1),
        )
        for then, words, patience_s in ends:
            answered = []

            def answer(then=then, answered=answered):
                answered.append(server.accept()[0])
                answered[0].sendall(b"SSH-2.0-slow\r\n")
                then(answered[0])

            threading.Thread(target=answer, daemon=True).start()
            with pytest.raises(LabNotRunning, match=rf"does not answer on SSH \(.*{words}"):
                Host("127.0.0.1", "someone", server.getsockname()[1], connect_timeout_s=patience_s).run("true")


def test_an_unknown_host_key_is_refused_never_learned(machine):
    machine.known_hosts_path.write_text("")
    with pytest.raises(HostRefused, match=r"its host key \(ssh-rsa, SHA256:.*\) is not in .*known_hosts.*log in once with 'ssh'"):
        machine.host().run("true")
    assert machine.known_hosts_path.read_text() == ""


def test_a_changed_host_key_is_refused_and_named(machine):
    machine.pin(paramiko.RSAKey.generate(2048))
    with pytest.raises(HostRefused, match="another host key than the one pinned"):
        machine.host().run("true")


def test_a_key_that_is_not_let_in_is_named(machine, tmp_path):
    paramiko.RSAKey.generate(2048).write_private_key_file(str(tmp_path / "other"))
    with pytest.raises(HostRefused, match="does not accept our key"):
        machine.host(key_path=tmp_path / "other").run("true")


@pytest.mark.parametrize(
    "trap",
    [
        "Host *\n ProxyJump stranger.invalid\n", "Host *\n ProxyCommand false\n", "Host *\n User trap\n Port 1\n",
        "Match exec 'true' foo\n", b"Host *\n # \xff\xfe\n User trap\n",
    ],
)  # fmt: skip
def test_a_persons_ssh_configuration_never_reaches_the_labs_own_machine(machine, tmp_path, monkeypatch, trap):
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    (home / ".ssh/config").write_bytes(trap if isinstance(trap, bytes) else trap.encode())
    (home / ".fabric.yaml").write_text("user: trap\nport: 1\ngateway: stranger.invalid\n")
    monkeypatch.setenv("HOME", str(home))
    host = machine.host()
    assert host.run("echo here") == "here\n"
    host.close()


def test_lines_of_known_hosts_that_cannot_be_read_are_passed_over(machine):
    good = machine.known_hosts_path.read_bytes()
    machine.known_hosts_path.write_bytes(
        b"@cert-authority *.example.org ssh-rsa AAAA\n# a word\n\n\xff\xfe garbage\n[127.0.0.1]:1 ssh-rsa not-base64!\n"
        b"@\n@revoked\n@revoked * ssh-rsa AAAA\n|1|no|hash ssh-rsa AAAA\n|1| " + b" ".join(good.split()[1:]) + b"\n" + good
    )
    host = machine.host()
    assert host.run("echo here") == "here\n"
    host.close()


def test_a_certificate_authoritys_line_is_no_host_key(machine):
    key = machine.host_key
    machine.known_hosts_path.write_text(f"@cert-authority [127.0.0.1]:{machine.port} {key.get_name()} {key.get_base64()}\n")
    with pytest.raises(HostRefused, match="is not in"):
        machine.host().run("true")


def test_a_key_with_a_passphrase_leaves_the_agent_to_answer(machine, tmp_path):
    locked = tmp_path / "locked"
    paramiko.RSAKey.generate(2048).write_private_key_file(str(locked), password="secret")
    with pytest.raises(HostRefused, match="does not accept our key"):
        machine.host(key_path=locked, agent=True).run("true")  # no agent here that holds another
    agent_like = machine.host(key_path=machine.key_path, agent=True)
    assert agent_like.run("echo here") == "here\n"
    agent_like.close()


@pytest.mark.parametrize("text", [None, "", "no key at all"])
def test_a_key_that_cannot_be_read_is_named(machine, tmp_path, text):
    if text is not None:
        (tmp_path / "bad").write_text(text)
    with pytest.raises(HostRefused, match=r"^unusable key: the SSH key .*bad of web cannot be used"):
        machine.host(key_path=tmp_path / "bad").run("true")


def unknown_key(machine, folder, monkeypatch):
    machine.known_hosts_path.write_text("")


def changed_key(machine, folder, monkeypatch):
    machine.pin(paramiko.RSAKey.generate(2048))


def revoked_key(machine, folder, monkeypatch):
    revoke(machine, f"[127.0.0.1]:{machine.port}")


def login_refused(machine, folder, monkeypatch):
    paramiko.RSAKey.generate(2048).write_private_key_file(str(machine.key_path))


def key_with_a_passphrase(machine, folder, monkeypatch):
    machine.key.write_private_key_file(str(machine.key_path), password="secret")


def no_right_to_look(machine, folder, monkeypatch):
    def forbid(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(paramiko.PKey, "from_path", forbid)  # root, who runs tests, may read everything


def revoke(machine, names):
    line = f"@revoked\t{names} {machine.host_key.get_name()} {machine.host_key.get_base64()}\n"
    machine.known_hosts_path.write_text(machine.known_hosts_path.read_text() + line)


REFUSALS = {
    unknown_key: Refusal.UNKNOWN_KEY, changed_key: Refusal.CHANGED_KEY, revoked_key: Refusal.REVOKED_KEY,
    login_refused: Refusal.WRONG_LOGIN, key_with_a_passphrase: Refusal.UNUSABLE_KEY, no_right_to_look: Refusal.NO_RIGHT,
}  # fmt: skip


def test_every_refusal_is_tried():
    assert set(REFUSALS.values()) == set(Refusal) and not issubclass(HostRefused, LabNotRunning)


@pytest.mark.parametrize("refuse", REFUSALS)
def test_each_refusal_has_a_word_of_its_own_everywhere(refuse, machine, tmp_path, monkeypatch):
    refuse(machine, tmp_path, monkeypatch)
    with pytest.raises(HostRefused, match=f"^{REFUSALS[refuse]}: ") as caught:
        machine.host().run("true")
    seen = machine.host().look()
    assert caught.value.why == seen["state"] == REFUSALS[refuse]
    assert str(caught.value) == f"{seen['state']}: {seen['why']}"


def test_no_agent_with_the_key_that_is_locked_names_the_key(machine, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    key_with_a_passphrase(machine, tmp_path, monkeypatch)
    with pytest.raises(HostRefused, match=rf"^unusable key: .* does not accept our key.*ssh-add {machine.key_path}"):
        machine.host(agent=True).run("true")


def test_a_login_that_may_run_nothing_is_a_refusal_and_not_a_halt(machine, monkeypatch):
    forbid = staticmethod(lambda channel, command: (channel.send_exit_status(1), channel.close()))
    monkeypatch.setattr(Session, "execute", forbid)
    assert machine.host().look()["state"] == Refusal.WRONG_LOGIN


@pytest.mark.parametrize("names", ["*", "127.0.0.9,[127.0.0.*]:*", "[127.0.0.1]:%d"])
def test_a_revoked_key_is_taken_from_nobody_whom_its_line_means(machine, names):
    revoke(machine, names.replace("%d", str(machine.port)))
    with pytest.raises(HostRefused, match=r"is marked as revoked in .*known_hosts: do not go on"):
        machine.host().run("true")


@pytest.mark.parametrize("names", ["example.org", "*,![127.0.0.1]:*"])
def test_a_line_that_revokes_another_machines_key_is_none_of_ours(machine, names):
    revoke(machine, names)
    host = machine.host()
    assert host.run("echo here") == "here\n"
    host.close()


@pytest.mark.parametrize("form", ["[127.0.0.*]:*", "hashed", "  [127.0.0.1]:%d"])
def test_names_in_known_hosts_may_be_patterns_and_hashed(machine, form):
    own = f"[127.0.0.1]:{machine.port}"
    names = paramiko.HostKeys.hash_host(own) if form == "hashed" else form.replace("%d", str(machine.port))
    machine.known_hosts_path.write_text(f"{names} {machine.host_key.get_name()} {machine.host_key.get_base64()} a comment\n")
    host = machine.host()
    assert host.run("echo here") == "here\n"
    host.close()


def test_a_key_that_the_computer_knows_need_not_be_known_to_the_user(machine, tmp_path, monkeypatch):
    monkeypatch.setattr(host_module, "USERS_KNOWN_HOSTS", (tmp_path / "nothing", machine.known_hosts_path))
    host = machine.host(known_hosts_path=None)
    assert host.run("echo here") == "here\n"
    host.close()
    changed_key(machine, tmp_path, monkeypatch)
    with pytest.raises(HostRefused, match="^changed host key"):
        machine.host(known_hosts_path=None).run("true")


def test_a_firewall_that_drops_everything_is_named(monkeypatch):
    def drop(*_, **__):
        raise TimeoutError("timed out")

    monkeypatch.setattr(paramiko.SSHClient, "connect", drop)
    host = Host("192.0.2.1", "me")
    with pytest.raises(LabNotRunning, match=r"nothing came back within 10 s, .*a firewall drops what is sent to port 22; see"):
        host.run("true")
    seen = host.look()
    assert seen["state"] == "halted" and seen["why"].endswith("a firewall drops what is sent to port 22")


def test_a_connection_that_died_between_two_commands_is_replaced(machine, host):
    host.run("true")
    machine.cut()
    assert host.run("echo again") == "again\n"


def test_a_connection_that_dies_under_a_command_is_reported(machine, host):
    host.run("true")
    threading.Timer(0.5, machine.cut).start()
    with pytest.raises(LabNotRunning, match="the SSH connection broke during 'sleep 20'"):
        host.run("sleep 20")
    assert host.run("echo again") == "again\n"


def test_a_machine_that_is_gone_between_two_commands_is_not_running(machine, host):
    host.run("true")
    machine.close()
    with pytest.raises(LabNotRunning, match="does not answer on SSH .*see 'fab status'"):
        host.run("true")


def test_two_threads_share_one_connection(machine, host):
    results = []
    threads = [threading.Thread(target=lambda: results.append(host.run("echo x"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == ["x\n"] * 8
    assert len(machine.transports) == 1
