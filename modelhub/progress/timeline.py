"""What a chart of one load needs: when each step began, counts over time, the stalls; bounded in size."""

from __future__ import annotations

from dataclasses import dataclass, field

from modelhub.checkpoints import TOTAL_STEPS
from modelhub.payloads import Counts, Series, Stall, Timeline

MAX_POINTS = 200
MAX_STALLS = 50
_FIRST_INTERVAL_S = 0.005


@dataclass(slots=True)
class _Points:
    """(seconds, count) of one step in one unit; ``size`` is what the count will come to."""

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

    def series(self, step: int) -> Series:
        times = [round(at, 4) for at, _ in self.points]
        return {"step": step, "size": self.size, "at": times, "bytes": [done for _, done in self.points]}

    def counts(self, step: int, unit: str) -> Counts:
        times = [round(at, 4) for at, _ in self.points]
        done = [done for _, done in self.points]
        return {"step": step, "unit": unit, "size": self.size, "at": times, "done": done}


class TimelineRecorder:
    """Records a load while it runs. ``now`` is on the clock of ``started_at``, in seconds.

    It keeps at most MAX_POINTS counts, ever further apart as the load grows longer, and the
    MAX_STALLS longest stalls.
    """

    def __init__(self, started_at: float) -> None:
        self._started_at = started_at
        self._began: list[float | None] = [None] * TOTAL_STEPS
        self._points: dict[tuple[int, str], _Points] = {}  # by step and unit
        self._stalls: list[Stall] = []
        self._interval_s = _FIRST_INTERVAL_S

    def begin(self, step: int, now: float) -> None:
        """A step begins."""
        self._began[step - 1] = now - self._started_at

    def count(self, step: int, done: int, size: int | None, now: float, unit: str = "bytes") -> None:
        """A step has come to ``done`` of ``size``, in ``unit``."""
        points = self._points.setdefault((step, unit), _Points())
        points.size = size
        points.add(now - self._started_at, done, self._interval_s)
        while sum(len(points.points) for points in self._points.values()) > MAX_POINTS:
            self._interval_s *= 2
            for points in self._points.values():
                points.thin(self._interval_s)

    def stall(self, step: int, since: float, seconds: float) -> None:
        """For ``seconds`` from ``since`` on there was no news of the load."""
        self._stalls.append(self._stall(step, since, seconds))
        if len(self._stalls) > MAX_STALLS:
            self._stalls.remove(min(self._stalls, key=lambda stall: stall["seconds"]))

    def timeline(self, stalled: tuple[int, float, float] | None = None) -> Timeline:
        """The timeline so far, as the journal keeps it.

        ``stalled`` is a stall that still lasts: its step, since when, and for how long so far.
        """
        lasting = [] if stalled is None else [self._stall(*stalled)]
        counted = sorted(self._points.items())
        return {
            "began": [None if at is None else round(at, 4) for at in self._began],
            "series": [points.series(step) for (step, unit), points in counted if unit == "bytes"],
            "counts": [points.counts(step, unit) for (step, unit), points in counted if unit != "bytes"],
            "stalls": self._stalls + lasting,
        }

    def _stall(self, step: int, since: float, seconds: float) -> Stall:
        return {"step": step, "at": round(since - self._started_at, 4), "seconds": round(seconds, 4)}
