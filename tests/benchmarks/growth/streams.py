"""Server-sent events to 1,000 readers, beside the fan-out of Socket.IO: processor time of the server."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.benchmarks.growth import Row
from tests.support.server import ROOT, Server

READERS = 1000
EVENTS = 40
ROUNDS = 3
MODEL = "demo/random-0.1gb"


def measure() -> list[Row]:
    """The same events to as many clients of each kind, in turns."""
    spent: dict[str, list[float]] = {"watchers": [], "readers": []}
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder))
        server.command = ["-m", "tests.support.streaming_server"]
        server.start().wait_warm()
        for _ in range(ROUNDS):
            for kind, results in spent.items():
                results.append(1e6 * _cpu_s(server, kind) / (READERS * EVENTS))
        server.get("/livez")
        server.stop()
    sockets, streams = (statistics.median(results) for results in spent.values())
    name = f"{READERS:,} clients, processor time a client and event"
    return [
        Row(f"{name}: Socket.IO fan-out", sockets, "us"),
        Row(f"{name}: server-sent events", streams, "us", 2 * sockets),
    ]


def _cpu_s(server: Server, kind: str) -> float:
    """What the server took for the events of one load, all of which arrive."""
    load_id = server.get(f"/begin?id={MODEL}").json()["load_id"]
    crowd = _Crowd(kind, [str(server.port), load_id if kind == "readers" else MODEL, str(READERS)])
    told: dict[str, float] = server.get(f"/tell?id={MODEL}&events={EVENTS}&interval=0.1").json()
    time.sleep(0.5)
    received = crowd.report()
    server.get(f"/tell?id={MODEL}&events=0&end=1")
    crowd.close()
    assert min(received) >= EVENTS - 1, f"{min(received)} of {EVENTS} events arrived"
    return told["cpu_s"]


class _Crowd:
    """The process of all clients of one kind."""

    def __init__(self, kind: str, arguments: list[str]) -> None:
        more = ["False"] if kind == "watchers" else []  # without compression
        command = [sys.executable, "-m", f"tests.benchmarks.{kind}", *arguments, *more]
        self._kind = kind
        self._process: Any = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout.readline() == "ready\n"
        self.report()

    def report(self) -> list[int]:
        """How many events each client has received since the last report."""
        self._process.stdin.write("report\n")
        self._process.stdin.flush()
        report = json.loads(self._process.stdout.readline())
        return [len(seqs) for seqs in report["seqs"]] if self._kind == "watchers" else list(report)

    def close(self) -> None:
        """End the process."""
        self._process.stdin.close()
        self._process.wait(30)
