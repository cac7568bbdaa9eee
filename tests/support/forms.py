"""What a test reads from a page to send its forms."""

from __future__ import annotations

import re

import requests

from tests.support.server import Server


def csrf_token(html: str) -> str:
    """The token that every form of the page carries."""
    found = re.search(r'name="csrf_token" value="([^"]+)"', html)
    assert found is not None, "the page has no form"
    return found[1]


class Visitor:
    """A browser with cookies and no JavaScript."""

    def __init__(self, server: Server) -> None:
        self.url = server.url
        self.session = requests.Session()

    def open(self, path: str) -> requests.Response:
        """Open a page."""
        return self.session.get(self.url + path, timeout=30)

    def press(self, page: str, action: str, **fields: str) -> requests.Response:
        """Press the button of ``page`` whose form or button goes to ``action``."""
        html = self.open(page).text
        assert f'"{action}"' in html, f"{page} has no way to {action}"
        return self.send(action, csrf_token(html), **fields)

    def send(self, action: str, token: str, **fields: str) -> requests.Response:
        """Send a form of a page that was opened before."""
        return self.session.post(self.url + action, {"csrf_token": token, **fields}, timeout=60)
