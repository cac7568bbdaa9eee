"""Events of a hundred queued loads: a step forward in the queue is not an event for each load that waits."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from tests.benchmarks.growth import Row
from tests.support import models
from tests.support.server import Server
from tests.support.watcher import Watcher

LOADS = 100
_ENDS = ("model_load_completed", "model_load_failed")


def measure() -> list[Row]:
    """Load a hundred tiny models at once and count what a dashboard gets."""
    with tempfile.TemporaryDirectory() as folder:
        events = _events(Path(folder))
    names = Counter(name for name, _ in events)
    first = {payload["load_id"]: payload["seq"] for name, payload in reversed(events)}
    moved = sum(
        name == "model_load_queued" and payload["seq"] > first[payload["load_id"]] for name, payload in events
    )
    assert names["model_load_completed"] == LOADS, names
    loads = [payload for name, payload in events if name.startswith("model_load")]
    return [
        Row("100 queued loads, events for each", len(loads) / LOADS, "", 20),
        Row("... of these only renumber", moved / LOADS, ""),
    ]


def _events(folder: Path) -> list[tuple[str, dict[str, Any]]]:
    model = models.make_bert(folder / "original")
    ids = [f"tiny/bert{number}" for number in range(LOADS)]
    for model_id in ids:
        shutil.copytree(model, folder / "models" / model_id)
    # With python-socketio's own emit no event is left out, so that all that were made are counted.
    server = Server(folder / "data", MODELS_DIR=folder / "models", FANOUT="off").start().wait_warm()
    try:
        watcher = Watcher(server.url, ("websocket",))
        watcher.subscribe(None)
        for model_id in ids:
            server.request_load(model_id)
        watcher.wait_until(lambda events: sum(name in _ENDS for name, _ in events) == LOADS, 300)
        watcher.close()
        return watcher.events
    finally:
        server.stop()
