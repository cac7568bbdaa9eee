"""How processes of modelhub's own end, and when the next one of a kind starts."""

from __future__ import annotations

import logging
import subprocess
import threading
from collections.abc import Callable

from modelhub.errors import ModelhubError

_PAUSE_S = 0.5


class Restarts:
    """Starts the next process with ``start`` where one has ended, until ``closed`` is set.

    At once, but for one after another that do not even get so far as to be of use: those wait at first
    half a second, then twice as long as the one before, ``longest_s`` at most.
    """

    def __init__(
        self, start: Callable[[], None], closed: threading.Event, longest_s: float, log: logging.Logger
    ) -> None:
        self._start = start
        self._closed = closed
        self._longest_s = longest_s
        self._log = log
        self._pause_s = 0.0

    def replace(self, was_useful: bool, what: str) -> None:
        """Start the next one, and say so after ``what`` has happened to the last one. Raises nothing."""
        longer_s = max(_PAUSE_S, min(2 * self._pause_s, self._longest_s))
        self._pause_s = 0.0 if was_useful else longer_s
        when = f"in {self._pause_s:.1f} s" if self._pause_s else "now"
        self._log.error("%s; the next one starts %s.", what, when)
        if not self._closed.wait(self._pause_s):
            try:
                self._start()
            except ModelhubError as error:
                self._log.error("%s The next load tries again.", error.message)


def wait_or_kill(process: subprocess.Popen[bytes], timeout_s: float) -> None:
    """Wait until a process that was told to end has done so; kill it where it has not in that time."""
    try:
        process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
