"""A real browser: Debian's chromium, driven by Playwright."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.server import ROOT, Server

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
FLAGS += ["--no-first-run"]
expect.set_options(timeout=60_000)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One browser for all tests; each page has a context of its own."""
    path = shutil.which("chromium")
    assert path is not None, "The browser tests need chromium: apt-get install chromium"
    client = ROOT / "static" / "node_modules" / "socket.io-client"
    assert client.is_dir(), "The pages need their client: npm ci --prefix static"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Browser, server: Server) -> Iterator[Callable[..., Page]]:
    """Opens a page of ``server`` in a window of its own; a script error on any of them fails the test."""
    pages: list[Page] = []
    errors: list[str] = []

    def open_one(path: str, to: Server = server, **options: Any) -> Page:
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
