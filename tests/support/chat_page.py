"""The chat on the page of a model, as a test uses it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page

from tests.support import chat_models
from tests.support.task_models import make_qwen2_vl

REASONING_WORDS = ("<think>", "Let me *see*.", "</think>")
TALE, ENDLESS, RICH, SEEING = "chat/story", "chat/endless", "chat/rich", "chat/seeing"
API = "**/v1/chat/completions"
# Markdown of all kinds, and what would harm a page that took it for HTML; there is reasoning before it.
RICH_WORDS = (
    "## Of **files**\n\nRead `a <b>` *large*, see [the manual](https://example.org/pread) ",
    "or [this](javascript:window.pwned=1) or [that](data:text/html,<script>window.pwned=2</script>).\n\n",
    "<img src=x onerror='window.pwned=3'><script>window.pwned=4</script>\n\n",
    "<iframe srcdoc='<script>parent.pwned=5</script>'></iframe>\n\n",
    "As text: &lt;img src=x onerror=window.pwned=6&gt; &amp;amp;\n\n",
    '![a picture](http://127.0.0.1:9/picture.png) <https://example.org/"onmouseover="window.pwned=7>\n\n',
    '```html\n<b onclick="window.pwned=8">bold</b>\n```\n\n',
    "| a | b |\n|:--|--:|\n| <b>1</b> | 2 |\n\n1. one\n   - [x] two\n\n> ### said\n> so\n\n---\n\nThe end.",
)


def make_models(folder: Path) -> None:
    """Models that chat: of a short, an endless and a rich answer, and one that takes images."""
    chat_models.make_story(folder / TALE)
    chat_models.make_story(folder / ENDLESS, is_endless=True)
    chat_models.make_story(folder / RICH, words=REASONING_WORDS + RICH_WORDS)
    make_qwen2_vl(folder / SEEING)


class Chat:
    """The chat of a page."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.box = page.locator("#chat")
        self.log = page.get_by_role("log")
        self.text = page.get_by_role("textbox", name="Message to")
        self.send = self.box.locator("[name=send]")
        self.answers = self.log.locator(".model > .markdown")
        self.alert = self.log.locator(".alert:visible")

    def say(self, text: str) -> None:
        """Type a message and press Enter."""
        self.text.fill(text)
        self.text.press("Enter")

    def asked(self, act: Callable[[], Any]) -> dict[str, Any]:
        """The body of the request that ``act`` sends."""
        with self.page.expect_request(API) as found:
            act()
        return dict(json.loads(found.value.post_data or ""))

    @property
    def newest(self) -> Locator:
        """The newest question with its answer."""
        return self.log.locator(".turn").last

    @property
    def told(self) -> Locator:
        """What is said below the newest answer."""
        return self.newest.locator(".model > .hint")

    def button(self, name: str) -> Locator:
        """A button of the newest answer."""
        return self.newest.get_by_role("button", name=name)

    def set(self, name: str, value: str) -> None:
        """Fill a field of the settings."""
        if not self.page.get_by_label("System prompt").is_visible():
            self.box.get_by_text("Settings", exact=True).click()
        self.page.get_by_label(name).fill(value)
