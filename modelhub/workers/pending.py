"""A prediction that the server has sent to a worker, and whose result has not come yet."""

from __future__ import annotations

import threading
import time
from collections import deque

from modelhub import units
from modelhub.errors import ModelhubError
from modelhub.generation import Frame

_GRACE_S = 5.0  # for the process to say that it has ended a prediction in time


class PendingPrediction:
    """One prediction: ``ended`` is set with its ``result``, or without one where the process has exited."""

    def __init__(self, number: int, model_id: str, seconds: float) -> None:
        self.number = number
        self.ended = threading.Event()
        self.result: tuple[bool, bytes] | None = None
        self.has_begun = False
        self.model_id = model_id
        self._seconds = seconds  # 0: no limit
        self._deadline: float | None = None

    def begin(self) -> None:
        """The process has begun with it: from now on its time counts."""
        self.has_begun = True
        if self._seconds:
            self._deadline = time.monotonic() + self._seconds + _GRACE_S

    def end(self, result: tuple[bool, bytes]) -> None:
        """Its result has come."""
        self.result = result
        self.lose()

    def lose(self) -> None:
        """Nothing more comes of it."""
        self.ended.set()

    @property
    def is_overdue(self) -> bool:
        """Whether the process should have ended it by now."""
        return self._deadline is not None and time.monotonic() >= self._deadline

    def stopped(self) -> ModelhubError:
        """The failure of one whose client has left before it began."""
        return ModelhubError("prediction_failed", why="it was stopped.")

    def error(self) -> ModelhubError:
        """The failure of all that is lost where the process was ended for it."""
        limit = units.duration(self._seconds)
        todo = "Its process did not answer and was ended too: load the model again."
        return ModelhubError("prediction_timeout", id=self.model_id, limit=limit, todo=todo)


class PendingGeneration(PendingPrediction):
    """Text that a worker writes, whose frames are taken one by one as they come."""

    def __init__(self, number: int, model_id: str, seconds: float) -> None:
        super().__init__(number, model_id, seconds)
        self._frames: deque[Frame] = deque()
        self._tokens = 0
        self._arrived = threading.Event()

    def add(self, frame: Frame) -> int:
        """A frame has come; returns how many tokens were written since the last one."""
        before, self._tokens = self._tokens, max(self._tokens, frame.get("tokens", 0))
        self._frames.append(frame)
        self._arrived.set()
        return self._tokens - before

    def lose(self) -> None:
        """No more comes."""
        super().lose()
        self._arrived.set()

    def next(self, timeout_s: float) -> Frame | None:
        """The next frame; None if none has come in that time, or if ``ended`` is set and all were taken."""
        if not self._frames and not self.ended.is_set():
            self._arrived.clear()
            if not self._frames and not self.ended.is_set():
                self._arrived.wait(timeout_s)
        return self._frames.popleft() if self._frames else None
