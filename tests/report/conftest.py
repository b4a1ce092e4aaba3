"""Headless browser for the pages of reports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def browser(find_program):
    """Provide headless Chromium."""
    playwright = pytest.importorskip("playwright.sync_api")
    path = find_program("a browser")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
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
