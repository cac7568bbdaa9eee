"""2,000 models on a disk that takes 2 ms a call: how long a scan blocks the server, and a look waits."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from tests.benchmarks.growth import Row
from tests.support.many import make_many, on_slow_disk
from tests.support.server import Server, wait_until

MODELS = 2000
LOOKS = 300


def measure() -> list[Row]:
    """The first scan, during which people look at the list, and later ones."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        models = make_many(folder / "models", MODELS)
        server = Server(folder / "data", on_slow_disk(models), MODELS_DIR=models)
        server.command = ["-m", "tests.benchmarks.ticking_server", str(folder / "ticks.json")]
        server.start()
        server.wait_warm()
        for path in ("/", "/api/models?limit=1", "/api/models/org00/model-0000"):  # their first requests
            server.get(path)
        server.get("/lateness")
        rows = [*_look(server), *_look_again(server, models)]
        server.stop()
        return rows


def _look(server: Server) -> list[Row]:
    """While the first scan goes on."""
    began = time.monotonic()
    waited: list[float] = []

    def is_complete() -> bool:
        time.sleep(0.5)
        at = time.monotonic()
        total = server.get("/api/models?limit=1").json()["total"]
        waited.append(time.monotonic() - at)
        return bool(total >= MODELS)

    wait_until(is_complete, 600)
    return [
        Row(f"first scan of {MODELS:,} models on a disk with 2 ms a call", time.monotonic() - began, "s"),
        Row("meanwhile: server blocked, at most", _blocked_ms(server), "ms", 20),
        Row("meanwhile: a look at the list, at most", 1000 * max(waited), "ms"),
    ]


def _look_again(server: Server, models: Path) -> list[Row]:
    """A folder is added, and many requests name models, for longer than a scan is fresh."""
    (models / "org00" / "model-0000").rename(models / "org00" / "added")
    began = time.monotonic()
    found = server.get("/api/models/org00/added").status_code
    look_s = time.monotonic() - began
    assert found == 200, "what was just added is found"
    began = time.monotonic()
    for number in range(LOOKS):
        named = 40 + number % (MODELS - 40)
        assert server.get(f"/api/models/org{named % 40:02}/model-{named:04}").ok
        time.sleep(0.02)
    return [
        Row("a folder that was just added is found after", 1000 * look_s, "ms"),
        Row(f"{LOOKS} look-ups", time.monotonic() - began - LOOKS * 0.02, "s"),
        Row("meanwhile: server blocked, at most", _blocked_ms(server), "ms", 20),
    ]


def _blocked_ms(server: Server) -> float:
    return 1000 * max(server.get("/lateness").json())
