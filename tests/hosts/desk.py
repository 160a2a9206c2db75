"""`Desk`: a fresh Debian in a container, with a user who may use sudo, a checkout and a way out, as a person has it.

It boots its own systemd, and the container lab boots within it. Its network is its own (slirp4netns): no rule, route
or setting of this computer changes. Needs root.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from stacklab.errors import LabError
from stacklab.files import ROOT
from stacklab.labs import nspawn, storage
from stacklab.labs.storage import remove_tree, run

SUITES = {"12": "bookworm", "13": "trixie", "testing": "testing"}
DESKS = storage.STATE / "desks"
BASE_DAYS = 7  # so long a fresh Debian is kept
BOOT_S = 60
STEP_S = 3600

# What somebody's Debian has before they clone this project.
PACKAGES = "ca-certificates,dbus,make,python3,sudo,systemd-sysv"
NOT_COPIED = ("./.venv", "./.git", "./.vagrant", "./results", "./build", "./exports", "./work", "./*.box", "__pycache__")
CERTIFICATES = Path("/usr/local/share/ca-certificates")  # what this computer trusts beyond Debian, its desks must too
USER = "student"
CHECKOUT = f"/home/{USER}/stacklab"
PERSONALISE = f"""
useradd --create-home --shell /bin/bash {USER}
mkdir {CHECKOUT}
tar --extract --file=/checkout.tar --directory={CHECKOUT}
chown -R {USER}: /home/{USER}
echo '{USER} ALL=(ALL:ALL) NOPASSWD: ALL' > /etc/sudoers.d/{USER}
update-ca-certificates >/dev/null 2>&1
"""


@dataclass(frozen=True)
class Desk:
    """A desk of `release` 12, 13 or testing; what is done there is written to `log`."""

    release: str
    log: Path

    @property
    def name(self) -> str:
        """What nspawn and the cgroup go by."""
        return f"stackdesk-{self.release[:4]}"

    @property
    def folder(self) -> Path:
        """Everything of it but the base."""
        return DESKS / self.release

    @property
    def root(self) -> Path:
        """Its root directory."""
        return self.folder / "root"

    @contextmanager
    def booted(self) -> Iterator[None]:
        """It runs in the block; nothing of it is left afterwards. LabError if it does not boot."""
        network = None
        self._remove()
        try:
            self._make()
            nspawn.start(self.name, self.root, self.name, None, self.folder / "console.log")
            self._wait("does not boot", lambda: nspawn.leader(self.name))
            leader = str(nspawn.leader(self.name))
            network = subprocess.Popen(
                ["slirp4netns", "--configure", "--mtu=65520", "--disable-host-loopback", leader, "tap0"],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )
            self._wait("gets no network", lambda: "tap0" in Path("/proc", leader, "net/dev").read_text())
            self._wait("does not come up", lambda: self._enter("true").returncode == 0)
            yield
        finally:
            if network:
                network.terminate()
                network.wait()
            self._remove()

    def step(self, command: str) -> str:
        """What the user's `command`, typed in the checkout, prints; LabError, with its last words, if it fails.

        No dollar sign in it: systemd would put a variable of its own there.
        """
        began = time.monotonic()
        try:
            done = self._enter(command)
        except subprocess.TimeoutExpired as error:
            raise LabError(f"Debian {self.release}: '{command}' took more than {STEP_S} s") from error
        with open(self.log, "a") as log:
            log.write(f"$ {command}\n{done.stdout}({time.monotonic() - began:.0f} s)\n\n")
        if done.returncode:
            tail = "\n".join(done.stdout.splitlines()[-40:])
            raise LabError(f"Debian {self.release}: '{command}' ended with {done.returncode} ({self.log}):\n{tail}")
        return done.stdout

    def _enter(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run `command` there as the user, as a unit of the desk's own systemd."""
        # pip of Debian 12 does not ask the system whom to trust.
        unit = ["systemd-run", "--quiet", "--pipe", "--wait", f"--uid={USER}", f"--working-directory={CHECKOUT}",
                "--setenv=PIP_CERT=/etc/ssl/certs/ca-certificates.crt", "--setenv=COLUMNS=100"]
        return subprocess.run(
            ["nsenter", f"--target={nspawn.leader(self.name)}", "--all", *unit, "bash", "-lc", command],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
            timeout=STEP_S,
        )

    def _base(self) -> Path:
        """A tar of a fresh Debian; made if there is none, or an old one."""
        path = DESKS / f"{self.release}.tar"
        if not path.exists() or time.time() - path.stat().st_mtime > BASE_DAYS * 86400:
            new = self.folder / "base.tar"
            # A mirror that lags behind is no attack here. What it leaves where it is cut off goes with the folder.
            run(["env", f"TMPDIR={self.folder}", "mmdebstrap", "--variant=minbase", "--format=tar", f"--include={PACKAGES}",
                 '--aptopt=Acquire::Check-Valid-Until "false"', SUITES[self.release], str(new)],
                f"cannot make a Debian {self.release}")
            new.rename(path)
        return path

    def _make(self) -> None:
        self.root.mkdir(parents=True)
        run(["tar", "--extract", f"--file={self._base()}", f"--directory={self.root}", "--numeric-owner", "--xattrs",
             "--xattrs-include=*"], "cannot unpack the desk")
        run(["tar", "--create", f"--file={self.root}/checkout.tar", f"--directory={ROOT}",
             *(f"--exclude={name}" for name in NOT_COPIED), "."], "cannot copy the checkout")
        trusted = self.root / CERTIFICATES.relative_to("/")
        trusted.mkdir(parents=True, exist_ok=True)
        for certificate in CERTIFICATES.glob("*.crt"):
            (trusted / certificate.name).write_bytes(certificate.read_bytes())
        (self.root / "etc/hostname").write_text("desk\n")
        (self.root / "etc/hosts").write_text("127.0.0.1 localhost desk\n::1 localhost\n")
        (self.root / "etc/resolv.conf").unlink(missing_ok=True)
        (self.root / "etc/resolv.conf").write_text("nameserver 10.0.2.3\n")  # slirp4netns' own
        run(["chroot", str(self.root), "/bin/sh", "-euc", PERSONALISE], "cannot set up the desk")

    def _remove(self) -> None:
        nspawn.stop(self.name, self.root)
        remove_tree(self.folder)

    def _wait(self, complaint: str, ready: Callable[[], object]) -> None:
        deadline = time.monotonic() + BOOT_S
        while not ready():
            if time.monotonic() > deadline:
                console = (self.folder / "console.log").read_text(errors="replace")
                raise LabError(f"the desk of Debian {self.release} {complaint}; its last words:\n{console[-2000:]}")
            time.sleep(0.1)
