"""Who uses the model of a load, or is about to, and since when nobody does."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_CLAIM_S = 2.0  # how long a model stays for a request that has waited for it and has yet to begin


class Use:
    """The use of one model; for any thread.

    Requests count from when they begin to wait for its load, so that it cannot leave between being ready and
    their beginning. Those that its process has are counted by its worker.
    """

    def __init__(self) -> None:
        self.changed = threading.Event()  # see ``touch``
        self.tell: Callable[[], None] = lambda: None  # called when that is set
        self.tell_now: Callable[[], None] = lambda: None  # called when a replica has another state
        # How long it stays unused, as a client has said; infinity is for ever.
        self.keep_s: float | None = None
        self.idle_since = time.time()
        self.used_at: float | None = None  # when its last request ended, on the monotonic clock
        self._awaiting: set[object] = set()
        self._claims: deque[float] = deque()  # until when each stands, on the monotonic clock

    @contextmanager
    def awaited(self) -> Iterator[None]:
        """A context in which a request waits for the load."""
        request = object()
        self._awaiting.add(request)
        try:
            yield
        finally:
            self._awaiting.discard(request)
            self.touch()

    def claim(self) -> None:
        """A request that has waited may begin now: the model stays for it for a few seconds."""
        self._claims.append(time.monotonic() + _CLAIM_S)

    def begin(self) -> None:
        """A request goes to the model's process, perhaps one that has waited."""
        if self._claims:
            self._claims.popleft()
        self.touch()

    def end(self, keep_s: float | None = None) -> None:
        """A request has ended: from now on the model may leave ``keep_s`` seconds later, if nobody uses it.

        0 is at once, a negative number or infinity never; None leaves that as it was.
        """
        if keep_s is not None and not math.isnan(keep_s):
            self.keep_s = math.inf if keep_s < 0 else keep_s
        self.idle_since, self.used_at = time.time(), time.monotonic()
        self.touch()

    def touch(self) -> None:
        """The model may be used in another way, or leave at another time."""
        self.changed.set()
        self.tell()

    @property
    def is_awaited(self) -> bool:
        """Whether a request waits for the model, or has waited and is about to begin."""
        while self._claims and self._claims[0] <= time.monotonic():
            self._claims.popleft()
        return bool(self._awaiting or self._claims)
