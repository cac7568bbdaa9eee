"""The page of an installed modelhub: all it needs is in the wheel."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import expect

from tests.browser.test_load import wait_live
from tests.support.types import OpenPage
from tests.support.wheel import InstalledServer


def test_a_model_is_loaded_through_the_page_of_an_installed_server(
    installed: Path, models_dir: Path, tmp_path: Path, open_page: OpenPage
) -> None:
    server = InstalledServer(installed, tmp_path / "data", MODELS_DIR=models_dir)
    server.start()
    try:
        page = open_page("/", to=server)
        failed: list[str] = []
        page.on("response", lambda answer: failed.append(answer.url) if answer.status >= 400 else None)
        page.reload()
        wait_live(page)
        row = page.locator('[data-model="tiny/bert"]')
        row.get_by_role("button", name="Load").click()
        expect(row).to_have_attribute("data-state", "ready")
        assert failed == []
    finally:
        server.stop()
