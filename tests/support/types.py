"""The types of fixtures that start something and return it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask
    from playwright.sync_api import Page

    from tests.support.chat_page import Chat
    from tests.support.server import Server
    from tests.support.terminal import Running, Terminal
    from tests.support.watcher import Watcher

MakeApp = Callable[..., "Flask"]
StartServer = Callable[..., "Server"]
Watch = Callable[..., "Watcher"]
Run = Callable[..., "Running"]
StartTerminal = Callable[..., "Terminal"]
OpenPage = Callable[..., "Page"]
OpenChat = Callable[[str], "Chat"]
