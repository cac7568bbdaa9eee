"""What a flood costs another client: ``python -m tests.benchmarks.faults.floods [--seconds 5]``.

A server with 2,000 models tells the progress of a load, 50 events a second, to one client, while another one
floods the server from a process of its own. Prints, for each kind of flood, by how much the events were late
and how long ``GET /livez`` took, a connection for each, then a JSON line. Exits with 1 where the 99th
percentile of the events was over 100 ms late.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import psutil
import requests

from tests.support.flooding import FLOODS, flood
from tests.support.ids import DEMO
from tests.support.many import make_many
from tests.support.rawsocket import RawWatcher
from tests.support.server import Server

LIMIT_MS = 100
STALLED_MS = 30_000.0  # nothing came for so long
NONE = "none"


def main() -> None:
    """Run it, print the table and a JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--fanout", default="on")
    parser.add_argument("--kinds", nargs="*", default=[NONE, *FLOODS])
    options = parser.parse_args()
    rows = {}
    print(
        f"{'flood':<20}{'late p50':>12}{'p99':>12}{'most':>12}{'/livez p50':>12}{'p99':>12}"
        f"{'log':>9}{'memory':>9}"
    )
    with tempfile.TemporaryDirectory() as folder:
        models = make_many(Path(folder) / "models", 2000)
        for number, kind in enumerate(options.kinds):
            server = Server(Path(folder) / f"data{number}", MODELS_DIR=models, FANOUT=options.fanout)
            server.command = ["-m", "tests.support.streaming_server"]
            server.start().wait_warm()
            try:
                rows[kind] = row = measure(server, kind, options.seconds)
            finally:
                server.kill()
            cells = "".join(
                f"{row[name]:>9.1f} ms" for name in ("p50", "p99", "most", "live_p50", "live_p99")
            )
            print(f"{kind:<20}{cells}{row['log'] / 1000:>6.1f} kB{row['memory'] / 1e6:>6.0f} MB", flush=True)
    print(json.dumps({"faults_floods": rows}))
    sys.exit(1 if max(row["p99"] for row in rows.values()) > LIMIT_MS else 0)


def measure(server: Server, kind: str, seconds: float) -> dict[str, float]:
    """Milliseconds that events are late and a request takes, and bytes of log and memory, after a flood."""
    watcher = RawWatcher(server.port)
    assert watcher.subscribe(DEMO)["ok"]
    server.get("/begin", params={"id": DEMO})
    logged, live = len(server.log()), list[float]()
    ask = threading.Thread(
        target=_ask, args=(server, {"events": int(seconds * 50), "interval": 0.02, "end": 1})
    )
    with nullcontext() if kind == NONE else flood(kind, server.port):
        ask.start()
        late = sorted(_lateness(watcher, live, server))
    ask.join()
    watcher.close()
    live.sort()
    return {
        "p50": late[len(late) // 2],
        "p99": late[len(late) * 99 // 100],
        "most": late[-1],
        "live_p50": live[len(live) // 2],
        "live_p99": live[len(live) * 99 // 100],
        "log": len(server.log()) - logged,
        "memory": psutil.Process(server.pid).memory_info().rss,
    }


def _ask(server: Server, options: dict[str, Any]) -> None:
    with suppress(requests.RequestException):
        server.get("/tell", params={"id": DEMO, **options})


def _lateness(watcher: RawWatcher, live: list[float], server: Server) -> list[float]:
    """By how many milliseconds each event of a load is late, up to its end."""
    late: list[float] = []
    ended = threading.Event()

    def ask() -> None:
        while not ended.wait(0.05):
            began = time.monotonic()
            with suppress(requests.RequestException):
                server.get("/livez")
            live.append(1000 * (time.monotonic() - began))

    asking = threading.Thread(target=ask)
    asking.start()
    payload: dict[str, Any] = {"state": "loading"}
    while payload["state"] == "loading":
        try:
            name, payload = watcher.next_event()
        except TimeoutError:
            late.append(STALLED_MS)
            break
        if name == "model_load_progress" and payload["detail"]:
            late.append(1000 * (time.monotonic() - int(payload["detail"].split()[0]) / 1e9))
    ended.set()
    asking.join()
    return late


if __name__ == "__main__":
    main()
