"""The rooms of dashboards where there are many models: once a second the newest state of each changed one.

With a thousand models of which fifty load, ten events a second of each are more than a page can show or a
person can read. Each event is the full state of its model, so that what is left out is in the next one.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from flask_socketio import SocketIO

from modelhub.payloads import Snapshot
from modelhub.states import EventName

log = logging.getLogger(__name__)
MANY = 200  # models: beyond, events wait
PERIOD_S = 1.0
_KEPT = (EventName.COMPLETED, EventName.FAILED, EventName.CANCELLED, EventName.UNLOADED)
Send = Callable[[EventName, Snapshot], None]


class Paced:
    """``send`` sends an event that has waited; ``count`` is how many models are listed, asked once a second.

    Events that end something are sent though there is a newer one, for those that wait for them by name.
    """

    def __init__(self, socketio: SocketIO, send: Send, count: Callable[[], int]) -> None:
        self._socketio = socketio
        self._send = send
        self._count = count
        self._lock = threading.Lock()
        self._waiting: dict[str, list[tuple[EventName, Snapshot]]] = {}
        self._sent_at = float("-inf")
        self._looked_at = float("-inf")
        self._has_many = False
        self._has_ended = False
        self._is_due = False

    @property
    def period_s(self) -> float:
        """How far apart two events of a model are; 0 where each is sent at once."""
        now = time.monotonic()
        if now - self._looked_at >= PERIOD_S:
            self._looked_at, self._has_many = now, self._count() > MANY
        return PERIOD_S if self._has_many and not self._has_ended else 0.0

    def hold(self, name: EventName, payload: Snapshot) -> bool:
        """Whether an event is sent later; else it is to be sent now."""
        with self._lock:
            waiting = self._waiting.get(payload["id"])
            if waiting is None and not self.period_s:
                return False
            kept = [event for event in waiting or () if event[0] in _KEPT]
            self._waiting[payload["id"]] = [*kept, (name, payload)]
            if not self._is_due:
                self._is_due = True
                self._socketio.start_background_task(self._flush)
        return True

    def end(self) -> None:
        """The server is about to end: send what waits, and from now on each event at once."""
        self._has_ended = True
        self._send_all()

    def _flush(self) -> None:
        self._socketio.sleep(max(0.0, self._sent_at + PERIOD_S - time.monotonic()))
        self._send_all()

    def _send_all(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, {}
            self._is_due, self._sent_at = False, time.monotonic()
        for name, payload in (event for events in waiting.values() for event in events):
            try:
                self._send(name, payload)
            except Exception as error:  # the others are sent all the same
                log.warning("%s of %s could not be emitted: %s", name, payload["id"], error)
            self._socketio.sleep(0)  # what else the server has to do comes in between
