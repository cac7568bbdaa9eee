"""The server with a ticker in it: ``python -m tests.benchmarks.ticking_server FILE`` (started by server.py).

A green thread that sleeps 10 ms again and again notes by how much each wake-up is late. That lateness is what
every other green thread of the server waits too. GET /lateness answers what it has noted, and begins anew.
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
    app = start()
    socketio = app.extensions["socketio"]

    def tick() -> None:
        while True:
            before = time.perf_counter()
            socketio.sleep(TICK_S)
            lateness.append(time.perf_counter() - before - TICK_S)

    @app.get("/lateness")
    def newest() -> Any:
        """The lateness of the ticks since the last time it was asked for."""
        taken, lateness[:] = list(lateness), []
        return jsonify(taken)

    socketio.start_background_task(tick)
    try:
        serve(app)
    finally:
        Path(sys.argv[1]).write_text(json.dumps(lateness))


main()
