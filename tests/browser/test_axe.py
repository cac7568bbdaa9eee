"""axe-core finds nothing on any page in any state, in light and dark, on a desktop and on a phone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.support.gallery import SCHEMES, SCREENS
from tests.support.page_states import STATES, State, World, open_state
from tests.support.server import ROOT

AXE = ROOT / "static" / "node_modules" / "axe-core" / "axe.min.js"
SMALL = """() => {
  const small = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const { parentElement: node, textContent: text } = walker.currentNode;
    if (!text.trim() || node.closest("script, noscript, .quiet") || !node.checkVisibility()) continue;
    if (parseFloat(getComputedStyle(node).fontSize) < 14) small.push([node.outerHTML.slice(0, 100), text]);
  }
  return small;
}"""
RUN = """() => axe.run(document, { resultTypes: ["violations"] }).then(({ violations }) =>
  violations.map(({ id, help, nodes }) => [id, help, nodes.map((node) => node.html)]))"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("world")) as made:
        yield made


def violations(page: Page) -> list[Any]:
    return list(page.evaluate(RUN))


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.name)
def test_no_violation(world: World, browser: Browser, state: State) -> None:
    with browser.new_context(viewport=SCREENS["desktop"]) as context:
        page = open_state(world, context, state)
        page.evaluate(AXE.read_text())
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme)
            assert violations(page) == []
        assert page.evaluate(SMALL) == [], "text of less than 14 px"
        page.set_viewport_size(SCREENS["phone"])
        assert violations(page) == []
        assert page.evaluate(SMALL) == [], "text of less than 14 px"


def test_a_violation_would_be_found(world: World, browser: Browser) -> None:
    with browser.new_context() as context:
        page = open_state(world, context, STATES[0])
        page.evaluate(AXE.read_text())
        page.evaluate("document.querySelector('label').remove()")
        page.evaluate("document.querySelector('#load-id').placeholder = ''")
        assert "label" in [rule for rule, _, _ in violations(page)]
