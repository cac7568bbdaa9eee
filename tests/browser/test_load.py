"""A load as people see it: click, watch, reload, cancel, retry, in one tab and in two."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.support.ids import DEMO
from tests.support.server import Server
from tests.support.types import OpenPage, StartServer

pytestmark = pytest.mark.alone

SAMPLER = """() => {
  window.samples = [];
  const bar = document.querySelector("progress");
  const state = document.getElementById("model");
  const percent = document.querySelector("[data-text=percent]");
  const look = () => {
    samples.push([bar.value, state.dataset.state, percent.textContent]);
    requestAnimationFrame(look);
  };
  look();
}"""


def model(page: Page) -> Any:
    return page.locator("#model")


def say(page: Page, what: str) -> Any:
    return page.locator(f"[data-text={what}]").first


def wait_live(page: Page) -> Page:
    expect(page.locator("#badge")).to_have_text("Live")
    return page


def unload(page: Page) -> None:
    """Press Unload, and confirm it: the model has only just become ready."""
    page.get_by_role("button", name="Unload").click()
    page.get_by_role("dialog").get_by_role("button", name="Unload").click()


def watch_a_load(page: Page, watch: str, seen: str) -> Any:
    """Run the script ``watch``, press Load, wait until the model is ready; returns what was ``seen``."""
    page.evaluate(watch)
    page.get_by_role("button", name="Load").click()
    expect(model(page)).to_have_attribute("data-state", "ready")
    return page.evaluate(seen)


def test_click_load_see_the_bar_move_and_the_model_ready(server: Server, open_page: OpenPage) -> None:
    server.delete(f"/api/files/{DEMO}")  # so that it is made again, which takes longer than a load
    page = wait_live(open_page(f"/models/{DEMO}"))
    samples = watch_a_load(page, SAMPLER, "samples")
    loading = [value for value, state, _ in samples if state == "loading"]
    assert loading == sorted(loading), "the bar went back"
    assert len({value for value in loading if 0 < value < 1}) >= 3, "the bar did not move"
    assert max(loading) < 1, "the bar was full before the model was ready"
    assert "100%" not in {percent for _, _, percent in samples}
    assert samples[-1][0] == 1
    expect(page.locator(".steps [data-status=done]")).to_have_count(9)
    expect(page.locator("#facts")).to_contain_text("LlamaForCausalLM")
    expect(page.locator("#past tbody tr").first).to_contain_text("Ready")
    expect(page.get_by_role("button", name="Unload")).to_be_visible()
    unload(page)
    expect(say(page, "line")).to_contain_text("freed")
    assert server.snapshot(DEMO)["state"] == "absent"


def test_a_click_has_an_effect_at_once(open_page: OpenPage) -> None:
    page = wait_live(open_page(f"/models/{DEMO}"))
    took = page.evaluate("""() => {
      const button = document.querySelector("[data-action=load]");
      const began = performance.now();
      button.click();
      return [button.getAttribute("aria-busy"), performance.now() - began];
    }""")
    assert took[0] == "true"
    assert took[1] < 100


def test_a_reload_in_mid_load_shows_the_same_at_once(server: Server, open_page: OpenPage) -> None:
    frozen = server.freeze_load("tiny/llama")
    page = wait_live(open_page("/models/tiny/llama"))
    seen = page.evaluate("document.querySelector('progress').value")
    elapsed = server.snapshot("tiny/llama")["elapsed"]
    page.route("**/live.js", lambda route: route.abort())  # what the server rendered, before any script
    page.reload()
    expect(model(page)).to_have_attribute("data-state", "loading")
    expect(page.get_by_role("button", name="Cancel")).to_be_visible()
    assert page.evaluate("document.querySelector('progress').value") >= seen
    number, unit = say(page, "elapsed").inner_text().split()
    assert float(number) * {"ms": 0.001, "s": 1}[unit] >= round(elapsed - 0.05, 1)
    page.unroute("**/live.js")
    page.reload()
    wait_live(page)
    frozen.resume()
    expect(model(page)).to_have_attribute("data-state", "ready")


def test_elapsed_time_ticks_between_events(server: Server, open_page: OpenPage) -> None:
    frozen = server.freeze_load("tiny/llama")
    page = wait_live(open_page("/models/tiny/llama"))
    changes = page.evaluate("""() => new Promise((done) => {
      const seen = new Set();
      const began = performance.now();
      const look = () => {
        seen.add(document.querySelector("[data-text=elapsed]").textContent);
        if (performance.now() - began < 900) requestAnimationFrame(look); else done(seen.size);
      };
      look();
    })""")
    frozen.resume()
    assert changes >= 5, "events come once a second while nothing happens; the page ticks by itself"


def test_a_cancel_is_shown_in_every_tab(server: Server, open_page: OpenPage) -> None:
    frozen = server.freeze_load("tiny/llama")
    one, other = wait_live(open_page("/models/tiny/llama")), wait_live(open_page("/"))
    one.get_by_role("button", name="Cancel").click()
    expect(say(one, "headline")).to_have_text("Cancelled from a page")
    row = other.locator('[data-model="tiny/llama"]')
    expect(row).to_have_attribute("data-state", "cancelled")
    expect(one.locator(".steps [data-status=stopped]")).to_have_count(1)
    frozen.wait(10)


def test_a_failure_is_shown_with_reason_and_hint_and_retried(server: Server, open_page: OpenPage) -> None:
    page = wait_live(open_page("/"))
    page.get_by_label("Load a model by its id").fill("nobody/asked-for-here")
    page.keyboard.press("Enter")
    row = page.locator('[data-model="nobody/asked-for-here"]')
    expect(row).to_have_attribute("data-state", "failed")
    error = server.snapshot("nobody/asked-for-here")["error"]
    expect(row.locator("[data-text=headline]")).to_have_text(error["message"])
    expect(row.locator("[data-text=line]")).to_have_text(error["hint"])
    first = server.snapshot("nobody/asked-for-here")["load_id"]
    row.get_by_role("button", name="Retry").click()
    cancel = row.locator("[data-action=cancel]")
    expect(cancel).not_to_have_attribute("formaction", f"/loads/{first}/cancel")  # it is another load now
    expect(row).to_have_attribute("data-state", "failed")


def test_a_model_that_is_new_to_the_page_gets_a_row_and_every_event(
    server: Server, open_page: OpenPage
) -> None:
    frozen = server.freeze_load("tiny/llama")
    page = wait_live(open_page("/"))
    page.evaluate("window.opened = true")
    server.request_load("nobody/late")
    row = page.locator('[data-model="nobody/late"]')
    expect(row).to_have_attribute("data-state", "queued")
    frozen.resume()
    expect(row).to_have_attribute("data-state", "failed")
    assert page.evaluate("window.opened")


def test_an_invalid_id_is_refused_with_a_message(open_page: OpenPage) -> None:
    page = wait_live(open_page("/"))
    page.get_by_label("Load a model by its id").fill("../etc/passwd")
    page.keyboard.press("Enter")
    expect(page.locator(".load-form [data-alert]")).to_contain_text("is not a model id")


def test_two_tabs_agree(server: Server, open_page: OpenPage) -> None:
    tabs = [wait_live(open_page(f"/models/{DEMO}")) for _ in range(2)]
    tabs[0].get_by_role("button", name="Load").click()
    for tab in tabs:
        expect(model(tab)).to_have_attribute("data-state", "ready")
    shown = [[say(tab, what).inner_text() for what in ("state", "headline", "line")] for tab in tabs]
    times = [tab.locator(".steps .time").all_inner_texts() for tab in tabs]
    assert shown[0] == shown[1]
    assert times[0] == times[1]


def test_a_lost_connection_is_shown_and_restored(
    server: Server, start_server: StartServer, open_page: OpenPage
) -> None:
    own = start_server().wait_warm()
    page = wait_live(open_page("/models/tiny/llama", to=own))
    frozen = own.freeze_load("tiny/llama")
    expect(model(page)).to_have_attribute("data-state", "loading")
    own.kill()
    expect(page.locator("#badge")).to_have_text(re.compile("^Connection lost at .*, reconnecting$"))
    still = say(page, "elapsed").inner_text()
    expect(say(page, "elapsed")).to_have_text(still)
    own.start()
    wait_live(page)
    expect(model(page)).to_have_attribute("data-state", "interrupted")
    expect(say(page, "headline")).to_have_text("The server stopped while tiny/llama was loading.")
    expect(page.locator("#past tbody tr").first).to_contain_text("Interrupted")
    frozen.wait(10)


def test_a_stall_is_described(start_server: StartServer, open_page: OpenPage) -> None:
    own = start_server(STALL_SECONDS=1).wait_warm()
    page = wait_live(open_page("/models/tiny/llama", to=own))
    frozen = own.freeze_load("tiny/llama")
    expect(say(page, "stalled")).to_contain_text("No progress for")
    expect(model(page)).to_have_attribute("data-stalled", "")
    frozen.resume()
    expect(model(page)).to_have_attribute("data-state", "ready")
    expect(say(page, "stalled")).to_be_empty()


def test_the_title_has_the_percent_while_loading(server: Server, open_page: OpenPage) -> None:
    frozen = server.freeze_load("tiny/llama")
    page = wait_live(open_page("/models/tiny/llama"))
    expect(page).to_have_title(re.compile(r"^\d+% · tiny/llama · modelhub$"))
    dashboard = wait_live(open_page("/"))
    expect(dashboard).to_have_title(re.compile(r"^\d+% · Models · modelhub$"))
    frozen.resume()
    expect(page).to_have_title("Ready · tiny/llama · modelhub")
    expect(dashboard).to_have_title("Models · modelhub")


@pytest.mark.parametrize("path", ["/", "/models/tiny/vit"])
def test_a_quick_second_click_does_not_cancel(server: Server, open_page: OpenPage, path: str) -> None:
    page = wait_live(open_page(path))
    button = page.locator('[data-model="tiny/vit"] :is([data-action=load], [data-action=again])')
    button = button.locator("visible=true")
    button.dblclick()
    expect(page.locator('[data-model="tiny/vit"]')).to_have_attribute("data-state", "ready")
    (newest,) = server.get("/api/loads?model=tiny/vit&limit=1").json()["loads"]
    assert newest["state"] == "ready"
