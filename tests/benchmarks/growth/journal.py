"""A journal of a million loads: its size, its pages, and what deleting old loads costs."""

from __future__ import annotations

import json
import random
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from modelhub.core.journal import KEPT_TIMELINES, Journal
from modelhub.errors import ModelhubError
from modelhub.payloads import Timeline
from modelhub.progress.timeline import TimelineRecorder
from tests.benchmarks.growth import Row
from tests.support.server import Server

LOADS = 1_000_000
MODELS = 500
_STATES = ["unloaded"] * 93 + ["failed"] * 3 + ["cancelled"] * 3 + ["interrupted"]
_COLUMNS = (
    *("load_id", "model_id", "state", "by", "requested_at", "started_at", "ended_at", "seconds", "bytes"),
    *("memory", "device", "dtype", "requested_device", "requested_dtype", "source", "revision"),
    *("architecture", "parameters", "error", "steps"),
)
_SEED = random.Random(7)


def measure() -> list[Row]:
    """Write a million loads, read pages of them through a real server, and delete some."""
    with tempfile.TemporaryDirectory() as folder:
        data_dir = Path(folder)
        _write(data_dir)
        file = data_dir / "history.sqlite3"
        size = Row("a million loads in the journal, on disk", file.stat().st_size / 1e6, "MB", 500)
        return [size, *_pages(data_dir), *_trims(data_dir)]


def _write(data_dir: Path) -> None:
    Journal(data_dir).close()
    database = sqlite3.connect(data_dir / "history.sqlite3", isolation_level=None)
    places = ", ".join("?" * len(_COLUMNS))
    database.execute("BEGIN")
    database.executemany(f"INSERT INTO loads ({', '.join(_COLUMNS)}) VALUES ({places})", _rows())  # noqa: S608
    database.execute("COMMIT")
    database.close()
    journal = Journal(data_dir)
    timelines = [_timeline() for _ in range(50)]
    for number in range(LOADS - KEPT_TIMELINES - 100, LOADS):
        journal.keep_timeline(f"{number:016x}", timelines[number % 50])
    journal.close()


def _rows() -> Iterator[tuple[object, ...]]:
    models = [
        (f"organization-{n % 17}/model-{n}-8B-Instruct", f"{_SEED.getrandbits(160):040x}")
        for n in range(MODELS)
    ]
    for number in range(LOADS):
        model_id, revision = models[min(int(_SEED.paretovariate(0.6)), MODELS) - 1]
        state, at = _SEED.choice(_STATES), 1.7e9 + 30 * number
        error = None
        if state in ("failed", "interrupted"):
            failure = ModelhubError("no_memory", id=model_id, needed="141 GB", free="9.4 GB")
            error = json.dumps({**failure.to_dict(), "step": 4})
        steps = json.dumps([round(_SEED.random(), 4) for _ in range(9)])
        took = round(9 * _SEED.random(), 3)
        yield (
            *(f"{number:016x}", model_id, state, "rest", at, at + 0.01, at + took, took, 16_060_522_496),
            *(16_100_000_000, "cpu", "bfloat16", "auto", "auto", "cache", revision),
            *("LlamaForCausalLM", 8_030_261_248, error, steps),
        )


def _timeline() -> Timeline:
    """That of a load of a few seconds, at a rate that changes."""
    recorder, now, done, size = TimelineRecorder(0.0), 0.0, 0, 16_060_522_496
    for step in range(1, 10):
        recorder.begin(step, now)
        now += _SEED.uniform(0.01, 0.3)
        while step == 5 and done < size:
            now += 0.05
            done = min(size, done + int(_SEED.uniform(2e7, 9e7)))
            recorder.count(step, done, size, now)
    return recorder.timeline()


def _pages(data_dir: Path) -> list[Row]:
    began = time.monotonic()
    server = Server(data_dir).start()
    server.get("/livez").raise_for_status()
    opened = time.monotonic() - began
    server.wait_warm()
    frequent = server.get("/api/loads", params={"limit": 1}).json()["loads"][0]["model_id"]
    middle = server.get("/api/loads", params={"limit": 1, "offset": LOADS // 2}).json()["next"]
    paths = {
        "the history's first page": "/history",
        "... a page in the middle, from its link": f"/history?before={middle}",
        "... the same, by outcome and model": f"/history?before={middle}&outcome=failed&model={frequent}",
        "... a page in the middle, by its number": f"/history?page={LOADS // 100}",
        "... the same, of completed loads": f"/history?outcome=completed&page={LOADS // 110}",
        "loads over REST, from a cursor": f"/api/loads?before={middle}",
        "... at offset 900,000": "/api/loads?offset=900000",
        "figures of all models": "/api/figures",
        "the page of one load": f"/loads/{middle}",
    }
    try:
        rows = [
            Row(f"a million loads: {name}", _median_ms(server, path), "ms", 100)
            for name, path in paths.items()
        ]
    finally:
        server.stop()
    return [Row("a million loads: start of the server", opened * 1000, "ms"), *rows]


def _median_ms(server: Server, path: str) -> float:
    def fetch() -> None:
        server.get(path).raise_for_status()

    return statistics.median(_ms(fetch) for _ in range(9))


def _trims(data_dir: Path) -> list[Row]:
    journal = Journal(data_dir, LOADS - 10_000)
    times: list[float] = []
    while journal.count() > LOADS - 10_000:
        times.append(_ms(journal.trim))
    journal.close()
    times.sort()
    return [
        Row("deleting old loads: the hub is blocked, median", statistics.median(times), "ms", 20),
        Row("... 99 of 100 times at most", times[len(times) * 99 // 100], "ms", 20),
        Row("... at most", times[-1], "ms"),
    ]


def _ms(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return (time.perf_counter() - began) * 1000
