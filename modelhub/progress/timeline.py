"""What a drawing of one load needs: when each step began, bytes over time, the stalls; bounded in size."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from modelhub.checkpoints import TOTAL_STEPS

MAX_POINTS = 200
MAX_STALLS = 50
_FIRST_INTERVAL_S = 0.005


@dataclass(slots=True)
class _Series:
    size: int | None = None
    points: list[tuple[float, int]] = field(default_factory=list)

    def add(self, at: float, done: int, interval_s: float) -> None:
        """Take a point. The newest is always kept, and so are those on both sides of a pause."""
        if len(self.points) > 1 and at - self.points[-2][0] < interval_s:
            self.points[-1] = (at, done)
        else:
            self.points.append((at, done))

    def thin(self, interval_s: float) -> None:
        points, self.points = self.points, []
        for at, done in points:
            self.add(at, done, interval_s)


class Timeline:
    """Collects while a load runs. ``now`` is on the clock of ``started_at``, in seconds.

    Of bytes it keeps at most MAX_POINTS points, ever further apart as the load grows longer; of stalls the
    MAX_STALLS longest.
    """

    def __init__(self, started_at: float) -> None:
        self._zero = started_at
        self._began: list[float | None] = [None] * TOTAL_STEPS
        self._series: dict[int, _Series] = {}
        self._stalls: list[dict[str, Any]] = []
        self._interval_s = _FIRST_INTERVAL_S

    def begin(self, step: int, now: float) -> None:
        """A step begins."""
        self._began[step - 1] = now - self._zero

    def count(self, step: int, done: int, size: int | None, now: float) -> None:
        """A step has come to ``done`` bytes of ``size``."""
        series = self._series.setdefault(step, _Series())
        series.size = size
        series.add(now - self._zero, done, self._interval_s)
        while sum(len(series.points) for series in self._series.values()) > MAX_POINTS:
            self._interval_s *= 2
            for series in self._series.values():
                series.thin(self._interval_s)

    def stall(self, step: int, since: float, seconds: float) -> None:
        """For ``seconds`` from ``since`` on nothing was heard of the load."""
        self._stalls.append(_stall(step, since - self._zero, seconds))
        if len(self._stalls) > MAX_STALLS:
            self._stalls.remove(min(self._stalls, key=lambda stall: float(stall["seconds"])))

    def to_dict(self, stalled: tuple[int, float, float] | None = None) -> dict[str, Any]:
        """As the journal keeps it; times are seconds since the load began.

        ``stalled`` is a stall that still lasts: its step, since when, and for how long so far.
        """
        last = [] if stalled is None else [_stall(stalled[0], stalled[1] - self._zero, stalled[2])]
        return {
            "began": [None if at is None else round(at, 4) for at in self._began],
            "series": [
                {
                    "step": step,
                    "size": series.size,
                    "at": [round(at, 4) for at, _ in series.points],
                    "bytes": [done for _, done in series.points],
                }
                for step, series in sorted(self._series.items())
            ],
            "stalls": self._stalls + last,
        }


def _stall(step: int, at: float, seconds: float) -> dict[str, Any]:
    return {"step": step, "at": round(at, 4), "seconds": round(seconds, 4)}
