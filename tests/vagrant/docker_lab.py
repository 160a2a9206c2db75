"""The classroom lab by an engine of Docker's that is the test's own."""

from __future__ import annotations

from pathlib import Path

from classroom_lab import CannotRunHere, ClassroomLab
from docker_engine import BASE, Engine


class DockerLab(ClassroomLab):
    provider = "docker"
    shares_cpus = True
    extra_notebooks = ()  # those take minutes: make test-docker

    @classmethod
    def make(cls, folder: Path) -> DockerLab:
        made = super().make(folder)
        made.engine = Engine(folder.parent / "engine")
        try:
            made.engine.start()
        except (OSError, RuntimeError) as error:
            made.engine.stop()
            raise CannotRunHere(f"{error}; 'provision/needs lab test' installs what is missing") from error
        return made

    @property
    def environment(self) -> dict[str, str]:
        return {**super().environment, "DOCKER_HOST": self.engine.environment["DOCKER_HOST"], "STACKLAB_DOCKER_BASE": BASE}

    def build_box(self) -> Path:
        """The image file, in the clone's folder as a teacher would put it; the engine has to load it from there."""
        self.engine.make_base()
        self._timed("image and its file", "bash", self.folder / "provision/docker/build", self.folder, env=self.environment)
        (file,) = self.folder.glob("stacklab-*-docker-*.tar.zst")
        self.engine.docker("image", "rm", *self.engine.docker("images", "--quiet", "stacklab").split())
        return file

    def cut(self) -> None:
        """This engine's containers never had a way to the outside."""

    def leftovers(self) -> str:
        """What the engine still has of this lab."""
        lists = (("ps", "--all", "--quiet"), ("volume", "ls", "--quiet"), ("network", "ls", "--quiet", "--filter=type=custom"))
        return "".join(self.engine.docker(*words) for words in lists)

    def clean(self) -> None:
        """Leave nothing behind, whatever state the test ended in."""
        self.engine.remove()
