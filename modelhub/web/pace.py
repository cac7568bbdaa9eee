"""Pace: how fast something may go on (a token bucket)."""

from __future__ import annotations

import time
from collections.abc import Callable


class Pace:
    """So many units a second (``rate``), and ``burst`` of them at once.

    ``waited_s`` is for how many seconds, in all, it has asked to wait since it was last full.
    """

    def __init__(self, rate: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._left = burst
        self._at = clock()
        self.waited_s = 0.0

    def take(self, units: float) -> float:
        """Take some; returns how many seconds to wait for them."""
        self._refill()
        self._left -= units
        wait_s = max(0.0, -self._left / self._rate)
        self.waited_s += wait_s
        return wait_s

    def is_full(self) -> bool:
        """Whether nothing was taken for some time."""
        self._refill()
        return self._left >= self._burst

    def _refill(self) -> None:
        now = self._clock()
        self._left = min(self._burst, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left >= self._burst:
            self.waited_s = 0.0
