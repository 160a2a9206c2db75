"""`Host`: one machine reachable over SSH. Nothing else in the package opens a connection to a machine."""

from __future__ import annotations

import logging
import os
import shlex
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from stacklab.errors import HostError, HostRefused, LabNotRunning, Refusal
from stacklab.labs.knownhosts import KnownHosts

if TYPE_CHECKING:
    from fabric import Connection

USERS_KNOWN_HOSTS = (Path("~/.ssh/known_hosts"), Path("/etc/ssh/ssh_known_hosts"))  # OpenSSH's own
CONNECT_TIMEOUT_S = 10
LOOK_TIMEOUT_S = 5
SEE = "; see 'fab status'"
# A machine that vanished without a word (halted hard, cable pulled) is noticed after about so long.
KEEPALIVE_S = 10
SILENCE_S = 30
AGENT = threading.Lock()

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


@contextmanager
def _agent_at(place: bool | str) -> Iterator[None]:
    """Has paramiko, which takes this from the environment alone, ask the agent at `place`, if that is a socket's path."""
    if not isinstance(place, str):
        yield
        return
    with AGENT:
        before = {name: os.environ[name] for name in ("SSH_AUTH_SOCK",) if name in os.environ}
        os.environ["SSH_AUTH_SOCK"] = place
        try:
            yield
        finally:
            os.environ.pop("SSH_AUTH_SOCK")
            os.environ.update(before)


class Host:
    """One machine: `run`, `write`, `put`, `get`, `stream`. Connects when first used.

    The host's key must already be known: in `known_hosts_path`, or in the user's and the computer's own known_hosts where
    that is None. An unknown or changed key is refused, never accepted on first sight. With `agent` the user's agent (or
    the one whose socket it names) and other keys may let us in beside `key_path`. SSH goes through `gateway`, where one is
    given, which is held to its own key as well. `web_address` is where the site is asked, if that is elsewhere than SSH.
    Neither SSH's nor Fabric's configuration is read: no proxy, no gateway, no other user comes from there.
    Errors: HostRefused, with the reason, if it will not have us or is another machine; LabNotRunning if it cannot be
    reached; HostError if a command fails there.
    """

    def __init__(
        self,
        address: str,
        user: str,
        port: int = 22,
        *,
        key_path: Path | None = None,
        known_hosts_path: Path | None = None,
        agent: bool | str = False,
        name: str = "",
        gateway: Host | None = None,
        web_address: str = "",
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
    ):
        self.address, self.user, self.port = address, user, port
        self.key_path, self.known_hosts_path = key_path, known_hosts_path
        self.agent = agent
        self.name = name or address
        self.gateway = gateway
        self.web_address = web_address or address
        self.connect_timeout_s = connect_timeout_s
        self._connection: Connection | None = None
        self._opening = threading.Lock()  # a sampler may use the host from a thread of its own

    def __repr__(self) -> str:
        return f"Host({self.user}@{self.address}:{self.port})"

    @property
    def url(self) -> str:
        """Where the site answers."""
        return f"https://[{self.web_address}]" if ":" in self.web_address else f"https://{self.web_address}"

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
            gateway=self.gateway._open() if self.gateway else None,
            config=Config(lazy=True, ssh_config=paramiko.SSHConfig()),  # neither ~/.fabric.yaml nor ~/.ssh/config
        )
        where = f"{self.user}@{self.address}:{self.port}" + (f" (through {self.gateway.name})" if self.gateway else "")
        known_hosts = KnownHosts(
            [self.known_hosts_path] if self.known_hosts_path else [path.expanduser() for path in USERS_KNOWN_HOSTS],
            self.address if self.port == paramiko.config.SSH_PORT else f"[{self.address}]:{self.port}",
        )
        known_hosts.pin(connection.client, where)
        try:
            with _agent_at(self.agent):
                connection.open()
        except paramiko.BadHostKeyException as error:
            raise known_hosts.refusal(where, error.key) from error
        except paramiko.SSHException as error:
            said = str(error)
            if said == "No existing session":  # paramiko's words for a time limit that ended in the middle of its handshake
                said = f"{said}: it began to, and was not done in {self.connect_timeout_s:g} s; it is very busy"
            raise self._refused(where, error) or LabNotRunning(f"{where} does not answer on SSH ({said}){SEE}") from error
        except TimeoutError as error:
            raise LabNotRunning(
                f"{where} does not answer on SSH: nothing came back within {self.connect_timeout_s:g} s, not even a no. The "
                f"machine is off, its address is another, or a firewall drops what is sent to port {self.port}{SEE}"
            ) from error
        except (OSError, EOFError) as error:
            said = str(error) or "it broke the connection off"
            raise LabNotRunning(f"{where} does not answer on SSH ({said}){SEE}") from error
        connection.transport.set_keepalive(KEEPALIVE_S)
        connection.transport.channel_timeout = self.connect_timeout_s  # of a host behind this one; paramiko would wait an hour
        if hasattr(socket, "TCP_USER_TIMEOUT") and not self.gateway:  # Linux; elsewhere TCP itself gives up, after many minutes
            connection.transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SILENCE_S * 1000)
        return connection

    def _refused(self, where: str, error: Exception) -> HostRefused | None:
        """What it means that logging in ended in `error`: None if nobody has said no."""
        import paramiko

        if isinstance(error, paramiko.PasswordRequiredException):
            return HostRefused(
                f"{where} does not accept our key: one of yours has a passphrase ({error}); 'ssh-add' gives it to the agent",
                Refusal.UNUSABLE_KEY,
            )
        if isinstance(error, paramiko.AuthenticationException):
            said = f" ({error}); check the user name and the key"
        elif "No authentication methods available" in str(error):
            said = ": there is none to try"
        else:
            return None
        refused = HostRefused(f"{where} does not accept our key{said}", Refusal.WRONG_LOGIN)
        if self.key_path:
            try:
                self._read_key()
            except HostRefused as unusable:
                refused = HostRefused(f"{refused.args[0]}. And {unusable.args[0]}", unusable.why)
        return refused

    def _key(self):
        try:
            return self._read_key()
        except HostRefused:
            if self.agent:  # which may hold it, opened with its passphrase
                return None
            raise

    def _read_key(self):
        import paramiko

        try:
            return paramiko.PKey.from_path(self.key_path)
        except (OSError, TypeError, ValueError, paramiko.SSHException, paramiko.pkey.UnknownKeyType) as error:
            why = Refusal.NO_RIGHT if isinstance(error, PermissionError) else Refusal.UNUSABLE_KEY
            locked = isinstance(error, (paramiko.PasswordRequiredException, TypeError))
            do = f"; 'ssh-add {self.key_path}' gives it to the agent" if locked and self.agent else ""
            raise HostRefused(f"the SSH key {self.key_path} of {self.name} cannot be used ({error}){do}", why) from error

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

    def look(self) -> dict[str, str | None]:
        """Whether it answers and lets us in, as a lab's status says it: {"state", "why"}. Leaves no connection open."""
        try:
            self.run("true")
            return {"state": "running", "why": None}
        except HostRefused as refused:
            return refused.as_state()
        except LabNotRunning as silent:
            return {"state": "halted", "why": str(silent).removesuffix(SEE)}
        except HostError as error:  # let in, and not allowed to do anything
            return HostRefused(str(error), Refusal.WRONG_LOGIN).as_state()
        finally:
            self.close()

    def is_on_this_computer(self) -> bool:
        """Does it run by this computer's own kernel, as containers do, and so take CPU from what else runs here?

        A container of systemd-nspawn's is not told by this: it has a boot id of its own.
        """
        return BOOT_ID.exists() and self.run(f"cat {BOOT_ID}").strip() == BOOT_ID.read_text().strip()

    def close(self) -> None:
        """Close the connection; the next use opens a new one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self.gateway:
            self.gateway.close()
