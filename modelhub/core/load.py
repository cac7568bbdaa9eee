"""A load in this run of the server, and the queue that decides which loads may run."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, field

from modelhub.errors import ModelhubError
from modelhub.payloads import LoadResource, LoadRow, Snapshot
from modelhub.states import State
from modelhub.workers.worker import Worker

MAX_WAITING = 100
_RECORDED_AT_THE_END = (
    *("bytes", "memory", "device", "dtype", "source", "revision", "architecture", "parameters"),
    *("error", "steps"),
)


@dataclass(slots=True, eq=False)
class Load:
    """One load. Only its own green thread reports its progress; ``core.lifecycle`` alone changes its state.

    The events are set once and stay set, but for ``wakeup``, which its thread waits for in the queue.
    """

    row: LoadRow  # as the journal has it
    force: bool = False
    state: State = State.QUEUED
    may_run: bool = False
    wakeup: threading.Event = field(default_factory=threading.Event)
    announced: threading.Event = field(default_factory=threading.Event)  # its first event was emitted
    ended: threading.Event = field(default_factory=threading.Event)  # its terminal event was emitted
    process_exited: threading.Event = field(default_factory=threading.Event)
    worker: Worker | None = None
    reserved_bytes: int = 0
    cancelled_by: str | None = None
    unloaded_by: str | None = None
    memory_before: int | None = None
    receipt: Snapshot | None = None
    ready_at: float | None = None  # on the monotonic clock

    @property
    def load_id(self) -> str:
        """The id of the load in REST, events and journal."""
        return self.row["load_id"]

    @property
    def model_id(self) -> str:
        """The model that it loads."""
        return self.row["model_id"]


def end_values(payload: Snapshot) -> dict[str, object]:
    """What the journal keeps of the terminal event of a load, by column."""
    values: dict[str, object] = {name: payload.get(name) for name in _RECORDED_AT_THE_END}
    return {**values, "state": payload["state"], "ended_at": time.time(), "seconds": payload["elapsed"]}


def load_resource(row: LoadRow, snapshot: Snapshot) -> LoadResource:
    """A load as REST returns it; ``snapshot`` is that of its model, which may be about a later load."""
    return {**row, "snapshot": snapshot if snapshot["load_id"] == row["load_id"] else None}


class LoadQueue:
    """First come, first served, ``slots`` at once; the caller holds the lock of the lifecycle."""

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
        """A load that was allowed to run gives its slot to the next."""
        if load.may_run:
            load.may_run = False
            self._slots += 1
        self._grant()

    def position(self, load: Load) -> int | None:
        """1 for the next to run; None for one that does not wait."""
        return self._waiting.index(load) + 1 if load in self._waiting else None

    def _grant(self) -> None:
        while self._slots > 0 and self._waiting:
            load = self._waiting.popleft()
            self._slots -= 1
            load.may_run = True
            load.wakeup.set()
        self._wake_all()

    def _wake_all(self) -> None:
        for load in self._waiting:
            load.wakeup.set()
