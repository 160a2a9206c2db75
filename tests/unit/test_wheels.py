"""A project's packages are fetched here, for another Python than ours, by a person's own pip; errors are in pip's words."""

import hashlib
import io
import tarfile
import zipfile

import pytest

from stacklab.errors import ApplyError
from stacklab.site import read_project
from stacklab.stack.wheels import fetch

PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "linux_x86_64")


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A folder of packages, and no other place from which there could come any: `toy` is pure, `fast` of one Python alone."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    for name, tag in (("toy", "py3-none-any"), ("fast", "cp399-cp399-manylinux_2_17_x86_64")):
        with zipfile.ZipFile(folder / f"{name}-1.0-{tag}.whl", "w") as wheel:
            wheel.writestr(f"{name}-1.0.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
            wheel.writestr(f"{name}-1.0.dist-info/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n")
            wheel.writestr(f"{name}-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def project(tmp_path):
    """`project(requirements)` is a project that names them."""

    def make(requirements: str):
        root = tmp_path / "mysite"
        root.mkdir(exist_ok=True)
        (root / "manage.py").touch()
        (root / "requirements.txt").write_text(requirements)
        (root / "stacklab.toml").write_text('[site]\nwsgi = "a.b"\nhealth = "/"\nrequirements = "requirements.txt"\n')
        return read_project(root)

    return make


def names(packed: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        return archive.getnames()


def test_wheels_are_for_the_web_hosts_python(shelf, project):
    assert names(fetch(project("toy==1.0\nfast==1.0\n"), "3.99", PLATFORMS)) == [
        "fast-1.0-cp399-cp399-manylinux_2_17_x86_64.whl", "toy-1.0-py3-none-any.whl",
    ]  # fmt: skip
    with pytest.raises(ApplyError, match="mysite: its requirements.txt cannot be fetched as wheels for Python 3.98") as no:
        fetch(project("toy==1.0\nfast==1.0\n"), "3.98", PLATFORMS)
    assert "fast==1.0" in no.value.journal and "The site before serves on." in str(no.value)


def test_a_lock_with_hashes_is_held_to(shelf, project):
    good = hashlib.sha256((shelf / "toy-1.0-py3-none-any.whl").read_bytes()).hexdigest()
    assert names(fetch(project(f"toy==1.0 --hash=sha256:{good}\n"), "3.99", PLATFORMS)) == ["toy-1.0-py3-none-any.whl"]
    with pytest.raises(ApplyError) as no:
        fetch(project(f"toy==1.0 --hash=sha256:{'0' * 64}\n"), "3.99", PLATFORMS)
    assert "DO NOT MATCH THE HASHES" in no.value.journal
