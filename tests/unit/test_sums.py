"""What happened to a run's files since they were written does not pass unseen, and costs no other run."""

import os
import shutil
import subprocess
import sys
import warnings

import numpy as np
import pytest
import synthetic
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stacklab.errors import ResultsError
from stacklab.files import ROOT
from stacklab.runs.results import DamagedRunWarning, UnfinishedRunWarning, load_runs
from stacklab.runs.tables import write_table
from stacklab.study.summary import summarize


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results") / "an-experiment"
    synthetic.http_run(folder, "one")
    synthetic.http_run(folder, "two")
    return folder


@pytest.fixture
def folder(written, tmp_path):
    return shutil.copytree(written, tmp_path / "copy", copy_function=shutil.copyfile)


def left_out(folder):
    """The names of the runs that load, and the lines that tell of the others."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        runs = load_runs(folder)
        assert len(summarize(runs)) == len(runs)
    told = (DamagedRunWarning, UnfinishedRunWarning)
    return [run.run for run in runs], [str(warning.message) for warning in caught if issubclass(warning.category, told)]


def test_a_run_as_it_was_written_is_whole(folder):
    assert left_out(folder) == (["one", "two"], [])
    assert subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=folder / "one").returncode == 0


@pytest.mark.fault("a bit of a result folder is flipped", "desk")
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_one_flipped_bit_anywhere_leaves_that_run_out_with_a_line_and_no_other(folder, data):
    file = data.draw(st.sampled_from(sorted(path for path in (folder / "one").iterdir() if path.is_file())))
    whole = file.read_bytes()
    bit = data.draw(st.integers(0, 8 * len(whole) - 1))
    flipped = bytearray(whole)
    flipped[bit // 8] ^= 1 << bit % 8
    file.write_bytes(flipped)
    try:
        runs, lines = left_out(folder)
    finally:
        file.write_bytes(whole)
    assert runs == ["two"], (file, bit)
    assert len(lines) == 1
    assert str(folder / "one") in lines[0]


@pytest.mark.fault("a file of a result folder is gone, or cut off", "desk")
def test_any_file_that_is_gone_or_cut_off_is_noticed(folder):
    for file in sorted(path for path in (folder / "one").iterdir() if path.is_file()):
        whole = file.read_bytes()
        for left in (None, b"", whole[: len(whole) // 2]):
            file.unlink(missing_ok=True)
            if left is not None:
                file.write_bytes(left)
            runs, lines = left_out(folder)
            assert runs == ["two"], (file, left)
            assert len(lines) == 1
        file.write_bytes(whole)


def test_a_table_that_came_from_elsewhere_is_noticed(folder):
    shutil.copyfile(folder / "two" / "requests.parquet", folder / "one" / "messages.parquet")
    assert left_out(folder)[0] == ["two"]


def test_pages_carry_checksums_that_a_reader_can_verify(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet

    values = np.random.default_rng(1).random(20_000)
    write_table(pa.table({"value": values}), tmp_path / "t.parquet")
    content = bytearray((tmp_path / "t.parquet").read_bytes())
    content[len(content) // 2] ^= 4
    (tmp_path / "t.parquet").write_bytes(content)
    with pytest.raises(OSError, match="checksum|CRC"):
        pa.parquet.read_table(tmp_path / "t.parquet", page_checksum_verification=True)


def test_a_table_damaged_after_the_run_was_loaded_is_an_error_that_names_it(folder):
    [run, _] = load_runs(folder)
    content = bytearray((run.path / "requests.parquet").read_bytes())
    content[len(content) // 3] ^= 4
    (run.path / "requests.parquet").write_bytes(content)
    with pytest.raises(ResultsError, match=r"requests\.parquet"):
        run.table("requests")


def test_fab_says_in_one_line_what_was_left_out_and_reports_the_rest(folder):
    (folder / "one" / "server.parquet").unlink()
    done = subprocess.run(
        [sys.executable, "-m", "stacklab.command", "report", folder.name], cwd=ROOT, capture_output=True, text=True,
        env=os.environ | {"STACKLAB_RESULTS": str(folder.parent)}, check=True,
    )  # fmt: skip
    [line] = done.stderr.splitlines()
    assert line.startswith(f"left out: {folder / 'one'}: missing, or not what was written: server.parquet; ")
    assert (folder / "report.html").is_file()
