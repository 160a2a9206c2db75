"""The classroom lab by libvirt: KVM where it works, QEMU's emulation elsewhere."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from functools import cached_property
from pathlib import Path

from classroom_lab import ROOT, ClassroomLab, run

LIBVIRT = ROOT / "tests" / "vagrant" / "libvirt-here"
BOXES = ROOT / "build" / "boxes"
VIRSH = ("virsh", "-c", "qemu:///system")


class LibvirtLab(ClassroomLab):
    provider = "libvirt"
    shares_cpus = False
    extra_notebooks = ("en/08_when_things_break",)

    @classmethod
    def make(cls, folder: Path) -> LibvirtLab:
        """With libvirt running, started here where no systemd does it."""
        made = super().make(folder)
        made.libvirt_is_ours = not Path("/run/systemd/system").exists() and not Path("/run/stacklab-libvirt").exists()
        if made.libvirt_is_ours:
            run(LIBVIRT, "start")
        return made

    @property
    def environment(self) -> dict[str, str]:
        return {**super().environment, "STACKLAB_LIBVIRT_DRIVER": self.driver}

    @cached_property
    def driver(self) -> str:
        asked = subprocess.run(
            ["vagrant", "doctor", "--json"], cwd=self.folder, env=super().environment, capture_output=True, text=True
        )
        works = {"check": "virtualisation", "state": "ok", "what": "KVM works", "todo": ""} in json.loads(asked.stdout)
        return "kvm" if works else "qemu"

    def build_box(self) -> Path:
        """The offline box, built unless it is there, in the clone's folder as a teacher would put it."""
        BOXES.mkdir(parents=True, exist_ok=True)
        self._timed("box", "bash", ROOT / "provision/box/build", BOXES)
        box = max(BOXES.glob("stacklab-*-libvirt-amd64.box"), key=lambda path: path.stat().st_mtime)
        shutil.copy(box, self.folder)
        return box

    def cut(self) -> None:
        """The machines lose their way to the outside."""
        run(LIBVIRT, "cut")

    def leftovers(self) -> str:
        """What libvirt still has of this lab: domains, volumes, networks."""
        lists = (("list", "--all", "--name"), ("vol-list", "default"), ("net-list", "--all", "--name"))
        lines = [line for words in lists for line in run(*VIRSH, *words).splitlines()]
        return "\n".join(line for line in lines if line.strip().startswith(self.folder.name))

    def clean(self) -> None:
        """Leave nothing behind, whatever state the test ended in."""
        run("vagrant", "destroy", "--force", cwd=self.folder, env={**self.environment, "STACKLAB_DISCARD_WORK": "1"})
        volumes = run(*VIRSH, "vol-list", "default")
        for name in re.findall(r"^\s*(stacklab-\w+-libvirt-amd64_vagrant_box_image\S*)", volumes, re.MULTILINE):
            run(*VIRSH, "vol-delete", name, "--pool", "default")
        run(LIBVIRT, "mend")
        if self.libvirt_is_ours:
            run(LIBVIRT, "stop")
