"""What is known of one model: its latest full state and the recent events, for snapshots and replay."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any, NamedTuple

from modelhub.checkpoints import TOTAL_STEPS
from modelhub.progress.trace import Trace

_KEPT_EVENTS = 256
_NOT_KNOWN = (
    *("load_id", "step", "phase", "message", "percent", "done", "size", "unit", "rate", "detail"),
    *("progress", "elapsed", "eta", "eta_low", "eta_high", "stalled_for", "error"),
    *("queue_position", "shares"),
)


class Event(NamedTuple):
    """An event as it was sent: its number, its name and its payload."""

    seq: int
    name: str
    payload: dict[str, Any]


class ModelLog:
    """The events of one model in one run of the server, numbered without a gap."""

    def __init__(self, model_id: str, epoch: str) -> None:
        self.snapshot: dict[str, Any] = absent(model_id, epoch)
        self.events: deque[Event] = deque(maxlen=_KEPT_EVENTS)
        self.trace = Trace()  # of the latest load
        self._news = threading.Condition()

    def append(self, name: str, payload: dict[str, Any]) -> None:
        """Keep an event and wake whoever waits for it."""
        with self._news:
            self.snapshot = payload
            self.events.append(Event(payload["seq"], name, payload))
            if payload["load_id"] != self.trace.load_id:
                self.trace = Trace(payload["load_id"])
            self.trace.add(payload)
            self._news.notify_all()

    def after(self, seq: int, timeout_s: float) -> list[Event]:
        """The kept events behind ``seq``, waiting up to ``timeout_s`` seconds for one."""
        with self._news:
            if self.snapshot["seq"] <= seq:
                self._news.wait(timeout_s)
            return [event for event in self.events if event.seq > seq]


def absent(model_id: str, epoch: str) -> dict[str, Any]:
    """The full state of a model that nothing was done with yet."""
    unknown = dict.fromkeys(_NOT_KNOWN)
    known = {"id": model_id, "model_id": model_id, "epoch": epoch, "seq": 0, "state": "absent"}
    return {**known, **unknown, "total": TOTAL_STEPS, "steps": [None] * TOTAL_STEPS}
