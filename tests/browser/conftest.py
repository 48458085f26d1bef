"""A server, a Chromium and pages in it for each module of page tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.support.browser import Errors, Opener, Site, launch


@pytest.fixture(scope="module")
def kongzhong_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("site"))
    site.start()
    try:
        yield site
    finally:
        site.stop()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    # Per module, not per session: a running Playwright would keep asyncio tests of other folders from their loop.
    with sync_playwright() as playwright:
        browser = launch(playwright)
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium: Browser) -> Iterator[Opener]:
    """``open_page(url, width=…, height=…, language=…, init=…)``: a page in a context of its own. A page whose console
    told of a broken script or policy fails its test."""
    pages: list[tuple[Page, Errors]] = []

    def opener(url: str, width: int = 1366, height: int = 768, language: str = "", init: str = "") -> Page:
        context = chromium.new_context(
            viewport={"width": width, "height": height}, permissions=["camera", "microphone"]
        )
        context.set_default_timeout(30_000)
        if language:
            context.add_init_script(f"localStorage.setItem('kongzhong.language', '{language}')")
        if init:
            context.add_init_script(init)
        page = context.new_page()
        pages.append((page, Errors(page)))
        page.goto(url)
        return page

    yield opener
    seen = [error for _, errors in pages for error in errors.seen]
    for page, _ in pages:
        page.context.close()
    assert not seen, seen
