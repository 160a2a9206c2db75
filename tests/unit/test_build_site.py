"""What builds a site on the web host, as far as it can be tried without one."""

import importlib.machinery
import importlib.util
import io
import tarfile

import pytest

from stacklab.files import ROOT


@pytest.fixture
def build(tmp_path, monkeypatch):
    """The script as a module, with places of the test's own."""
    loader = importlib.machinery.SourceFileLoader("build_site", str(ROOT / "provision" / "build-site"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("build_site", loader))
    loader.exec_module(module)
    for name, path in {"SITES": "sites", "VENVS": "venvs", "IN_FORCE": "site", "LOCK": "lock"}.items():
        monkeypatch.setattr(module, name, tmp_path / path)
    monkeypatch.setattr(module.changing, "LOCK", tmp_path / "change")
    (tmp_path / "lock").write_text("daphne==4.2 \\\n    --hash=sha256:1\npyuwsgi==2.0 \\\n    --hash=sha256:2\ndjango==5.2\n")
    return module


def builder(build, tmp_path, requirements: str = "django==5.2\n", code: str = "1", asgi: str | None = "a:b"):
    place = tmp_path / "sites" / f"s-{code}"
    (place / "code").mkdir(parents=True, exist_ok=True)
    (place / "code" / "requirements.txt").write_text(requirements)
    site = {"name": "s", "code": code, "asgi": asgi}
    return build.Builder({"site": site, "place": str(place), "requirements": "requirements.txt"})


def test_an_environment_is_kept_by_what_is_in_it(build, tmp_path):
    kept = builder(build, tmp_path).kept_venv()
    assert builder(build, tmp_path, code="2").kept_venv() == kept, "the code is another, its packages are the same"
    assert builder(build, tmp_path, "django==5.1\n").kept_venv() != kept
    assert builder(build, tmp_path, asgi=None).kept_venv() != kept, "no Daphne is needed there"
    for more in ("-r more.txt\n", "./wheels/own.whl\n", "-e .\n"):
        assert builder(build, tmp_path, more).kept_venv() != builder(build, tmp_path, more, code="2").kept_venv(), more
    (tmp_path / "lock").write_text("daphne==4.3\n")
    assert builder(build, tmp_path).kept_venv() != kept, "the lab's servers are others"


def test_the_servers_that_a_site_lacks_are_the_labs_own_versions_of_them(build, tmp_path, monkeypatch):
    monkeypatch.setattr(build.Builder, "must", lambda self, *words, **_: '[{"name": "Daphne"}, {"name": "Django"}]')
    (tmp_path / "venv").mkdir()
    words = builder(build, tmp_path).lacking(tmp_path / "venv")
    assert words[-1] == "pyuwsgi" and "daphne" not in words, "its own Daphne stays"
    assert (tmp_path / "venv" / "servers.txt").read_text() == "pyuwsgi==2.0\n"
    monkeypatch.setattr(build.Builder, "must", lambda self, *words, **_: '[{"name": "daphne"}, {"name": "pyuwsgi"}]')
    assert builder(build, tmp_path).lacking(tmp_path / "venv") == []


def test_every_server_comes_with_all_that_it_runs_on(build, tmp_path):
    assert builder(build, tmp_path, asgi=None).servers == ["pyuwsgi", "gunicorn"]
    assert {"uvicorn", "websockets", "daphne", "hypercorn", "granian"} <= set(builder(build, tmp_path).servers)
    locked = {line.partition("==")[0] for line in (ROOT / "provision" / "requirements.lock").read_text().splitlines()}
    assert set(builder(build, tmp_path).servers) <= locked, "what is not locked would be passed over"


@pytest.mark.xfail(not hasattr(tarfile, "data_filter"), reason="this Python's tarfile is older than its filters")
def test_an_archive_that_leads_out_of_its_folder_is_refused(build, tmp_path, monkeypatch):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        archive.addfile(tarfile.TarInfo("../outside"), io.BytesIO(b""))
    packed.seek(0)
    monkeypatch.setattr(build.sys, "stdin", type("Stdin", (), {"buffer": packed}))
    with pytest.raises(tarfile.FilterError):
        build.unpack(tmp_path / "sites" / "s-1" / "code")
    assert not (tmp_path / "sites" / "s-1" / "outside").exists()


def test_a_sites_database_is_made_anew_whatever_one_of_its_name_has(build, tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(build.Builder, "must", lambda self, failing, *words: said.append(words))
    builder(build, tmp_path).database()
    assert [words[-4:] for words in said[1:]] == [
        ("dropdb", "--if-exists", "--username=site", "s-1"), (*build.AS_SITE[-1:], "createdb", "--username=site", "s-1"),
    ]  # fmt: skip


def test_what_no_site_in_force_needs_is_removed(build, tmp_path):
    for name in ("lab", "old-1", "new-2", "half-3"):
        (tmp_path / "sites" / name).mkdir(parents=True)
    (tmp_path / "site").symlink_to(tmp_path / "sites" / "new-2")
    for number in range(7):
        (tmp_path / "venvs" / str(number)).mkdir(parents=True)
        if number != 6:  # which was cut off
            (tmp_path / "venvs" / str(number) / "complete").touch()
            build.os.utime(tmp_path / "venvs" / str(number) / "complete", (number, number))
    (tmp_path / "sites" / "new-2" / "venv").symlink_to(tmp_path / "venvs" / "0")
    with build.changing.alone(patience_s=0):
        build.tidy()
        assert len([*(tmp_path / "sites").iterdir()]) == 4, "which is in force is known when the change has ended"
    build.tidy()
    assert {path.name for path in (tmp_path / "sites").iterdir()} == {"lab", "new-2"}
    assert {path.name for path in (tmp_path / "venvs").iterdir()} == {"0", "3", "4", "5"}, "that in use, and those of late"
