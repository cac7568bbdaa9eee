"""How live the server stays: ``python -m tests.benchmarks.server [--rounds N]``.

Measures the time from start to a served page, the web process's memory, the lateness of a 10 ms ticker in it
while models load, and the time from POST to the first event at a subscribed client.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import psutil
import requests

from modelhub.memory import process_memory
from tests.server import Server, Watcher

MODEL = "demo/random-0.5gb"


def main() -> None:
    """Run it, print a table and a JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        rows = {**_starts(Path(folder), rounds), **_loads(Path(folder), rounds)}
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
        "10 ms ticker, lateness p99": (late[int(len(late) * 0.99)], "ms", 25),
        "10 ms ticker, lateness worst": (late[-1], "ms", None),
        f"POST to first event, worst of {rounds}": (max(first_events), "ms", 100),
        "web process after the loads, RSS": (web, "MB", 120),
        "zygote, with what its spare shares, PSS": (shared / 1e6, "MB", 350),
        "the spare alone": (spare.private / 1e6, "MB", 50),
    }


if __name__ == "__main__":
    main()
