"""What the green thread of a load does: wait for a slot, have a worker load the model, report the end."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from modelhub.checkpoints import Checkpoint
from modelhub.core.admission import Admission
from modelhub.core.eviction import Eviction
from modelhub.core.experience import Experience
from modelhub.core.follow import announce, follow
from modelhub.core.journal import Journal
from modelhub.core.load import Load, end_values, record
from modelhub.core.load_log import log_again, log_begin, log_end, of
from modelhub.core.loads import Loads
from modelhub.core.next_machine import NextMachine, no_node
from modelhub.core.quarantine import Quarantine
from modelhub.core.replicas import Replicas
from modelhub.core.unloading import Unloading
from modelhub.core.use_news import UseNews
from modelhub.demos import sweep
from modelhub.errors import ModelhubError
from modelhub.payloads import Conditions, Facts, Snapshot, Timeline
from modelhub.progress.adapter import ProgressAdapter
from modelhub.states import State
from modelhub.workers.machine import Machine, Machines

log = logging.getLogger(__name__)
_LOOK_S = 0.1
_AGAIN = "second attempt, since memory had run out"


class LoadThread:
    """``run`` is the thread of one load, and alone reports its events; for ``core.lifecycle`` only."""

    def __init__(
        self,
        loads: Loads,
        machines: Machines,
        adapter: ProgressAdapter,
        journal: Callable[[], Journal],
        spawn: Callable[..., object],
        unloading: Unloading,
        demo_dir: Path,
        experience: Experience,
        eviction: Eviction,
        quarantine: Quarantine,
        replicas: Replicas,
    ) -> None:
        self._loads = loads
        self._machines = machines
        self._adapter = adapter
        self._journal = journal
        self._spawn = spawn
        self._unloading = unloading
        self._demo_dir = demo_dir
        self._experience = experience
        self._eviction = eviction
        self._quarantine = quarantine
        self._replicas = replicas
        self._admission = Admission(loads, eviction, self._wait_for)
        self._next = NextMachine(loads, adapter, self._wait_for)
        self._use_news = UseNews(loads, adapter, spawn, eviction.stays_s)

    def run(self, load: Load) -> None:
        """Carry one load to its end, and on until its process has exited."""
        failure: ModelhubError | None = None
        facts: Facts | None = None
        try:
            if self._wait_for_slot(load):
                facts = self._load(load)
        except ModelhubError as error:
            failure = error
        except Exception:
            log.exception("Following the load of %s failed", load.model_id, extra=of(load, "internal"))
            failure = ModelhubError("internal")
        self._end(load, facts, failure)
        if load.ready_at is not None and load.worker is not None:  # by now it may be unloading
            self._loads.release(load)
            self._unloading.begin_use(load)
            self._use_news.follow(load)
            self._spawn(self._eviction.watch, load)
            load.worker.serve()
            self._replicas.outlive(load)
            self._unloading.leave(load)
        elif load.worker is not None:
            load.worker.close()
            sweep(self._demo_dir)
        load.reserve(0)
        self._loads.release(load)
        load.process_exited.set()
        load.use.touch()  # nobody waits for it to be idle

    def _wait_for_slot(self, load: Load) -> bool:
        """Wait in the queue; False when the load was cancelled there."""
        while not load.may_run and load.cancelled_by is None:
            position, due_s = self._loads.queue.position(load), None
            if position is not None:
                due_s = self._adapter.queued(load.model_id, load.load_id, position)
                load.announced.set()
            load.wakeup.wait(due_s)
            load.wakeup.clear()
        return load.cancelled_by is None

    def _load(self, load: Load) -> Facts | None:
        """Have a worker load the model and emit each checkpoint; None where the load was cancelled."""
        machine = self._machine_of(load)
        load.state = State.LOADING
        started_at = time.time()
        entry = machine.find(load.model_id)
        others = sum(other.state == State.LOADING for other in self._loads.on(machine) if other is not load)
        conditions_of = machine.ask_conditions(load.spec, others)
        try:
            self._take_worker(load, machine)
        except ModelhubError:
            if machine.is_there:  # else another one may take the load
                raise
        finally:  # while the worker begins
            conditions = conditions_of()
            self._announce(load, machine, started_at, conditions)
        # A model that has yet to be fetched may not be there, or take hours.
        leaving = None if entry is None else self._replace(load)
        try:
            return self._attempt(load, leaving)
        finally:
            if conditions["fetch_bytes"] != 0:
                # A scan of the last seconds has seen none of its files, or a part.
                (load.machine or machine).refresh_files()

    def _announce(self, load: Load, machine: Machine, started_at: float, conditions: Conditions) -> None:
        """Emit that a load has begun, and write it down."""
        expect = self._experience.of(load.model_id, machine)
        where = machine.name, load.placement or None
        announce(self._adapter, machine, load.load_id, load.model_id, conditions, expect, *where)
        load.announced.set()
        known = {"started_at": started_at, "conditions": conditions}
        known |= {"forecast": expect(conditions).forecast(), "node": where[0], "placement": where[1]}
        record(self._journal(), load, {"state": load.state, **known})
        log_begin(load, self._adapter.snapshot(load.model_id))

    def _machine_of(self, load: Load) -> Machine:
        """The machine of a load whose turn has come; raises ``no_node``."""
        if load.machine is None:
            if not self._adapter.is_open(load.model_id):
                self._adapter.queued(load.model_id, load.load_id, 1)
            raise no_node(self._machines, load.model_id)
        return load.machine

    def _take_worker(self, load: Load, machine: Machine) -> None:
        """Have a worker begin with the load."""
        with self._loads.lock:
            load.worker = worker = machine.worker(load.spec)
        worker.begin(load.spec)

    def _attempt(self, load: Load, leaving: Sequence[Load] | None) -> Facts | None:
        """Follow the load; go on elsewhere where its machine has no memory for it, and once more where memory
        runs out in the middle of it and models leave for it."""
        reached, may_repeat = None, True
        while True:
            try:
                machine = self._machine_of(load)
                if load.worker is None:
                    self._take_worker(load, machine)
                return self._follow(load, machine, leaving, reached)
            except ModelhubError as error:
                if error.code == "out_of_memory" and may_repeat and self._prepare_again(load, error):
                    reached, may_repeat = self._reached(load), False
                elif why := self._next.move(load, error):
                    reached = self._reached(load, why)
                    self._adapter.emit_progress(load.model_id, *reached)
                else:
                    raise

    def _follow(
        self, load: Load, machine: Machine, leaving: Sequence[Load] | None, reached: Checkpoint | None
    ) -> Facts | None:
        """Follow the load in its process; ``leaving`` is None where what it replaces has yet to leave."""
        assert load.worker is not None  # noqa: S101 - it was given one
        return follow(
            self._adapter,
            machine,
            load.worker,
            load.spec,
            lambda need: self._admission.admit(
                load, need, self._replace(load) if leaving is None else leaving
            ),
            lambda: load.cancelled_by is not None,
            reached,
        )

    def _prepare_again(self, load: Load, error: ModelhubError) -> bool:
        """Memory ran out in a load: where idle models leave for it, give it another process."""
        left = self._eviction.make_room_after(load)
        if not left:
            return False
        if load.worker is not None:
            load.worker.close()
        log_again(load, self._adapter.snapshot(load.model_id), error, left)
        load.reserve(0)
        load.worker, load.is_second_attempt = None, True
        return True

    def _reached(self, load: Load, detail: str = _AGAIN) -> Checkpoint:
        """How far it has come, or the first attempt."""
        last = self._adapter.snapshot(load.model_id)
        step, message = last["step"] or 1, last["message"] or ""
        return Checkpoint(step, message, last["done"], last["size"], last["unit"], detail)

    def _wait_for(self, load: Load, what: str) -> None:
        """A load waits for something, for a moment: say so."""
        if self._adapter.snapshot(load.model_id)["detail"] != what:
            self._adapter.emit_progress(load.model_id, *self._reached(load, what))
        load.process_exited.wait(_LOOK_S)
        self._adapter.tick(load.model_id)

    def _replace(self, load: Load) -> list[Load]:
        """Have the models that a load replaces leave memory; they leave while it begins."""
        found = (self._loads.latest.get(model_id) for model_id in load.replaces)
        leaving = [other for other in found if other is not None and other.state == State.READY]
        for other in leaving:
            self._spawn(self._unloading.unload, other, load.row["by"], True)
        return leaving

    def _end(self, load: Load, facts: Facts | None, failure: ModelhubError | None) -> None:
        """Decide how the load ended, record it and emit it."""
        with self._loads.lock:
            load.state = self._final_state(load, failure)
        if load.state == State.INTERRUPTED:
            failure = ModelhubError("interrupted", id=load.model_id)

        kept: Timeline | None = None

        def keep_record(payload: Snapshot, timeline: Timeline | None) -> None:
            nonlocal kept
            kept = timeline
            record(self._journal(), load, {**end_values(payload), "ended_by": load.cancelled_by})
            if timeline is not None:
                self._journal().keep_timeline(load.load_id, timeline)
            log_end(load, payload)

        if load.state == State.CANCELLED:
            if not self._adapter.is_open(load.model_id):
                self._adapter.queued(load.model_id, load.load_id, 1)
            self._adapter.cancelled(load.model_id, load.cancelled_by or load.row["by"], keep_record)
        elif failure is not None:
            if load.state == State.FAILED:
                self._quarantine.fail(load.model_id, failure)
            self._adapter.failed(load.model_id, failure, keep_record, load.state)
        elif facts is not None:
            if load.worker is not None:
                load.reserve(load.worker.mapped_bytes)
            load.note_ready()
            self._quarantine.succeed(load.model_id)
            use = self._use_news.begin(load, facts["memory"])
            self._adapter.completed(load.model_id, facts, keep_record, use)
            if not load.is_second_attempt and not load.has_waited:
                self._experience.learn([(load.row, kept)])
        load.announced.set()
        load.ended.set()
        if load.machine is not None:
            load.machine.prepare_spare()

    def _final_state(self, load: Load, failure: ModelhubError | None) -> State:
        if self._loads.is_closing:
            return State.INTERRUPTED
        if load.cancelled_by is not None:
            return State.CANCELLED
        return State.READY if failure is None else State.FAILED
