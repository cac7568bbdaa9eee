"""Debian's chromium, as the browser tests and the gallery start it."""

from __future__ import annotations

import shutil

from playwright.sync_api import Browser, Playwright

from tests.support.server import ROOT

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
FLAGS += ["--no-first-run"]


def path() -> str:
    """Where it is."""
    found = shutil.which("chromium")
    assert found is not None, "The browser tests need chromium: apt-get install chromium"
    return found


def launch(playwright: Playwright) -> Browser:
    """Start it, headless."""
    client = ROOT / "static" / "node_modules" / "socket.io-client"
    assert client.is_dir(), "The pages need their client: npm ci --prefix static"
    return playwright.chromium.launch(executable_path=path(), args=FLAGS)
