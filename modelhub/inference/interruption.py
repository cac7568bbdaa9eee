"""Ends a prediction while it runs: past its time, or since nobody waits for it any more.

A pass through the model asks first (``check``), which is where most predictions end. Anything else that runs
Python, such as a chat template that never ends, gets an exception from a timer, a little later. What
neither ends, a single call of a library that takes long, the server ends with the process.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

_TICK_S = 0.1
_PATIENCE_S = 0.2  # for the pass under way to ask
_Result = TypeVar("_Result")


class Interrupted(BaseException):
    """The prediction is to end: ``overdue`` where its time is over, else it was stopped.

    No Exception, so that no library takes it for a fault that it can go on after.
    """

    def __init__(self, overdue: bool) -> None:
        self.overdue = overdue
        super().__init__()


class Interruption:
    """One for a process, made in its main thread, where predictions run; any thread may call ``stop``."""

    def __init__(self) -> None:
        self.number = 0  # of the prediction that runs, or has run last
        self._stopped: set[int] = set()
        self._deadline: float | None = None
        self._raise_from: float | None = None
        self._is_running = False
        self._before: tuple[Any, tuple[float, float]] | None = None  # handler and timer

    def stop(self, number: int) -> None:
        """End the prediction with that number, or never begin it; nothing happens where it has ended."""
        if number >= self.number:
            self._stopped.add(number)

    def run(self, number: int, seconds: float, function: Callable[[], _Result]) -> _Result:
        """Call ``function`` for at most so many seconds, 0 for any number; numbers only grow.

        Raises Interrupted, and whatever the function raises.
        """
        self.number = number
        for other in [one for one in list(self._stopped) if one < number]:
            self._stopped.discard(other)
        self._deadline = time.monotonic() + seconds if seconds else None
        self._raise_from = None
        if number in self._stopped:
            raise Interrupted(overdue=False)
        handler = signal.signal(signal.SIGALRM, self._tick)
        self._before = handler, signal.setitimer(signal.ITIMER_REAL, _TICK_S, _TICK_S)
        try:
            try:
                self._is_running = True
                return function()
            finally:
                self._end()
        except Interrupted:
            self._end()  # it may have come in the lines above; the next one comes later
            raise

    def _end(self) -> None:
        self._is_running = False
        if self._before is not None:
            handler, timer = self._before
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, handler)
            signal.setitimer(signal.ITIMER_REAL, *timer)
            self._before = None

    def check(self, *_: Any) -> None:
        """Raise Interrupted if the prediction that runs is to end; called before each pass of the model."""
        is_stopped = self.number in self._stopped
        if self._is_running and (is_stopped or self.is_overdue):
            raise Interrupted(overdue=not is_stopped)

    @property
    def is_overdue(self) -> bool:
        """Whether the time of the prediction that runs is over."""
        return self._deadline is not None and time.monotonic() >= self._deadline

    @contextmanager
    def at_most(self, seconds: float) -> Iterator[None]:
        """A context in which the prediction may spend at most so long."""
        before = self._deadline
        deadline = time.monotonic() + seconds
        self._deadline = deadline if before is None else min(before, deadline)
        try:
            yield
        finally:
            self._deadline = before

    def _tick(self, *_: Any) -> None:
        """Raise in the main thread, whatever runs there, and again if that was of no use."""
        now = time.monotonic()
        if not self._is_running or (self.number not in self._stopped and not self.is_overdue):
            self._raise_from = None
            return
        if self._raise_from is None:
            self._raise_from = now + _PATIENCE_S
        elif now >= self._raise_from:
            self._raise_from = now + _PATIENCE_S
            self.check()
