"""JupyterLab in a real browser, as a student uses it."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from here import CHROMIUM
from playwright.sync_api import sync_playwright

PATIENCE_MS = 1_800_000  # an emulated machine is slow


def run_all_cells(address: str, notebook: str, picture: Path) -> dict[str, Any]:
    """Open `notebook` at JupyterLab's `address` (with its token), run all cells, and take a picture.

    Returns {"executed": cells that ran, "errors": [text of each error]}.
    """
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(PATIENCE_MS)
        parts = urlsplit(address)
        page.goto(f"{parts.scheme}://{parts.netloc}/lab/tree/{notebook}?{parts.query}")
        page.locator(".jp-Notebook .jp-CodeCell").first.wait_for()
        page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()  # a kernel is there; the notebook's own light is on before
        page.locator('.jp-Notebook-ExecutionIndicator[data-status="idle"]').first.wait_for(state="attached")
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        # A cell that waits or runs has a * where its number comes; one that ran has its number.
        page.wait_for_function(
            """() => {
                const prompts = [...document.querySelectorAll('.jp-Notebook .jp-CodeCell .jp-InputPrompt')];
                const texts = prompts.map(each => each.textContent);
                return texts.some(each => /\\d/.test(each)) && !texts.some(each => each.includes('*'));
            }""",
            timeout=PATIENCE_MS,
            polling=1000,
        )
        executed = page.locator(".jp-Notebook .jp-CodeCell .jp-InputPrompt").filter(has_text="[").count()
        errors = page.locator(
            '.jp-Notebook [data-mime-type="application/vnd.jupyter.stderr"], '
            '.jp-Notebook [data-mime-type="application/vnd.jupyter.error"]'
        ).all_inner_texts()
        images = page.locator(".jp-Notebook .jp-OutputArea img")
        if images.count():
            images.nth(min(1, images.count() - 1)).evaluate("image => image.scrollIntoView({block: 'center'})")
            page.wait_for_timeout(5000)  # it draws what came into view
        page.screenshot(path=picture)
        page.keyboard.press("Control+s")
        page.wait_for_timeout(3000)  # until it is saved
        browser.close()
    return {"executed": executed, "errors": [text for text in errors if "Error" in text]}
