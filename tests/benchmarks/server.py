"""How live the server stays: ``python -m tests.benchmarks.server [--rounds N]``.

Measures the time from start to a served page, the web process's memory, the lateness of a 10 ms ticker in it
while models load, and the time from POST to the first event at a subscribed client.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import requests

from modelhub.memory import process_memory
from tests.support.rawsocket import RawWatcher
from tests.support.server import Server
from tests.support.watcher import Watcher

WATCHERS = 10
MODEL = "demo/random-0.5gb"


def main() -> None:
    """Run it, print a table and a JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        rows = {
            **_starts(Path(folder), rounds),
            **_loads(Path(folder), rounds),
            **_deliveries(Path(folder), rounds),
        }
    print(f"{'what':<52}{'measured':>12}  held to")
    for name, (value, unit, bound) in rows.items():
        print(f"{name:<52}{value:>9.1f} {unit:<3} {'< ' + str(bound) if bound else ''}")
    print(json.dumps({name: round(value, 3) for name, (value, _, _) in rows.items()}))


def _starts(folder: Path, rounds: int) -> dict[str, tuple[float, str, float | None]]:
    seconds, memory = [], []
    for number in range(rounds):
        server = Server(folder / f"start{number}")
        began = time.monotonic()
        server.start()
        requests.get(server.url + "/", timeout=5).raise_for_status()
        seconds.append(time.monotonic() - began)
        memory.append(psutil.Process(server.pid).memory_info().rss / 1e6)
        server.stop()
    return {
        "start to served page, median": (statistics.median(seconds) * 1000, "ms", 1500),
        "web process after its first page, RSS": (statistics.median(memory), "MB", 120),
    }


def _loads(folder: Path, rounds: int) -> dict[str, tuple[float, str, float | None]]:
    ticks = folder / "ticks.json"
    server = Server(folder / "loads")
    server.command = ["-m", "tests.benchmarks.ticking_server", str(ticks)]
    server.start().wait_warm()
    spare = process_memory(server.wait_spare().pid)
    shared = process_memory(server.zygote().pid).total + spare.total - spare.private
    server.load(MODEL)
    server.delete(f"/api/models/{MODEL}")
    watcher = Watcher(server.url)
    watcher.subscribe(MODEL)
    first_events = []
    for _ in range(rounds):
        seen, began = len(watcher.events), time.monotonic()
        server.request_load(MODEL)
        watcher.wait_until(lambda events, seen=seen: len(events) > seen)
        first_events.append((watcher.times[seen] - began) * 1000)
        server.wait_state(MODEL, ("ready",))
        server.delete(f"/api/models/{MODEL}")
    web = psutil.Process(server.pid).memory_info().rss / 1e6
    watcher.close()
    server.stop()
    late = sorted(1000 * value for value in json.loads(ticks.read_text()))
    return {
        "10 ms ticker, lateness p50": (late[len(late) // 2], "ms", None),
        "10 ms ticker, lateness p99": (late[int(len(late) * 0.99)], "ms", 20),
        "10 ms ticker, lateness worst": (late[-1], "ms", None),
        f"POST to first event, worst of {rounds}": (max(first_events), "ms", 100),
        "web process after the loads, RSS": (web, "MB", 120),
        "zygote, with what its spare shares, PSS": (shared / 1e6, "MB", 350),
        "the spare alone": (spare.private / 1e6, "MB", 50),
    }


def _deliveries(folder: Path, rounds: int) -> dict[str, tuple[float, str, float | None]]:
    """How long a step takes from the worker that sends it to each of ten watchers."""
    server = Server(folder / "deliveries", {"PYTHONPATH": str(Path(__file__).parent / "stamping")})
    server.start().wait_warm().load(MODEL)
    server.delete(f"/api/models/{MODEL}")
    watchers = [RawWatcher(server.port) for _ in range(WATCHERS)]
    received: list[list[tuple[float, str, dict[str, Any]]]] = [[] for _ in watchers]
    threads = [
        threading.Thread(target=_listen, args=pair, daemon=True)
        for pair in zip(watchers, received, strict=True)
        if pair[0].subscribe(MODEL)["ok"]
    ]
    for thread in threads:
        thread.start()
    for _ in range(rounds):
        server.wait_spare()
        server.load(MODEL)
        server.delete(f"/api/models/{MODEL}")
    late = sorted(ms for events in received for ms in _delivery_ms(events))
    assert len(late) >= 8 * rounds * WATCHERS, "steps are missing"
    server.stop()
    return {f"worker to {WATCHERS} watchers, p99": (late[int(len(late) * 0.99)], "ms", 50)}


def _listen(watcher: RawWatcher, received: list[tuple[float, str, dict[str, Any]]]) -> None:
    with contextlib.suppress(OSError, EOFError, AssertionError):  # the server has ended
        while True:
            name, payload = watcher.next_event()
            received.append((time.monotonic(), name, payload))


def _delivery_ms(received: list[tuple[float, str, dict[str, Any]]]) -> list[float]:
    """Milliseconds that the first event of each step took; later ones may be held back on purpose."""
    times, before = [], None
    for at, name, payload in received:
        step = (payload["load_id"], payload["step"])
        if name == "model_load_progress" and step != before and payload["detail"]:
            times.append(1000 * at - int(payload["detail"]) / 1e6)
            before = step
    return times


if __name__ == "__main__":
    main()
