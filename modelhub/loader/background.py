"""Runs the long work of a step in a helper thread, so that the generator can yield its progress."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import closing
from typing import Generic, TypeVar

from modelhub.checkpoints import Checkpoint

POLL_S = 0.05
_FIRST_POLL_S = 0.02  # many steps are over before a few longer ones have passed
CLOSE_S = 30.0

Result = TypeVar("Result")


class Cancelled(Exception):
    """Raised inside a helper thread after the generator was closed: its result is not needed any more."""


class Cancel:
    """A flag that a helper thread checks between two pieces of its work."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        self._event.set()

    def is_set(self) -> bool:
        return self._event.is_set()

    def wait(self, seconds: float) -> None:
        """Sleep for ``seconds``; raises Cancelled as soon as the flag is set."""
        if self._event.wait(seconds):
            raise Cancelled

    def check(self) -> None:
        """Raise Cancelled if the flag is set."""
        if self._event.is_set():
            raise Cancelled


class Helper(Generic[Result]):
    """One thread that runs ``work(cancel)``: its result or its error once it is ``done``."""

    def __init__(self, work: Callable[[Cancel], Result]) -> None:
        self.cancel = Cancel()
        self.done = threading.Event()
        self.result: Result
        self.error: BaseException | None = None
        self._work = work
        self._thread = threading.Thread(target=self._run, name="modelhub-loader", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def follow(
        self, describe: Callable[[], Checkpoint | None], until: threading.Event | None = None
    ) -> Generator[Checkpoint, None, None]:
        """Yield ``describe()`` whenever it has changed, until the event is set or the work is done.

        ``describe`` is called every 50 ms, more often at first, and once at the end. Raises the error of the
        work, if it has one.
        """
        last: Checkpoint | None = None
        finished, poll_s = False, _FIRST_POLL_S
        while not finished:
            finished = (until or self.done).wait(poll_s) or self.done.is_set()
            poll_s = min(POLL_S, 1.2 * poll_s)
            now = describe() if self.error is None else None
            if now is not None and now != last:
                last = now
                yield now
        if self.error is not None and (until is None or not until.is_set()):
            raise self.error

    def close(self) -> None:
        """Set the cancel flag, and wait up to 30 s for the thread to stop. Safe to call before ``start``."""
        self.cancel.set()
        if self._thread.ident is not None:
            self._thread.join(CLOSE_S)

    def _run(self) -> None:
        try:
            self.result = self._work(self.cancel)
        except BaseException as error:
            self.error = error
        finally:
            self.done.set()


def run(
    work: Callable[[Cancel], Result],
    describe: Callable[[], Checkpoint | None] = lambda: None,
) -> Generator[Checkpoint, None, Result]:
    """Run ``work(cancel)`` in a thread; yield ``describe()`` whenever it has changed; return the result.

    ``describe`` is called as by ``Helper.follow``. Closing the generator sets the cancel flag and
    waits up to 30 s for the thread to stop. An exception of the work is raised here.
    """
    with closing(Helper(work)) as helper:
        helper.start()
        yield from helper.follow(describe)
    return helper.result
