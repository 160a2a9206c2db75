"""`LocalHost`: a Host whose commands run on this computer, as the user who tests."""

import subprocess
from contextlib import contextmanager
from pathlib import Path


class LocalStream:
    def __init__(self, process):
        self._process = process
        self.stderr = ""

    def __iter__(self):
        return (line.rstrip("\n") for line in self._process.stdout)

    def send(self, text):
        self._process.stdin.write(text)
        self._process.stdin.flush()

    @property
    def ended(self):
        return self._process.poll() is not None


class LocalHost:
    name = "web"

    def run(self, command, sudo=False, **_):
        return subprocess.run(["sh", "-c", command], stdout=subprocess.PIPE, text=True, check=True).stdout

    def write(self, path, text, **_):
        Path(path).write_text(text)

    @contextmanager
    def stream(self, command, sudo=False):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        process = subprocess.Popen(["sh", "-c", command], **pipes)
        try:
            yield LocalStream(process)
        finally:
            process.stdin.close()
            process.wait(10)
            process.stdout.close()
