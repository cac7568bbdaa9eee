"""The list of models stays still under a pointer, asks before it unloads what is new, follows the folders."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.test_load import wait_live
from tests.support import models
from tests.support.ids import BERT, LLAMA, VIT
from tests.support.server import Server, wait_until
from tests.support.types import OpenPage, StartServer

pytestmark = pytest.mark.alone

ROWS = "[...document.querySelectorAll('.row')]"
PLACES = f"Object.fromEntries({ROWS}.map((row) => [row.dataset.model, row.offsetTop]))"


def row(page: Page, model_id: str) -> Any:
    return page.locator(f'[data-model="{model_id}"]')


def order(page: Page) -> list[str]:
    rows: list[str] = page.evaluate(f"{ROWS}.map((row) => row.dataset.model)")
    return rows


def test_no_row_moves_under_the_pointer_and_the_list_is_sorted_once_it_has_left(
    server: Server, open_page: OpenPage
) -> None:
    server.load(BERT)
    page = wait_live(open_page("/"))
    row(page, VIT).get_by_role("button", name="Load").hover()
    before = page.evaluate(PLACES)
    server.load(LLAMA)
    server.load("tiny/too-big")  # its row has more to say than fits
    expect(row(page, LLAMA)).to_have_attribute("data-state", "ready")
    expect(row(page, "tiny/too-big")).to_have_attribute("data-state", "failed")
    assert page.evaluate(PLACES) == before
    page.mouse.move(5, 5)
    wait_until(lambda: order(page).index("tiny/too-big") < order(page).index(BERT))
    assert order(page).index(BERT) + 1 == order(page).index(LLAMA)


def test_no_row_moves_while_the_focus_is_in_the_list(server: Server, open_page: OpenPage) -> None:
    page = wait_live(open_page("/"))
    row(page, VIT).get_by_role("button", name="Load").focus()
    before = order(page)
    server.load(LLAMA)
    expect(row(page, LLAMA)).to_have_attribute("data-state", "ready")
    assert order(page) == before
    page.get_by_label("Search the models by id").focus()
    wait_until(lambda: order(page).index(LLAMA) < order(page).index("demo/random-0.1gb"))


@pytest.mark.parametrize("after_ms", [40, 200, 600])
def test_a_second_click_for_another_model_unloads_nothing(
    server: Server, open_page: OpenPage, after_ms: int
) -> None:
    page = wait_live(open_page("/", viewport={"width": 1280, "height": 1600}))
    server.load(LLAMA)
    expect(row(page, LLAMA)).to_have_attribute("data-state", "ready")
    page.mouse.move(5, 5)
    first = row(page, BERT).get_by_role("button", name="Load")
    second = row(page, VIT).get_by_role("button", name="Load")
    place = second.bounding_box()
    assert place is not None
    first.click()
    page.wait_for_timeout(after_ms)  # what is tested: a click so long after the other one
    page.mouse.click(place["x"] + place["width"] / 2, place["y"] + place["height"] / 2)
    for model_id in (BERT, VIT):
        expect(row(page, model_id)).to_have_attribute("data-state", "ready")
    assert server.snapshot(LLAMA)["state"] == "ready"


def test_unload_asks_where_the_model_has_only_just_become_ready(server: Server, open_page: OpenPage) -> None:
    page = wait_live(open_page("/"))
    server.load(VIT)
    row(page, VIT).get_by_role("button", name="Unload").click()
    question = page.get_by_role("dialog")
    expect(question).to_contain_text("tiny/vit has only just become ready.")
    question.get_by_role("button", name="Keep it").click()
    assert server.snapshot(VIT)["state"] == "ready"
    page.wait_for_timeout(2100)  # after two seconds it is no surprise
    row(page, VIT).get_by_role("button", name="Unload").click()
    expect(row(page, VIT)).to_have_attribute("data-state", "absent")
    expect(row(page, VIT).get_by_role("button", name="Load again")).to_be_visible()
    page.wait_for_timeout(500)  # so that it is no double click
    row(page, VIT).get_by_role("button", name="Load again").click()
    expect(row(page, VIT)).to_have_attribute("data-state", "ready")


def test_unload_asks_while_the_model_runs_a_prediction(server: Server, open_page: OpenPage) -> None:
    server.load(LLAMA)
    page = wait_live(open_page("/"))
    page.wait_for_timeout(2100)  # so that it is not asked for being new
    body = {"model": LLAMA, "inputs": "hello", "parameters": {"max_new_tokens": 400, "min_new_tokens": 400}}
    (worker,) = server.workers()
    worker.suspend()  # the prediction lasts as long as the test needs
    running = threading.Thread(target=server.post, args=("/api/predictions", body))
    running.start()
    try:
        page.wait_for_timeout(300)
        row(page, LLAMA).get_by_role("button", name="Unload").click()
        expect(page.get_by_role("dialog")).to_contain_text("tiny/llama is running a prediction.")
        page.keyboard.press("Escape")
        assert server.snapshot(LLAMA)["state"] == "ready"
    finally:
        worker.resume()
        running.join(60)


def test_a_row_of_a_ready_model_leads_to_its_box(server: Server, open_page: OpenPage) -> None:
    server.load(BERT)
    page = wait_live(open_page("/"))
    row(page, BERT).get_by_role("link", name="Try").click()
    expect(page).to_have_url(f"{server.url}/models/{BERT}#try")
    expect(page.get_by_role("button", name="Run")).to_be_in_viewport()


def test_a_failure_is_dismissed_in_every_tab(server: Server, open_page: OpenPage) -> None:
    server.load("nobody/dismissed")
    server.load("tiny/too-big")
    one, other = wait_live(open_page("/")), wait_live(open_page("/"))
    row(one, "nobody/dismissed").locator("[data-action=dismiss]").click()
    expect(row(other, "nobody/dismissed")).to_have_count(0)
    one.mouse.move(5, 5)
    one.get_by_label("Search the models by id").focus()
    expect(row(one, "nobody/dismissed")).to_have_count(0)
    row(one, "tiny/too-big").locator("[data-action=dismiss]").click()
    for page in (one, other):
        expect(row(page, "tiny/too-big")).to_have_attribute("data-state", "absent")
    assert server.snapshot("tiny/too-big")["error"] is None
    (newest,) = server.get("/api/loads?model=tiny/too-big&limit=1").json()["loads"]
    assert newest["state"] == "failed", "the history keeps it"
    assert server.load("nobody/dismissed")["state"] == "failed"
    expect(row(other, "nobody/dismissed")).to_have_attribute("data-state", "failed")


def test_folders_come_and_go_without_a_reload(
    tmp_path: Path, start_server: StartServer, open_page: OpenPage
) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    own = start_server(MODELS_DIR=folder)
    page = wait_live(open_page("/", to=own))
    expect(page.locator("#models-dir")).to_have_text(str(folder))
    models.make_llama(tmp_path / "made" / "new")
    shutil.move(tmp_path / "made" / "new", folder / "new")
    expect(row(page, "new")).to_have_attribute("data-state", "absent")
    expect(row(page, "new")).to_contain_text("fits")
    shutil.rmtree(folder / "new")
    expect(row(page, "new")).to_have_count(0)


def test_the_path_of_the_models_folder_is_copied(
    tmp_path: Path, start_server: StartServer, open_page: OpenPage
) -> None:
    own = start_server(MODELS_DIR=tmp_path)
    page = wait_live(open_page("/", to=own, permissions=["clipboard-read", "clipboard-write"]))
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == str(tmp_path)


def test_of_many_ids_the_preview_says_that_there_are_more(server: Server, open_page: OpenPage) -> None:
    page = wait_live(open_page("/"))
    ids = " ".join(f"tiny/vit@{number}" for number in range(7))
    page.get_by_label("Load a model by its id").fill(ids)
    expect(page.locator("#previews")).to_contain_text("and 2 more")


def test_a_refused_id_is_said_once(server: Server, open_page: OpenPage) -> None:
    page = wait_live(open_page("/"))
    field = page.get_by_label("Load a model by its id")
    field.fill("../etc/passwd")
    expect(page.locator("#previews")).to_contain_text("is not a model id")
    page.keyboard.press("Enter")
    expect(page.locator(".load-form [data-alert]")).to_contain_text("is not a model id")
    expect(page.locator("#previews")).to_be_hidden()
    field.fill("tiny/vit")
    expect(page.locator(".load-form [data-alert]")).to_be_hidden()
    expect(page.locator("#previews")).to_be_visible()
