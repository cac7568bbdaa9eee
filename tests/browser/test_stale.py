"""The server is gone in mid-load: what was live says of when it is, until the server is back."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import expect

from tests.browser.test_load import model, say, wait_live
from tests.support import models
from tests.support.hub_server import HubServer
from tests.support.page_states import SLOW_DISK, freeze_in_weights
from tests.support.server import let_run
from tests.support.types import OpenPage, StartServer

AS_OF = re.compile(r"^as of \d\d:\d\d:\d\d$")
SECONDS = re.compile(r"\d s$")  # "about 5 s", "3 to 7 s"
WORDS = 4_000_000  # of a sparse model of 1 GB
LARGE = "large/llama"


def test_everything_live_is_marked_stale_at_once(
    start_server: StartServer, open_page: OpenPage, tmp_path: Path
) -> None:
    models.make_sparse_llama(tmp_path / "models" / LARGE, WORDS)
    own = start_server(SLOW_DISK, MODELS_DIR=tmp_path / "models").wait_warm()
    freeze_in_weights(own, LARGE, 0.3)
    (worker,) = own.workers()
    while own.snapshot(LARGE)["eta"] is None:
        let_run(worker, 0.02)
    page, dashboard = (wait_live(open_page(path, to=own)) for path in (f"/models/{LARGE}", "/"))
    row = dashboard.locator(f'[data-model="{LARGE}"]')
    expect(say(page, "left")).to_have_text(SECONDS)
    expect(row.locator("[data-text=line]")).to_contain_text("left")
    coloured = page.evaluate("getComputedStyle(document.querySelector('progress')).color")
    own.kill()
    for shown in (page.locator(".panel [data-asof]"), row.locator("[data-asof]")):
        expect(shown).to_have_text(AS_OF, timeout=2000)
    assert say(page, "left").inner_text() == "–"
    assert say(page, "rate").inner_text() == "–"
    assert "left" not in row.locator("[data-text=line]").inner_text()
    assert " of " in row.locator("[data-text=line]").inner_text(), "the bytes are what they were"
    assert page.evaluate("getComputedStyle(document.querySelector('progress')).color") != coloured
    own.start()
    for one in (page, dashboard):
        wait_live(one)
        expect(one.locator("[data-asof]").first).to_be_empty()
        expect(one.locator("html")).not_to_have_attribute("data-stale", "")
    expect(model(page)).to_have_attribute("data-state", "interrupted")


def test_that_the_server_does_not_respond_is_taken_back_once_it_does(
    start_server: StartServer, open_page: OpenPage
) -> None:
    own = start_server()
    page = wait_live(open_page("/models/tiny/vit", to=own))
    own.kill()
    expect(page.locator("#badge")).to_have_attribute("data-state", "lost")
    page.get_by_role("button", name="Load").click()
    alert = page.locator("article > [data-alert]")
    expect(alert).to_have_text("The server does not respond. Is it running?")
    own.start()
    wait_live(page)
    expect(alert).to_be_hidden()


def test_a_first_load_says_that_it_downloads_and_its_bar_follows_the_bytes(
    start_server: StartServer, open_page: OpenPage, tmp_path: Path
) -> None:
    models.make_sparse_llama(tmp_path / "hub" / "org/there", WORDS // 20)
    with HubServer(tmp_path / "hub") as hub:
        hub.hold_after["model.safetensors"] = 18_000_000
        own = start_server({"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0"}).wait_warm()
        page, dashboard = (wait_live(open_page(path, to=own)) for path in ("/", "/"))
        own.request_load("org/there")
        assert hub.holding.wait(60)
        row = dashboard.locator('[data-model="org/there"]')
        expect(row.locator("[data-text=headline]")).to_have_text("Downloading 18.0 of 51.4 MB from the hub")
        page.goto(f"{own.url}/models/org/there")
        expect(say(page, "headline")).to_have_text("Downloading 18.0 of 51.4 MB from the hub")
        expect(say(page, "detail")).to_have_text("Checking model cache... model.safetensors")
        assert own.snapshot("org/there")["progress"] < 18.0 / 51.4 + 0.05
        hub.hold_after.clear()
