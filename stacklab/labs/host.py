"""`Host`: one machine reachable over SSH. Nothing else in the package opens a connection to a machine."""

from __future__ import annotations

import logging
import shlex
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from stacklab.errors import HostError, HostRefused, LabNotRunning

if TYPE_CHECKING:
    from fabric import Connection

CONNECT_TIMEOUT_S = 10
# A machine that vanished without a word (halted hard, cable pulled) is noticed after about so long.
KEEPALIVE_S = 10
SILENCE_S = 30

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")  # of a kernel: containers of one computer have the same

# Replaces the file only when its text differs, and then in one step: a reader never sees half of it.
WRITE = """set -e
new=$(mktemp "$(dirname {path})/.stacklab.XXXXXX")
trap 'rm -f "$new"' EXIT
cat > "$new"
if cmp -s "$new" {path}; then exit 0; fi
chmod {mode:o} "$new"
mv "$new" {path}
echo changed"""


class Stream:
    """A command that runs on a host: an iterable of the lines of text it prints.

    `send` writes to its standard input, `close` ends that input (the command sees the end of the file).
    """

    def __init__(self, channel):
        self._channel = channel
        self._stdin = channel.makefile_stdin("wb", 0)
        self._stderr: list[bytes] = []
        self._reader = threading.Thread(target=self._read_stderr, daemon=True)
        self._reader.start()

    def _read_stderr(self) -> None:
        while True:
            try:
                chunk = self._channel.recv_stderr(65536)
            except TimeoutError:  # `run` has set a limit for the silence of the command's output, not for this
                continue
            if not chunk:
                return
            self._stderr.append(chunk)

    def __iter__(self) -> Iterator[str]:
        with self._channel.makefile("r", -1) as lines:
            for line in lines:
                yield line.rstrip("\n")

    def send(self, text: str) -> None:
        """Write `text` to the command's standard input."""
        self._stdin.write(text.encode())

    def close(self) -> None:
        """End the command's standard input; a well-behaved command stops then."""
        self._channel.shutdown_write()

    @property
    def ended(self) -> bool:
        """Whether the command has ended, or the connection to it has broken."""
        return self._channel.closed or self._channel.exit_status_ready()

    def wait(self) -> int:
        """The command's exit code, once it has ended (-1 if the connection broke first)."""
        return self._channel.recv_exit_status()

    @property
    def stderr(self) -> str:
        """What the command has written to its standard error so far."""
        return b"".join(self._stderr).decode(errors="replace")


def _load_host_keys(keys, path: Path) -> None:
    """The keys of a known_hosts file; lines that paramiko cannot read (@cert-authority, a broken one) are passed over."""
    from paramiko.hostkeys import HostKeyEntry

    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        try:
            entry = HostKeyEntry.from_line(line)
        except Exception:  # paramiko raises what it likes here, and OpenSSH only passes such a line over
            continue
        for name in entry.hostnames if entry and not line.startswith(("#", "@")) else ():
            keys.add(name, entry.key.get_name(), entry.key)


def _refuse_unknown(where: str, known_hosts: Path):
    """A policy for host keys that are not known: never learned on first sight."""
    import paramiko

    class Refuse(paramiko.MissingHostKeyPolicy):
        def missing_host_key(self, client, hostname, key):
            raise HostRefused(
                f"{where}: its host key ({key.get_name()}, {key.fingerprint}) is not in {known_hosts}, so it is not known "
                "who answers; log in once with 'ssh', and compare this fingerprint with the machine's own before you accept it"
            )

    return Refuse()


class Host:
    """One machine: `run`, `write`, `put`, `get`, `stream`. Connects when first used.

    The host's key must already be known: in `known_hosts_path`, or in the user's own known_hosts
    where that is None. An unknown or changed key is refused, never accepted on first sight. With `agent` the user's
    agent and other keys may let us in beside `key_path`. Neither SSH's nor Fabric's configuration is read: no proxy, no
    gateway, no other user comes from there.
    Errors: HostRefused if it will not have us or is another machine, LabNotRunning if it cannot be reached, HostError if
    a command fails there.
    """

    def __init__(
        self,
        address: str,
        user: str,
        port: int = 22,
        *,
        key_path: Path | None = None,
        known_hosts_path: Path | None = None,
        agent: bool = False,
        name: str = "",
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
    ):
        self.address, self.user, self.port = address, user, port
        self.key_path, self.known_hosts_path = key_path, known_hosts_path
        self.agent = agent
        self.name = name or address
        self.connect_timeout_s = connect_timeout_s
        self._connection: Connection | None = None
        self._opening = threading.Lock()  # a sampler may use the host from a thread of its own

    def __repr__(self) -> str:
        return f"Host({self.user}@{self.address}:{self.port})"

    @property
    def url(self) -> str:
        """Where the site answers."""
        return f"https://{self.address}"

    def _open(self) -> Connection:
        """The connection, opened when it is first needed or was lost."""
        with self._opening:
            if self._connection is None or not self._connection.is_connected:
                self._connection = self._connect()
            return self._connection

    def _connect(self) -> Connection:
        import paramiko
        from fabric import Config, Connection

        # What goes wrong is in the error we raise; paramiko's own log would print a traceback above it.
        logging.getLogger("paramiko").setLevel(logging.CRITICAL)
        keys = {"pkey": self._key()} if self.key_path else {}
        if self.key_path and not self.agent:
            keys |= {"look_for_keys": False, "allow_agent": False}
        connection = Connection(
            self.address, user=self.user, port=self.port, connect_timeout=self.connect_timeout_s, connect_kwargs=keys,
            config=Config(lazy=True, ssh_config=paramiko.SSHConfig()),  # neither ~/.fabric.yaml nor ~/.ssh/config
        )
        where = f"{self.user}@{self.address}:{self.port}"
        known_hosts = self.known_hosts_path or Path("~/.ssh/known_hosts").expanduser()
        _load_host_keys(connection.client.get_host_keys(), known_hosts)
        connection.client.set_missing_host_key_policy(_refuse_unknown(where, known_hosts))
        try:
            connection.open()
        except paramiko.BadHostKeyException as error:
            raise HostRefused(
                f"{where} shows another host key than the one pinned: it is not the machine it was. "
                "If you rebuilt it, remove its old key; otherwise do not go on."
            ) from error
        except (paramiko.AuthenticationException, paramiko.PasswordRequiredException) as error:
            raise HostRefused(f"{where} does not accept our key ({error}); check the user name and the key") from error
        except (OSError, EOFError, paramiko.SSHException) as error:
            if "No authentication methods available" in str(error):
                raise HostRefused(f"{where} does not accept our key: there is none to try") from error
            raise LabNotRunning(f"{where} does not answer on SSH ({error}); see 'fab status'") from error
        connection.transport.set_keepalive(KEEPALIVE_S)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux; elsewhere TCP itself gives up, after many minutes
            connection.transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SILENCE_S * 1000)
        return connection

    def _key(self):
        import paramiko

        try:
            return paramiko.PKey.from_path(self.key_path)
        except (OSError, TypeError, ValueError, paramiko.SSHException, paramiko.pkey.UnknownKeyType) as error:
            if self.agent:  # which may hold it, opened with its passphrase
                return None
            raise LabNotRunning(f"the SSH key {self.key_path} of {self.name} cannot be used ({error})") from error

    def _session(self):
        """A channel for one command. A connection that had died meanwhile is replaced once: nothing was sent on it."""
        import paramiko

        reused = self._connection is not None
        try:
            return self._open().transport.open_session(timeout=self.connect_timeout_s)
        except (paramiko.SSHException, EOFError, OSError) as error:
            refused = isinstance(error, paramiko.ChannelException)  # by a connection that lives
            if refused or not reused:
                raise
        self.close()
        return self._open().transport.open_session(timeout=self.connect_timeout_s)

    def _start(self, command: str, sudo: bool):
        import paramiko

        line = f"sudo -n -- sh -c {shlex.quote(command)}" if sudo else command
        try:
            channel = self._session()
            channel.exec_command(line)
        except (paramiko.SSHException, EOFError, OSError) as error:
            self.close()
            raise LabNotRunning(
                f"{self.name}: the SSH connection broke ({error}); try again, or look with 'fab status'"
            ) from error
        return channel

    def run(
        self, command: str, sudo: bool = False, timeout_s: float = 60, input: str | bytes | None = None, check: bool = True
    ) -> str:
        """Run a shell command and return its standard output; `input` is its standard input.

        Raises HostError with the command's standard error if it fails (unless `check` is off)
        or takes longer than `timeout_s`, LabNotRunning if the connection breaks.
        """
        channel = self._start(command, sudo)
        channel.settimeout(timeout_s)
        stream = Stream(channel)
        try:
            if input:
                channel.sendall(input.encode() if isinstance(input, str) else input)
            channel.shutdown_write()
            output = b"".join(iter(lambda: channel.recv(65536), b"")).decode(errors="replace")
        except TimeoutError as error:
            channel.close()
            raise HostError(f"{self.name}: '{command}' took longer than {timeout_s:g} s", command=command) from error
        except OSError as error:
            raise LabNotRunning(f"{self.name}: the SSH connection broke during '{command}'; look with 'fab status'") from error
        exit_code = stream.wait()
        stream._reader.join(timeout=1)
        if exit_code == -1:
            raise LabNotRunning(f"{self.name}: the SSH connection broke during '{command}'; look with 'fab status'")
        if check and exit_code != 0:
            words = stream.stderr.strip() or output.strip()
            raise HostError(
                f"{self.name}: '{command}' failed with exit code {exit_code}: {words}",
                command=command, exit_code=exit_code, stderr=words,
            )
        return output

    def write(self, path: str, text: str, mode: int = 0o644, sudo: bool = True) -> bool:
        """Make the file `path` hold `text`. True if that changed it."""
        return self.run(WRITE.format(path=shlex.quote(path), mode=mode), sudo=sudo, input=text).strip() == "changed"

    def put(self, local: Path, remote: str, sudo: bool = False) -> None:
        """Copy the local file to the path `remote` on the host."""
        self.run(f"cat > {shlex.quote(remote)}", sudo=sudo, timeout_s=600, input=Path(local).read_bytes())

    def get(self, remote: str, local: Path, sudo: bool = False) -> None:
        """Copy the file `remote` on the host to the local path."""
        with self.stream(f"cat {shlex.quote(remote)}", sudo=sudo) as stream, open(local, "wb") as file:
            stream.close()
            while chunk := stream._channel.recv(65536):
                file.write(chunk)
            if stream.wait() != 0:
                raise HostError(f"{self.name}: cannot read {remote}: {stream.stderr.strip()}", stderr=stream.stderr)

    @contextmanager
    def stream(self, command: str, sudo: bool = False) -> Iterator[Stream]:
        """Run a command whose lines are read while it runs. Leaving the block ends its input and closes the channel."""
        stream = Stream(self._start(command, sudo))
        try:
            yield stream
        finally:
            stream._channel.close()

    def is_on_this_computer(self) -> bool:
        """Does it run by this computer's own kernel, as containers do, and so take CPU from what else runs here?"""
        return BOOT_ID.exists() and self.run(f"cat {BOOT_ID}").strip() == BOOT_ID.read_text().strip()

    def close(self) -> None:
        """Close the connection; the next use opens a new one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
