"""The loads of this run of the server: the latest of each model, the queue, and the lock that guards them."""

from __future__ import annotations

import threading

from modelhub.core.load import Load, LoadQueue
from modelhub.states import State


class Loads:
    """What the lifecycle and the threads of the loads share; ``slots`` loads may run at once."""

    def __init__(self, slots: int) -> None:
        self.lock = threading.RLock()  # guards what follows, and the state of every load
        self.latest: dict[str, Load] = {}  # model id -> its latest load in this run
        self.queue = LoadQueue(slots)
        self.is_closing = False  # the server ends: nothing new starts, what runs is interrupted

    def all(self) -> list[Load]:
        """The latest load of each model, as of now."""
        return list(self.latest.values())

    def find(self, load_id: str) -> Load | None:
        """A load of this run that is the latest of its model."""
        return next((load for load in self.all() if load.load_id == load_id), None)

    def is_loading(self) -> bool:
        """Whether a load runs."""
        return any(load.state == State.LOADING for load in self.all())

    def release(self, load: Load) -> None:
        """A load gives its slot to the next in the queue."""
        with self.lock:
            self.queue.release(load)
