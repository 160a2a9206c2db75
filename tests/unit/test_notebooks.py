"""The lessons as they are committed: one source, two languages that stay in step, no outputs, and the parts that each has."""

import ast
import re
import shutil
import subprocess

import jupytext
import nbformat
import pytest

from course.languages import LANGUAGES, in_language, names
from stacklab.files import ROOT
from stacklab.lesson_words import WORDS

FORBIDDEN_PATHS = re.compile(r"(?<![\w.])/(home|root|work|tmp|Users|mnt)/")
PARTS = {
    "en": ["## Question", "## Your prediction", "## What we have seen", "## Exercises"],
    "ko": ["## 질문", "## 예측", "## 정리", "## 연습 문제"],
}
ANSWER = {"en": "Answer", "ko": "답"}
HANGUL = re.compile("[가-힣]")


def committed(path: str) -> str:
    """The file as it is committed, so that notebooks somebody works in may hold outputs; outside git, the file itself."""
    if shutil.which("git"):
        shown = subprocess.run(["git", "-C", str(ROOT), "show", f"HEAD:{path}"], capture_output=True, text=True)
        if shown.returncode == 0:
            return shown.stdout
    return (ROOT / path).read_text()


@pytest.fixture(params=names())
def name(request):
    return request.param


@pytest.fixture
def source(name):
    return committed(f"notebooks/src/{name}.py")


@pytest.fixture(params=LANGUAGES)
def language(request):
    return request.param


@pytest.fixture
def notebook(name, language):
    return nbformat.reads(committed(f"notebooks/{language}/{name}.ipynb"), as_version=4)


def texts(source, language):
    """The Markdown cells of one language."""
    return [cell.source for cell in jupytext.reads(source, fmt="py:percent").cells if cell.metadata.get("lang") == language]


def code(notebook):
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


def test_a_notebook_is_what_its_source_makes(notebook, source, language):
    made = in_language(source, language)
    assert [(cell.cell_type, cell.source) for cell in notebook.cells] == [(cell.cell_type, cell.source) for cell in made.cells]


def test_a_notebook_is_valid_and_holds_no_outputs(notebook):
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in cells)
    assert "widgets" not in notebook.metadata


def test_each_text_stands_in_every_language_one_after_the_other(source):
    cells = [cell for cell in jupytext.reads(source, fmt="py:percent").cells if cell.cell_type == "markdown"]
    assert [cell.metadata.get("lang") for cell in cells] == list(LANGUAGES) * (len(cells) // 2)
    assert all(HANGUL.search(text) for text in texts(source, "ko")) and not any(map(HANGUL.search, texts(source, "en")))


@pytest.mark.parametrize(
    "marks", [r"^#+ ", r"\d[\d,.]*\d|\d", r"`[^`\n]+`", r"\]\(([^)]+)\)", r"^\d+\. ", r"^> ", r"^\|"],
    ids=["headings", "figures", "code", "links", "lists", "quotations", "tables"],
)  # fmt: skip
def test_the_languages_stay_in_step(source, marks):
    for english, korean in zip(texts(source, "en"), texts(source, "ko"), strict=True):
        mine, yours = (sorted(re.findall(marks, text, re.MULTILINE)) for text in (english, korean))
        assert mine == yours, f"{english}\n\n{korean}"


def test_a_notebook_names_no_path_of_one_machine(source):
    assert not FORBIDDEN_PATHS.search(source)


def test_a_lesson_asks_has_the_reader_predict_and_ends_with_what_was_seen(notebook, language):
    lines = [line for cell in notebook.cells if cell.cell_type == "markdown" for line in cell.source.splitlines()]
    assert [line for line in lines if line in PARTS[language]] == PARTS[language]


def test_each_exercise_has_an_answer_that_is_hidden(notebook, language):
    exercises = notebook.cells[-1].source.split(PARTS[language][-1])[1]
    asked = re.findall(r"^(\d)\. ", exercises, re.MULTILINE)
    answered = re.findall(rf"^<details><summary>{ANSWER[language]} (\d)</summary>$", exercises, re.MULTILINE)
    assert asked and asked == answered
    assert exercises.count("</details>") == len(answered)


def test_cells_are_small_enough_to_be_read(notebook):
    for cell in code(notebook):
        lines = cell.splitlines()
        assert len(lines) <= 12 and max(map(len, lines)) <= 120, cell


def test_a_lesson_calls_the_package_and_defines_nothing_of_its_own(notebook):
    for cell in code(notebook):
        assert not any(isinstance(node, (ast.FunctionDef, ast.ClassDef)) for node in ast.walk(ast.parse(cell))), cell


def test_every_name_that_a_lesson_takes_from_the_package_is_there(name):
    from stacklab.lesson import Lesson

    modules = {"lab": Lesson}
    for node in ast.walk(ast.parse("\n".join(code(in_language(committed(f"notebooks/src/{name}.py"), "en"))))):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                exec(f"from {node.module} import {alias.name}", modules)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
            assert hasattr(modules[node.value.id], node.attr), f"{node.value.id}.{node.attr}"


def test_a_prediction_is_sealed_before_its_measurement_and_scored_after_it(name, notebook):
    lines = "\n".join(code(notebook))
    sealed, scored = (re.findall(rf'lab\.{what}\(\s*"([^"]+)"', lines) for what in ("predict", "score"))
    assert sealed and sorted(sealed) == sorted(set(sealed)) == sorted(scored), "each once, and each scored"
    for question in sealed:
        assert lines.index(f'lab.predict("{question}"') < lines.index(f'lab.score("{question}"')


def test_a_lesson_puts_the_settings_back_before_the_exercises(name, notebook):
    assert code(notebook)[-1] == "lab.end()" and "lab.end()" not in "\n".join(code(notebook)[:-1])
    assert f'lab = lesson.begin("{name}", ' in "\n".join(code(notebook))


def test_what_a_lesson_says_by_itself_stands_in_every_language():
    fields = {
        language: {key: sorted(re.findall(r"{(\w+)}", said)) for key, said in WORDS[language].items()} for language in LANGUAGES
    }
    assert fields["en"] == fields["ko"]
