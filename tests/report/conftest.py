"""Headless browser for the pages of reports."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

BROWSER_NAMES = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")
def browser():
    """Provide headless Chromium.

    Without Chromium these tests fail: a page that was never opened is not known to work.
    """
    playwright = pytest.importorskip("playwright.sync_api")
    found = next(filter(None, map(shutil.which, BROWSER_NAMES)), None)
    if found is None:
        pytest.fail("Chromium is not installed: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser, tmp_path):
    """Return a function that opens a page's text as a file.

    Later requests and console messages of the page are in its ``requests`` and ``complaints``.
    """
    pages = []

    def opens(text: str, width: int = 1100) -> Any:
        path = Path(tmp_path) / f"{len(pages)}.html"
        path.write_text(text, encoding="utf-8")
        page = browser.new_page(viewport={"width": width, "height": 800})
        page.requests, page.complaints = [], []
        page.on("request", lambda request: page.requests.append(request.url))
        page.on("console", lambda message: page.complaints.append(message.text))
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.on("dialog", lambda dialog: page.complaints.append(dialog.message) or dialog.dismiss())
        page.goto(path.as_uri())
        assert page.requests == [path.as_uri()]
        assert page.complaints == []
        pages.append(page)
        return page

    yield opens
    for page in pages:
        page.close()
