"""`python -m course.site [FOLDER]`: the lessons as a site that needs no lab, no Python and no network: `make course`.

Each lesson is replayed from its recording and becomes a page in each language. The folder (build/course/) may lie on any
web server, or on a stick.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jinja2
import nbclient
import nbformat
from nbconvert.exporters import HTMLExporter

from course.languages import LANGUAGES, SOURCES, in_language, names
from stacklab import lesson_words
from stacklab.errors import LabError
from stacklab.files import ROOT

PAGE = Path(__file__).parent / "page"
WIDGET = "application/vnd.jupyter.widget-view+json"
STOCK = ("course.css", "course.js", "d3.min.js", "plot.umd.min.js", "LICENSE.d3", "LICENSE.plot")
WORDS = {
    "en": {"course": "How a Django + Channels site carries heavy traffic", "index": "The lessons", "other": "한국어",
           "next": "Next", "before": "Before"},
    "ko": {"course": "Django + Channels 사이트는 많은 트래픽을 어떻게 감당하는가", "index": "수업 목록", "other": "English",
           "next": "다음", "before": "이전"},
}  # fmt: skip


def replayed(name: str, language: str) -> nbformat.NotebookNode:
    """The lesson with what its cells show, from its recording, for a page."""
    book = in_language((SOURCES / f"{name}.py").read_text(encoding="utf-8"), language)
    client = nbclient.NotebookClient(
        book, timeout=600, startup_timeout=300, extra_arguments=["--log-level=ERROR"], resources={"metadata": {"path": str(ROOT)}}
    )
    client.execute(env=os.environ | {"STACKLAB_REPLAY": "1", "STACKLAB_PAGE": "1"})
    return book


def title_of(book: nbformat.NotebookNode) -> str:
    """Its first heading."""
    return next(line.removeprefix("# ") for line in book.cells[0].source.splitlines() if line.startswith("# "))


def body_of(book: nbformat.NotebookNode) -> str:
    """The cells as HTML, without widgets, which want a kernel; links to files of the checkout are words alone."""
    for cell in book.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if WIDGET not in output.get("data", {})]
    book.metadata.pop("widgets", None)
    body, _ = HTMLExporter(template_name="basic").from_notebook_node(book)
    return re.sub(r'<a href="\.\./[^"]*">(.*?)</a>', r"\1", body)


def write_site(folder: Path) -> list[Path]:
    """All lessons in all languages into `folder`, in the place of the site that it holds; the pages written.

    LabError, before anything is lost, if it holds something else.
    """
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "page" / "course.js").is_file():
        raise LabError(f"{folder} holds something else than this course; name an empty folder, or one that is not there yet")
    made = jinja2.Environment(loader=jinja2.FileSystemLoader(PAGE), autoescape=True, undefined=jinja2.StrictUndefined)
    template, pages = made.get_template("page.html.j2"), []
    wanted = [(name, language) for name in names() for language in LANGUAGES]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        books = dict(zip(wanted, pool.map(lambda each: replayed(*each), wanted), strict=True))
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "page").mkdir(parents=True)
    for file in STOCK:
        shutil.copy(PAGE / file, folder / "page")
    for language in LANGUAGES:
        lessons = [(f"{name}.html", title_of(books[name, language])) for name in names()]
        other = LANGUAGES[1 - LANGUAGES.index(language)]
        for place, (file, title) in enumerate([("index.html", WORDS[language]["index"]), *lessons]):
            page = folder / language / file
            page.parent.mkdir(exist_ok=True)
            page.write_text(encoding="utf-8", data=template.render(
                language=language, other=other, words=WORDS[language], said=lesson_words.WORDS[language],
                title=title, file=file, lessons=lessons, place=place,
                body=body_of(books[page.stem, language]) if place else "",
            ))  # fmt: skip
            pages.append(page)
    (folder / "index.html").write_text('<!doctype html><meta http-equiv="refresh" content="0; url=en/index.html">\n')
    return pages


def main() -> None:
    """Write the site; say where, how large and how long it took."""
    folder = Path(sys.argv[1]) if sys.argv[1:] else ROOT / "build" / "course"
    began = time.monotonic()
    pages = write_site(folder)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"{len(pages)} pages, {size >> 20} MiB, in {time.monotonic() - began:.0f} s: open {folder / 'index.html'}")


if __name__ == "__main__":
    main()
