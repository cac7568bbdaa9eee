"""The snippets of a model's page in a browser: opened without a script, and copied with one."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.browser.test_load import wait_live
from tests.support.ids import LLAMA
from tests.support.server import Server
from tests.support.types import OpenPage

CLIPBOARD = ["clipboard-read", "clipboard-write"]


def test_a_snippet_is_copied_as_it_is_shown(server: Server, open_page: OpenPage) -> None:
    page = wait_live(open_page(f"/models/{LLAMA}", permissions=CLIPBOARD))
    page.locator("#use summary", has_text="Python").click()
    button = page.get_by_role("button", name="Copy the Python snippet")
    button.click()
    expect(page.get_by_role("button", name="Copied the Python snippet")).to_be_visible()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == page.locator("#use-python").text_content()
    assert f'base_url="{server.url}/v1"' in copied
    expect(button).to_be_visible()


def test_the_snippets_are_there_without_a_script(server: Server, open_page: OpenPage) -> None:
    page = open_page(f"/models/{LLAMA}", java_script_enabled=False)
    expect(page.locator("#use-curl")).to_be_visible()
    expect(page.locator("#use-ollama")).to_be_hidden()
    page.locator("#use summary", has_text="Ollama").click()
    expect(page.locator("#use-ollama")).to_be_visible()
    expect(page.locator("#use [data-copy]:visible")).to_have_count(0)
