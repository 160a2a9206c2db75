"""pip, run for real under what somebody may have configured: packages go where they belong, and come from where they are."""

import hashlib
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

OWN_PIP = Path(__file__).parents[2] / "provision/own_pip.py"
INFO = "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n"
WHEEL = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"

# What a pip.conf, or PIP_… in the environment, may say that is not for us.
TRAPS = {
    "target": "{elsewhere}", "prefix": "{elsewhere}", "root": "{elsewhere}", "user": "true", "constraint": "{elsewhere}/none.txt",
    "dry-run": "true", "require-virtualenv": "false", "only-binary": ":none:", "no-binary": ":all:", "platform": "trap",
    "ignore-installed": "true", "quiet": "1", "log": "{elsewhere}/log",
}  # fmt: skip


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """A Python environment with pip; packages in a folder, with the lock for them."""
    folder = tmp_path_factory.mktemp("environment of a (test)")
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    (folder / "wheels").mkdir()
    with zipfile.ZipFile(wheel := folder / "wheels/tiny-1.0-py3-none-any.whl", "w") as file:
        file.writestr("tiny.py", "")
        for name, text in {"METADATA": INFO, "WHEEL": WHEEL, "RECORD": ""}.items():
            file.writestr(f"tiny-1.0.dist-info/{name}", text)
    (folder / "lock").write_text(f"tiny==1.0 --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n")
    return folder


def install(folder: Path, home: Path, **variables: str) -> subprocess.CompletedProcess:
    """Install what the lock names, as Makefile, web.sh and desk.sh do; whether it is there is in `.there`."""
    python = folder / "venv/bin/python"
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "XDG_"))}
    command = [python, "-I", OWN_PIP, "install", "--require-hashes", "-r", folder / "lock"]
    variables = {"HOME": str(home), "NO_PROXY": "127.0.0.1", **variables}
    done = subprocess.run(command, env=plain | variables, capture_output=True, text=True)
    (site,) = (folder / "venv/lib").glob("python3*/site-packages")
    done.there = (site / "tiny.py").exists()
    for path in (*site.glob("tiny.py"), *site.glob("tiny-1.0.dist-info/*")):
        path.unlink()
    for path in site.glob("tiny-1.0.dist-info"):
        path.rmdir()
    return done


def configure(home: Path, section: str, **options: str) -> None:
    (home / ".config/pip").mkdir(parents=True)
    lines = [f"{name.replace('_', '-')} = {value}" for name, value in options.items()]
    (home / ".config/pip/pip.conf").write_text("\n".join([f"[{section}]", *lines, ""]))


@pytest.mark.parametrize("by", ["file", "variable"])
def test_packages_go_where_they_belong_whatever_pip_is_told(environment, tmp_path, by):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    traps = {name: value.format(elsewhere=elsewhere) for name, value in TRAPS.items()}
    comes_from = {"no-index": "true", "find-links": (environment / "wheels").as_uri()}
    variables = {}
    if by == "file":
        configure(tmp_path, "install", **traps, **comes_from)
    else:
        configure(tmp_path, "global", **comes_from)
        variables = {f"PIP_{name.upper().replace('-', '_')}": value for name, value in traps.items()}
        variables["PIP_PYTHON"] = "/nowhere/python"
    done = install(environment, tmp_path, PYTHONPATH=str(elsewhere), **variables)
    assert (done.returncode, done.there) == (0, True), done.stderr
    assert not [path for path in elsewhere.iterdir() if path.name != "log"]


def test_a_package_on_somebodys_pythonpath_is_not_there(environment, tmp_path):
    with zipfile.ZipFile(environment / "wheels/tiny-1.0-py3-none-any.whl") as wheel:
        wheel.extractall(tmp_path / "theirs")
    links = (environment / "wheels").as_uri()
    done = install(environment, tmp_path, PYTHONPATH=str(tmp_path / "theirs"), PIP_NO_INDEX="1", PIP_FIND_LINKS=links)
    assert (done.returncode, done.there) == (0, True), done.stderr


@pytest.mark.parametrize("section", ["global", "install"])
def test_where_packages_come_from_is_let_through(environment, tmp_path, section):
    configure(tmp_path, section, index_url="http://127.0.0.1:9/simple", retries="0", timeout="2")
    done = install(environment, tmp_path)
    assert done.returncode != 0 and "Looking in indexes: http://127.0.0.1:9/simple" in done.stdout and not done.there
    done = install(environment, tmp_path, PIP_NO_INDEX="1", PIP_FIND_LINKS=(environment / "wheels").as_uri())
    assert (done.returncode, done.there) == (0, True), done.stderr


def test_proxy_and_trust_are_let_through(tmp_path):
    configure(tmp_path, "global", proxy="http://proxy.invalid:3128", cert="/my/ca.pem", user="true", timeout="7")
    code = f"import runpy, json; print(json.dumps(runpy.run_path({str(OWN_PIP)!r})['environment']()))"
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "XDG_"))}
    told = plain | {"HOME": str(tmp_path), "PIP_TIMEOUT": "9", "PIP_TARGET": "/x"}
    said = subprocess.run([sys.executable, "-I", "-c", code], env=told, capture_output=True, text=True, check=True).stdout
    given = {name: value for name, value in json.loads(said).items() if name.startswith("PIP_")}
    assert given == {
        "PIP_PROXY": "http://proxy.invalid:3128", "PIP_CERT": "/my/ca.pem", "PIP_TIMEOUT": "9",
        "PIP_CONFIG_FILE": "/dev/null", "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }  # fmt: skip


def test_a_configuration_that_pip_cannot_read_is_no_obstacle(environment, tmp_path):
    configure(tmp_path, "install")
    (tmp_path / ".config/pip/pip.conf").write_text("[install\nuser = true\n")
    done = install(environment, tmp_path, PIP_NO_INDEX="1", PIP_FIND_LINKS=(environment / "wheels").as_uri())
    assert (done.returncode, done.there) == (0, True), done.stderr


def test_every_pip_that_the_lab_runs_is_this_one():
    root = OWN_PIP.parents[1]
    for path in (root / "Makefile", *(path for path in (root / "provision").rglob("*") if path.is_file() and path != OWN_PIP)):
        for line in path.read_text(errors="replace").splitlines():
            if not line.lstrip().startswith("#"):
                assert not re.search(r"(-m|bin/)pip\b|-m pip\b", line), (path.name, line)
