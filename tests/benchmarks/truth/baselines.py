"""What other bars would have shown: nine equal steps, bytes alone, and the bars of tqdm and rich."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from modelhub.checkpoints import TOTAL_STEPS, Checkpoint
from modelhub.progress.replay import TICK_S, Recording, Seen, checkpoints_of

_FETCH, _READ = 3, 5


class Bar(Protocol):
    """A bar: it takes checkpoints, and says how far it is and how long is left."""

    def take(self, at: float, checkpoint: Checkpoint) -> None:
        """A checkpoint at a time, in seconds since the load began."""

    def shown(self, at: float) -> tuple[float, float | None]:
        """Progress, 0 to 1, and seconds left."""


class EqualSteps:
    """Each step is a ninth of the bar; the time left is what the elapsed time lets expect."""

    def __init__(self) -> None:
        self._done = 0

    def take(self, at: float, checkpoint: Checkpoint) -> None:
        self._done = checkpoint.step - 1

    def shown(self, at: float) -> tuple[float, float | None]:
        share = self._done / TOTAL_STEPS
        return share, at * (1 - share) / share if share else None


class Bytes:
    """The share of the bytes of the steps that count them; the time left is what that lets expect."""

    def __init__(self) -> None:
        self.done = self.size = 0
        self._before = 0  # of the step that has ended

    def take(self, at: float, checkpoint: Checkpoint) -> None:
        if checkpoint.unit == "bytes" and checkpoint.step in (_FETCH, _READ) and checkpoint.size:
            if checkpoint.step == _READ and self.size and not self._before:
                self._before = self.done
            self.done = self._before + (checkpoint.done or 0)
            self.size = self._before + checkpoint.size

    def shown(self, at: float) -> tuple[float, float | None]:
        share = self.done / self.size if self.size else 0.0
        return share, at * (1 - share) / share if share else None


class Tqdm(Bytes):
    """tqdm: an exponential moving average of the rate, of which the newest measurement is 30 %."""

    _SMOOTHING = 0.3

    def __init__(self) -> None:
        super().__init__()
        self._last: tuple[float, int] = (0.0, 0)
        self._time = self._count = 0.0
        self._calls = 0

    def take(self, at: float, checkpoint: Checkpoint) -> None:
        super().take(at, checkpoint)
        passed, count = at - self._last[0], self.done - self._last[1]
        if count > 0 and passed >= TICK_S:  # its mininterval
            keep = 1 - self._SMOOTHING
            self._time = self._SMOOTHING * passed + keep * self._time
            self._count = self._SMOOTHING * count + keep * self._count
            self._last = (at, self.done)

    def shown(self, at: float) -> tuple[float, float | None]:
        share, _ = super().shown(at)
        rate = self._count / self._time if self._time else 0.0
        return share, (self.size - self.done) / rate if rate else None


class Rich(Bytes):
    """rich: the mean rate over the last 30 seconds."""

    _PERIOD_S = 30.0

    def __init__(self) -> None:
        super().__init__()
        self._samples: deque[tuple[float, int]] = deque()

    def take(self, at: float, checkpoint: Checkpoint) -> None:
        super().take(at, checkpoint)
        self._samples.append((at, self.done))
        while at - self._samples[0][0] > self._PERIOD_S:
            self._samples.popleft()

    def shown(self, at: float) -> tuple[float, float | None]:
        share, _ = super().shown(at)
        if len(self._samples) < 2:
            return share, None
        (then, before), (now, done) = self._samples[0], self._samples[-1]
        rate = (done - before) / (now - then) if now > then else 0.0
        return share, (self.size - self.done) / rate if rate else None


BARS: dict[str, Callable[[], Bar]] = {
    "equal steps": EqualSteps,
    "bytes": Bytes,
    "tqdm": Tqdm,
    "rich": Rich,
}


def replay_with(bar: Bar, recording: Recording) -> list[Seen]:
    """What a bar would have shown: it is drawn ten times a second, and at each checkpoint."""
    shown = [Seen(0.0, 0.0, None, None, None)]
    now = 0.0

    def draw(at: float) -> None:
        progress, left = bar.shown(at)
        shown.append(Seen(at, progress, left, None, None))

    for at, news in checkpoints_of(recording["timeline"]):
        while now + TICK_S < at:
            now += TICK_S
            draw(now)
        now = max(now, at)
        bar.take(now, news)
        draw(now)
    while now + TICK_S < recording["seconds"]:
        now += TICK_S
        draw(now)
    return shown
