"""The dashboard's room with 1,000 models of which 50 load: ``python -m tests.benchmarks.paced``.

What a plain client and a page get a second, paced (as beyond 200 models) and each event at once. Then how
many events the server can tell in a second of processor time, to nobody and to some, and what pages weigh.
"""

from __future__ import annotations

import json
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from tests.support.many import make_many
from tests.support.rawsocket import RawWatcher
from tests.support.server import Server

MODELS, LOADS, SECONDS = 1000, 50, 6.0


class Counter:
    """Counts what a client is sent; reads in a thread of its own."""

    def __init__(self, port: int, request: str) -> None:
        self.bytes = self.messages = 0
        self._watcher = RawWatcher(port)
        self._watcher.send(f'420["subscribe",{request}]'.encode())
        self.acknowledged = len(self._next_ack())
        threading.Thread(target=self._read, daemon=True).start()

    def _next_ack(self) -> bytes:
        while not (message := self._watcher.next()).startswith(b"430["):
            pass
        return message

    def _read(self) -> None:
        try:
            while True:
                message = self._watcher.next()
                self.bytes += len(message)
                self.messages += 1
        except (OSError, AssertionError):
            pass

    def take(self) -> tuple[int, int]:
        """Bytes and messages since the last time."""
        found = self.bytes, self.messages
        self.bytes = self.messages = 0
        return found


def tell(server: Server, loads: int, rate: float, paced: bool, seconds: float = SECONDS) -> dict[str, Any]:
    """Have the server tell of loads."""
    query = f"loads={loads}&seconds={seconds}&rate={rate}&paced={int(paced)}"
    return dict(server.get(f"/tell?{query}").json())


def main() -> None:
    """Measure and print."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        server = Server(Path(name) / "data", MODELS_DIR=make_many(Path(name) / "models", MODELS))
        server.command = ["-m", "tests.benchmarks.many_loads_server"]
        server.start()
        server.get("/api/models?limit=1")
        quiet = tell(server, LOADS, 0, True, 3.0)
        found["events to nobody, in a second of a core"] = quiet["events"] / quiet["cpu_s"]
        plain, page = Counter(server.port, "{}"), Counter(server.port, '{"words":true}')
        for paced in (False, True, False, True):
            plain.take(), page.take()
            told = tell(server, LOADS, 10, paced)
            time.sleep(0.2)
            how = "paced" if paced else "at once"
            for kind, counter in (("plain", plain), ("page", page)):
                size, messages = counter.take()
                found[f"{kind}, {how}: kB a second"] = size / told["wall_s"] / 1000
                found[f"{kind}, {how}: messages a second"] = messages / told["wall_s"]
                found[f"{kind}, {how}: bytes of a message"] = size / max(1, messages)
            found[f"{how}: events a second"] = told["events"] / told["wall_s"]
            found[f"{how}: processor time of an event, ms"] = 1000 * told["cpu_s"] / told["events"]
        busy = tell(server, LOADS, 0, False, 3.0)
        found["events to a plain client and a page, in a second of a core"] = busy["events"] / busy["cpu_s"]
        tell(server, MODELS, 1, True, 1.0)
        began = time.monotonic()
        late = Counter(server.port, "{}")
        found["acknowledgement of 200 of 1,000 models: kB"] = late.acknowledged / 1000
        found["and how long it takes: ms"] = 1000 * (time.monotonic() - began)
        page_began = time.monotonic()
        found["the first page: kB"] = len(server.get("/").content) / 1000
        found["and how long it takes: ms "] = 1000 * (time.monotonic() - page_began)
        began = time.monotonic()
        found["GET /metrics with 1,000 models: kB"] = len(server.get("/metrics").content) / 1000
        found["and how long it takes: ms  "] = 1000 * (time.monotonic() - began)
        server.stop()
    for what, value in found.items():
        print(f"{what:60} {value:12,.1f}")
    print(json.dumps({what: round(value, 2) for what, value in found.items()}))


main()
