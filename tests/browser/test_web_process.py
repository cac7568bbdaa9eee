"""A web process whose hub is gone says so on open pages, and takes it back by itself."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import expect

from tests.browser.test_load import model, wait_live
from tests.support.ids import LLAMA
from tests.support.redis_server import RedisServer
from tests.support.types import OpenPage, StartServer
from tests.support.web_process import WebProcess

NOT_LIVE = re.compile(r"^Not live: .* since \d\d:\d\d:\d\d\. What you see is as of then")


def test_open_pages_say_that_they_are_not_live_until_the_hub_is_back(
    start_server: StartServer, open_page: OpenPage, tmp_path: Path
) -> None:
    redis = RedisServer().start()
    hub = start_server(REDIS=redis.url)
    web = WebProcess(tmp_path / "web", redis.url)
    try:
        web.start()
        web.wait_live()
        hub.wait_warm().freeze_load(LLAMA)
        pages = [wait_live(open_page(path, to=web)) for path in ("/", f"/models/{LLAMA}")]
        hub.kill()
        for page in pages:
            expect(page.locator("#away")).to_have_text(NOT_LIVE)
            expect(page.locator("#badge")).to_have_text("Not live")
            expect(page.locator("html")).to_have_attribute("data-stale", "")
        late = open_page("/docs", to=web)
        expect(late.locator("#away")).to_have_text(NOT_LIVE)
        pages[1].get_by_role("button", name="Cancel").click()
        expect(pages[1].locator("article > [data-alert]")).to_contain_text("does not answer")
        hub.start()
        for page in pages:
            wait_live(page)
            expect(page.locator("#away")).to_be_hidden()
        expect(model(pages[1])).to_have_attribute("data-state", "interrupted")
    finally:
        web.stop()
        redis.kill()
