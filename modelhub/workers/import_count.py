"""Counts the modules that this process imports: a load shows them while it waits for the zygote."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType

_EVERY_S = 0.05


class ImportCount(MetaPathFinder):
    """A context in which ``report`` is called with the modules imported in it so far, at most every 50 ms.

    It is the first finder that each import asks, and finds nothing: so it needs no thread, which the zygote
    may not have.
    """

    def __init__(self, report: Callable[[int], None]) -> None:
        self._report = report
        self._before = len(sys.modules)
        self._reported_at = 0.0

    @property
    def done(self) -> int:
        """How many modules were imported so far."""
        return len(sys.modules) - self._before

    def __enter__(self) -> ImportCount:
        sys.meta_path.insert(0, self)
        return self

    def __exit__(self, *_: object) -> None:
        sys.meta_path.remove(self)

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        """Count, and leave the import to the finders after this one."""
        now = time.monotonic()
        if now - self._reported_at >= _EVERY_S:
            self._reported_at = now
            with contextlib.suppress(OSError):  # an import could catch it, and go another way
                self._report(self.done)
