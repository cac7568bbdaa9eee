"""What the green thread of a replica does: wait for a slot, have a worker load the model, serve it."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable

from modelhub.core.admission import Admission
from modelhub.core.eviction import Eviction
from modelhub.core.experience import Experience
from modelhub.core.load import Load
from modelhub.core.load_log import log_replica_end, log_replica_exit
from modelhub.core.loads import Loads
from modelhub.errors import ModelhubError
from modelhub.payloads import Facts
from modelhub.progress.schemas import check_checkpoint
from modelhub.progress.tracker import Tracker
from modelhub.states import State
from modelhub.workers.machine import Machine

log = logging.getLogger(__name__)
_LOOK_S = 0.1
_MOST = 3  # machines that one replica tries


class ReplicaThread:
    """``run`` is the thread of one replica, and alone changes its state to ready or failed.

    A replica is a ``Load`` that is the latest of no model and has no events of its own: what becomes of it is
    told by those of the model that it is ``of``.
    """

    def __init__(
        self,
        loads: Loads,
        spawn: Callable[..., object],
        experience: Experience,
        eviction: Eviction,
    ) -> None:
        self._loads = loads
        self._spawn = spawn
        self._experience = experience
        self._admission = Admission(loads, eviction, _wait)

    def run(self, replica: Load) -> None:
        """Carry a replica from the queue to the end of its process."""
        failure: ModelhubError | None = None
        facts: Facts | None = None
        began = time.monotonic()
        try:
            if self._wait_for_slot(replica):
                facts = self._load(replica)
        except ModelhubError as error:
            failure = error
        except Exception:
            log.exception("Loading a replica of %s failed", replica.model_id)
            failure = ModelhubError("internal")
        is_ready = self._end(replica, facts, failure)
        log_replica_end(replica, failure, time.monotonic() - began)
        self._loads.release(replica)
        if replica.machine is not None:
            replica.machine.prepare_spare()
        if is_ready and replica.worker is not None:
            if replica.machine is not None:
                self._spawn(replica.machine.count_later, replica.worker)
            replica.worker.serve()
        self._leave(replica, is_ready)

    def _wait_for_slot(self, replica: Load) -> bool:
        """Wait in the queue; False when it was ended there."""
        while not replica.may_run and replica.unloaded_by is None:
            replica.wakeup.wait()
            replica.wakeup.clear()
        return replica.unloaded_by is None

    def _load(self, replica: Load) -> Facts | None:
        """Have a worker load the model, on the next machine where one refuses it; None where it was ended."""
        while True:
            if replica.machine is None:
                raise ModelhubError("no_other_node", id=replica.model_id)
            with self._loads.lock:
                replica.state = State.LOADING
            replica.first.use.tell_now()
            try:
                return self._attempt(replica, replica.machine)
            except ModelhubError as error:
                if not self._move(replica, error):
                    raise

    def _attempt(self, replica: Load, machine: Machine) -> Facts | None:
        others = sum(one.state == State.LOADING for one in self._loads.on(machine) if one is not replica)
        conditions_of = machine.ask_conditions(replica.spec, others)
        with self._loads.lock:
            replica.worker = worker = machine.worker(replica.spec)
        worker.begin(replica.spec)
        conditions = conditions_of()
        tracker = Tracker(time.monotonic(), conditions, self._experience.of(replica.model_id, machine))
        try:
            checkpoints = worker.load(replica.spec, lambda need: self._admission.admit(replica, need, ()))
            while replica.unloaded_by is None:
                try:
                    news = next(checkpoints)
                except StopIteration as end:
                    facts: Facts = end.value
                    return facts
                now = time.monotonic()
                if news is not None:
                    with contextlib.suppress(ValueError):  # one that goes back changes nothing
                        tracker.feed(check_checkpoint(news), now)
                replica.progress = max(replica.progress or 0.0, tracker.state(now)["progress"] or 0.0)
                replica.first.use.tell()
        finally:
            if conditions["fetch_bytes"] != 0:
                machine.refresh_files()
        return None

    def _move(self, replica: Load, error: ModelhubError) -> bool:
        """Give a replica another machine where its own has no memory or was lost; whether there is one."""
        machine = replica.machine
        if machine is None or replica.unloaded_by is not None or len(replica.tried) >= _MOST - 1:
            return False
        if error.code != "no_memory" and machine.is_there:
            return False
        replica.tried.append(str(machine.name))
        if replica.worker is not None:
            replica.worker.close()
        with self._loads.lock:
            replica.reserve(0)
            replica.worker, replica.progress = None, None
            self._loads.queue.join_again(replica)
        if self._wait_for_slot(replica) and replica.machine is not None:
            return True
        replica.machine = machine  # where it has failed
        return False

    def _end(self, replica: Load, facts: Facts | None, failure: ModelhubError | None) -> bool:
        """Note how the load of a replica has ended; returns whether it serves its model from now on."""
        worker = replica.worker
        with self._loads.lock:
            first = replica.first
            is_wanted = replica.unloaded_by is None and first.state == State.READY
            is_ready = facts is not None and worker is not None and is_wanted and not self._loads.is_closing
            if is_ready and facts is not None and worker is not None:
                replica.row = {**replica.row, "memory": facts["memory"]}
                replica.reserve(worker.mapped_bytes)
                replica.note_ready()
                replica.state = State.READY
                worker.on_use = first.use.tell
            elif failure is not None and is_wanted:
                replica.fail(failure)
            else:
                replica.state = State.UNLOADING
        first.use.touch()
        first.use.tell_now()
        return is_ready

    def _leave(self, replica: Load, was_ready: bool) -> None:
        """The process of a replica has ended: it leaves the model, or says why where nobody wanted that."""
        worker = replica.worker
        if worker is not None:
            worker.close()
        is_wanted = replica.unloaded_by is None and not self._loads.is_closing
        error = None
        if was_ready and worker is not None and is_wanted:
            error = worker.exit_error(replica.model_id)
        with self._loads.lock:
            first = replica.first
            has_taken_over = worker is not None and first.worker is worker
            if not has_taken_over:
                replica.reserve(0)
                if error is not None and replica.unloaded_by is None:
                    replica.fail(error)
                elif replica.state != State.FAILED:
                    first.forget(replica)
        if was_ready and not has_taken_over and not self._loads.is_closing:
            log_replica_exit(replica, error)
        replica.process_exited.set()
        first.use.touch()
        first.use.tell_now()


def _wait(replica: Load, what: str) -> None:
    """A replica waits for memory, for a moment."""
    replica.process_exited.wait(_LOOK_S)
