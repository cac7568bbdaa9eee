"""How long a server's event loop is blocked, and how soon it answers, while something else goes on."""

from __future__ import annotations

import http.client
import threading
import time
from typing import Any


class Latencies:
    """Asks ``/livez`` over one connection, 100 times a second, while it is used as a context; in ms."""

    def __init__(self, port: int) -> None:
        self.values: list[float] = []
        self._port = port
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Latencies:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join()

    def p(self, share: float) -> float:
        """The latency that this share of the requests kept below."""
        ordered = sorted(self.values)
        return ordered[min(int(len(ordered) * share), len(ordered) - 1)]

    def _run(self) -> None:
        connection: Any = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        while not self._ends.wait(0.01):
            began = time.monotonic()
            connection.request("GET", "/livez")
            connection.getresponse().read()
            self.values.append(1000 * (time.monotonic() - began))
