"""The server with made-up loads in its own log, for tests and the benchmark of its streams.

Start it with ``python -m tests.support.streaming_server``. GET /begin begins a load of the model ``id`` and
answers its load_id. GET /tell reports ``events`` of progress of it, ``interval`` seconds apart, each with
``pad`` bytes more, ends it with ``end``, and answers what that cost.
"""

from __future__ import annotations

import resource
import time
from typing import Any

from modelhub.server import serve, start  # patches first of all

# isort: split
from flask import jsonify, request

from modelhub.checkpoints import LoadSpec, describe_step
from modelhub.core.load import Load
from modelhub.web.current import registry_of
from tests.support.expecting import expecting

SIZE = 10**9
app = start()
registry = registry_of(app)
clock = [0.0]  # it stands still but for an eighth of a second before each event
registry.adapter._clock = lambda: clock[0]
loads: dict[str, str] = {}


@app.get("/begin")
def begin() -> Any:
    """Begin a load."""
    model_id = request.args["id"]
    load = Load(LoadSpec(model_id, models_dir="", demo_dir=""), "rest")
    registry.journal.add(load.row)
    loads[model_id] = load.load_id
    registry.adapter.started(model_id, load.load_id, *expecting(SIZE))
    return jsonify(load_id=load.load_id)


@app.get("/tell")
def tell() -> Any:
    """Report progress; the processor time and the time that it took."""
    model_id, events = request.args["id"], int(request.args["events"])
    interval, pad = float(request.args.get("interval", 0)), "x" * int(request.args.get("pad", 0))
    cpu, began = _cpu_s(), time.monotonic()
    for number in range(events):
        step = 1 + 9 * number // events
        clock[0] += 0.125
        message = describe_step(step).message
        detail = f"{time.monotonic_ns()} {pad}".strip()
        registry.adapter.emit_progress(model_id, step, message, number, SIZE, "bytes", detail)
        time.sleep(max(0.0, began + (number + 1) * interval - time.monotonic()))
    if "end" in request.args:
        registry.adapter.cancelled(model_id, "rest")
    time.sleep(0.2)
    return jsonify(cpu_s=_cpu_s() - cpu, wall_s=time.monotonic() - began)


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    serve(app)
