"""`KnownHosts`: by which key a machine is known, and why one that shows another is refused."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from stacklab.errors import HostRefused, Refusal


class KnownHosts:
    """What known_hosts files say of the machine at `name`: `keys` that are its own, and those that are `revoked`.

    As OpenSSH reads it: names may be patterns or hashed, and a line that cannot be read (or is a certificate authority's,
    whose certificates nobody here shows) is passed over.
    """

    def __init__(self, paths: Sequence[Path], name: str):
        self.files, self.name = " or ".join(map(str, paths)), name
        self.keys, self.revoked = [], []
        for path in paths:
            try:
                lines = path.read_text(errors="replace").splitlines()
            except OSError:
                continue
            for line in lines:
                self._read(line.strip())

    def _read(self, line: str) -> None:
        from paramiko.hostkeys import HostKeyEntry

        marker, *rest = line.split(None, 1) if line.startswith("@") else ("", line)
        try:
            entry = HostKeyEntry.from_line("".join(rest))
            if entry and marker in ("", "@revoked") and self._is_meant(entry.hostnames):
                (self.revoked if marker else self.keys).append(entry.key)
        except Exception:  # paramiko raises what it likes here
            return

    def _is_meant(self, patterns: list[str]) -> bool:
        from paramiko import HostKeys

        def fits(pattern: str) -> bool:
            if pattern.startswith("|1|"):
                return HostKeys.hash_host(self.name, pattern) == pattern
            return bool(re.fullmatch(re.escape(pattern).replace(r"\*", ".*").replace(r"\?", "."), self.name, re.IGNORECASE))

        return any(map(fits, patterns)) and not any(fits(pattern[1:]) for pattern in patterns if pattern.startswith("!"))

    def refusal(self, where: str, key) -> HostRefused:
        """Why a machine that shows `key`, which is none of its own, is not taken for the one that is meant."""
        which = f"({key.get_name()}, {key.fingerprint})"
        shown = f"{where}: its host key {which}"
        if key in self.revoked:
            return HostRefused(f"{shown} is marked as revoked in {self.files}: do not go on", Refusal.REVOKED_KEY)
        if self.keys:
            return HostRefused(
                f"{where} shows another host key than the one pinned in {self.files} {which}: it is not "
                "the machine it was. If you rebuilt it, remove its old key; otherwise do not go on.",
                Refusal.CHANGED_KEY,
            )
        return HostRefused(
            f"{shown} is not in {self.files}, so it is not known who answers; log in once with 'ssh', and compare this "
            "fingerprint with the machine's own before you accept it",
            Refusal.UNKNOWN_KEY,
        )

    def pin(self, client, where: str) -> None:
        """Have the SSH client take these keys and no others, and learn none on first sight."""
        import paramiko

        class Refuse(paramiko.MissingHostKeyPolicy):
            def missing_host_key(_, client, hostname, key):
                raise self.refusal(where, key)

        for key in self.keys:
            if key not in self.revoked:
                client.get_host_keys().add(self.name, key.get_name(), key)
        client.set_missing_host_key_policy(Refuse())
