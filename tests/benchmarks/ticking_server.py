"""The server with a ticker in it: ``python -m tests.benchmarks.ticking_server FILE`` (started by server.py).

A green thread that sleeps 10 ms again and again notes by how much each wake-up is late. That lateness is what
every other green thread of the server waits too. GET /lateness answers what it has noted since the last time,
without what it waited for a core that other programs had.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from modelhub.server import serve, start  # patches first of all

# isort: split
from flask import jsonify

TICK_S = 0.01


def main() -> None:
    """Serve until asked to end; then write the lateness of every tick, in seconds, to the file."""
    lateness: list[float] = []
    own: list[float] = []
    app = start()
    socketio = app.extensions["socketio"]

    def tick() -> None:
        while True:
            before, waited_s = time.perf_counter(), _waited_for_a_core_s()
            socketio.sleep(TICK_S)
            lateness.append(time.perf_counter() - before - TICK_S)
            own.append(lateness[-1] - (_waited_for_a_core_s() - waited_s))

    @app.get("/lateness")
    def newest() -> Any:
        """The lateness of the ticks since the last time, as far as it is the server's own."""
        taken, own[:] = list(own), []
        return jsonify(taken)

    socketio.start_background_task(tick)
    try:
        serve(app)
    finally:
        Path(sys.argv[1]).write_text(json.dumps(lateness))


def _waited_for_a_core_s() -> float:
    """How long this process could have run and did not, since it began."""
    return int(Path("/proc/self/schedstat").read_text().split()[1]) / 1e9


main()
