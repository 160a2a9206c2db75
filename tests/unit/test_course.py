"""The course as a site: from recordings alone, in both languages, without a network; predicted, sealed and scored in the page."""

import http.server
import re
import threading
from functools import partial

import nbformat
import pytest
from here import CHROMIUM, all_drawn
from playwright.sync_api import sync_playwright

from course import languages, site
from course.languages import in_language
from stacklab.files import ROOT

PAIR = ("00_start_here", "04_eight_cases")


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The site of two lessons."""
    folder = tmp_path_factory.mktemp("course")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(site, "names", lambda: list(PAIR))
        patch.setenv("STACKLAB_RESULTS", str(folder / "results"))
        patch.setenv("STACKLAB_LAB", "no-lab-of-this-name")
        site.write_site(folder / "site")
    return folder / "site"


@pytest.mark.parametrize("name", [name for name in languages.names() if name not in PAIR])
def test_every_lesson_is_told_again_from_its_recording(name, monkeypatch, tmp_path):
    monkeypatch.setenv("STACKLAB_LAB", "no-lab-of-this-name")
    monkeypatch.setenv("STACKLAB_RESULTS", str(tmp_path))
    book = site.replayed(name, "en")  # raises on the first cell that fails
    outputs = [output for cell in book.cells for output in cell.get("outputs", [])]
    assert all_drawn(book) >= 2
    assert not [output.text for output in outputs if output.get("name") == "stderr"]


def test_recordings_are_small_enough_to_ship():
    size = sum(path.stat().st_size for path in (ROOT / "notebooks" / "recorded").rglob("*") if path.is_file())
    assert 0 < size < 20 << 20


def test_every_language_has_every_page_and_nothing_is_fetched_from_elsewhere(pages):
    there = {path.relative_to(pages).as_posix() for path in pages.rglob("*.html")}
    assert there == {"index.html"} | {f"{at}/{name}.html" for at in languages.LANGUAGES for name in ("index", *PAIR)}
    for path in pages.rglob("*.html"):
        text = path.read_text()
        assert not re.search(r'<(?:script|link|img)[^>]+(?:src|href)="(?:https?:)?//', text), path
        for link in re.findall(r'(?:src|href)="([^"#:]+)"', text):
            assert (path.parent / link).is_file(), f"{path}: {link}"


def test_widgets_which_want_a_kernel_stand_on_no_page():
    slider = nbformat.v4.new_output("display_data", {site.WIDGET: {"model_id": "x"}, "text/plain": "IntSlider(value=50000)"})
    cell = nbformat.v4.new_code_cell("interact(…)", outputs=[slider])
    book = nbformat.v4.new_notebook(cells=[cell], metadata={"widgets": {"x": {"state": {"x": {}}}}})
    body = site.body_of(book)
    assert "interact" in body and "script" not in body and "IntSlider" not in body


def test_no_page_holds_a_place_on_this_computer(pages):
    for path in pages.rglob("*.html"):
        assert str(ROOT) not in path.read_text(), path


def test_both_languages_show_the_same_measurements(pages):
    def shown(language):
        return re.findall(r"""data-(?:measured|rows)=(?:"[^"]*"|'[^']*')""", (pages / language / f"{PAIR[0]}.html").read_text())

    assert shown("en") == shown("ko") != []


def test_code_of_a_lesson_is_told_its_language():
    source = (languages.SOURCES / f"{PAIR[0]}.py").read_text()
    english, korean = (in_language(source, language) for language in languages.LANGUAGES)
    differ = [
        (a.source, b.source)
        for a, b in zip(english.cells, korean.cells, strict=True)
        if a.cell_type == "code" and a.source != b.source
    ]
    assert len(differ) == 1 and '"en"' in differ[0][0] and differ[0][0].replace('"en"', '"ko"') == differ[0][1]


# ---------------------------------------------------------------- in a browser, with the network off


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("NO CHROMIUM HERE (Debian package chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def opened(browser, pages):
    """`opened("en/00_start_here.html")` is that page, in a browser of its own that reaches nothing but the site."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(pages)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    asked = []
    context.on("request", lambda request: asked.append(request.url))

    def open_page(path):
        page = context.new_page()
        page.errors = []
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        page.goto(f"http://127.0.0.1:{server.server_port}/{path}")
        return page

    yield open_page
    assert all(url.startswith((f"http://127.0.0.1:{server.server_port}/", "data:")) for url in asked)
    context.close()
    server.shutdown()
    server.server_close()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *words):
        pass


@pytest.mark.browser
def test_what_follows_is_covered_until_a_prediction_is_sealed_and_it_is_scored(opened):
    page = opened(f"en/{PAIR[0]}.html")
    form = page.locator(".prediction").first
    assert page.locator(".covered").count() > 3
    form.locator("input").first.fill("many")
    form.get_by_role("button", name="Seal it").click()
    assert "wants a number" in form.inner_text() and page.locator(".covered").count() > 3
    for place in range(form.locator("input").count()):
        form.locator("input").nth(place).fill("1")
    form.get_by_role("button", name="Seal it").click()
    assert "Sealed: 5 processes: 1; 10 processes: 1" in form.inner_text()
    assert page.locator(".covered").count() == 0
    assert "times off" in page.locator(".score").first.inner_text()
    again = opened(f"en/{PAIR[0]}.html")
    assert "Sealed: 5 processes: 1" in again.locator(".prediction").first.inner_text(), "the browser kept it"
    assert page.errors == again.errors == []


@pytest.mark.browser
def test_one_may_go_on_without_a_prediction(opened):
    page = opened(f"ko/{PAIR[0]}.html")
    page.get_by_role("button", name="예측 없이 계속").first.click()
    assert page.locator(".covered").count() == 0
    assert "여기서는 예측하지 않았습니다." in page.locator(".score").first.inner_text()
    assert page.errors == []


@pytest.mark.browser
def test_a_figure_shows_what_is_chosen(opened):
    page = opened(f"en/{PAIR[1]}.html")
    page.get_by_role("button", name="Go on without").first.click()
    figure = page.locator(".recorded").first
    dots = figure.locator("circle").count()
    assert dots >= 16
    before = figure.locator("svg").first.inner_html()
    figure.locator("select").first.select_option("p95_s")
    assert "95th percentile" in figure.inner_text() and figure.locator("svg").first.inner_html() != before
    figure.locator("select").nth(1).select_option(index=1)
    assert figure.locator("circle").count() == 8, "one block"
    assert page.errors == []


@pytest.mark.browser
@pytest.mark.parametrize("path", [f"{language}/{name}.html" for language in languages.LANGUAGES for name in ("index", *PAIR)])
def test_a_page_fits_a_projector_and_a_telephone(opened, path):
    page = opened(path)
    for width in (1920, 1280, 400):
        page.set_viewport_size({"width": width, "height": 900})
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width + 1, f"{path} is {wide} px wide on {width}"
    assert page.errors == []
