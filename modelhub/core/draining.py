"""Draining a node: its loads may end, its models leave once nobody uses them, and then it leaves itself."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable

from modelhub.core.load import Load
from modelhub.core.loads import Loads
from modelhub.core.replicas import Replicas
from modelhub.core.unloading import DRAIN_OF, Unloading, is_unused
from modelhub.errors import ModelhubError
from modelhub.states import ACTIVE, State
from modelhub.workers.machine import Machine, Machines

log = logging.getLogger(__name__)
PATIENCE_S = 300.0  # then loads are cancelled, and requests end with their models
_LOOK_S = 0.1


class Draining:
    """For ``core.lifecycle``, whose ``cancel(load_id, by)`` ends loads that take too long."""

    def __init__(
        self,
        loads: Loads,
        machines: Machines,
        unloading: Unloading,
        replicas: Replicas,
        cancel: Callable[[str, str], object],
        spawn: Callable[..., object],
    ) -> None:
        self._loads = loads
        self._machines = machines
        self._unloading = unloading
        self._replicas = replicas
        self._cancel = cancel
        self._spawn = spawn
        self._under_way: set[Machine] = set()

    def begin(self, name: str, by: str) -> Machine:
        """Give a node no new loads, and empty it meanwhile; raises as ``Machines.drain``."""
        machine = self._machines.drain(name)
        with self._loads.lock:
            is_new = machine not in self._under_way
            self._under_way.add(machine)
        if is_new:
            log.info("Node %s is drained (by %s): it gets no new loads.", name, by)
            self._spawn(self._empty, machine, name)
        return machine

    def _empty(self, machine: Machine, name: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while machine.is_there and not self._loads.is_closing and (left := self._left_on(machine)):
            is_overdue = time.monotonic() > deadline
            for load in left:
                self._end(load, f"{DRAIN_OF}{name}", is_overdue)
            time.sleep(_LOOK_S)
        with self._loads.lock:
            self._under_way.discard(machine)
        if machine.is_there and not self._loads.is_closing:
            machine.kept.let_go()
            self._machines.remove(name)
            log.info("Node %s was drained, and leaves.", name)

    def _left_on(self, machine: Machine) -> list[Load]:
        return [load for load in self._loads.on(machine) if not load.process_exited.is_set()]

    def _end(self, load: Load, by: str, is_overdue: bool) -> None:
        may_leave = _is_ready if is_overdue else is_unused
        if load.of is not None and load.state in ACTIVE:
            self._loads.end_replica(load, by)
        elif load.state == State.READY and self._replicas.leave(load, by, is_overdue):
            return  # another copy goes on
        elif may_leave(load):
            self._unloading.unload(load.first, by, only_if=may_leave)
        elif is_overdue:
            with contextlib.suppress(ModelhubError):  # it has just ended
                self._cancel(load.load_id, by)


def _is_ready(load: Load) -> bool:
    return load.state == State.READY
