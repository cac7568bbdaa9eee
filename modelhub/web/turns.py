"""Turns: many requests that come at once are served one after the other, and all else goes on meanwhile.

A server of green threads runs all that can run before it looks for news. A thousand requests at once would
hold up the events of a load for as long as all of them take. So each waits for its turn: the addresses take
turns, and those of one address are served in the order in which they came. Where that does not end, a pause
after each turn leaves half of the time to everything else.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from modelhub.web.saying import Saying

TURN = "modelhub.turn"  # in the environment of a request: call it to let others go before its next part
MOST_WAITING = 1000  # requests of one address
_ALONE_S = 0.001  # since the last turn: nobody is held up by one more
_PATIENCE_S = 0.25
_LONGEST_PAUSE_S = 0.1

Turn = Callable[[], object]


class Turns:
    """For green threads: each waits in ``take``."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[threading.Event]] = {}  # by address; the next address first
        self._last = 0.0  # when the last turn was given
        self._giving = False
        self._saying = Saying()

    def take(self, address: str) -> bool:
        """Wait for a turn; returns False at once where too many of the address wait already."""
        now = time.monotonic()
        if not self._giving and now - self._last >= _ALONE_S:
            self._last = now
            return True
        queue = self._waiting.setdefault(address, deque())
        if len(queue) >= MOST_WAITING:
            self._saying.say("%d requests of one address wait: more are not served.", MOST_WAITING)
            return False
        mine = threading.Event()
        queue.append(mine)
        if not self._giving:
            self._giving = True
            threading.Thread(target=self._give, daemon=True).start()
        mine.wait()
        return True

    def _give(self) -> None:
        """Give turns while anybody waits."""
        began = time.monotonic()
        while self._waiting:
            address = next(iter(self._waiting))
            queue = self._waiting.pop(address)
            mine = queue.popleft()
            if queue:
                self._waiting[address] = queue  # behind the other addresses
            used_s = time.thread_time()
            mine.set()
            time.sleep(0)  # it runs until it waits for something, and so does all else
            used_s = time.thread_time() - used_s
            self._last = time.monotonic()
            if self._last - began > _PATIENCE_S:
                time.sleep(min(used_s, _LONGEST_PAUSE_S))
        self._giving = False
