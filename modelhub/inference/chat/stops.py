"""Finds the texts that end an answer, wherever they are split."""

from __future__ import annotations

from collections.abc import Sequence


class Stops:
    """Takes a text in pieces and returns what comes before the first stop.

    The first one is that which is complete first; of two that end together the one that began first. What may
    be the beginning of a stop is held back.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        """``stops`` are not empty texts."""
        self.found = False
        self._stops = tuple(stops)
        self._held = ""

    def add(self, text: str) -> str:
        """What may be said with this piece; nothing once a stop was found."""
        if self.found or not self._stops:
            return "" if self.found else text
        text = self._held + text
        places = [(place + len(stop), place) for stop in self._stops if (place := text.find(stop)) >= 0]
        self.found = bool(places)
        end = min(places)[1] if places else len(text) - self._partial(text)
        self._held = "" if self.found else text[end:]
        return text[:end]

    def end(self) -> str:
        """What was held back, and turns out to be no stop."""
        held, self._held = self._held, ""
        return held

    def _partial(self, text: str) -> int:
        """How many characters at the end of the text are the longest beginning of a stop."""
        return max(
            next((n for n in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:n])), 0)
            for stop in self._stops
        )
