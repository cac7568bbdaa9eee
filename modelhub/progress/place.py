"""A load's place in the queue: the position as of now, and which changes of it are worth an event."""

from __future__ import annotations

_NEAR = 3  # positions at which each step forward is news
_NEWS_S = 2.0  # the least time between two events, but for that of the next in line
_LATEST_S = 10.0  # how long an emitted position may differ from the real one


class Place:
    """The position of one waiting load; times are seconds on a monotonic clock.

    An event for each position would cost a queue of n loads n * n / 2 events. The first position and
    position 1 are due at once; after two seconds those near the head of the queue, and one that is a third of
    the emitted one; any other after ten seconds.
    """

    def __init__(self) -> None:
        self.position = 0
        self._emitted: int | None = None
        self._emitted_at = 0.0

    def move(self, position: int, now: float) -> float | None:
        """Take the position as of now; returns in how many seconds it is due, None where it was emitted."""
        self.position = position
        if position == self._emitted:
            return None
        if self._emitted is None or position == 1:
            return 0.0
        is_news = position <= _NEAR or 3 * position <= self._emitted
        return max(0.0, self._emitted_at + (_NEWS_S if is_news else _LATEST_S) - now)

    def emit(self, now: float) -> int:
        """The position to emit now."""
        self._emitted, self._emitted_at = self.position, now
        return self.position
