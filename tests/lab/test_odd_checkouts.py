"""A checkout whose files have lost their modes, as from a ZIP, Windows or a strict umask, makes the same web host."""

import os
import shutil
import subprocess
import sys

import pytest

from stacklab import stack
from stacklab.files import ROOT
from stacklab.settings import StackSettings

MODES = {"ZIP": (0o644, 0o755), "umask 077": (0o600, 0o700), "read-only": (0o444, 0o555), "Windows": (0o777, 0o777)}
# Every file and folder of the code on the web host that is not as it should be.
CODE = "cd /opt/stacklab && find app provision lib ! -path '*/__pycache__*'"
ODD = CODE + " \\( -type f ! -perm 644 -o -type d ! -perm 755 \\)"

# As an earlier set-up from such a checkout may have left it.
SPOIL = f"{CODE} ! -type l -exec chmod go= {{}} + && rm app/pages/work.py provision/live.py"


@pytest.fixture(params=MODES)
def checkout(request, tmp_path):
    """A copy of this checkout with odd modes."""
    copy = tmp_path / "checkout"
    for part in ("app", "loadtests", "provision", "stacklab"):
        shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "fabfile.py", copy)
    file_mode, folder_mode = MODES[request.param]
    for folder, _, names in os.walk(copy, topdown=False):
        for name in names:
            os.chmod(os.path.join(folder, name), file_mode)
        os.chmod(folder, folder_mode)
    yield copy
    for folder, _, _ in os.walk(copy):
        os.chmod(folder, 0o755)  # or who is not root cannot remove it


def test_fab_provision_tells_the_web_host_every_mode(at_defaults, lab, site, checkout):
    at_defaults.run(SPOIL, sudo=True)
    command = [sys.executable, "-B", "-m", "fabric", "provision"]
    environment = os.environ | {"STACKLAB_LAB": lab.name}
    done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, umask=0o077)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "changed: code in /opt/stacklab\n"
    assert at_defaults.run(ODD) == ""
    assert site() == (200, b"ok\n")
    done = subprocess.run([*command[:-1], "set", "--uwsgi-processes", "3"], cwd=checkout, env=environment)
    assert done.returncode == 0 and stack.current(at_defaults) == StackSettings(uwsgi_processes=3)


def test_web_sh_asks_nothing_of_its_checkouts_modes(at_defaults, site):
    at_defaults.run(
        "cp -r /opt/stacklab/source /tmp/odd && chmod -R u=rwX,go= /tmp/odd && find /tmp/odd -type f -exec chmod 400 {} + && "
        + SPOIL,
        sudo=True,
    )
    said = at_defaults.run("umask 077; bash /tmp/odd/provision/web.sh && rm -r /tmp/odd", sudo=True, timeout_s=120)
    assert said == "changed: code in /opt/stacklab\n"
    assert at_defaults.run(ODD) == ""
    assert site() == (200, b"ok\n")
