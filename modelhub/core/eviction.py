"""Models that nobody uses leave memory: to make room for a load, or once they were idle for long."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from modelhub.core.load import Load
from modelhub.core.loads import Loads
from modelhub.core.unloading import IDLE, JUST_READY_S, ROOM_FOR, Unloading, is_idle
from modelhub.states import State

_AGAIN_S = 1.0  # how often a model that is in use is looked at again


class Eviction:
    """Which models leave without a request. A model that predicts, loads or has just become ready never does.

    ``makes_room`` is whether idle models leave for a load that does not fit; after ``idle_seconds`` without a
    prediction any model leaves, never where that is 0.
    """

    def __init__(self, loads: Loads, unloading: Unloading, makes_room: bool, idle_seconds: float) -> None:
        self._loads = loads
        self._unloading = unloading
        self._makes_room = makes_room
        self._idle_s = idle_seconds

    def make_room(self, load: Load, lack: Callable[[], int]) -> None:
        """Have idle models leave until a load fits: ``lack`` is how many bytes it still lacks.

        No more leave than are needed, and none where that would not be enough.
        """
        while self._makes_room and (lacking := lack()) > 0 and load.cancelled_by is None:
            idle = self._idle()
            if sum(map(_held, idle)) < lacking:
                return
            for other in choose(idle, lacking):
                self._leave(other, load)

    def make_room_after(self, load: Load) -> list[str]:
        """Memory ran out in a load: have idle models leave that hold as much as it needs, or all of them.

        Returns those that have left.
        """
        idle = self._idle() if self._makes_room and load.cancelled_by is None else []
        chosen = choose(idle, max(1, load.reserved_bytes))
        return [other.model_id for other in chosen if self._leave(other, load)]

    def watch(self, load: Load) -> None:
        """Have a ready model leave once it was idle for long; for a thread of its own."""
        while self._idle_s and not load.process_exited.wait(self._due_s(load)):
            if self._due_s(load) <= 0:
                self._unloading.unload(load, IDLE, only_idle=True)

    def _idle(self) -> list[Load]:
        """The models that may leave, the least recently used one first."""
        return sorted(filter(is_idle, self._loads.all()), key=_last_use)

    def _leave(self, other: Load, load: Load) -> bool:
        """Have a model leave for a load, if it is still idle; whether it has."""
        self._unloading.unload(other, f"{ROOM_FOR}{load.model_id}", at_once=True, only_idle=True)
        return other.state != State.READY

    def _due_s(self, load: Load) -> float:
        """How long until the model may leave, in seconds."""
        if load.worker is not None and load.worker.is_busy:
            return _AGAIN_S
        due_at = max(_last_use(load) + self._idle_s, (load.ready_at or 0.0) + JUST_READY_S)
        return max(0.0, due_at - time.monotonic())


def choose(idle: Sequence[Load], lacking: int) -> list[Load]:
    """The first models that together hold ``lacking`` bytes, or all; without those not needed for that."""
    chosen: list[Load] = []
    for load in idle:
        if sum(map(_held, chosen)) >= lacking:
            break
        chosen.append(load)
    for load in chosen[::-1]:
        if sum(map(_held, chosen)) - _held(load) >= lacking:
            chosen.remove(load)
    return chosen


def _held(load: Load) -> int:
    """What a ready model holds, in bytes."""
    return load.row["memory"] or load.reserved_bytes


def _last_use(load: Load) -> float:
    return load.used_at or load.ready_at or 0.0
