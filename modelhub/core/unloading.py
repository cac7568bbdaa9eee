"""The end of a ready model: on request or not, with a receipt; after a request it may be kept prepared."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from modelhub.core.budget import unload_receipt
from modelhub.core.journal import Journal
from modelhub.core.keep_later import KeepLater
from modelhub.core.load import Load, record, wrong_state
from modelhub.core.load_log import log_exit
from modelhub.core.loads import Loads
from modelhub.core.quarantine import Quarantine
from modelhub.payloads import Snapshot, Timeline
from modelhub.progress.adapter import ProgressAdapter
from modelhub.states import OCCUPYING, State
from modelhub.workers.machine import Machines

_POLL_S = 0.01
PATIENCE_S = 10.0  # how long a request waits for a process to exit
JUST_READY_S = 2.0
# Why a model leaves without a request, in the place of who has requested it.
IDLE_FOR = "idle for "  # and how long
KEEP_ALIVE = "keep_alive of "  # and how long, as a client has said
ROOM_FOR = "room for "  # and the id of the model that is loaded
DRAIN_OF = "drain of "  # and the name of the node


class Unloading:
    """``unload`` and ``let_go`` are for any thread, ``begin_use`` and ``leave`` for that of the load."""

    def __init__(
        self,
        loads: Loads,
        machines: Machines,
        adapter: ProgressAdapter,
        journal: Callable[[], Journal],
        spawn: Callable[..., object],
        keep_seconds: float,
        quarantine: Quarantine,
    ) -> None:
        self._loads = loads
        self._machines = machines
        self._keep_later = KeepLater(keep_seconds, loads.is_loading)
        self._adapter = adapter
        self._journal = journal
        self._spawn = spawn
        self._quarantine = quarantine

    def unload(
        self,
        load: Load,
        by: str,
        at_once: bool = False,
        only_if: Callable[[Load], bool] = lambda load: True,
    ) -> Snapshot:
        """End the processes of a ready model and wait for that; return the state with the receipt, which is
        for all of its copies.

        With ``at_once`` the receipt has what was counted soon after the load: to count it again takes time.
        One that is not as ``only_if`` wants it by now stays.
        """
        copies = [load, *load.living_replicas]
        held = [(one.machine, one.worker) for one in copies if one.machine is not None and one.worker]
        before = _sum(machine.memory_of_all(None if at_once else worker) for machine, worker in held)
        own = _sum(machine.own_bytes(worker) for machine, worker in held)
        with self._loads.lock:
            if not only_if(load):
                return self._adapter.snapshot(load.model_id)
            if load.state == State.READY:
                load.state, load.unloaded_by = State.UNLOADING, by
                load.memory_before, load.own_bytes = before, own
                load.emptied = tuple(machine for machine, _ in held)
                self._adapter.unloading(load.model_id)
        for replica in load.living_replicas:
            self._loads.end_replica(replica, by)
        if load.worker is not None:
            load.worker.kill()
        load.process_exited.wait(PATIENCE_S)
        return load.receipt or self._adapter.snapshot(load.model_id)

    def begin_use(self, load: Load) -> None:
        """A model has become ready: count its memory soon, so that the receipt need not wait for that."""
        if load.machine is not None:
            self._spawn(load.machine.count_later, load.worker)

    def leave(self, load: Load) -> None:
        """The process of a ready model has exited, on request or not: emit it, with the receipt."""
        worker, machine = load.worker, load.machine
        assert worker is not None  # noqa: S101 - a ready load has both
        assert machine is not None  # noqa: S101
        worker.close()
        load.reserve(0)
        error = None if load.unloaded_by is not None else worker.exit_error(load.model_id)
        after = _sum(one.memory_of_all() for one in load.emptied or (machine,))
        receipt = unload_receipt(load.memory_before, after, load.unloaded_by, load.own_bytes)
        if self._loads.is_closing:
            return
        with self._loads.lock:
            load.state = State.ABSENT if error is None else State.FAILED
            if error is not None:
                self._quarantine.fail(load.model_id, error, was_ready=True)

        def keep_record(payload: Snapshot, _: Timeline | None) -> None:
            ended = {"state": State.UNLOADED, "error": payload["error"], "ended_by": load.unloaded_by}
            record(self._journal(), load, dict(ended))
            log_exit(load, payload)

        load.receipt = self._adapter.unloaded(load.model_id, load.load_id, receipt, error, keep_record)
        if error is None:
            self._spawn(self._keep_later.keep, machine, load.spec)

    def let_go(self, model_id: str) -> None:
        """End the process that keeps a model prepared; raises ``wrong_state`` without one, or in use."""
        state = self._adapter.snapshot(model_id)["state"]
        if state in OCCUPYING:
            todo = "Cancel its load first." if state == State.LOADING else "Unload it first."
            raise wrong_state(model_id, state, "It is in use.", todo)
        was_waiting = self._keep_later.forget(model_id)
        machines = [machine for machine in self._machines.all() if model_id in machine.kept.ids()]
        if not machines and not was_waiting:
            raise wrong_state(model_id, state, "It is not prepared.", "There is nothing to let go.")
        for machine in machines:
            machine.kept.let_go(model_id)
        deadline = time.monotonic() + PATIENCE_S
        while any(model_id in one.kept.ids() for one in machines) and time.monotonic() < deadline:
            time.sleep(_POLL_S)

    def close(self) -> None:
        """Keep nothing prepared any more."""
        self._keep_later.close()


def _sum(sizes: Iterable[int | None]) -> int | None:
    """The sum of sizes; None where one of them is not known."""
    known = list(sizes)
    return None if None in known else sum(filter(None, known))


def is_unused(load: Load) -> bool:
    """Whether a model is ready, and nobody uses it or waits for it."""
    return load.state == State.READY and load.worker is not None and not load.is_in_use


def is_idle(load: Load) -> bool:
    """Whether it is also not one that has only just become ready."""
    is_new = load.ready_at is None or time.monotonic() - load.ready_at < JUST_READY_S
    return is_unused(load) and not is_new
