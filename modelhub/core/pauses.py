"""Pauses of long work on a disk: whatever else the process has to do is done meanwhile."""

from __future__ import annotations

import time

_SLICE_S = 0.002
_QUICK_S = 0.5


class Pauses:
    """Call it after each access to the disk: it lets other threads run every other millisecond.

    In the server one thread runs at a time, until it waits. Work that lasts longer than half a second takes
    two thirds of the time from then on.
    """

    def __init__(self) -> None:
        self._began = self._resumed = time.monotonic()

    def __call__(self) -> None:
        """Pause, if it is time to."""
        now = time.monotonic()
        worked = now - self._resumed
        if worked < _SLICE_S:
            return
        time.sleep(0 if now - self._began < _QUICK_S else worked / 2)
        self._resumed = time.monotonic()
