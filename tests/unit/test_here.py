"""What tests take for themselves of this computer."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from here import take

TESTS = Path(__file__).parents[1]
TAKE = f"import sys; sys.path.insert(0, {str(TESTS)!r}); from here import take; print(take(sys.argv[1]))"


def elsewhere(name: str) -> str:
    return subprocess.run([sys.executable, "-c", TAKE, name], capture_output=True, text=True, check=True).stdout.strip()


def test_what_one_process_has_taken_no_other_takes_until_it_ends(tmp_path):
    assert elsewhere(str(tmp_path)) == elsewhere(str(tmp_path)) == "True"
    assert take(str(tmp_path)) and take(str(tmp_path))
    assert elsewhere(str(tmp_path)) == "False"
    assert elsewhere(f"{tmp_path}/other") == "True"


CANNOT_RUN = """
import pytest

@pytest.fixture
def lab():
    pytest.skip("no lab here")

def test_by_a_fixture(lab): pass

@pytest.mark.skipif(True, reason="no lab here")
def test_by_a_mark(): pass

@pytest.mark.xfail(True, reason="another Python's")
def test_that_is_known_to_fail(): raise ValueError
"""


@pytest.mark.parametrize(("ci", "outcomes"), [("1", "1 xfailed, 2 errors"), ("", "2 skipped, 1 xfailed")])
def test_what_cannot_run_is_a_failure_in_ci_and_a_skip_elsewhere(tmp_path, ci, outcomes):
    (tmp_path / "test_it.py").write_text(CANNOT_RUN)
    command = [sys.executable, "-m", "pytest", "-p", "conftest", "-p", "no:cacheprovider", "--rootdir", tmp_path, tmp_path]
    environment = os.environ | {"CI": ci, "PYTHONPATH": str(TESTS), "PYTEST_ADDOPTS": ""}
    said = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True).stdout
    assert outcomes in said and ("not run, and this is CI: " in said) == bool(ci), said
