"""Many Socket.IO watchers of one model in the process of a test, which read all that comes."""

from __future__ import annotations

import json
import selectors
import threading
import time
from typing import Any

from tests.support.rawsocket import RawWatcher

Seen = tuple[int, str, str | None, int | None]  # the number of an event, its name, its load and its step


class Crowd:
    """``count`` watchers of a model at each of ``ports``; ``seen`` has what each has received, in order."""

    def __init__(self, ports: list[int], model_id: str, count: int) -> None:
        self.watchers = [RawWatcher(port) for port in ports for _ in range(count)]
        self.seen: list[list[Seen]] = [[] for _ in self.watchers]
        self._selector = selectors.DefaultSelector()
        for watcher, seen in zip(self.watchers, self.seen, strict=True):
            assert watcher.subscribe(model_id)["ok"]
            watcher.sock.setblocking(False)
            self._selector.register(watcher.sock, selectors.EVENT_READ, (watcher, seen))
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def wait_for_end(self, load_id: str, names: tuple[str, ...], timeout_s: float = 30) -> None:
        """Wait until each has received an event of these names for a load."""
        deadline = time.monotonic() + timeout_s
        while not all(any(one[2] == load_id and one[1] in names for one in seen) for seen in self.seen):
            assert time.monotonic() < deadline, [len(seen) for seen in self.seen]
            time.sleep(0.05)

    def close(self) -> None:
        """Leave."""
        self._closing.set()
        self._thread.join(10)
        for watcher in self.watchers:
            watcher.close()

    def _read(self) -> None:
        while not self._closing.is_set():
            for key, _ in self._selector.select(0.2):
                watcher, seen = key.data
                for message in watcher.feed(watcher.sock.recv(262144)):
                    self._take(message, seen)

    def _take(self, message: bytes, seen: list[Seen]) -> None:
        if message.startswith(b"42["):
            payload: Any
            name, payload = json.loads(message[2:])
            if "seq" in payload:
                seen.append((payload["seq"], name, payload["load_id"], payload["step"]))
