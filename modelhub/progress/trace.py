"""What is kept of a load for who comes late: the events that said something new, and the rate over time."""

from __future__ import annotations

import re
from typing import Any

_COUNT = re.compile(r"tensor \d+ of \d+")
_MOST_LINES = 200
_MOST_POINTS = 240


def lasting_detail(payload: dict[str, Any]) -> str | None:
    """The detail of an event, if it is more than a count that the next event changes."""
    detail: str | None = payload["detail"]
    return None if detail is None or _COUNT.fullmatch(detail) else detail


class Trace:
    """The story of one load, in bounded memory however long it takes.

    ``lines`` are the events in which the state, the step, its detail or a stall began or ended; of too many,
    the middle is left out. ``rates`` are (seconds since the start, bytes per second); None where nothing was
    counted for a while. Of too many, every second one goes.
    """

    def __init__(self, load_id: str | None = None) -> None:
        self.load_id = load_id
        self.lines: list[dict[str, Any]] = []
        self.rates: list[tuple[float, float | None]] = []
        self._last: tuple[Any, ...] = ()
        self._apart_s = 0.0

    def add(self, payload: dict[str, Any]) -> None:
        """Take an event of this load."""
        is_stalled = payload["stalled_for"] is not None
        detail = lasting_detail(payload)
        now = (payload["state"], payload["queue_position"], payload["step"], detail, is_stalled)
        if now != self._last:
            self._last = now
            self.lines.append(payload)
            if len(self.lines) > _MOST_LINES:
                del self.lines[_MOST_LINES // 2]
        if payload["state"] == "loading":
            self._sample(payload["elapsed"], payload["rate"])

    def _sample(self, elapsed: float, rate: float | None) -> None:
        before, last = self.rates[-1] if self.rates else (-self._apart_s, None)
        if rate is None and last is None:
            return  # a gap is told once
        if rate is not None and last is not None and elapsed - before < self._apart_s:
            return
        self.rates.append((elapsed, rate))
        if len(self.rates) > _MOST_POINTS:
            self.rates = self.rates[::2]
            self._apart_s = 2 * elapsed / _MOST_POINTS
