"""What tests take for themselves of this computer."""

import subprocess
import sys
from pathlib import Path

import pytest
from here import cannot_run, take

TAKE = f"import sys; sys.path.insert(0, {str(Path(__file__).parents[1])!r}); from here import take; print(take(sys.argv[1]))"


def elsewhere(name: str) -> str:
    return subprocess.run([sys.executable, "-c", TAKE, name], capture_output=True, text=True, check=True).stdout.strip()


def test_what_one_process_has_taken_no_other_takes_until_it_ends(tmp_path):
    assert elsewhere(str(tmp_path)) == elsewhere(str(tmp_path)) == "True"
    assert take(str(tmp_path)) and take(str(tmp_path))
    assert elsewhere(str(tmp_path)) == "False"
    assert elsewhere(f"{tmp_path}/other") == "True"


@pytest.mark.parametrize(("ci", "outcome"), [("1", pytest.fail.Exception), ("", pytest.skip.Exception)])
def test_what_cannot_run_is_a_failure_in_ci_and_a_skip_elsewhere(monkeypatch, ci, outcome):
    monkeypatch.setenv("CI", ci)
    with pytest.raises(outcome, match="no lab here"):
        cannot_run("no lab here")
