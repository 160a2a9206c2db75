"""`stacklab.doctor`: what it makes of what `vagrant doctor` says, or does not say."""

import pytest
from here import wait_until

from stacklab import doctor, tasks
from stacklab.doctor import Finding
from stacklab.errors import LabError

AMISS = Finding("ports", "fail", "port 8888 is taken", "take another")
TOLD = '[{"check": "ports", "state": "fail", "what": "port 8888 is taken", "todo": "take another"}]'


@pytest.fixture
def vagrant(tmp_path, monkeypatch):
    """Puts a `vagrant` in the place of all programs but the shell's own; with none, there is none."""
    monkeypatch.setenv("PATH", str(tmp_path))

    def put(script):
        (tmp_path / "vagrant").write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{script}\n")
        (tmp_path / "vagrant").chmod(0o755)

    return put


def test_what_vagrant_doctor_finds_is_told_as_it_says_it(vagrant):
    vagrant(f"[ \"$*\" = 'doctor --json' ] && echo a warning >&2 && echo '{TOLD}'; exit 1")
    assert doctor.diagnose_vagrant() == [AMISS]


@pytest.mark.parametrize(
    ("script", "what"),
    [
        (None, "Vagrant is not installed"),
        ("echo 'There was an error\nloading a Vagrantfile' >&2; exit 1", "failed: There was an error loading a Vagrantfile"),
        ("exit 3", "failed: exit code 3"),
        ("echo '[{\"of\": \"another version\"}]'", "failed: [{\"of\": \"another version\"}]"),
    ],
)  # fmt: skip
def test_without_an_answer_one_line_says_why(vagrant, script, what):
    if script:
        vagrant(script)
    (finding,) = doctor.diagnose_vagrant()
    assert finding.state == "fail" and finding.what.endswith(what) and finding.todo


def test_a_vagrant_that_hangs_is_given_up_with_whom_it_has_started(vagrant, tmp_path):
    vagrant(f"sleep 60 & echo $! >'{tmp_path}/child'; wait")
    for patience_s in (1, 10, 50):  # until it has started one: a busy computer takes its time
        (finding,) = doctor.diagnose_vagrant(timeout_s=patience_s)
        assert finding.what == f"'vagrant doctor' did not answer within {patience_s} s"
        if (tmp_path / "child").exists():
            break
    child = int((tmp_path / "child").read_text())

    def is_gone() -> bool:
        try:
            return open(f"/proc/{child}/stat").read().rpartition(")")[2].split()[0] == "Z"
        except (FileNotFoundError, ProcessLookupError):
            return True

    wait_until(is_gone, f"process {child}, that it had started, has ended")


@pytest.mark.parametrize(
    ("container", "vagrant", "lab", "told"),
    [
        ("ok", "fail", "is absent", ["ok", "warn"]),
        ("fail", "ok", "is absent", ["warn", "ok"]),
        ("fail", "fail", "is running", ["warn", "warn"]),  # of a notebook without sudo, say, or on an SSH host
        ("fail", "fail", "is absent", ["fail", "fail"]),
    ],
)
def test_where_one_lab_can_be_had_or_runs_what_fails_for_another_is_a_warning(container, vagrant, lab, told, monkeypatch, capsys):
    monkeypatch.setattr(doctor, "diagnose_container", lambda: [Finding("container lab", container, "words")])
    monkeypatch.setattr(doctor, "diagnose_vagrant", lambda: [Finding("provider", vagrant, "words")])
    monkeypatch.setattr(doctor, "diagnose_lab", lambda: [Finding("lab", "ok", f"the lab x {lab}")])
    assert [finding.state for (finding,) in doctor.diagnose()[:2]] == told
    if "fail" not in told:
        tasks.doctor()
        assert "FAIL" not in capsys.readouterr().out
    else:
        with pytest.raises(LabError, match="neither lab"):
            tasks.doctor()
