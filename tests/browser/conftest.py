"""A real browser: Debian's chromium, driven by Playwright."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, StorageState, expect, sync_playwright

from tests.support import chat_page
from tests.support.chat_page import Chat
from tests.support.chromium import launch
from tests.support.locked import TOKEN, LockedServer
from tests.support.server import Server
from tests.support.types import OpenChat, OpenPage
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


@pytest.fixture(scope="session")
def chat_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LockedServer]:
    """A server with the models of ``chat_page``, none of them loaded; it asks for tokens."""
    folder = tmp_path_factory.mktemp("chat")
    chat_page.make_models(folder / "models")
    server = LockedServer(folder, MODELS_DIR=folder / "models")
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def logged_in(browser: Browser, chat_server: LockedServer) -> StorageState:
    """The cookies of a browser that has logged in to ``chat_server``."""
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(chat_server.url)
        page.get_by_label("Token").fill(TOKEN)
        page.keyboard.press("Enter")
        expect(page.locator("#badge")).to_have_text("Live")
        return context.storage_state()


@pytest.fixture
def open_chat(chat_server: LockedServer, logged_in: StorageState, open_page: OpenPage) -> OpenChat:
    """Opens the page of a model of ``chat_server``, which it loads where it must."""

    def open_one(model_id: str) -> Chat:
        if chat_server.snapshot(model_id)["state"] != "ready":
            assert chat_server.load(model_id)["state"] == "ready"
        chat = Chat(open_page(f"/models/{model_id}", to=chat_server, storage_state=logged_in))
        expect(chat.send).to_be_enabled()
        return chat

    return open_one
