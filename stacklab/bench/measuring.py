"""`measuring`: one measurer a lab, from whichever checkout, computer or user: the lock lies on the web host.

A process there holds it for as long as the SSH channel to its desk lives and the desk is heard of: whoever dies, is
killed or cut off has thereby given it back. What stands in the locked file names who measures.
"""

from __future__ import annotations

import getpass
import json
import os
import shlex
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from stacklab.errors import HostError, LabError
from stacklab.files import ROOT
from stacklab.labs.host import Host, Stream

LOCK = "/run/stacklab-measuring"
HEARTBEAT_S = 5.0
SILENCE_S = 60  # a desk that says nothing for so long is gone, though nobody told

# Its first line in says who asks. Its first line out is "held", or for how many seconds somebody else, named in the
# second, has had the lab.
HOLD = r"""umask 022
IFS= read -r who
exec 9<>{lock}
if ! flock -w 1 9; then
    echo $(($(date +%s) - $(stat -c %Y {lock})))
    exec cat {lock}
fi
printf "%s\n" "$who" > {lock}
echo held
while read -r -t {silence_s} _; do :; done"""

# The same two lines, or nothing. (Shared, and for a moment: a look keeps nobody out, who waits a second.)
LOOK = """[ ! -e {lock} ] || flock --nonblock --shared {lock} true || {{
    echo $(($(date +%s) - $(stat -c %Y {lock})))
    cat {lock}
}}"""


def who(what: str) -> str:
    """Who measures what from where, as one line of JSON."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user id without a name
        user = str(os.getuid())
    return json.dumps({"what": what, "user": user, "desk": socket.gethostname(), "checkout": str(ROOT)})


def by_whom(subject: str, record: str, seconds: str = "") -> str:
    """One line that says who measures `subject`; `record` is what `who` gave."""
    try:
        named = json.loads(record)
        by = f" by {named['user']} on {named['desk']} from {named['checkout']} ({named['what']})"
    except (ValueError, KeyError, TypeError):  # it has only just begun, or is another version's
        by = ""
    return " ".join(f"{subject} is being measured{by}{f', for {seconds} s now' if seconds else ''}".split())


def measured_by(host: Host) -> str | None:
    """One line that says who measures the host now; None if nobody does."""
    seconds, *record = host.run(LOOK.format(lock=LOCK)).splitlines() or [None]
    return by_whom(f"the lab {host.name}", "".join(record), seconds) if seconds else None


@contextmanager
def measuring(host: Host, what: str) -> Iterator[Hold]:
    """The host is ours to measure while the block runs; LabError, which names who measures, if it is somebody else's."""
    hold = Hold(host, who(what))
    hold.take()
    heart = threading.Thread(target=hold.beat, daemon=True)
    heart.start()
    try:
        yield hold
    finally:
        hold.give_back()
        heart.join()


class Hold:
    """The right to measure a host. Made by `measuring`."""

    def __init__(self, host: Host, record: str):
        self._host, self._record = host, record
        self._stream: Stream | None = None
        self._channel, self._over = ExitStack(), threading.Event()

    @property
    def lost(self) -> bool:
        """Whether the connection that held the host has broken, so that it may be anybody's by now."""
        return self._stream is None or self._stream.ended

    @property
    def problems(self) -> list[str]:
        """What a run during which it was lost has to say of that."""
        return ["The connection that kept others from measuring this lab broke during the run."] if self.lost else []

    def take(self) -> None:
        """Hold the host, again where that was lost. LabError, which names who measures, if it is somebody else's."""
        if not self.lost:
            return
        self._channel.close()
        command = shlex.quote(HOLD.format(lock=LOCK, silence_s=SILENCE_S))
        stream = self._channel.enter_context(self._host.stream(f"exec bash -c {command}", sudo=True))
        stream.send(self._record + "\n")
        self._lines = iter(stream)  # kept: with it goes the channel's file
        answer = next(self._lines, "")
        if answer == "held":
            self._stream = stream
            return
        record = next(self._lines, "")
        self._channel.close()
        if not answer:
            raise HostError(f"{self._host.name} cannot be kept from others: {stream.stderr.strip()}", stderr=stream.stderr)
        raise LabError(f"{by_whom(f'the lab {self._host.name}', record, answer)}; wait for it to end")

    def beat(self) -> None:
        """Tell the host now and then that we live, until the host is given back."""
        while not self._over.wait(HEARTBEAT_S):
            try:
                self._stream.send("\n")
            except OSError:
                pass  # it is lost, as whoever looks will find

    def give_back(self) -> None:
        """Anybody may measure the host from now on."""
        self._over.set()
        self._channel.close()
