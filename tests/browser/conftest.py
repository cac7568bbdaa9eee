"""A real browser: Debian's chromium, driven by Playwright."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.support.chromium import launch
from tests.support.server import Server
from tests.support.types import OpenPage
from tests.support.wire import Wire

expect.set_options(timeout=60_000)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests in this folder, for ``-m "not browser"``."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One browser for all tests; each page has a context of its own."""
    with sync_playwright() as playwright:
        browser = launch(playwright)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Browser, server: Server) -> Iterator[OpenPage]:
    """Opens a page of ``server`` in a window of its own; a script error on any of them fails the test."""
    pages: list[Page] = []
    errors: list[str] = []

    def open_one(path: str, to: Server | Wire = server, **options: Any) -> Page:
        page = browser.new_context(**options).new_page()
        page.set_default_timeout(30_000)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda line: errors.append(line.text) if "Content Security" in line.text else None)
        pages.append(page)
        page.goto(to.url + path)
        return page

    yield open_one
    for page in pages:
        page.context.close()
    server.unload_all()
    assert errors == []
