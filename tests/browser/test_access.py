"""Accessibility: without JavaScript, by keyboard, for a screen reader, on narrow and wide screens."""

from __future__ import annotations

import re

import pytest
from flask.testing import FlaskClient
from playwright.sync_api import expect

from tests.browser.test_load import model, wait_live, watch_a_load
from tests.support.ids import DEMO
from tests.support.server import Server
from tests.support.types import OpenPage


def test_a_model_is_loaded_without_javascript(server: Server, open_page: OpenPage) -> None:
    page = open_page("/", java_script_enabled=False)
    page.locator(f'[data-model="{DEMO}"]').get_by_role("button", name="Load").click()
    page.wait_for_url(f"**/models/{DEMO}")
    expect(model(page)).to_have_attribute("data-state", "ready")  # the page refreshes itself
    expect(page.locator("#facts")).to_contain_text("LlamaForCausalLM")
    page.get_by_role("button", name="Unload").click()
    if page.locator("code", has_text="in_use").count():  # it was ready for less than two seconds
        page.get_by_role("button", name="Unload").click()
    expect(model(page)).to_have_attribute("data-state", "absent")


def test_everything_by_keyboard(server: Server, open_page: OpenPage) -> None:
    page = wait_live(open_page("/models/tiny/bert"))
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    load = page.locator("[data-action=load], [data-action=again]").locator("visible=true")
    expect(load).to_be_focused()
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    expect(model(page)).to_have_attribute("data-state", "ready")
    expect(page.get_by_role("button", name="Unload")).to_be_focused()
    # A press within 0.4 s of the one before is ignored as half of a double press; no event shows its end.
    page.wait_for_timeout(500)
    page.keyboard.press("Space")
    expect(page.get_by_role("dialog")).to_contain_text("has only just become ready")
    expect(page.get_by_role("button", name="Keep it")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(model(page)).to_have_attribute("data-state", "absent")


FOCUSABLE = "a[href], button, input, select, textarea, summary, [tabindex='0']"
STOPS = f"""() => {{
  const all = [...document.querySelectorAll(`{FOCUSABLE}`)];
  const isSeen = (one) => one.checkVisibility({{ visibilityProperty: true }});
  const seen = all.filter((one) => !one.disabled && one.type !== "hidden" && isSeen(one));
  seen.forEach((one, index) => one.dataset.stop = index);
  return seen.length;
}}"""
FOCUSED = """() => {
  const { dataset, className } = document.activeElement;
  const { outlineStyle, outlineWidth } = getComputedStyle(document.activeElement);
  return [dataset.stop ?? className, outlineStyle !== "none" && parseFloat(outlineWidth) >= 2];
}"""
PLACES = ("/", "/models/tiny/vit", "/models/not/here", "/history", "LOAD", "/docs", "/no/such/page")


@pytest.mark.parametrize("path", PLACES)
def test_every_page_is_usable_by_keyboard(server: Server, open_page: OpenPage, path: str) -> None:
    server.load("tiny/vit")  # its page has a form to try it with
    load_id = server.snapshot("tiny/vit")["load_id"]
    page = open_page(path.replace("LOAD", f"/loads/{load_id}"))
    if page.locator("#badge").count():
        wait_live(page)
    expected = page.evaluate(STOPS)
    reached: list[str] = []
    for _ in range(expected):
        page.keyboard.press("Tab")
        stop, is_seen = page.evaluate(FOCUSED)
        assert is_seen, f"the focus cannot be seen at {stop}"
        reached.append(stop)
    assert expected >= 5
    assert reached == [str(number) for number in range(expected)], (
        "in the order of the page, and nothing else"
    )


def test_the_bar_has_a_name_and_its_value_in_words(server: Server, open_page: OpenPage) -> None:
    frozen = server.freeze_load("tiny/llama")
    page = wait_live(open_page("/models/tiny/llama"))
    bar = page.get_by_role("progressbar", name="Loading tiny/llama")
    message = re.escape(server.snapshot("tiny/llama")["message"])
    expect(bar).to_have_attribute("aria-valuetext", re.compile(rf"^\d+%, Step \d of 9, {message}"))
    frozen.resume()


LISTEN = """() => {
  window.announced = [];
  const element = document.getElementById("announcement");
  new MutationObserver(() => announced.push(element.textContent))
    .observe(element, { childList: true, characterData: true, subtree: true });
}"""


def test_each_phase_is_announced_once(server: Server, open_page: OpenPage) -> None:
    page = wait_live(open_page(f"/models/{DEMO}"))
    announced = watch_a_load(page, LISTEN, "announced")
    said = [line.removeprefix(f"{DEMO}: ") for line in announced]
    assert said == ["Initialization", "Loading model", "Device setup", "Optimization", "Ready to use"]


@pytest.mark.parametrize("width", [320, 360, 768, 1280, 2560])
@pytest.mark.parametrize("path", PLACES)
def test_no_page_is_wider_than_the_screen(server: Server, open_page: OpenPage, path: str, width: int) -> None:
    load_id = server.load("tiny/vit")["load_id"]
    page = open_page(path.replace("LOAD", f"/loads/{load_id}"), viewport={"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("width", [320, 390])
def test_the_page_of_a_model_that_was_loaded_twice_is_not_wider_either(
    server: Server, open_page: OpenPage, width: int
) -> None:
    for _ in range(2):
        server.load("tiny/bert")
        server.delete("/api/models/tiny/bert")
    page = open_page("/models/tiny/bert", viewport={"width": width, "height": 800})
    expect(page.locator("#last-1")).to_contain_text("last time")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_script_of_each_page_is_small(client: FlaskClient) -> None:
    shared = sum(len(client.get(f"/static/{name}.js").data) for name in ("live", "notices", "times"))
    for name in ("dashboard", "model"):
        assert shared + len(client.get(f"/static/{name}.js").data) < 25_000
    assert len(client.get("/static/load.js").data) < 15_000


CONTRAST = """() => {
  const channel = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const parse = (c) => c.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const colour = parse(getComputedStyle(node).backgroundColor);
      if (colour.length < 4 || colour[3] === 1) return colour;
    }
    return parse(getComputedStyle(document.body).backgroundColor);
  };
  const poor = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    const unseen = node.closest("script, .quiet, .skip") || !node.checkVisibility();
    if (unseen || !walker.currentNode.textContent.trim()) continue;
    const [a, b] = [light(parse(getComputedStyle(node).color)), light(behind(node))].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) poor.push([node.className, walker.currentNode.textContent.trim()]);
  }
  return poor;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_enough_contrast_in_every_state(server: Server, open_page: OpenPage, scheme: str) -> None:
    server.load("tiny/vit")
    server.load("nobody/nothing")
    frozen = server.freeze_load("tiny/llama")
    server.request_load("tiny/wav2vec2")
    models = ("tiny/vit", "nobody/nothing", "tiny/llama", "tiny/wav2vec2", "demo/random-2gb", "not/here")
    load_id = server.snapshot("nobody/nothing")["load_id"]
    for path in ("/", "/docs", "/history", f"/loads/{load_id}", *(f"/models/{name}" for name in models)):
        page = open_page(path, color_scheme=scheme)
        assert page.evaluate(CONTRAST) == []
    frozen.resume()
