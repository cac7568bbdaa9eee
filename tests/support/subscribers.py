"""A storm of clients that connect over WebSocket, subscribe and leave, without end."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.rawsocket import RawWatcher


class Storm:
    """``threads`` of them at the server of a port; ``count`` is how many have subscribed."""

    def __init__(self, port: int, model_id: str, threads: int) -> None:
        self.count = 0
        self._port = port
        self._model_id = model_id
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._rage, daemon=True) for _ in range(threads)]

    def begin(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """End, and wait until all have left."""
        self._over.set()
        for thread in self._threads:
            thread.join(60)

    def _rage(self) -> None:
        while not self._over.is_set():
            try:
                watcher = RawWatcher(self._port)
                try:
                    watcher.subscribe(self._model_id)
                    self.count += 1
                finally:
                    watcher.close()
            except (OSError, AssertionError):
                self._over.wait(0.01)  # the server ends, or does not listen yet


@contextmanager
def storm(port: int, model_id: str, threads: int = 6) -> Iterator[Storm]:
    """A storm while the block runs."""
    found = Storm(port, model_id, threads)
    found.begin()
    try:
        yield found
    finally:
        found.end()
