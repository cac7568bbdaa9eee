"""Models that nobody uses leave memory: to make room for a load, or once they were idle for long."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

from modelhub import units
from modelhub.core.load import Load
from modelhub.core.loads import Loads
from modelhub.core.unloading import (
    IDLE_FOR,
    JUST_READY_S,
    KEEP_ALIVE,
    ROOM_FOR,
    Unloading,
    is_idle,
    is_unused,
)
from modelhub.states import State
from modelhub.workers.machine import Machine

WAITING_FOR = "waiting for "  # and the ids of the models in use
_AGAIN_S = 1.0  # how often a model that a request has claimed is looked at again


class Eviction:
    """Which models leave without a request. One that is in use or loads never does, and for a load none that
    has just become ready, or is on another machine.

    ``makes_room`` is whether idle models leave for a load that does not fit; after ``idle_seconds`` without
    use any model leaves, never where that is 0, or when the last client that said so wants it to.
    """

    def __init__(self, loads: Loads, unloading: Unloading, makes_room: bool, idle_seconds: float) -> None:
        self._loads = loads
        self._unloading = unloading
        self._makes_room = makes_room
        self._idle_s = idle_seconds or math.inf

    def make_room(self, load: Load, lack: Callable[[], int], wait: Callable[[str], None]) -> None:
        """Have idle models leave until a load fits: ``lack`` is how many bytes it still lacks.

        No more leave than are needed, and none where that would not be enough. A load that requests wait for
        waits for models that are in use, where those would be enough: ``wait`` tells which, for a moment.
        """
        while self._makes_room and (lacking := lack()) > 0 and load.cancelled_by is None:
            idle = self._idle(load.machine)
            if _held(idle) >= lacking:
                for other in choose(idle, lacking):
                    self._leave(other, load)
                continue
            used = [
                one for one in self._loads.on(load.machine) if one.state == State.READY and one not in idle
            ]
            if not load.use.is_awaited or _held([*idle, *used]) < lacking:
                return
            load.has_waited = True
            wait(WAITING_FOR + ", ".join(one.model_id for one in used))

    def make_room_after(self, load: Load) -> list[str]:
        """Memory ran out in a load: have idle models leave that hold as much as it needs, or all of them.

        Returns those that have left.
        """
        idle = self._idle(load.machine) if self._makes_room and load.cancelled_by is None else []
        chosen = choose(idle, max(1, load.reserved_bytes))
        return [other.model_id for other in chosen if self._leave(other, load)]

    def watch(self, load: Load) -> None:
        """Have a ready model leave once it was idle for long; for a thread of its own."""
        use = load.use
        while not load.process_exited.is_set():
            use.changed.clear()
            due_s = self._due_s(load)
            if due_s is not None and due_s <= 0:
                self._unloading.unload(load, self._why(load), only_if=is_unused)
            else:
                use.changed.wait(_AGAIN_S if due_s is None and use.is_awaited else due_s)

    def stays_s(self, load: Load) -> float | None:
        """How long a ready model stays in memory from the moment on when its use ended; None for ever.

        One that was not used yet does not leave before it is looked at.
        """
        keep_s = self._idle_s if load.use.keep_s is None else load.use.keep_s
        if math.isinf(keep_s):
            return None
        return keep_s if load.use.used_at is not None else max(keep_s, JUST_READY_S)

    def _due_s(self, load: Load) -> float | None:
        """How long until the model is to leave, in seconds; None while it is in use, or where it stays."""
        stays_s = self.stays_s(load)
        if stays_s is None or not is_unused(load):
            return None
        return max(0.0, _last_use(load) + stays_s - time.monotonic())

    def _why(self, load: Load) -> str:
        if load.use.keep_s is None:
            return f"{IDLE_FOR}{units.round_duration(self._idle_s)}"
        return f"{KEEP_ALIVE}{units.round_duration(load.use.keep_s)}"

    def _idle(self, machine: Machine | None) -> list[Load]:
        """The models that may leave a machine, the least recently used one first."""
        return sorted(filter(is_idle, self._loads.on(machine)), key=_last_use)

    def _leave(self, other: Load, load: Load) -> bool:
        """Have a model leave for a load, if it is still idle; whether it has."""
        first = other.first  # all copies of a model leave together
        self._unloading.unload(first, f"{ROOM_FOR}{load.model_id}", at_once=True, only_if=is_idle)
        return first.state != State.READY


def choose(idle: Sequence[Load], lacking: int) -> list[Load]:
    """The first models that together hold ``lacking`` bytes, or all; without those not needed for that."""
    chosen: list[Load] = []
    for load in idle:
        if _held(chosen) >= lacking:
            break
        chosen.append(load)
    for load in chosen[::-1]:
        if _held(chosen) - load.held_bytes >= lacking:
            chosen.remove(load)
    return chosen


def _held(loads: Sequence[Load]) -> int:
    return sum(load.held_bytes for load in loads)


def _last_use(load: Load) -> float:
    return load.use.used_at or load.ready_at or 0.0
