"""A classroom lab for the test: a clean clone of the project, its own subnet and ports, libvirt by emulation or KVM."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from stacklab import computer, doctor

ROOT = Path(__file__).resolve().parents[2]
LIBVIRT = ROOT / "tests" / "vagrant" / "libvirt-here"
BOXES = ROOT / "build" / "boxes"
JUPYTER_PORT, SITE_PORT = 18888, 18443
WEB = "192.168.60.10"


class StepFailed(AssertionError):
    """A command of the test failed; the message is what it printed."""


def run(*command: str | Path, timeout_s: float = 1800, **options) -> str:
    """What `command` prints (both streams). StepFailed with its last lines if it fails."""
    done = subprocess.run(
        [str(word) for word in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        stdin=subprocess.DEVNULL,
        timeout=timeout_s,
        **options,
    )
    text = "\n".join(line for line in re.split(r"[\r\n]+", done.stdout) if "Progress:" not in line)
    if done.returncode != 0:
        raise StepFailed(f"{' '.join(map(str, command))} failed with exit code {done.returncode}:\n{text[-6000:]}")
    return text


def stolen_s() -> float:
    """CPU time that this computer, if it is itself a virtual machine, wanted and did not get: steal in /proc/stat."""
    return getattr(psutil.cpu_times(), "steal", 0.0)


@dataclass
class ClassroomLab:
    """`vagrant` in a clean clone. `times_s` is the transcript: how long each command took."""

    folder: Path
    vagrant_home: Path
    times_s: dict[str, float] = field(default_factory=dict)

    @classmethod
    def make(cls, folder: Path) -> ClassroomLab:
        """Clone HEAD into `folder`, on a subnet that no lab in use has."""
        run("git", "clone", "--quiet", ROOT, folder)
        vagrantfile = folder / "Vagrantfile"
        vagrantfile.write_text(vagrantfile.read_text().replace('"192.168.56.', '"192.168.60.'))
        return cls(folder, folder.parent / "vagrant-home")

    @property
    def environment(self) -> dict[str, str]:
        kvm = doctor.diagnose(
            computer.Facts(
                providers={"libvirt": ""},
                libvirt="usable",
                vagrant="2.3.4",
                kvm=computer.try_kvm(),
                virtualization=computer.has_virtualization("Linux"),
            )
        )
        works = all(finding.state == "ok" for finding in kvm if finding.check == "virtualisation")
        return {
            **os.environ,
            "VAGRANT_HOME": str(self.vagrant_home),
            "VAGRANT_DEFAULT_PROVIDER": "libvirt",
            "VAGRANT_NO_COLOR": "1",
            "STACKLAB_LIBVIRT_DRIVER": "kvm" if works else "qemu",
            "STACKLAB_JUPYTER_PORT": str(JUPYTER_PORT),
            "STACKLAB_SITE_PORT": str(SITE_PORT),
            "STACKLAB_LAB": "vagrant",
        }

    def build_box(self) -> Path:
        """The offline box, built unless it is there, in the clone's folder as a teacher would put it."""
        BOXES.mkdir(parents=True, exist_ok=True)
        self._timed("box", ROOT / "provision/box/build", BOXES)
        box = max(BOXES.glob("stacklab-*-libvirt-amd64.box"), key=lambda path: path.stat().st_mtime)
        shutil.copy(box, self.folder)
        return box

    def vagrant(self, *words: str, timed: str | None = None, timeout_s: float = 1800) -> str:
        command = ("vagrant", *words)
        if timed:
            return self._timed(timed, *command, timeout_s=timeout_s, cwd=self.folder, env=self.environment)
        return run(*command, timeout_s=timeout_s, cwd=self.folder, env=self.environment)

    def fab(self, *words: str) -> str:
        """What the lab's own checkout prints of a task, on this computer."""
        return run(ROOT / ".venv/bin/fab", *words, cwd=self.folder, env={**self.environment, "PYTHONPATH": str(self.folder)})

    def on_desk(self, command: str, timed: str | None = None, timeout_s: float = 1800) -> str:
        """What `command` prints for the student on desk, in the folder that JupyterLab shows."""
        # With something left to do after the command, bash stays, and says so if a signal ended it.
        script = "sudo -u student -H bash -lc " + shlex.quote(f"cd ~/stacklab && {command}; exit $?")
        return self.vagrant("ssh", "desk", "--command", script, timed=timed, timeout_s=timeout_s)

    def on(self, machine: str, command: str) -> str:
        return self.vagrant("ssh", machine, "--command", command)

    def _timed(self, name: str, *command, **options) -> str:
        start, stolen_before_s = time.monotonic(), stolen_s()
        try:
            return run(*command, **options)
        finally:
            self.times_s[name] = time.monotonic() - start
            stolen = (stolen_s() - stolen_before_s) / (self.times_s[name] * psutil.cpu_count())
            print(f"\n{name}: {self.times_s[name]:.0f} s ({stolen:.0%} of this computer's CPUs were others')", flush=True)

    def leftovers(self) -> str:
        """What libvirt still has of this lab: domains, volumes, networks."""
        prefix = self.folder.name
        lists = (("list", "--all", "--name"), ("vol-list", "default"), ("net-list", "--all", "--name"))
        lines = [line for words in lists for line in run("virsh", "-c", "qemu:///system", *words).splitlines()]
        return "\n".join(line for line in lines if line.strip().startswith(prefix))

    def clean(self) -> None:
        """Leave nothing behind, whatever state the test ended in."""
        run("vagrant", "destroy", "--force", cwd=self.folder, env={**self.environment, "STACKLAB_DISCARD_WORK": "1"})
        volumes = run("virsh", "-c", "qemu:///system", "vol-list", "default")
        for name in re.findall(r"^\s*(stacklab-\w+-libvirt-amd64_vagrant_box_image\S*)", volumes, re.MULTILINE):
            run("virsh", "-c", "qemu:///system", "vol-delete", name, "--pool", "default")
