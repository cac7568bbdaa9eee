"""Logging in and out in a real browser, with and without JavaScript."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.browser.test_axe import AXE, SMALL, violations
from tests.support.gallery import SCHEMES
from tests.support.ids import DEMO
from tests.support.locked import TOKEN, VIEW, WRONG, LockedServer
from tests.support.types import OpenPage


def log_in(page: Page, token: str) -> None:
    """Type the token, and press Enter."""
    field = page.get_by_label("Token")
    expect(field).to_be_focused()
    page.keyboard.type(token)
    page.keyboard.press("Enter")


def _check_looks(page: Page) -> None:
    """In light and dark, and on a narrow screen."""
    page.evaluate(AXE.read_text())
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)
        assert violations(page) == []
        assert page.evaluate(SMALL) == []
    page.set_viewport_size({"width": 320, "height": 600})
    assert page.evaluate("document.documentElement.scrollWidth") <= 320


def test_a_page_asks_for_the_token_is_live_with_it_and_asks_again_after_the_end_of_the_session(
    locked_server: LockedServer, open_page: OpenPage
) -> None:
    page = open_page(f"/models/{DEMO}", to=locked_server)
    expect(page).to_have_title("Log in · modelhub")
    log_in(page, WRONG)
    expect(page.get_by_role("alert")).to_have_text("This is not the token of this server.")
    _check_looks(page)
    log_in(page, TOKEN)
    page.wait_for_url(f"**/models/{DEMO}")
    expect(page.locator("#badge")).to_have_text("Live")
    expect(page.get_by_role("button", name="Load", exact=False).first).to_be_visible()
    other = page.context.new_page()
    other.goto(locked_server.url + "/history")
    other.get_by_role("button", name="Log out").click()
    expect(other).to_have_title("Log in · modelhub")
    expect(page).to_have_title("Log in · modelhub")  # its connection was cut, so it has asked again
    page.goto(locked_server.url + "/")
    expect(page).to_have_title("Log in · modelhub")


def test_a_viewer_sees_events_and_no_buttons(locked_server: LockedServer, open_page: OpenPage) -> None:
    page = open_page("/", to=locked_server, java_script_enabled=False)
    log_in(page, VIEW)
    expect(page.get_by_text("View only")).to_be_visible()
    buttons = page.get_by_role("button")
    expect(buttons).to_have_text(["Log out", "Search"])  # without a script, the page fetches itself meanwhile
    page.get_by_role("link", name=DEMO).click()
    page.wait_for_url(f"**/models/{DEMO}")
    expect(buttons).to_have_text(["Log out"])
    expect(page.get_by_role("link", name="Delete")).to_have_count(0)
    page.get_by_role("link", name="log in with the other token").click()
    log_in(page, TOKEN)
    expect(page.get_by_role("button", name="Load").first).to_be_visible()
