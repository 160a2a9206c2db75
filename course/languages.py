"""`python -m course.languages`: from each source in notebooks/src/, a notebook in every language.

A source holds the code once, and each text once in every language: cells of Markdown with lang="en" and lang="ko".
"""

from __future__ import annotations

from pathlib import Path

import jupytext
import nbformat

from stacklab.files import ROOT

LANGUAGES = ("en", "ko")
NOTEBOOKS = ROOT / "notebooks"
SOURCES = NOTEBOOKS / "src"


def names() -> list[str]:
    """The lessons, in their order."""
    return sorted(path.stem for path in SOURCES.glob("*.py"))


def in_language(source: str, language: str) -> nbformat.NotebookNode:
    """The notebook of a source's text in one language: its words, and the code, which is told the language."""
    book = jupytext.reads(source, fmt="py:percent")
    book.cells = [cell for cell in book.cells if cell.metadata.get("lang", language) == language]
    for number, cell in enumerate(book.cells):
        cell.id = f"cell-{number:03d}"
        cell.metadata.pop("lang", None)
        if cell.cell_type == "markdown" and cell.source.startswith("#"):
            cell.metadata["slideshow"] = {"slide_type": "slide"}
        if cell.cell_type == "code":
            cell.source = cell.source.replace('", "en"', f'", "{language}"') if "lesson.begin(" in cell.source else cell.source
    book.metadata = {"kernelspec": book.metadata["kernelspec"], "language_info": {"name": "python"}}
    return book


def path_of(name: str, language: str) -> Path:
    """Where the notebook lies."""
    return NOTEBOOKS / language / f"{name}.ipynb"


def main() -> None:
    """Write every notebook."""
    for language in LANGUAGES:
        (NOTEBOOKS / language).mkdir(exist_ok=True)
        for name in names():
            book = in_language((SOURCES / f"{name}.py").read_text(encoding="utf-8"), language)
            path_of(name, language).write_text(nbformat.writes(book) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
