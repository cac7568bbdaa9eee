"""The loads of this run of the server: the latest of each model, the queue, and the lock that guards them."""

from __future__ import annotations

import threading

from modelhub.core.load import Load
from modelhub.core.load_queue import LoadQueue
from modelhub.states import State
from modelhub.workers.machine import Machine, Machines

_PATIENT = ("preload", "resume")  # of these nobody would see that there is no machine


class Loads:
    """What the lifecycle and the threads of the loads share."""

    def __init__(self, machines: Machines) -> None:
        self.lock = threading.RLock()  # guards what follows, and the state of every load
        self.latest: dict[str, Load] = {}  # model id -> its latest load in this run
        self.queue = LoadQueue(machines, self._may_wait)
        self.is_closing = False  # the server ends: nothing new starts, what runs is interrupted
        self.is_assembling = True  # the server has just begun, and its machines come: loads wait for them

    def all(self) -> list[Load]:
        """The latest load of each model, as of now."""
        return list(self.latest.values())

    def on(self, machine: Machine | None) -> list[Load]:
        """Those of one machine, replicas too."""
        return [copy for load in self.all() for copy in load.copies if copy.machine is machine]

    def find(self, load_id: str) -> Load | None:
        """A load of this run that is the latest of its model."""
        return next((load for load in self.all() if load.load_id == load_id), None)

    def is_loading(self, machine: Machine) -> bool:
        """Whether a load runs on a machine."""
        return any(load.state == State.LOADING for load in self.on(machine))

    def end_replica(self, replica: Load, by: str) -> None:
        """Have a replica leave: it gets no more requests, and its process is killed."""
        with self.lock:
            replica.unloaded_by = replica.unloaded_by or by
            if replica.state == State.READY:
                replica.state = State.UNLOADING
            self.queue.leave(replica)
            worker = replica.worker
        replica.wakeup.set()
        if worker is not None:
            worker.kill()

    def release(self, load: Load) -> None:
        """A load gives its slot to the next in the queue."""
        with self.lock:
            self.queue.release(load)

    def grant(self) -> None:
        """A machine has come or gone: those that wait may run."""
        with self.lock:
            self.queue.grant()

    def _may_wait(self, load: Load) -> bool:
        return self.is_assembling or load.row["by"] in _PATIENT
