"""The server with a teller in it, for tests and benchmark of the fan-out.

Start it with ``python -m tests.support.telling_server``.

GET /tell tells the events of made-up loads through the adapter and the emit of the real server: ``events`` of
progress per load, ``interval`` seconds apart, for ``loads`` loads or ``seconds`` seconds; with ``drain`` the
next event waits until no client's queue holds the one before; ``pad`` makes each larger by so many bytes.
With ``pages``, they go where those of real loads go: also to web processes, and with words to pages.
Answers what was told.
"""

from __future__ import annotations

import resource
import time
from typing import Any

from modelhub.server import serve, start  # patches first of all

# isort: split
from flask import jsonify, request

from modelhub.checkpoints import describe_step
from modelhub.errors import ModelhubError
from modelhub.progress.adapter import ProgressAdapter
from modelhub.web.current import registry_of
from tests.support.expecting import expecting

SIZE = 10**9
app = start()
socketio = app.extensions["socketio"]


class Teller:
    """Tells loads of one model; time stands still but for an eighth of a second before each event."""

    def __init__(self, model_id: str) -> None:
        self.model_id = model_id
        self.now = 0.0
        self.told: list[tuple[int, str, str, int | None]] = []
        self.loads = 0
        self.pad = ""
        self.for_pages = False
        self.adapter = ProgressAdapter(self._emit, clock=lambda: self.now)
        self.adapter.adopt(registry_of(app).epoch, ())  # web processes take no other

    def _emit(self, name: str, payload: dict[str, Any], rooms: list[str]) -> None:
        if self.for_pages:
            registry_of(app).adapter._emit(name, payload, rooms)
        else:
            socketio.emit(name, payload | ({"pad": self.pad} if self.pad else {}), to=rooms)
        self.told.append((payload["seq"], name, payload["load_id"], payload["step"]))

    def load(self, events: int, interval: float, deadline: float, drain: bool) -> None:
        """One load with ``events`` of progress in nine steps; ends completed or failed, in turns."""
        self.loads += 1
        load_id = f"load{self.loads}"
        self.adapter.queued(self.model_id, load_id, 1)
        self.adapter.started(self.model_id, load_id, *expecting(SIZE))
        waiting = [client.queue.queue for client in _clients()]
        began = time.monotonic()
        for number in range(events):
            step = 1 + 9 * number // events
            self.now += 0.125  # exact, and more than the shortest time between two events
            self.adapter.emit_progress(
                *(self.model_id, step, describe_step(step).message, number, SIZE, "bytes"),
                detail=str(time.monotonic_ns()),
            )
            late = began + (number + 1) * interval - time.monotonic()
            socketio.sleep(max(0.0, late))
            while drain and any(waiting):
                socketio.sleep(0.0005)
            if time.monotonic() > deadline:
                break
        if self.loads % 2:
            self.adapter.completed(self.model_id, {})
        else:
            self.adapter.failed(self.model_id, ModelhubError("internal"))


tellers: dict[str, Teller] = {}


@app.get("/tell")
def tell() -> Any:
    """Tell loads of the model ``id``; answers [seq, name, load, step] of each event, and what it cost."""
    model_id, events = request.args["id"], int(request.args["events"])
    teller = tellers.setdefault(model_id, Teller(model_id))
    teller.told.clear()
    teller.pad = "x" * int(request.args.get("pad", 0))
    teller.for_pages = "pages" in request.args
    interval = float(request.args.get("interval", 0))
    cpu, began = _cpu_s(), time.monotonic()
    deadline = began + float(request.args.get("seconds", "inf"))
    for _ in range(int(request.args.get("loads", 10**9))):
        teller.load(events, interval, deadline, "drain" in request.args)
        if time.monotonic() > deadline:
            break
    spent = {"cpu_s": _cpu_s() - cpu, "wall_s": time.monotonic() - began}
    return jsonify(told=teller.told, epoch=teller.adapter.epoch, **spent)


@app.get("/waiting")
def waiting() -> Any:
    """How many packets wait for each connected client."""
    return jsonify([client.queue.qsize() for client in _clients()])


def _clients() -> list[Any]:
    return [client for client in socketio.server.eio.sockets.values() if not client.closed]


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    serve(app)
