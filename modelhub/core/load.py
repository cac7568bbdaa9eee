"""Which loads may run: a FIFO of those that wait, and how many run at once."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from modelhub.errors import ModelhubError
from modelhub.workers.worker import Worker

MAX_WAITING = 100
ACTIVE = ("queued", "loading")


@dataclass(slots=True, eq=False)
class Load:
    """One load in this run of the server. Only its own green thread tells its events."""

    load_id: str
    model_id: str
    by: str
    force: bool
    state: str = "queued"
    row: dict[str, Any] = field(default_factory=dict)  # as the journal has it
    turn: bool = False
    wake: threading.Event = field(default_factory=threading.Event)
    told: threading.Event = field(default_factory=threading.Event)  # its first event was told
    ended: threading.Event = field(default_factory=threading.Event)  # its terminal event was told
    gone: threading.Event = field(default_factory=threading.Event)  # its process is gone
    worker: Worker | None = None
    reserved_bytes: int = 0
    cancelled_by: str | None = None
    unloaded_by: str | None = None
    memory_before: int | None = None
    receipt: dict[str, Any] | None = None


class LoadQueue:
    """First come, first served; the hub calls it under its own lock."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._waiting: deque[Load] = deque()

    def join(self, load: Load) -> None:
        """Take a place; raises ModelhubError ``queue_full``."""
        if len(self._waiting) >= MAX_WAITING:
            raise ModelhubError("queue_full", waiting=len(self._waiting))
        self._waiting.append(load)
        self._grant()

    def leave(self, load: Load) -> None:
        """A load that waits no longer waits."""
        if load in self._waiting:
            self._waiting.remove(load)
            self._wake_all()

    def release(self, load: Load) -> None:
        """A load that had its turn gives the slot to the next."""
        if load.turn:
            load.turn = False
            self._slots += 1
        self._grant()

    def position(self, load: Load) -> int | None:
        """1 for the next to run; None for one that does not wait."""
        return self._waiting.index(load) + 1 if load in self._waiting else None

    def _grant(self) -> None:
        while self._slots > 0 and self._waiting:
            load = self._waiting.popleft()
            self._slots -= 1
            load.turn = True
            load.wake.set()
        self._wake_all()

    def _wake_all(self) -> None:
        for load in self._waiting:
            load.wake.set()
