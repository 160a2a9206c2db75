"""A real uWSGI with the site on it: a changed `listen` takes effect with a reload."""

import json
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from here import wait_until
from site_under_test import APP, site_environment

from stacklab.files import ROOT

UWSGI = Path(sys.executable).with_name("pyuwsgi")


def write_ini(folder: Path, listen: int, database: str = "sqlite") -> Path:
    ini = folder / "site.ini"
    ini.write_text(f"""[uwsgi]
master = true
processes = 1
socket = {folder}/uwsgi.sock
stats = {folder}/stats.sock
listen = {listen}
chdir = {APP}
module = config.wsgi
import = {ROOT}/provision/files/uwsgi_backlog.py
env = STACKLAB_DATABASE_SERVER={database}
import = {ROOT}/provision/files/uwsgi_environment.py
binary-path = {sys.executable}
""")
    return ini


def backlog(folder: Path) -> int | None:
    """The true backlog of the socket: Send-Q of a listening socket."""
    lines = subprocess.run(["ss", "-xlH", "src", f"{folder}/uwsgi.sock"], capture_output=True, text=True).stdout.split()
    return int(lines[3]) if lines else None


def is_ready(folder: Path) -> bool:
    """Whether the master answers, which opens its ears for signals and for this socket at the same time, and so its workers: one
    that is told to end before it accepts requests does not hear it, and is waited for as long as uWSGI's mercy lasts, 60 s.
    """
    with socket.socket(socket.AF_UNIX) as stats:
        try:
            stats.connect(str(folder / "stats.sock"))
            told = json.load(stats.makefile("rb"))
        except (OSError, ValueError):
            return False
    return all(worker["accepting"] for worker in told["workers"])


@pytest.mark.skipif(shutil.which("ss") is None or not UWSGI.exists(), reason="needs ss (iproute2) and pyuwsgi")
def test_a_changed_listen_is_taken_up_by_a_reload(tmp_path):
    ini = write_ini(tmp_path, 50)
    with (tmp_path / "uwsgi.log").open("wb") as log:
        uwsgi = subprocess.Popen([UWSGI, ini], env=site_environment(tmp_path), stderr=log)
    try:
        wait_until(lambda: backlog(tmp_path) == 50, "uWSGI listens with a backlog of 50")
        wait_until(lambda: is_ready(tmp_path), "the master answers")
        write_ini(tmp_path, 70)
        uwsgi.send_signal(signal.SIGHUP)
        wait_until(lambda: backlog(tmp_path) == 70, "the backlog is 70")
        wait_until(lambda: is_ready(tmp_path), "the master answers again")
    finally:
        uwsgi.send_signal(signal.SIGINT)  # the master takes its workers with it
        uwsgi.wait(60)


SEES = "import os\nsees = os.environ['STACKLAB_DATABASE_SERVER']\n" \
       "def application(environ, start):\n    start('200 OK', [])\n    return [sees.encode()]\n"


@pytest.mark.skipif(not UWSGI.exists(), reason="needs pyuwsgi")
def test_the_site_finds_the_inis_environment_also_after_a_reload_and_a_note_says_so(tmp_path):
    (tmp_path / "sees.py").write_text(SEES)

    def ini(database: str) -> Path:
        file = write_ini(tmp_path, 50, database)
        text = file.read_text().replace(f"chdir = {APP}", f"chdir = {tmp_path}").replace("config.wsgi", "sees")
        file.write_text(text + f"http-socket = {tmp_path}/http.sock\n")
        return file

    def sees() -> str:
        with socket.socket(socket.AF_UNIX) as door:
            door.settimeout(5)
            try:
                door.connect(str(tmp_path / "http.sock"))
                door.sendall(b"GET / HTTP/1.0\r\n\r\n")
                return b"".join(iter(lambda: door.recv(4096), b"")).rpartition(b"\r\n")[2].decode()
            except OSError:
                return ""

    with (tmp_path / "uwsgi.log").open("wb") as log:
        uwsgi = subprocess.Popen([UWSGI, ini("sqlite")], env=site_environment(tmp_path), stderr=log)
    try:
        wait_until(lambda: sees() == "sqlite", "the site finds sqlite")
        for database in ("postgresql", "sqlite"):
            ini(database)
            wait_until(lambda: is_ready(tmp_path), "the master answers")
            uwsgi.send_signal(signal.SIGHUP)
            wait_until(lambda wanted=database: sees() == wanted, f"the site finds {database}")
            assert json.loads((tmp_path / "told").read_text()) == {"database": database}
    finally:
        uwsgi.send_signal(signal.SIGINT)
        uwsgi.wait(60)
