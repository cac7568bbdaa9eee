"""Many watch, all in time: ``python -m tests.benchmarks.faults.watching [--watchers 500] [--models 100]``.

First so many watchers of one load, ten events a second; then a dashboard while so many models load at once,
two events a second each. Each must get the start, the first and last event of each step and the end; of all
events, 99 of 100 within 150 ms of the moment when the server had them from the worker.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from tests.benchmarks.fanout import MODEL, PACED_EVENTS, Crowd
from tests.support.rawsocket import RawWatcher
from tests.support.server import Server
from tests.support.truth import TERMINAL, must_arrive

LIMIT_S = 0.150
EVENTS_OF_EACH = 27


def one_load(server: Server, watchers: int) -> float:
    """So many watchers of one load; returns the 99th percentile of the latencies, in seconds."""
    crowd = Crowd(server.port, watchers, deflate=False)
    told = server.get(f"/tell?id={MODEL}&events={PACED_EVENTS}&interval=0.1&loads=1").json()["told"]
    report = crowd.final_report()
    crowd.close()
    for seqs in report["seqs"]:
        assert must_arrive(told) <= set(seqs), "an event is missing"
        assert seqs == sorted(set(seqs)), "out of order, or twice"
    latencies = report["latencies"]
    return float(latencies[len(latencies) * 99 // 100])


def dashboard(server: Server, models: int) -> float:
    """A dashboard while so many models load; returns the 99th percentile of the latencies, in seconds."""
    watcher = RawWatcher(server.port)
    watcher.send(b'420["subscribe",{}]')
    assert watcher.next().startswith(b"430[")
    told: dict[str, list[Any]] = {}

    def load(model_id: str) -> None:
        told[model_id] = server.get(
            f"/tell?id={model_id}&events={EVENTS_OF_EACH}&interval=0.5&loads=1"
        ).json()["told"]

    threads = [threading.Thread(target=load, args=(f"org/model{number}",)) for number in range(models)]
    for thread in threads:
        thread.start()
    seqs: dict[str, list[int]] = {}
    latencies, ended = [], 0
    while ended < models:
        name, payload = watcher.next_event()
        now = time.monotonic()
        seqs.setdefault(payload["id"], []).append(payload["seq"])
        ended += name in TERMINAL
        if name == "model_load_progress":
            latencies.append(now - int(payload["detail"]) / 1e9)
    watcher.close()
    for thread in threads:
        thread.join()
    for model_id, events in told.items():
        assert must_arrive(events) <= set(seqs[model_id]), "an event is missing"
        assert seqs[model_id] == sorted(set(seqs[model_id])), "out of order, or twice"
    return sorted(latencies)[len(latencies) * 99 // 100]


def main() -> None:
    """Run it, and print a JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--watchers", type=int, default=500)
    parser.add_argument("--models", type=int, default=100)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder))
        server.command = ["-m", "tests.support.telling_server"]
        server.start().wait_warm()
        try:
            p99 = {
                f"{options.watchers} watchers": one_load(server, options.watchers),
                f"{options.models} models": dashboard(server, options.models),
            }
        finally:
            server.stop()
    print(json.dumps({what: f"p99 {1000 * value:.1f} ms" for what, value in p99.items()}))
    assert max(p99.values()) < LIMIT_S


if __name__ == "__main__":
    main()
