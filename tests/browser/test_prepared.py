"""A model that is kept prepared, in a browser: the page says so as it comes and goes, and nothing moves."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.test_load import wait_live
from tests.support.gallery import SCREENS
from tests.support.ids import BERT
from tests.support.prepared import KEEP, is_prepared, prepare
from tests.support.server import wait_until
from tests.support.types import OpenPage, StartServer

# Of all that is not about the memory, and of no empty box: where it is, and how large.
PLACES = """() => [...document.querySelectorAll("main *")]
  .filter((node) => !node.matches(".prepared, .prepared *, .need, .memory *, .offers"))
  .map((node) => [node.className, node.getBoundingClientRect()])
  .map(([name, { x, y, width, height }]) => [String(name), x, y, width, height])"""


@pytest.mark.parametrize("screen", ["desktop", "phone"])
def test_the_mark_comes_and_goes_and_nothing_moves(
    start_server: StartServer, open_page: OpenPage, screen: str
) -> None:
    server = start_server(**KEEP).wait_warm()
    prepare(server, BERT)
    server.delete(f"/api/prepared/{BERT}")
    pages = [
        wait_live(open_page(path, to=server, viewport=SCREENS[screen])) for path in ("/", f"/models/{BERT}")
    ]
    marks = [page.locator(f"[data-model='{BERT}'] .prepared") for page in pages]
    for page, mark in zip(pages, marks, strict=True):
        expect(mark).to_be_hidden()
        page.evaluate("window.opened = true")
    server.load(BERT)
    server.delete(f"/api/models/{BERT}")
    wait_until(lambda: is_prepared(server, BERT))
    for mark in marks:
        expect(mark).to_be_visible()
        expect(mark).to_contain_text("repared: loads sooner")
    with_mark = [page.evaluate(PLACES) for page in pages]
    pages[1].get_by_role("button", name="Let go").click()
    for mark in marks:
        expect(mark).to_be_hidden()
    assert not is_prepared(server, BERT)
    expect(pages[1].get_by_role("button", name="Load again")).to_be_focused()
    assert [page.evaluate(PLACES) for page in pages] == with_mark
    assert all(page.evaluate("window.opened") for page in pages), "a page was loaded anew"


def test_the_mark_is_not_shown_of_a_model_in_memory(start_server: StartServer, open_page: OpenPage) -> None:
    server = start_server(**KEEP).wait_warm()
    prepare(server, BERT)
    pages = [wait_live(open_page(path, to=server)) for path in ("/", f"/models/{BERT}")]
    server.load(BERT)
    for page in pages:
        model = page.locator(f"[data-model='{BERT}']")
        expect(model).to_have_attribute("data-state", "ready")
        expect(model.locator(".prepared")).to_be_hidden()
    assert is_prepared(server, BERT)
