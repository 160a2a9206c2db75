"""The locks: what moved is told, and an audit that could not look is no audit that found nothing."""

import importlib.util
import json
import os
import subprocess

import pytest

from stacklab.files import ROOT

UV = """#!/bin/sh
# Writes the lock after -o: with --upgrade newer versions. With $FAILS in its words it fails.
case "$*" in *"${FAILS:-nothing}"*) exit 1;; esac
version=1.0; case "$*" in *--upgrade*) version=2.0;; esac
for word; do last=$word; done
printf 'django==%s \\\\\\n    --hash=sha256:00\\nredis==1 ; python_version < "3"\\n' $version > "$last"
"""


@pytest.fixture
def locks(tmp_path, monkeypatch):
    """The module, on a checkout of its own with a uv of its own; `answers` is what pip-audit says."""
    (tmp_path / "requirements").mkdir()
    (tmp_path / "provision").mkdir()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/uv").write_text(UV)
    (tmp_path / "bin/uv").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    spec = importlib.util.spec_from_file_location("locks", ROOT / "requirements/locks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "CHANGES", tmp_path / "requirements/CHANGES.md")
    return module


def test_what_moved_is_told_and_kept_newest_first(locks, capsys):
    locks.main(["lock"])
    assert "- django 1.0, new" in capsys.readouterr().out
    locks.main(["lock"])
    assert capsys.readouterr().out == "nothing moved\n"
    for name in locks.LOCKS:
        with open(locks.ROOT / name, "a") as file:
            file.write("gone==3 \\\n")
    locks.main(["lock", "--upgrade"])
    told = capsys.readouterr().out
    assert told.count("- django 1.0 → 2.0\n- gone 3, gone\n") == len(locks.LOCKS) and "redis" not in told
    title, first, second = locks.CHANGES.read_text().split("\n## ")
    assert title == "# What moved in the locks\n" and "1.0 → 2.0" in first and "django 1.0, new" in second


def test_what_moved_before_uv_failed_is_told_and_kept_too(locks, monkeypatch, capsys):
    monkeypatch.setenv("FAILS", "test.lock")
    with pytest.raises(SystemExit, match="could not make requirements/test.lock"):
        locks.main(["lock"])
    assert capsys.readouterr().out.count("- django 1.0, new") == locks.CHANGES.read_text().count("- django 1.0, new") == 2


def test_without_uv_one_line_says_where_it_comes_from(locks, monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(SystemExit, match="no 'uv' here.*pip install uv"):
        locks.main(["lock"])


FAULT = {"id": "PYSEC-1", "fix_versions": ["2.1"]}


@pytest.mark.parametrize(
    ("packages", "code", "told"),
    [
        ([{"name": "django", "version": "2.0", "vulns": []}], 0, "1 packages looked up, 0 not"),
        ([{"name": "django", "version": "2.0", "vulns": [FAULT]}], 1, "django 2.0: PYSEC-1, mended in 2.1"),
        ([{"name": "django", "skip_reason": "not found"}], 2, "0 packages looked up, 1 not"),
        (None, 2, "pip-audit broke off and said: no network"),
    ],
)
def test_an_audit_is_clean_only_if_it_could_look(locks, monkeypatch, capsys, packages, code, told):
    answer = "" if packages is None else json.dumps({"dependencies": packages})
    locks.main(["lock"])
    done = subprocess.CompletedProcess([], 0, answer, "trying\nno network\n")
    monkeypatch.setattr(locks.subprocess, "run", lambda *_, **__: done)
    with pytest.raises(SystemExit) as caught:
        locks.main(["audit"])
    out = capsys.readouterr().out
    assert caught.value.code == code and told in out
    assert ("NOT AUDITED" in out) == bool(code & 2)


def test_every_package_that_is_installed_here_is_pinned_with_its_hash():
    for name in ("provision/requirements.lock", "requirements/desk.lock", "requirements/test.lock", "requirements/audit.lock"):
        lines = (ROOT / name).read_text().splitlines()
        pinned = [number for number, line in enumerate(lines) if not line.startswith((" ", "#"))]
        assert pinned and all("==" in lines[number] and "--hash=sha256:" in lines[number + 1] for number in pinned), name
