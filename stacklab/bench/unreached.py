"""`telling_why`: where a load met nobody, what SSH, which does get through, can say of the reason."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from stacklab.errors import LabError, LoadError
from stacklab.labs.host import Host

OUT_OF_DATE = re.compile(r"certificate (is not yet valid|has expired)")  # OpenSSL's words
SILENCE = re.compile(r"not one .*\b(TimeoutError|timed out)")
CLOCKS_AGREE_S = 3600


@contextmanager
def telling_why(host: Host) -> Iterator[None]:
    """Adds to a LoadError of the block what explains it, if that can be known."""
    try:
        yield
    except LoadError as error:
        why = ""
        try:
            why = reason(error.args[0], host)
        except LabError:
            pass  # it is gone altogether, which is another story than the one to be told
        if not why:
            raise
        raise LoadError(f"{error.args[0]} {why}", log=error.log) from error


def reason(words: str, host: Host) -> str:
    """What is behind these words of a load's; nothing if that is not known."""
    if out := OUT_OF_DATE.search(words):
        here_s, there_s = time.time(), float(host.run("date +%s"))
        clocks = f"The clock here shows {_date(here_s)}, and the lab's {_date(there_s)}"
        if abs(here_s - there_s) < CLOCKS_AGREE_S and out[1] == "is not yet valid":
            return (
                f"{clocks}, so the certificate was made when the lab's clock was ahead. Remove /etc/stacklab/tls there; 'fab "
                "provision' then makes it anew, by a new CA."
            )
        if abs(here_s - there_s) < CLOCKS_AGREE_S:
            return f"{clocks}, so the certificate has indeed run out: 'fab provision' makes it anew."
        days = abs(here_s - there_s) / 86_400
        apart = f"{days:.0f} days" if days >= 2 else f"{days * 24:.0f} hours"
        return (
            f"{clocks}, {apart} apart, and certificates go by clocks: set the wrong one right "
            "('sudo timedatectl set-ntp true', or 'sudo date -s …'), then try again; nothing else need be changed."
        )
    if SILENCE.search(words):
        return (
            f"SSH reaches {host.address}, and nothing comes back from {host.url}, not even a no: a firewall drops it. Look at "
            "those of the web host ('sudo nft list ruleset', 'sudo ufw status'), of this computer, and of the cloud between."
        )
    return ""


def _date(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"
