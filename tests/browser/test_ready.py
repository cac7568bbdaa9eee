"""Once a model is ready: its load is one line, the box to try it comes first, and other tabs learn of it."""

from __future__ import annotations

from urllib.parse import unquote

from playwright.sync_api import expect

from tests.browser.test_load import model, wait_live
from tests.support.ids import BERT, LLAMA, VIT
from tests.support.server import Server
from tests.support.types import OpenPage

NOTICES = """() => {
  window.notices = [];
  window.Notification = class {
    static permission = "default";
    static async requestPermission() { return (Notification.permission = "granted"); }
    constructor(title, { body }) { notices.push([title, body]); }
  };
  document.hasFocus = () => false;
}"""


def test_the_load_folds_into_one_line_and_the_box_comes_first(server: Server, open_page: OpenPage) -> None:
    page = wait_live(open_page(f"/models/{BERT}"))
    expect(page.locator(".steps").first).to_be_visible()
    page.get_by_role("button", name="Load").click()
    expect(model(page)).to_have_attribute("data-state", "ready")
    expect(page.locator(".fold > summary")).to_contain_text("Ready in")
    expect(page.locator(".steps").first).to_be_hidden()
    expect(page.get_by_role("button", name="Run")).to_be_in_viewport()
    page.locator(".fold > summary").click()
    expect(page.locator(".steps").first).to_be_visible()
    page.get_by_role("link", name="Timeline of this load").click()
    expect(page.locator("#load")).to_contain_text("Ready in")


def test_what_was_typed_is_there_after_a_reload(server: Server, open_page: OpenPage) -> None:
    server.load(LLAMA)
    page = wait_live(open_page(f"/models/{LLAMA}"))
    box = page.locator("#try-text")
    box.fill("once upon a time")
    page.reload()
    expect(box).to_have_value("once upon a time")
    server.delete(f"/api/models/{LLAMA}")
    expect(box).to_have_count(0)
    server.load(LLAMA)
    expect(box).to_have_value("once upon a time")
    assert wait_live(open_page(f"/models/{LLAMA}")).locator("#try-text").input_value() != "once upon a time"


def test_steps_after_a_cancel_are_not_reached(server: Server, open_page: OpenPage) -> None:
    frozen = server.freeze_load(VIT)
    page = wait_live(open_page(f"/models/{VIT}"))
    expect(page.locator(".steps [data-status=waiting]").first).to_contain_text("waiting")
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator(".steps [data-status='not reached']").last).to_contain_text("not reached")
    expect(page.locator(".steps [data-status=waiting]")).to_have_count(0)
    frozen.wait(10)


def test_the_icon_of_the_tab_fills_as_the_load_goes_on(server: Server, open_page: OpenPage) -> None:
    page = wait_live(open_page(f"/models/{LLAMA}"))
    icon = page.locator("link[rel=icon]")
    expect(icon).to_have_attribute("href", "/static/icon.svg")
    frozen = server.freeze_load(LLAMA)
    expect(page.locator("link[rel=icon][href^='data:image/svg+xml']")).to_have_count(1)
    assert "height=" in unquote(icon.get_attribute("href") or "")
    frozen.resume()
    expect(model(page)).to_have_attribute("data-state", "ready")
    expect(page.locator("link[rel=icon][href$='/static/icon.svg']")).to_have_count(1)


def test_a_notification_when_a_long_load_has_ended_for_who_wants_one(
    server: Server, open_page: OpenPage
) -> None:
    page = open_page(f"/models/{LLAMA}")
    page.add_init_script(f"({NOTICES})()")
    page.reload()
    wait_live(page)
    button = page.get_by_role("button", name="Notify me")
    expect(button).to_have_attribute("aria-pressed", "false")
    button.click()
    expect(button).to_have_attribute("aria-pressed", "true")
    server.load(LLAMA)
    expect(model(page)).to_have_attribute("data-state", "ready")
    assert page.evaluate("notices") == [], "a short load is not worth one"
    server.delete(f"/api/models/{LLAMA}")
    frozen = server.freeze_load(LLAMA)
    expect(model(page)).to_have_attribute("data-state", "loading")
    page.wait_for_timeout(10_500)  # what is tested: a load of more than ten seconds
    frozen.resume()
    expect(model(page)).to_have_attribute("data-state", "ready")
    ((title, body),) = page.evaluate("notices")
    assert title == f"{LLAMA}: Ready"
    assert body.startswith("Ready to use in 1")


def test_times_are_the_readers_own_on_every_page(server: Server, open_page: OpenPage) -> None:
    load_id = server.load(VIT)["load_id"]
    for path in (f"/models/{VIT}", "/history", f"/loads/{load_id}"):
        page = open_page(path, timezone_id="Asia/Tokyo")
        time = page.locator("time").first
        expect(time).not_to_contain_text("UTC")
        utc = time.get_attribute("datetime") or ""
        assert int(time.inner_text()[11:13]) == (int(utc[11:13]) + 9) % 24
        assert time.get_attribute("title") == utc
        without = open_page(path, java_script_enabled=False, timezone_id="Asia/Tokyo")
        expect(without.locator("time").first).to_contain_text("UTC")
