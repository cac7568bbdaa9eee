"""The story of a load for a page that is opened late: the events that said something new, and the rate."""

from __future__ import annotations

import re

from modelhub.payloads import Snapshot
from modelhub.states import State

_COUNT = re.compile(r"tensor \d+ of \d+")
_MAX_LINES = 200
_MAX_POINTS = 240


def lasting_detail(payload: Snapshot) -> str | None:
    """The detail of an event, unless it is a count that the next event changes."""
    detail = payload["detail"]
    return None if detail is None or _COUNT.fullmatch(detail) else detail


class Trace:
    """The story of one load, in bounded memory however long it takes.

    ``lines`` are the events in which the state, the step, its detail or a stall began or ended; of too many,
    the middle is left out. ``rates`` are (seconds since the start, bytes per second); None where nothing was
    counted for a while. Of too many, every second one is dropped.
    """

    def __init__(self, load_id: str | None = None) -> None:
        self.load_id = load_id
        self.lines: list[Snapshot] = []
        self.rates: list[tuple[float, float | None]] = []
        self._last: tuple[object, ...] = ()
        self._interval_s = 0.0

    def add(self, payload: Snapshot) -> None:
        """Take an event of this load."""
        is_stalled = payload["stalled_for"] is not None
        detail = lasting_detail(payload)
        now = (payload["state"], payload["queue_position"], payload["step"], detail, is_stalled)
        if now != self._last:
            self._last = now
            self.lines.append(payload)
            if len(self.lines) > _MAX_LINES:
                del self.lines[_MAX_LINES // 2]
        if payload["state"] == State.LOADING:
            self._sample(payload["elapsed"] or 0.0, payload["rate"])

    def _sample(self, elapsed: float, rate: float | None) -> None:
        before, last = self.rates[-1] if self.rates else (-self._interval_s, None)
        if rate is None and last is None:
            return  # one None marks the gap
        if rate is not None and last is not None and elapsed - before < self._interval_s:
            return
        self.rates.append((elapsed, rate))
        if len(self.rates) > _MAX_POINTS:
            self.rates = self.rates[::2]
            self._interval_s = 2 * elapsed / _MAX_POINTS
