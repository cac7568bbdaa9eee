"""The log of one model: its latest full state and its recent events, for snapshots and replay."""

from __future__ import annotations

import threading
import time
from collections import deque

from modelhub.checkpoints import TOTAL_STEPS
from modelhub.payloads import Snapshot
from modelhub.progress.packing import Event, pack, unpack
from modelhub.progress.trace import Trace
from modelhub.states import EventName, State

_KEPT_EVENTS = 256
_UNPACKED_EVENTS = 3  # what clients that have read all but the end of a load still wait for


class ModelLog:
    """The events of one model in one run of the server; those of one load are numbered without a gap.

    The thread of the load appends; any number of threads wait in ``after``. Once a load has ended, ``pack``
    makes its events small; they are unpacked for who asks, not for the next load, which would wait for it.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.used_at = time.monotonic()
        self._events: deque[Event] = deque(maxlen=_KEPT_EVENTS)  # the newest, without a gap
        self._trace = Trace()
        self._packed: bytes | None = None  # earlier events, and the story of the load that they end with
        self._packed_load: str | None = None  # its id
        self._packed_seq = 0  # the number of the newest packed event
        self._appended = threading.Condition()

    @property
    def events(self) -> list[Event]:
        """The newest events."""
        if self._packed is None:
            return list(self._events)
        newer = [event for event in self._events if event.seq > self._packed_seq]
        return [*unpack(self._packed)[0], *newer][-_KEPT_EVENTS:]

    @property
    def trace(self) -> Trace:
        """The story of the latest load."""
        if self._packed is not None and self._trace.load_id is None:
            return unpack(self._packed)[1]
        return self._trace

    def append(self, name: EventName, payload: Snapshot) -> None:
        """Keep an event and wake the threads that wait for one."""
        with self._appended:
            if self._packed is not None and payload["load_id"] == self._packed_load:
                self._unpack()
            self.snapshot = payload
            self.used_at = time.monotonic()
            self._events.append(Event(payload["seq"], name, payload))
            if payload["load_id"] != self._trace.load_id:
                self._trace = Trace(payload["load_id"])
            self._trace.add(payload)
            self._appended.notify_all()

    def replace(self, payload: Snapshot) -> None:
        """Take an event that is the newest state and no part of any load's story: it is not kept."""
        with self._appended:
            self.snapshot = payload
            self.used_at = time.monotonic()
            self._appended.notify_all()

    def pack(self) -> None:
        """Make the events small; call it once a load has ended."""
        with self._appended:
            if self._packed is not None and self._packed_seq == self.snapshot["seq"]:
                return
            self._packed = pack(self.events, self._trace)
            self._packed_load, self._packed_seq = self._trace.load_id, self.snapshot["seq"]
            self._events = deque(list(self._events)[-_UNPACKED_EVENTS:], maxlen=_KEPT_EVENTS)
            self._trace = Trace()

    def packed(self) -> bytes:
        """The events and the story of the latest load, packed; ``restore`` has them read elsewhere."""
        with self._appended:
            has_newer = bool(self._events) and self._events[-1].seq > self._packed_seq
            if self._packed is not None and not has_newer:
                return self._packed
            return pack(self.events, self.trace)

    def restore(self, packed: bytes) -> None:
        """Take what ``packed`` has returned of another log, in place of one's own."""
        with self._appended:
            events, self._trace = unpack(packed)
            self._events, self._packed = deque(events, maxlen=_KEPT_EVENTS), None
            self._appended.notify_all()

    def forget_trace(self) -> None:
        """Leave out the story of the latest load."""
        with self._appended:
            self._unpack()
            self._trace = Trace()

    def after(self, seq: int, timeout_s: float) -> list[Event]:
        """The kept events after ``seq``; waits up to ``timeout_s`` seconds for one."""
        with self._appended:
            if self.snapshot["seq"] <= seq:
                self._appended.wait(timeout_s)
            is_complete = self._packed is None or (self._events and self._events[0].seq <= seq + 1)
            events = self._events if is_complete else self.events
            return [event for event in events if event.seq > seq]

    def _unpack(self) -> None:
        if self._packed is not None:
            self._events, self._trace = deque(self.events, maxlen=_KEPT_EVENTS), self.trace
            self._packed = self._packed_load = None


def absent(model_id: str, epoch: str, seq: int = 0) -> Snapshot:
    """The full state of a model that has never been loaded."""
    return {
        "id": model_id,
        "model_id": model_id,
        "load_id": None,
        "epoch": epoch,
        "seq": seq,
        "state": State.ABSENT,
        "queue_position": None,
        "error": None,
        "use": None,
        "node": None,
        "placement": None,
        "replicas": [],
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
        "stall_cause": None,
        "steps": [None] * TOTAL_STEPS,
    }
