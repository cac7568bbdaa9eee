"""The server with made-up loads in its log, for paced.py: ``python -m tests.benchmarks.many_loads_server``.

GET /tell reports progress of ``loads`` loads for ``seconds`` seconds, each ``rate`` times a second (0: as
often as it goes), ``paced`` or not, and answers the events and the processor time that it took.
"""

from __future__ import annotations

import resource
import time
from typing import Any

from modelhub.server import serve, start  # patches first of all

# isort: split
from flask import jsonify, request

from modelhub.checkpoints import describe_step
from modelhub.web import paced
from modelhub.web.current import registry_of
from tests.support.expecting import expecting

SIZE, MANY = 10**9, paced.MANY
app = start()
socketio = app.extensions["socketio"]
adapter = registry_of(app).adapter


@app.get("/tell")
def tell() -> Any:
    """Tell of the loads."""
    loads, seconds = int(request.args["loads"]), float(request.args["seconds"])
    rate = float(request.args["rate"])
    paced.MANY = MANY if request.args["paced"] == "1" else 10**9
    time.sleep(1.5)  # it looks once a second
    ids = [f"org/model-{number:04}" for number in range(loads)]
    skew = [0.0]
    adapter._clock = lambda: time.monotonic() + skew[0]
    for model_id in ids:
        adapter.started(model_id, f"load-{model_id}-{time.monotonic_ns()}", *expecting(SIZE))
    before, cpu, began = sum(adapter.snapshot(one)["seq"] for one in ids), _cpu_s(), time.monotonic()
    turn = 0
    while time.monotonic() - began < seconds:
        turn += 1
        skew[0] += 0.0 if rate else 0.125  # no event is held back
        for model_id in ids:
            adapter.emit_progress(
                model_id, 5, describe_step(5).message, 1000 * turn, SIZE, "bytes", "x.safetensors"
            )
            socketio.sleep(0)
        if rate:
            socketio.sleep(max(0.0, began + turn / rate - time.monotonic()))
    spent = {"cpu_s": _cpu_s() - cpu, "wall_s": time.monotonic() - began}
    events = sum(adapter.snapshot(one)["seq"] for one in ids) - before
    for model_id in ids:
        adapter.cancelled(model_id, "rest")
    return jsonify(events=events, **spent)


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    serve(app)
