"""code_version: equal exactly when the web host would run the same code."""

import shutil
from pathlib import Path

import pytest

from stacklab import __version__
from stacklab.files import ROOT
from stacklab.version import FILES, FOLDERS, code_version, modules


@pytest.fixture
def checkout(tmp_path) -> Path:
    """A copy of what goes to the web host."""
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "stacklab" / "stack" / "services").mkdir(parents=True)
    for path in [*(f"provision/{name}" for name in FILES), *(f"stacklab/{name}" for name in modules(ROOT / "stacklab"))]:
        shutil.copyfile(ROOT / path, tmp_path / path)
    return tmp_path


def test_a_copy_has_the_same_version(checkout):
    assert code_version(checkout) == code_version(ROOT)
    assert code_version(ROOT).startswith(f"{__version__}+")


def test_the_web_hosts_own_layout_gives_the_same_version(checkout, tmp_path):
    package = shutil.move(checkout / "stacklab", checkout / "lib")
    assert code_version(checkout, Path(package)) == code_version(ROOT)


@pytest.mark.parametrize(
    "path", ["app/config/wsgi.py", "provision/templates/nginx.conf.j2", "provision/live.py", "stacklab/stack/render.py",
             "stacklab/stack/services/nginx.py"]
)
def test_a_changed_file_changes_it(checkout, path):
    (checkout / path).write_text((checkout / path).read_text() + "\n")
    assert code_version(checkout) != code_version(ROOT)


def test_a_new_a_missing_and_a_renamed_file_change_it(checkout):
    versions = {code_version(checkout)}
    (checkout / "app/new.py").write_text("")
    versions.add(code_version(checkout))
    (checkout / "app/new.py").rename(checkout / "app/other.py")
    versions.add(code_version(checkout))
    assert len(versions) == 3


def test_compiled_files_do_not_count(checkout):
    (checkout / "app/__pycache__").mkdir()
    (checkout / "app/__pycache__/x.pyc").write_bytes(b"x")
    assert code_version(checkout) == code_version(ROOT)
