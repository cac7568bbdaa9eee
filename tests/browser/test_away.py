"""Away and back: a laptop that slept, a tab frozen in the background, a server started again."""

from __future__ import annotations

import re
import time

from playwright.sync_api import expect

from tests.browser.test_load import model, say, wait_live
from tests.support.ids import LLAMA
from tests.support.server import Server
from tests.support.types import OpenPage, StartServer
from tests.support.wire import Wire

ASLEEP_S = 30


def test_a_laptop_that_slept_while_the_load_ended(server: Server, wire: Wire, open_page: OpenPage) -> None:
    frozen = server.freeze_load(LLAMA)
    page, list_page = (wait_live(open_page(path, to=wire)) for path in (f"/models/{LLAMA}", "/"))
    expect(model(page)).to_have_attribute("data-state", "loading")
    wire.hold()
    asleep_until = time.monotonic() + ASLEEP_S
    frozen.resume()
    server.wait_state(LLAMA, ("ready",))
    expect(page.locator("#badge")).to_have_text(re.compile("^Connection lost at"))  # by the missing pings
    # The length of the sleep is what is tested: it is longer than ping interval and timeout together.
    page.wait_for_timeout(1000 * max(0.0, asleep_until - time.monotonic()))
    expect(model(page)).to_have_attribute("data-state", "loading")
    wire.mend()
    wait_live(page)
    expect(model(page)).to_have_attribute("data-state", "ready")
    expect(page.locator(".steps [data-status=done]")).to_have_count(9)
    wait_live(list_page)
    row = list_page.locator(f'[data-model="{LLAMA}"]')
    expect(row).to_have_attribute("data-state", "ready")


def test_a_tab_that_returns_from_the_background_is_up_to_date(server: Server, open_page: OpenPage) -> None:
    frozen = server.freeze_load(LLAMA)
    page = wait_live(open_page(f"/models/{LLAMA}"))
    protocol = page.context.new_cdp_session(page)
    protocol.send("Page.setWebLifecycleState", {"state": "frozen"})  # no script, no timer, no frame
    frozen.resume()
    server.wait_state(LLAMA, ("ready",))
    server.delete(f"/api/models/{LLAMA}")
    again = server.freeze_load(LLAMA)
    protocol.send("Page.setWebLifecycleState", {"state": "active"})
    newest = server.snapshot(LLAMA)
    expect(model(page)).to_have_attribute("data-state", "loading")
    cancel = page.locator("[data-action=cancel]")
    expect(cancel).to_have_attribute("formaction", f"/loads/{newest['load_id']}/cancel")
    again.resume()
    expect(model(page)).to_have_attribute("data-state", "ready")
    assert page.evaluate("document.querySelector('progress').value") == 1
    expect(say(page, "headline")).to_have_text("Ready to use")


def test_a_reload_of_a_load_page_after_a_restart_of_the_server(
    start_server: StartServer, open_page: OpenPage
) -> None:
    own = start_server().wait_warm()
    frozen = own.freeze_load(LLAMA)
    page = open_page(f"/loads/{own.snapshot(LLAMA)['load_id']}", to=own)
    expect(page.locator(".ending")).to_contain_text("Loading, in step")
    own.stop()
    own.start()
    expect(page.locator(".ending")).to_contain_text("Interrupted")  # the page finds out by itself
    frozen.wait(10)
