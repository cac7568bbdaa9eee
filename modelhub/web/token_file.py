"""The file of MODELHUB_TOKEN_FILE, while the server runs: other tokens in it are taken within seconds."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path

from flask import Flask

from modelhub import tokens
from modelhub.web.access import Access, access_of
from modelhub.web.current import reading_of

_LOOK_S = 1.0
log = logging.getLogger(__name__)


def init_app(app: Flask) -> None:
    """Look after the file, if there is one, from the start of the registry to its end."""
    registry = reading_of(app)
    path = registry.settings.token_file
    if path is None:
        return
    closing, started = threading.Event(), threading.Event()
    seen = _signature(path)

    def start() -> None:
        if not started.is_set():
            started.set()
            app.extensions["socketio"].start_background_task(_watch, path, seen, access_of(app), closing)

    registry.on_start.append(start)
    registry.on_close.append(closing.set)


def _watch(path: Path, seen: object, access: Access, closing: threading.Event) -> None:
    while not closing.wait(_LOOK_S):
        now = _signature(path)
        if now == seen:
            continue
        seen = now
        try:
            access.change(tokens.read_file(path))
            log.info("The tokens were read again: clients with one that is gone are disconnected.")
        except (ValueError, OSError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            log.warning("The file of the tokens cannot be used, so they stay as they were: %s", why)


def _signature(path: Path) -> object:
    """Another one whenever the file is another."""
    try:
        found = os.stat(path)
    except OSError as error:
        return error.errno
    return found.st_ino, found.st_size, found.st_mtime_ns
