"""The page of 2,000 models, the subscription of a dashboard to them, and their list over REST."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import requests

from tests.benchmarks.growth import Row
from tests.benchmarks.ticking import Latencies
from tests.support.many import make_many
from tests.support.rawsocket import RawWatcher
from tests.support.server import Server

MODELS, REPEATS = 2000, 30


def measure() -> list[Row]:
    """Each many times, with a pause in between, after the first."""
    with tempfile.TemporaryDirectory() as name:
        folder = make_many(Path(name) / "models", MODELS)
        server = Server(Path(name) / "data", MODELS_DIR=folder).start().wait_warm()
        session = requests.Session()
        size = len(session.get(f"{server.url}/").content)
        rows = []
        for title, path, bound in (
            (f"GET / at {MODELS:,} models", "/", 50),
            ("GET /?q=, which finds one of them", "/?q=model-1234", 50),
            ("GET /api/models?limit=50", "/api/models?limit=50", 50),
            ("GET /api/models, all of them", "/api/models", None),
        ):
            with Latencies(server.port) as others:
                took = _median_ms(lambda path=path: session.get(server.url + path).content)  # type: ignore[misc]
            rows.append(Row(f"{title}, median", took, "ms", bound))
            rows.append(Row("meanwhile: /livez, p99", others.p(0.99), "ms", 50))
        rows.insert(1, Row(f"GET / at {MODELS:,} models", size / 1e6, "MB", 0.3))
        watcher = RawWatcher(server.port)
        acknowledged = _median_ms(lambda: _subscribe(watcher))
        size = len(_subscribe(watcher))
        server.stop()
    return [
        *rows,
        Row(f"subscribe at {MODELS:,} models, median", acknowledged, "ms", 10),
        Row(f"subscribe at {MODELS:,} models", size / 1e6, "MB"),
    ]


def _median_ms(work: Callable[[], object]) -> float:
    times = []
    for _ in range(REPEATS):
        began = time.monotonic()
        work()
        times.append(1000 * (time.monotonic() - began))
        time.sleep(0.1)
    return statistics.median(times)


def _subscribe(watcher: RawWatcher) -> bytes:
    watcher.send(b'420["subscribe",{"words":true}]')
    while not (message := watcher.next()).startswith(b"430["):
        pass
    return message
