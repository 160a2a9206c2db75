"""The notebooks as they are committed: pairs that agree, no outputs, and the parts that every lesson has."""

import ast
import re
import shutil
import subprocess

import jupytext
import nbformat
import pytest

from stacklab.files import ROOT

NAMES = ["00_start_here", "01_eight_cases", "02_chat_and_daphne", "03_balancing", "04_failover"]
FORBIDDEN_PATHS = re.compile(r"(?<![\w.])/(home|root|work|tmp|Users|mnt)/")


def committed(path: str) -> str:
    """The file as it is committed, so that notebooks somebody works in may hold outputs; outside git, the file itself."""
    if shutil.which("git"):
        shown = subprocess.run(["git", "-C", str(ROOT), "show", f"HEAD:{path}"], capture_output=True, text=True)
        if shown.returncode == 0:
            return shown.stdout
    return (ROOT / path).read_text()


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


@pytest.fixture
def notebook(name):
    return nbformat.reads(committed(f"notebooks/{name}.ipynb"), as_version=4)


@pytest.fixture
def source(name):
    return committed(f"notebooks/src/{name}.py")


def test_every_notebook_has_its_pair_and_is_tested():
    assert sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb")) == NAMES
    assert sorted(path.stem for path in (ROOT / "notebooks" / "src").glob("*.py")) == NAMES


def test_a_notebook_and_its_source_hold_the_same_cells(notebook, source):
    pair = jupytext.reads(source, fmt="py:percent")
    assert [(cell.cell_type, cell.source) for cell in notebook.cells] == [(cell.cell_type, cell.source) for cell in pair.cells]


def test_a_notebook_is_valid_and_holds_no_outputs(notebook):
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in code)
    assert "widgets" not in notebook.metadata


def test_a_notebook_names_no_path_of_one_machine(source):
    assert not FORBIDDEN_PATHS.search(source)


def test_a_lesson_asks_has_the_reader_predict_and_ends_with_what_was_seen(notebook):
    headings = [
        line
        for cell in notebook.cells
        if cell.cell_type == "markdown"
        for line in cell.source.splitlines()
        if line.startswith("## ")
    ]
    parts = ["## Question", "## Your prediction", "## What we have seen", "## Exercises"]
    assert [heading for heading in headings if heading in parts] == parts


def test_each_exercise_has_an_answer_that_is_hidden(notebook):
    exercises = notebook.cells[-1].source.split("## Exercises")[1]
    asked = re.findall(r"^(\d)\. ", exercises, re.MULTILINE)
    answered = re.findall(r"^<details><summary>Answer (\d)</summary>$", exercises, re.MULTILINE)
    assert asked and asked == answered
    assert exercises.count("</details>") == len(answered)


def test_cells_are_small_enough_to_be_read(notebook):
    for cell in notebook.cells:
        if cell.cell_type == "code":
            lines = cell.source.splitlines()
            assert len(lines) <= 12 and max(map(len, lines)) <= 120, cell.source


def test_a_lesson_calls_the_package_and_defines_nothing_of_its_own(notebook):
    for cell in notebook.cells:
        if cell.cell_type == "code":
            nodes = ast.walk(ast.parse(cell.source))
            assert not any(isinstance(node, (ast.FunctionDef, ast.ClassDef)) for node in nodes), cell.source


def test_every_name_that_a_lesson_takes_from_the_package_is_there(notebook):
    cells = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    modules = {}
    for node in ast.walk(ast.parse("\n".join(cells))):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                exec(f"from {node.module} import {alias.name}", modules)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
            assert hasattr(modules[node.value.id], node.attr), f"{node.value.id}.{node.attr}"


def test_a_lesson_that_changes_settings_puts_them_back(source):
    if "tasks.reset()" in source or "tasks.set_(" in source:
        assert "found = stack.current(host)" in source
        assert "stack.apply(host, found)" in source.split("## What we have seen")[1]
