"""nbgrader's own commands on the exercises: the solved one scores full, the empty one nothing, and a made-up folder is told."""

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from synthetic import chat_run, http_run

from course import grading
from stacklab.exercises import EXERCISES
from stacklab.files import ROOT
from stacklab.runs.sums import SUMS_FILE, write_sums
from stacklab.settings import StackSettings
from stacklab.workload import ChatLoad, HttpLoad

POINTS = sum(len(exercise.cases) for exercise in EXERCISES.values())


def measured(folder: Path) -> None:
    """Runs of every case of every exercise."""
    for name, exercise in EXERCISES.items():
        for number, settings in enumerate(exercise.cases.values()):
            run = f"run-{name.replace('.', '-')}-{number}"
            if "clients" in exercise.load:
                chat_run(folder / "adhoc", run, StackSettings(**settings), ChatLoad(**exercise.load, duration_s=6, ramp_s=2))
            else:
                load = HttpLoad(**exercise.load, requests=400, ramp_s=1, warmup_s=0.5)
                http_run(folder / "adhoc", run, StackSettings(**settings), load, fail=40 if "error" in exercise.metric else 0)


def quicker(folder: Path) -> None:
    """The client's table of a run, with better times, and its sums made anew."""
    folder.chmod(0o755)
    rows = pd.read_parquet(folder / "requests.parquet")
    rows["start_s"] = rows["start_s"].min() + (rows["start_s"] - rows["start_s"].min()) / 2
    for name in ("requests.parquet", SUMS_FILE):
        (folder / name).unlink()
    rows.to_parquet(folder / "requests.parquet")
    write_sums(folder)


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A course folder as a teacher has it, with the assignment released and three students' work graded."""
    folder = tmp_path_factory.mktemp("course")
    shutil.copy(ROOT / "course" / "nbgrader_config.py", folder)
    source = folder / "source" / "exercises" / "exercises.ipynb"
    source.parent.mkdir(parents=True)
    source.write_text(nbformat.writes(grading.assignment()))
    tools = str(Path(sys.executable).parent)  # nbgrader calls alembic by its name
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "STACKLAB_RESULTS": str(folder / "teachers"),
        "PATH": f"{tools}:{os.environ['PATH']}",
    }

    def nbgrader(*words):
        command = [Path(sys.executable).with_name("nbgrader"), *words]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    nbgrader("generate_assignment", "exercises")
    released = folder / "release" / "exercises" / "exercises.ipynb"
    for student, notebook in (("solved", source), ("empty", released), ("liar", source), ("without", source)):
        place = folder / "submitted" / student / "exercises"
        place.mkdir(parents=True)
        shutil.copy(notebook, place)
        measured(place / "results")
    shutil.rmtree(folder / "submitted" / "without" / "exercises" / "results")
    measured(folder / "teachers")  # the teacher's own runs
    quicker(folder / "submitted" / "liar" / "exercises" / "results" / "adhoc" / "run-00-1-0")
    nbgrader("autograde", "exercises")
    nbgrader("export", "--to", "grades.csv")
    return folder


def test_the_students_version_has_no_solutions_and_the_teachers_is_what_is_committed(course):
    released = (course / "release" / "exercises" / "exercises.ipynb").read_text()
    assert "shown(" not in released and "Write your numbers" in released
    assert grading.ASSIGNMENT.read_text() == nbformat.writes(grading.assignment()) + "\n"


def test_the_solved_one_scores_full_the_empty_one_nothing_and_a_made_up_run_no_point(course):
    with (course / "grades.csv").open(newline="") as file:
        scores = {row["student_id"]: (float(row["score"]), float(row["max_score"])) for row in csv.DictReader(file)}
    assert scores == {"solved": (POINTS, POINTS), "empty": (0, POINTS), "liar": (POINTS - 1, POINTS), "without": (0, POINTS)}


def test_a_grade_says_why(course):
    book = nbformat.read(course / "autograded" / "liar" / "exercises" / "exercises.ipynb", as_version=4)
    said = "".join(output.get("text", "") for cell in book.cells for output in cell.get("outputs", []))
    assert "run-00-1-0 is not to be believed" in said
