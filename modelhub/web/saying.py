"""Warnings about what a client may cause as often as it likes: one a minute, with how many there were."""

from __future__ import annotations

import logging
import time

log = logging.getLogger("modelhub.web")
_EVERY_S = 60.0


class Saying:
    """Writes the first warning of a kind at once; the next after a minute, with how many were left out."""

    def __init__(self) -> None:
        self._said_at = -_EVERY_S
        self._left_out = 0

    def say(self, what: str, *facts: object) -> None:
        """Warn of one more."""
        now = time.monotonic()
        if now - self._said_at < _EVERY_S:
            self._left_out += 1
            return
        others = f" So it was {self._left_out} times since the last such line." if self._left_out else ""
        self._said_at, self._left_out = now, 0
        log.warning(what + others, *facts)
