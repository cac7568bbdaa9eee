"""Screenshots of every page in every state: ``python -m tests.support.gallery DIR [NAME...]``.

Light and dark, desktop (1280 wide) and phone (360 wide), of real servers. A file is called after its state,
its width and its scheme: ``model-ready.desktop.light.png``. NAMEs take only the states that begin so.

``--mid-load FILE`` makes one screenshot instead: a model's page in the middle of a load, for README.
"""

from __future__ import annotations

import argparse
import re
import tempfile
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

from tests.support.chromium import launch
from tests.support.page_states import STATES, World, open_state
from tests.support.resident import drop
from tests.support.server import Server

SCREENS = {"desktop": {"width": 1280, "height": 800}, "phone": {"width": 360, "height": 740}}
SCHEMES = ("light", "dark")
LARGE_DEMO = "demo/random-2gb"


def main() -> None:
    """Make them all."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mid-load", metavar="FILE", type=Path)
    parser.add_argument("folder", metavar="DIR", type=Path, nargs="?", default="gallery")
    parser.add_argument("names", metavar="NAME", nargs="*")
    arguments = parser.parse_args()
    if arguments.mid_load:
        _take_mid_load(arguments.mid_load)
        return
    arguments.folder.mkdir(parents=True, exist_ok=True)
    states = [state for state in STATES if state.name.startswith(tuple(arguments.names or [""]))]
    with tempfile.TemporaryDirectory() as folder, World(Path(folder)) as world, sync_playwright() as driver:
        browser = launch(driver)
        for state in states:
            with browser.new_context(viewport=SCREENS["desktop"]) as context:
                _take(open_state(world, context, state), arguments.folder / state.name)
        browser.close()
    print(f"{len(states) * len(SCREENS) * len(SCHEMES)} screenshots in {arguments.folder}")


def _take(page: Page, base: Path) -> None:
    for screen, size in SCREENS.items():
        page.set_viewport_size(size)
        height = page.evaluate("document.documentElement.scrollHeight")
        page.set_viewport_size(size | {"height": max(height, size["height"])})  # all of it is drawn
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme)
            page.screenshot(path=f"{base}.{screen}.{scheme}.png", full_page=True)


def _take_mid_load(path: Path) -> None:
    """Load the largest demo model from disk, and take its page once the time left is known."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        server = Server(Path(folder)).start().wait_warm()
        server.load(LARGE_DEMO, timeout_s=300)
        server.unload_all()
        for file in (Path(folder) / "demo" / LARGE_DEMO).glob("*.safetensors"):
            drop(file)
        browser = launch(driver)
        page = browser.new_context(viewport={"width": 1120, "height": 760}).new_page()
        page.goto(f"{server.url}/models/{LARGE_DEMO}")
        expect(page.locator("#badge")).to_have_text("Live")
        page.get_by_role("button", name="Load").click()
        expect(page.locator("[data-text=left]")).to_have_text(re.compile(r"\d"))
        page.screenshot(path=path)
        browser.close()
        server.stop()


if __name__ == "__main__":
    main()
