"""Admission: memory is reserved for a load, for which idle models may have to leave, or it is refused."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count

from modelhub.core.budget import check_fits, free_for_load
from modelhub.core.eviction import Eviction
from modelhub.core.load import Load
from modelhub.core.loads import Loads
from modelhub.core.unloading import PATIENCE_S
from modelhub.states import State
from modelhub.workers.machine import Machine

_LET_GO_S = 0.5  # what is kept takes some milliseconds to end
_WORTH_BYTES = 16 * 1024 * 1024  # with less, nobody is asked to let go of it
_PID_S = 1.0  # that of the load's process comes another way than its messages
_POLL_S = 0.01
_REPORT_S = 1.5  # until another machine has reported what has become free


class Admission:
    """For the threads of the loads; ``wait_for(load, what)`` waits a moment, and says what for."""

    def __init__(self, loads: Loads, eviction: Eviction, wait_for: Callable[[Load, str], None]) -> None:
        self._loads = loads
        self._wait_for = wait_for
        self._eviction = eviction

    def admit(self, load: Load, need_bytes: int, leaving: Sequence[Load]) -> None:
        """Reserve memory for a load on its machine; raises ``no_memory`` with the numbers.

        The memory of the models that are ``leaving`` there counts as free.
        """
        machine = load.machine
        assert machine is not None  # noqa: S101 - its turn has come
        leaving = [other for other in leaving if other.machine is machine]
        others = [one for one in self._loads.on(machine) if one is not load and one not in leaving]
        free = _free_on(machine, load, others, leaving)
        self._wait(lambda: _is_known(load), _PID_S)
        if need_bytes > free():
            self._make_room(load, machine, need_bytes, free, leaving)
        with self._loads.lock:
            if not load.spec.force:
                loading = [(other.reserved_bytes, other.model_id) for other in others if _is_loading(other)]
                check_fits(load.model_id, need_bytes, free(), loading)
            load.reserve(need_bytes, is_loading=True)

    def _make_room(
        self,
        load: Load,
        machine: Machine,
        need_bytes: int,
        free: Callable[[], int],
        leaving: Sequence[Load],
    ) -> None:
        """Where a load does not fit: let go of the models that are only kept, have others let go of caches,
        wait for those that leave, have idle ones leave."""
        grown = [other for other in self._loads.on(machine) if _can_shrink(other)]
        is_freed = bool(leaving or grown or machine.kept.ids())
        machine.kept.let_go()
        for other in grown:
            if other.worker is not None:
                other.worker.trim()
        for other in leaving:
            other.process_exited.wait(PATIENCE_S)

        def fits() -> bool:
            return need_bytes <= free()

        def has_let_go() -> bool:
            return not machine.kept.ids() and not any(map(_can_shrink, grown))

        def wait_for_report() -> None:
            if machine.name is not None:  # another machine says late what has become free
                self._wait(fits, _REPORT_S)

        asked = count()

        def lack() -> int:
            if next(asked):  # models have left since
                wait_for_report()
            return need_bytes - free()

        self._wait(lambda: fits() or has_let_go(), _LET_GO_S)
        if is_freed:
            wait_for_report()
        self._eviction.make_room(load, lack, partial(self._wait_for, load))

    def _wait(self, condition: Callable[[], bool], timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition() and time.monotonic() < deadline:
            time.sleep(_POLL_S)


def _free_on(
    machine: Machine, load: Load, others: Sequence[Load], leaving: Sequence[Load]
) -> Callable[[], int]:
    """What is free on a machine for a load beside ``others``.

    Reports of another machine are late. Where the load's process has just found what was free there, it is
    that, and what has become free since: after a while what those had that are ``leaving``, too.
    """

    def free() -> int:
        return free_for_load(sum(one.pending_bytes for one in others), machine.free_bytes)

    found = None if load.worker is None or machine.name is None else load.worker.free_bytes
    if found is None:
        return free

    def reported() -> int:
        pending = sum(one.pending_bytes for one in (*others, *leaving))
        return machine.free_bytes() - pending

    before = reported()
    return lambda: found + max(0, reported() - before)


def _is_known(load: Load) -> bool:
    """Whether it is known what the process of a load has taken."""
    worker = load.worker
    return worker is not None and (worker.pid is not None or worker.anonymous_bytes() > 0)


def _can_shrink(load: Load) -> bool:
    return load.state == State.READY and load.grown_bytes >= _WORTH_BYTES


def _is_loading(load: Load) -> bool:
    return load.state == State.LOADING and load.reserved_bytes > 0
