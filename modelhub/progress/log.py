"""The log of one model: its latest full state and its recent events, for snapshots and replay."""

from __future__ import annotations

import threading
from collections import deque
from typing import NamedTuple

from modelhub.checkpoints import TOTAL_STEPS
from modelhub.payloads import Snapshot
from modelhub.progress.trace import Trace
from modelhub.states import EventName, State

_KEPT_EVENTS = 256


class Event(NamedTuple):
    """An event as it was sent: its number, its name and its payload."""

    seq: int
    name: EventName
    payload: Snapshot


class ModelLog:
    """The events of one model in one run of the server, numbered without a gap.

    The thread of the load appends; any number of threads wait in ``after``.
    """

    def __init__(self, model_id: str, epoch: str) -> None:
        self.snapshot: Snapshot = absent(model_id, epoch)
        self.events: deque[Event] = deque(maxlen=_KEPT_EVENTS)
        self.trace = Trace()  # of the latest load
        self._appended = threading.Condition()

    def append(self, name: EventName, payload: Snapshot) -> None:
        """Keep an event and wake the threads that wait for one."""
        with self._appended:
            self.snapshot = payload
            self.events.append(Event(payload["seq"], name, payload))
            if payload["load_id"] != self.trace.load_id:
                self.trace = Trace(payload["load_id"])
            self.trace.add(payload)
            self._appended.notify_all()

    def after(self, seq: int, timeout_s: float) -> list[Event]:
        """The kept events after ``seq``; waits up to ``timeout_s`` seconds for one."""
        with self._appended:
            if self.snapshot["seq"] <= seq:
                self._appended.wait(timeout_s)
            return [event for event in self.events if event.seq > seq]


def absent(model_id: str, epoch: str) -> Snapshot:
    """The full state of a model that has never been loaded."""
    return {
        "id": model_id,
        "model_id": model_id,
        "load_id": None,
        "epoch": epoch,
        "seq": 0,
        "state": State.ABSENT,
        "queue_position": None,
        "error": None,
        "step": None,
        "total": TOTAL_STEPS,
        "phase": None,
        "message": None,
        "percent": None,
        "done": None,
        "size": None,
        "unit": None,
        "rate": None,
        "detail": None,
        "progress": None,
        "shares": None,
        "elapsed": None,
        "eta": None,
        "eta_low": None,
        "eta_high": None,
        "stalled_for": None,
        "steps": [None] * TOTAL_STEPS,
    }
