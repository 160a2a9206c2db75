"""Runs on disk: whole or not at all, immutable, versioned, safe to read while others write."""

import json
import os
import signal
import stat
import subprocess
import sys
import textwrap
import threading
import warnings
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import synthetic

from stacklab.errors import LabError, ResultsError
from stacklab.runs.draft import writing_run
from stacklab.runs.export import export_csv
from stacklab.runs.results import (
    FORMAT,
    FORMAT_HISTORY,
    TABLES,
    DamagedRunWarning,
    Run,
    UnfinishedRunWarning,
    Validity,
    load_runs,
)
from stacklab.settings import StackSettings
from stacklab.workload import ChatLoad, HttpLoad

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "results" / "an-experiment"


def described(draft, name="one", **changes):
    """A small run in the folder of `draft`."""
    return Run(
        path=draft.path, settings=StackSettings(uwsgi_processes=7), workload=HttpLoad(requests=5), observed={"cpus": 1},
        environment={"lab": "a"}, experiment="an-experiment", run=name, started_s=10.0, ended_s=20.0, **changes,
    )  # fmt: skip


def write(folder, name="one", **changes):
    with writing_run(folder, name) as draft:
        pd.DataFrame({"time_s": [1.0], "name": ["x"], "value": [2.0]}).to_parquet(draft.path / "gauges.parquet")
        (draft.path / "logs").mkdir()
        (draft.path / "logs" / "nginx.log").write_text("a line\n")
        draft.record(described(draft, name, **changes))
    return draft.run


def test_a_saved_run_is_read_back_as_it_was(folder):
    saved = write(folder, validity=Validity(("3 of 5 failed.",)), clock_offset_s=0.5, clock_error_s=0.01,
                  events=({"what": "kill daphne@2", "began_s": 12.0, "ended_s": 12.1},))  # fmt: skip
    [read] = load_runs(folder)
    assert read == saved
    assert read.path == folder / "one"
    assert read.settings.uwsgi_processes == 7
    assert read.validity.reasons == ("3 of 5 failed.",)
    assert not read.validity.valid


def test_a_chat_run_keeps_its_workload(folder):
    with writing_run(folder, "chat") as draft:
        draft.record(replace(described(draft, "chat"), workload=ChatLoad(clients=9, rooms=3)))
    [read] = load_runs(folder)
    assert read.kind == "chat"
    assert read.workload == ChatLoad(clients=9, rooms=3)


def test_the_files_of_a_saved_run_are_read_only(folder):
    saved = write(folder)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in saved.path.rglob("*") if path.is_file()}
    assert set(modes) == {"run.json", "gauges.parquet", "nginx.log", "SHA256SUMS"}
    assert set(modes.values()) == {0o444}


def test_a_saved_run_is_never_overwritten(folder):
    write(folder)
    with pytest.raises(ResultsError, match="exists already"):
        write(folder)
    assert [path.name for path in folder.iterdir()] == ["one"]


def test_after_an_error_no_run_is_there_but_its_files_can_be_looked_at(folder):
    with pytest.raises(LabError, match="stopped"), writing_run(folder, "one") as draft:
        (draft.path / "locust.log").write_text("what went wrong\n")
        raise LabError("stopped")
    assert not (folder / "one").exists()
    assert (folder / ".partial-one" / "locust.log").read_text() == "what went wrong\n"
    with pytest.warns(UnfinishedRunWarning, match=r"1 unfinished run\(s\): \.partial-one"):
        assert load_runs(folder) == []


def test_a_run_for_which_nothing_was_recorded_is_not_saved(folder):
    with pytest.raises(ResultsError, match="nothing was recorded"), writing_run(folder, "one"):
        pass
    assert not (folder / "one").exists()


def test_the_next_writer_of_that_name_clears_what_a_killed_one_left(folder):
    killed = textwrap.dedent(
        f"""
        import os, signal
        from pathlib import Path
        from stacklab.runs.draft import writing_run
        with writing_run(Path({str(folder)!r}), "one") as draft:
            (draft.path / "requests.parquet").write_bytes(b"half")
            (draft.path / "raw").mkdir()
            os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    assert subprocess.run([sys.executable, "-c", killed], cwd=ROOT).returncode == -signal.SIGKILL
    assert (folder / ".partial-one" / "requests.parquet").exists()
    saved = write(folder)
    assert not saved.has("requests")
    assert [path.name for path in folder.iterdir()] == ["one"]


def test_two_writers_of_the_same_run_do_not_meet(folder):
    with writing_run(folder, "one") as draft:
        with pytest.raises(ResultsError, match="another process is writing this run"), writing_run(folder, "one"):
            pass
        draft.record(described(draft))
    assert [run.run for run in load_runs(folder)] == ["one"]


def test_runs_without_a_name_of_their_own_are_all_kept_though_they_begin_in_the_same_second(folder):
    with writing_run(folder) as first, writing_run(folder) as second:
        second.record(described(second))
        first.record(described(first))
    with writing_run(folder) as third:
        third.record(described(third))
    names = [draft.name for draft in (first, second, third)]
    assert len(set(names)) == 3 and sorted(names) == sorted(path.name for path in folder.iterdir())
    assert len(load_runs(folder)) == 3


def test_many_processes_that_begin_at_once_lose_no_run(folder):
    code = f"""
import sys
sys.path[:0] = [{str(ROOT / "tests" / "unit")!r}]
from pathlib import Path
from test_results import described, writing_run
for _ in range(4):
    with writing_run(Path({str(folder)!r})) as draft:
        draft.record(described(draft))
"""
    children = [subprocess.Popen([sys.executable, "-c", code], cwd=ROOT) for _ in range(4)]
    assert [child.wait() for child in children] == [0] * 4
    assert len(load_runs(folder)) == 16 == len(list(folder.iterdir()))


def test_what_runs_without_a_name_left_when_they_failed_does_not_pile_up(folder):
    def fail():
        with pytest.raises(LabError), writing_run(folder) as draft:
            (draft.path / "locust.log").write_text("why")
            raise LabError("stopped")
        return draft

    with writing_run(folder) as mine:
        for _ in range(3):
            last = fail()
        assert (last.path / "locust.log").exists(), "the last one can be looked at"
        assert {path.name for path in folder.iterdir()} == {mine.path.name, last.path.name}
        mine.record(described(mine))
    with writing_run(folder) as saved:
        saved.record(described(saved))
    assert {path.name for path in folder.iterdir()} == {mine.name, saved.name}


@pytest.mark.parametrize("name", ["", ".hidden", "a/b"])
def test_a_name_that_is_no_folder_name_is_refused(folder, name):
    with pytest.raises(ResultsError, match="not allowed"), writing_run(folder, name):
        pass


def test_a_full_disk_leaves_no_run(folder, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write(folder)
    assert not (folder / "one").exists()


def test_readers_never_see_half_a_run_while_others_write(folder):
    problems, done = [], threading.Event()

    def read():
        while not done.is_set():
            try:
                for run in load_runs(folder.parent):
                    assert len(run.table("gauges")) == 1
            except Exception as error:  # noqa: BLE001 (any error of a reader is the finding)
                problems.append(error)

    folder.mkdir(parents=True)
    readers = [threading.Thread(target=read) for _ in range(2)]
    with warnings.catch_warnings():  # here: what is ignored is so for all threads at once
        warnings.simplefilter("ignore", UnfinishedRunWarning)
        for reader in readers:
            reader.start()
        for number in range(30):
            write(folder, f"run-{number}")
        done.set()
        for reader in readers:
            reader.join()
    assert problems == []
    assert len(load_runs(folder)) == 30


def test_results_an_experiment_and_a_single_run_can_be_loaded_by_their_start(tmp_path):
    for experiment, name, started in (("a", "later", 30.0), ("a", "first", 10.0), ("b", "between", 20.0)):
        with writing_run(tmp_path / experiment, name) as draft:
            draft.record(replace(described(draft, name), started_s=started))
    (tmp_path / "a" / "experiment.json").write_text("{}")
    (tmp_path / ".bench").mkdir()
    assert [run.run for run in load_runs(tmp_path)] == ["first", "between", "later"]
    assert [run.run for run in load_runs(tmp_path / "a")] == ["first", "later"]
    assert [run.run for run in load_runs(tmp_path / "a" / "later")] == ["later"]


def test_a_folder_with_tables_but_no_description_is_passed_over(folder):
    write(folder)
    (folder / "copied").mkdir()
    (folder / "copied" / "requests.parquet").write_bytes(b"")
    with pytest.warns(UnfinishedRunWarning, match="copied"):
        assert [run.run for run in load_runs(folder)] == ["one"]


def test_a_folder_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(ResultsError, match="nowhere: there are no results here"):
        load_runs(tmp_path / "nowhere")


def test_an_empty_folder_holds_no_runs(tmp_path):
    assert load_runs(tmp_path) == []


def rewritten(folder, change):
    """The run.json of a saved run, changed; as from before there were sums."""
    file = write(folder).path / "run.json"
    (file.parent / "SHA256SUMS").unlink()
    file.chmod(0o644)
    values = json.loads(file.read_text())
    values["format"] = 2
    change(values)
    file.write_text(json.dumps(values))
    return file


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda run: run.update(format=FORMAT + 1), f"format {FORMAT + 1}, this StackLab reads up to {FORMAT}"),
        (lambda run: run.pop("format"), "not a run's description"),
        (lambda run: run.pop("settings"), "lacks or garbles 'settings'"),
        (lambda run: run["workload"].update(kind="ftp"), "lacks or garbles 'ftp'"),
        (lambda run: run["settings"].update(turbo=1), "no field turbo"),
        (lambda run: run["settings"].update(uwsgi_processes="many"), "uwsgi_processes='many' is not allowed"),
    ],
)
def test_a_description_that_cannot_be_understood_is_named_with_what_is_wrong(folder, change, words):
    file = rewritten(folder, change)
    write(folder, "another")
    with pytest.warns(DamagedRunWarning) as warned:
        assert [run.run for run in load_runs(folder)] == ["another"]
    [said] = [str(warning.message) for warning in warned]
    assert str(file) in said
    assert words in said


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"null", b"\xff\xfe"])
def test_a_damaged_description_is_named(folder, text):
    file = write(folder).path / "run.json"
    file.chmod(0o644)
    file.write_bytes(text)
    with pytest.warns(DamagedRunWarning, match="run.json: is not a run's description"):
        assert load_runs(folder) == []


def test_a_run_of_an_older_stacklab_takes_the_defaults_for_settings_it_did_not_know(folder):
    rewritten(folder, lambda run: run["settings"].pop("chat_resume") and None)
    [run] = load_runs(folder)
    assert run.settings.chat_resume is StackSettings().chat_resume


def test_every_format_version_has_its_history():
    assert list(FORMAT_HISTORY) == list(range(1, FORMAT + 1))


def test_a_damaged_table_is_named(folder):
    saved = write(folder)
    (saved.path / "requests.parquet").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(ResultsError, match=r"requests\.parquet: cannot be read as parquet"):
        saved.table("requests")


def test_a_missing_table_is_named(folder):
    with pytest.raises(ResultsError, match=r"messages\.parquet: there is no such table"):
        write(folder).table("messages")


def test_a_table_that_lacks_a_column_is_named(folder):
    saved = write(folder)
    pd.DataFrame({"time_s": [1.0]}).to_parquet(saved.path / "resources.parquet")
    with pytest.raises(ResultsError, match="lacks the columns service, cpu_s"):
        saved.table("resources")


def test_a_table_is_read_once_and_what_a_reader_does_to_it_stays_with_that_reader(folder):
    saved = write(folder)
    table = saved.table("gauges")
    table["value"] = 99.0
    table["more"] = 1
    (saved.path / "gauges.parquet").unlink()
    assert saved.table("gauges")["value"].tolist() == [2.0]
    assert list(saved.table("gauges")) == list(TABLES["gauges"])


def test_loading_many_runs_reads_no_table(folder, monkeypatch):
    for number in range(24):
        write(folder, f"run-{number}")
    monkeypatch.setattr("stacklab.runs.results.read_table", lambda *_: pytest.fail("a table was read"))
    assert len(load_runs(folder)) == 24


def test_results_can_be_read_where_no_lab_is_installed():
    forbidden = "fabric", "invoke", "paramiko", "locust", "stacklab.labs", "stacklab.stack.change", "stacklab.bench"
    code = f"""
import sys
import stacklab.runs.results, stacklab.runs.validity, stacklab.study.analysis, stacklab.study.plots, stacklab.study.report
found = sorted(name for name in {forbidden!r} if name in sys.modules)
assert not found, found
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_table_is_exported_as_csv_with_its_run(tmp_path):
    one = synthetic.http_run(tmp_path / "e", "one", workload=HttpLoad(requests=50, users=5, ramp_s=0.1, warmup_s=0.1))
    two = synthetic.chat_run(tmp_path / "e", "two", workload=ChatLoad(clients=6, rooms=2, duration_s=2, ramp_s=1))
    files = export_csv([one, two], tmp_path / "csv")
    assert {file.name for file in files} == {"runs.csv", *(f"{name}.csv" for name in set(TABLES) - {"apart", "stated"})}
    requests = pd.read_csv(tmp_path / "csv" / "requests.csv")
    assert list(requests) == ["experiment", "run", *TABLES["requests"]]
    assert len(requests) == len(one.table("requests"))
    assert requests["start_s"].to_numpy() == pytest.approx(one.table("requests")["start_s"].to_numpy(), abs=1e-6)
    gauges = pd.read_csv(tmp_path / "csv" / "gauges.csv")
    assert gauges["run"].value_counts().to_dict() == {"one": len(one.table("gauges")), "two": len(two.table("gauges"))}
    runs = pd.read_csv(tmp_path / "csv" / "runs.csv")
    assert runs["run"].tolist() == ["one", "two"]
    assert runs["settings.uwsgi_processes"].tolist() == [5, 5]
    assert runs["workload.clients"].tolist()[1] == 6


def test_exporting_no_runs_is_refused(tmp_path):
    with pytest.raises(ResultsError, match="no runs to export"):
        export_csv([], tmp_path)
