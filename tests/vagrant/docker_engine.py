"""An engine of Docker's for the tests alone: beside one that somebody runs, away from its images, and from the firewall."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import psutil
from here import wait_until

BASE = "stacklab-base:trixie"
SUDO = [] if os.geteuid() == 0 else ["sudo", "-n"]
PATIENCE_S = 60
# A root much like Debian's own image, with what this computer trusts beyond Debian, as behind an inspecting proxy.
TRUST = (
    'mkdir -p "$1/usr/local/share/ca-certificates"; '
    'cp /usr/local/share/ca-certificates/*.crt "$1/usr/local/share/ca-certificates/" 2>/dev/null || true; '
    'chroot "$1" update-ca-certificates'
)


class Engine:
    """`start` it, give `environment` to whoever shall use it, and `stop` it by its process id.

    No rule goes into the firewall and nothing is forwarded, so its containers reach each other and this computer, and
    nothing beyond: what works in them needs no network.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._process: subprocess.Popen | None = None
        self._limited = False

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "DOCKER_HOST": f"unix://{self.folder}/docker.sock"}

    def start(self) -> None:
        """Returns once it answers; RuntimeError with its last words if it does not."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / "log", "a") as log:
            self._process = subprocess.Popen(
                [
                    *SUDO, "env", f"PATH={os.environ['PATH']}:/usr/sbin:/sbin", "dockerd",
                    f"--data-root={self.folder}/data", f"--exec-root={self.folder}/exec", f"--pidfile={self.folder}/pid",
                    f"--host=unix://{self.folder}/docker.sock", f"--group={os.getgid()}", "--bridge=none", "--iptables=false",
                    "--ip6tables=false", "--ip-forward=false", "--ip-masq=false",
                    "--containerd-namespace=stacklab-test", "--containerd-plugins-namespace=stacklab-test-plugins",
                ],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        end = time.monotonic() + PATIENCE_S
        while not self.answers():
            if self._process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"dockerd does not start: {(self.folder / 'log').read_text()[-2000:]}")
            time.sleep(0.2)

    def answers(self) -> bool:
        return subprocess.run(["docker", "version"], env=self.environment, capture_output=True).returncode == 0

    def docker(self, *words: str) -> str:
        return subprocess.run(["docker", *words], env=self.environment, check=True, capture_output=True, text=True).stdout

    def limit(self, size: str) -> None:
        """Its data are on a disk of `size`, such as "600m", in memory. Before it starts; later for another size."""
        data = self.folder / "data"
        data.mkdir(parents=True, exist_ok=True)
        options = f"{'remount,' if self._limited else ''}size={size},mode=711"
        subprocess.run([*SUDO, "mount", "-t", "tmpfs", "-o", options, "tmpfs", data], check=True)
        self._limited = True

    def stop(self) -> None:
        """Its containers stop with it, and stay."""
        if self._process is None:
            return
        subprocess.run([*SUDO, "kill", (self.folder / "pid").read_text()], check=False)
        self._process.wait(PATIENCE_S)
        self._process = None

    def kill(self) -> None:
        """As `kill -9` does it: its containers stop when it starts again.

        It takes its containerd with it, a moment later; an engine that starts in between takes that for a living one,
        waits for it in vain, and gives up.
        """
        pid_file = self.folder / "exec/containerd/containerd.pid"
        containerd = subprocess.run([*SUDO, "cat", pid_file], check=True, capture_output=True, text=True).stdout
        subprocess.run([*SUDO, "kill", "-KILL", (self.folder / "pid").read_text()], check=True)
        self._process.wait(PATIENCE_S)
        self._process = None
        wait_until(lambda: not psutil.pid_exists(int(containerd)), "its containerd is gone")

    def make_base(self) -> None:
        """The base that `debian:trixie` would be: made from Debian's packages, since no registry is asked here."""
        root = self.folder / "base.tar"
        subprocess.run(
            [*SUDO, "mmdebstrap", "--quiet", "--variant=minbase", "--include=ca-certificates", f"--customize-hook={TRUST}",
             *(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "man", "locale")), "trixie", str(root)],
            check=True, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        self.docker("import", str(root), BASE)
        root.unlink()

    def remove(self) -> None:
        """Stop it, and leave nothing of it on this computer."""
        if self._process is None:
            self.start()
        for words in (("ps", "--all", "--quiet"), ("network", "ls", "--quiet", "--filter=type=custom")):
            for each in self.docker(*words).split():
                self.docker(*(("rm", "--force", "--volumes") if words[0] == "ps" else ("network", "rm")), each)
        self.stop()
        for mounted in ("exec/netns/default", "data"):  # (An engine binds its data, over and over where it was killed.)
            while subprocess.run([*SUDO, "umount", str(self.folder / mounted)], capture_output=True).returncode == 0:
                pass
        subprocess.run([*SUDO, "rm", "-rf", str(self.folder)], check=True)
