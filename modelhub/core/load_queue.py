"""The queue that decides which loads may run, and on which machine."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable

from modelhub.core.load import Load
from modelhub.errors import ModelhubError
from modelhub.workers.machine import Machines

MAX_WAITING = 100


class LoadQueue:
    """First come, first served, as many at once as the machines have slots; the caller holds the lock of the
    lifecycle.

    A load whose turn has come has its ``machine``, or none where no machine takes it: then its thread says
    so. Before its first attempt, it may be one that ``may_wait`` for a machine to come.
    """

    def __init__(self, machines: Machines, may_wait: Callable[[Load], bool] = lambda load: False) -> None:
        self._machines = machines
        self._may_wait = may_wait
        self._waiting: deque[Load] = deque()
        self._running: list[Load] = []

    def join(self, load: Load) -> None:
        """Take a place; raises ModelhubError ``queue_full``."""
        if len(self._waiting) >= MAX_WAITING:
            raise ModelhubError("queue_full", waiting=len(self._waiting))
        self._waiting.append(load)
        self.grant()

    def join_again(self, load: Load) -> None:
        """A load that ran leaves its machine, and is the next to run on one that it has not tried."""
        self._running.remove(load)
        load.machine, load.may_run = None, False
        self._waiting.appendleft(load)
        self.grant()

    def leave(self, load: Load) -> None:
        """A load that waits no longer waits."""
        if load in self._waiting:
            self._waiting.remove(load)
            self._wake_all()

    def release(self, load: Load) -> None:
        """A load that was allowed to run gives its slot to the next."""
        if load.may_run:
            load.may_run = False
            self._running.remove(load)
        self.grant()

    def position(self, load: Load) -> int | None:
        """1 for the next to run; None for one that does not wait."""
        return self._waiting.index(load) + 1 if load in self._waiting else None

    def running(self) -> Counter[str | None]:
        """How many loads have a slot, by the name of the machine."""
        return Counter(load.machine.name for load in self._running if load.machine is not None)

    def grant(self) -> None:
        """Give free slots to those that wait: also when a machine has come or gone."""
        for load in list(self._waiting):
            without = load.without
            choices = self._machines.choose(load.spec, self.running(), without)
            if choices:
                load.machine, load.placement = choices[0]
            elif self._machines.choose(load.spec, {}, without):
                continue  # one takes it as soon as it has a slot; those behind may take another one meanwhile
            elif not without and self._may_wait(load):
                continue
            self._waiting.remove(load)
            self._running.append(load)
            load.may_run = True
            load.wakeup.set()
        self._wake_all()

    def _wake_all(self) -> None:
        for load in self._waiting:
            load.wakeup.set()
