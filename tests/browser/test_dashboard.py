"""The dashboard in a browser: memory, search, preview, several ids at once."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from modelhub.web.pages.model_list import PAGE_SIZE
from tests.browser.test_load import wait_live
from tests.support import models
from tests.support.hub_server import HubServer
from tests.support.ids import LLAMA
from tests.support.many import make_many
from tests.support.server import Server
from tests.support.types import OpenPage, StartServer
from tests.web.test_predictions import LONG, Client


def test_the_memory_follows_loads_and_unloads(server: Server, open_page: OpenPage) -> None:
    page = wait_live(open_page("/"))
    expect(page.locator(".legend .models")).to_have_count(0)
    server.load("tiny/vit")
    expect(page.locator(".legend .models")).to_have_text(re.compile(r"[kM]B in 1 model$"))
    server.load("tiny/bert")
    expect(page.locator(".legend .models")).to_have_text(re.compile(r"[kM]B in 2 models$"))
    server.unload_all()
    expect(page.locator(".legend .models")).to_have_count(0)


def test_row_and_page_say_who_uses_a_model_and_since_when_nobody_does(
    server: Server, open_page: OpenPage
) -> None:
    server.load(LLAMA)
    pages = [wait_live(open_page(path)) for path in ("/", f"/models/{LLAMA}")]
    shown = [page.locator(f'[data-model="{LLAMA}"] .in-use') for page in pages]
    for use in shown:
        expect(use).to_have_text(re.compile(r"^Idle since \d\d:\d\d \S+$"))
    client = Client(server, LONG)
    for use in shown:
        expect(use).to_have_text("1 running")
    client.leave()
    for use in shown:
        expect(use).to_have_text(re.compile(r"^Idle since"))
    server.unload_all()
    for use in shown:
        expect(use).to_be_empty()


def test_rows_are_filtered_as_one_types(server: Server, open_page: OpenPage) -> None:
    ids = [model["id"] for model in server.get("/api/models").json()["models"]]
    llamas, tiny = (sum(text in model_id for model_id in ids) for text in ("llama", "tiny/"))
    page = wait_live(open_page("/?q=llama"))
    shown = page.locator(".row:visible")
    expect(shown).to_have_count(llamas)
    search = page.get_by_label("Search the models by id")
    search.fill("Tiny/")
    expect(page.locator("#found")).to_have_text(re.compile(rf"^{tiny} of \d+ models$"))
    expect(page).to_have_url(re.compile(r"\?q=Tiny%2F$"))
    expect(page.locator(".row")).to_have_count(tiny)
    server.load("published/minilm")  # news of what was not searched for brings no row
    server.load("tiny/vit")
    expect(page.locator('[data-model="tiny/vit"]')).to_have_attribute("data-state", "ready")
    expect(page.locator('[data-model="published/minilm"]')).to_have_count(0)
    search.fill("")
    expect(page.locator("#found")).to_be_empty()
    expect(page.locator(".row[hidden]")).to_have_count(0)
    expect(page.locator('[data-model="published/minilm"]')).to_have_attribute("data-state", "ready")


def test_an_id_is_previewed_before_it_is_loaded(
    tmp_path: Path, start_server: StartServer, open_page: OpenPage
) -> None:
    models.make_llama(tmp_path / "hub" / "org/there")
    with HubServer(tmp_path / "hub") as hub:
        own = start_server({"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0"}).wait_warm()
        page = wait_live(open_page("/", to=own))
        field = page.get_by_label("Load a model by its id")
        field.press_sequentially("org/there")
        files = len(hub.files("org/there"))
        expected = rf"^org/there: Hugging Face hub: \d+ kB in {files} files to fetch; needs \d+ kB, fits; "
        expected += r"time not known yet\.$"
        expect(page.locator("#previews")).to_have_text(re.compile(expected))
        field.fill("org/there, org/not-there ../x")
        expect(page.locator("#previews")).to_contain_text("No model org/not-there was found")
        expect(page.locator("#previews")).to_contain_text("“../x” is not a model id.")
        field.fill("")
        expect(page.locator("#previews")).to_be_empty()
        field.fill("org/there")
        page.keyboard.press("Enter")
        expect(page.locator('[data-model="org/there"]')).to_have_attribute("data-state", "ready")
        expect(page.locator("#previews")).to_be_empty()


def test_several_models_are_loaded_at_once_and_invalid_ids_reported(
    server: Server, open_page: OpenPage
) -> None:
    page = wait_live(open_page("/"))
    page.get_by_label("Load a model by its id").fill("tiny/vit, ../x tiny/bert")
    page.keyboard.press("Enter")
    expect(page.locator(".load-form [data-alert]")).to_contain_text("“../x” is not a model id.")
    expect(page.locator(".load-form [data-alert]")).to_contain_text("The others were accepted.")
    for model_id in ("tiny/vit", "tiny/bert"):
        expect(page.locator(f'[data-model="{model_id}"]')).to_have_attribute("data-state", "ready")


def test_the_row_shows_where_a_load_was_cancelled(server: Server, open_page: OpenPage) -> None:
    frozen = server.freeze_load("tiny/llama")
    page = wait_live(open_page("/"))
    server.delete(f"/api/loads/{server.snapshot('tiny/llama')['load_id']}")
    row = page.locator('[data-model="tiny/llama"]')
    expect(row.locator("[data-text=headline]")).to_have_text("Cancelled over the API")
    expect(row.locator("[data-text=headline]")).to_be_visible()
    frozen.wait(10)


@pytest.fixture
def many(start_server: StartServer, tmp_path: Path) -> Server:
    """A server with more models than two pages have rows; one of them, the last by name, can be loaded."""
    folder = make_many(tmp_path / "models", 2 * PAGE_SIZE + 5)
    models.make_llama(folder / "zoo" / "last")
    return start_server(MODELS_DIR=folder).wait_warm()


def test_a_model_of_another_page_that_is_loaded_comes_to_the_first(many: Server, open_page: OpenPage) -> None:
    page = wait_live(open_page("/", to=many))
    expect(page.locator("#pager")).to_contain_text(f"1 to {PAGE_SIZE} of {2 * PAGE_SIZE + 9}")
    expect(page.locator('[data-model="zoo/last"]')).to_have_count(0)
    page.get_by_role("link", name="Next").click()
    wait_live(page)
    expect(page.locator(".row")).to_have_count(PAGE_SIZE)
    page.get_by_role("link", name="Previous").click()
    wait_live(page)
    many.load("zoo/last")
    row = page.locator('[data-model="zoo/last"]')
    expect(row).to_have_attribute("data-state", "ready")
    row.get_by_role("button", name="Unload").click()
    page.get_by_role("dialog").get_by_role("button", name="Unload").click()
    expect(row).to_have_attribute("data-state", "absent")


def test_the_search_finds_what_is_on_another_page(many: Server, open_page: OpenPage) -> None:
    page = wait_live(open_page("/", to=many))
    search = page.get_by_label("Search the models by id")
    search.press_sequentially("ZOO")
    expect(page.locator(".row")).to_have_count(1)
    expect(page.locator('[data-model="zoo/last"]')).to_be_visible()
    expect(page.locator("#found")).to_have_text(f"1 of {2 * PAGE_SIZE + 9} models")
    expect(page.locator("#pager")).to_be_hidden()
    page.locator('[data-model="zoo/last"]').get_by_role("button", name="Load").click()
    expect(page.locator('[data-model="zoo/last"]')).to_have_attribute("data-state", "ready")
    search.fill("")
    expect(page.locator(".row")).to_have_count(PAGE_SIZE)
    expect(page.locator("#pager")).to_be_visible()


def test_a_change_of_state_makes_no_page_fetch_itself(server: Server, open_page: OpenPage) -> None:
    page = wait_live(open_page("/"))
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))  # its icon is none of the server's pages
    server.load("tiny/vit")
    expect(page.locator(".legend .models")).to_have_text(re.compile(r"[kM]B in 1 model$"))
    server.unload_all()
    expect(page.locator(".legend .models")).to_have_count(0)
    assert [url for url in asked if url.startswith(server.url) and "/static/" not in url] == []


def test_what_is_degraded_is_said_below_the_header_as_long_as_it_is(
    start_server: StartServer, open_page: OpenPage
) -> None:
    own = start_server()
    page = wait_live(open_page("/", own))
    line = page.locator("#down[role=status]")
    expect(line).to_be_empty()
    journal = own.data_dir / "history.sqlite3"
    journal.write_bytes(bytes(journal.stat().st_size))
    expect(line).to_contain_text("The journal of loads was damaged: it was set aside")
    for path in own.data_dir.glob("*.corrupt-*"):
        path.unlink()
    expect(line).to_be_empty()


def test_of_many_models_a_page_shows_what_it_is_sent_each_second_and_asks_no_more(
    large_server: Server, open_page: OpenPage
) -> None:
    page = open_page("/", to=large_server)
    sent: list[str] = []
    page.on("websocket", lambda socket: socket.on("framesent", lambda frame: sent.append(str(frame))))
    page.reload()
    wait_live(page)
    large_server.load(LLAMA)
    expect(page.locator(f'[data-model="{LLAMA}"]')).to_have_attribute("data-state", "ready")
    assert sum('"subscribe"' in frame for frame in sent) == 1
