"""The one owner of a load's state: start, join, cancel, unload, close.

queued -> loading -> ready -> unloading -> absent, and from queued or loading to failed, cancelled or
interrupted. Each load has a green thread of its own, which alone reports its events; requests from other
threads set a flag and wait.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from modelhub.checkpoints import LoadOptions
from modelhub.config import Settings
from modelhub.core.budget import (
    Budget,
    MemoryUse,
    check_fits,
    compute_budget,
    free_for_load,
    unload_receipt,
)
from modelhub.core.catalogue import Catalogue
from modelhub.core.follow import announce, follow, load_spec
from modelhub.core.journal import Journal
from modelhub.core.keep_later import KeepLater
from modelhub.core.load import Load, LoadQueue, can_join, end_values, has_ended, load_resource, wrong_state
from modelhub.core.load_log import log_begin, log_end, log_exit
from modelhub.core.memory_count import MemoryCount
from modelhub.demos import sweep
from modelhub.devices import check_device
from modelhub.errors import ModelhubError
from modelhub.payloads import Facts, LoadResource, LoadRow, Snapshot, Timeline
from modelhub.progress.adapter import ProgressAdapter
from modelhub.states import ACTIVE, CHANGING, ENDED_EARLY, State
from modelhub.workers.launcher import Launcher

log = logging.getLogger(__name__)
_JUST_READY_S = 2.0
_PATIENCE_S = 10.0  # how long a request waits for an event or for a process to exit


class Lifecycle:
    """Starts and ends loads. ``spawn(function, load)`` runs a function in a green thread.

    ``on_new_load`` is called with the id of a model whose load is new.
    Every method may block the thread that calls it, never the process; all raise ModelhubError.
    """

    def __init__(
        self,
        settings: Settings,
        catalogue: Catalogue,
        launcher: Launcher,
        adapter: ProgressAdapter,
        journal: Callable[[], Journal],
        spawn: Callable[..., object],
        on_new_load: Callable[[str], None] = lambda model_id: None,
    ) -> None:
        self.is_closing = False
        self._lock = threading.RLock()  # guards what follows, and the state of every load
        self._loads: dict[str, Load] = {}  # model id -> its latest load in this run
        self._queue = LoadQueue(settings.max_concurrent_loads)
        self._settings = settings
        self._catalogue = catalogue
        self._launcher = launcher
        self._memory = MemoryCount(launcher)
        self._keep_later = KeepLater(launcher, settings.keep_prepared_seconds, self._is_loading)
        self._adapter = adapter
        self._journal = journal
        self._spawn = spawn
        self._on_new_load = on_new_load

    # Requests, from any thread

    def start(
        self,
        model_id: str,
        by: str,
        force: bool = False,
        device: str | None = None,
        dtype: str | None = None,
        replaces: Sequence[str] = (),
    ) -> tuple[LoadResource, bool]:
        """Load a model, or join the load that runs or is done: (the load, whether it is a new one).

        The models that it ``replaces`` are unloaded when its turn comes, those of them that are in memory;
        where it is not on this machine, once its files are.
        Without ``device`` or ``dtype`` that of the settings is meant, and any load can be joined. Returns
        once the load's first event was emitted: a client that asks next finds it queued or loading. Raises
        ``invalid_id``, ``no_device``, ``queue_full``, ``wrong_state`` while the model is being unloaded or
        has another device or data type, and for a model on this machine that cannot be loaded the reason:
        ``gguf``, ``adapter``...
        """
        model_id = self._catalogue.id_of(model_id)
        if by != "preload":  # of those nobody would see the refusal: they fail as loads
            self._catalogue.check_loadable(model_id)
        if device is not None:
            check_device(device)
        options = LoadOptions(force, device, dtype)
        replaced = [self.known_id(text) for text in replaces]
        journal = self._journal()
        with self._lock:
            if self.is_closing:
                raise ModelhubError("shutting_down")
            load = self._loads.get(model_id)
            is_new = load is None or not can_join(load, options)
            if load is None or is_new:
                load = Load(load_spec(self._settings, model_id, options), by)
                load.replaces = tuple(other for other in replaced if other != model_id)
                self._queue.join(load)
                self._forget_old()
                self._loads[model_id] = load
                journal.add(load.row)
                self._on_new_load(model_id)
        if is_new:
            self._spawn(self._run, load)
        load.announced.wait(_PATIENCE_S)
        return self._resource(load), is_new

    def cancel(self, load_id: str, by: str) -> LoadResource:
        """Cancel a load that waits or runs, and wait until its end was emitted.

        Raises ``wrong_state`` for a load that has ended, ``unknown_load``.
        """
        with self._lock:
            load = self._find(load_id)
            if load is None:
                row = self.row(load_id)
                raise has_ended(row["model_id"], row["state"])
            if load.state not in ACTIVE:
                raise has_ended(load.model_id, load.state)
            load.cancelled_by = load.cancelled_by or by
            self._queue.leave(load)
            worker = load.worker
        load.wakeup.set()
        if worker is not None:
            worker.kill()
        load.ended.wait(_PATIENCE_S)
        return self._resource(load)

    def unload(self, model_id: str, by: str) -> Snapshot:
        """Have a ready model leave memory, and wait for its process to exit.

        Returns the model's state with the receipt: memory before, after and freed, in bytes. Raises
        ``wrong_state`` for a model that is not in memory.
        """
        return self._unload(self.loaded(model_id, also=State.UNLOADING), by)

    def _unload(self, load: Load, by: str) -> Snapshot:
        before = self._memory.total(leaving=load.worker)
        with self._lock:
            if load.state == State.READY:
                load.state, load.unloaded_by, load.memory_before = State.UNLOADING, by, before
                self._adapter.unloading(load.model_id)
        if load.worker is not None:
            load.worker.kill()
        load.process_exited.wait(_PATIENCE_S)
        return load.receipt or self._adapter.snapshot(load.model_id)

    def check_idle(self, model_id: str) -> None:
        """Raise ``in_use`` for a ready model that predicts, or that has only just become ready.

        A click that was meant for the button that was there before hits Unload: the page asks first.
        """
        load = self.loaded(model_id, also=State.UNLOADING)
        if load.worker is not None and load.worker.is_busy:
            raise ModelhubError("in_use", id=load.model_id, why="is running a prediction")
        if load.ready_at is not None and time.monotonic() - load.ready_at < _JUST_READY_S:
            raise ModelhubError("in_use", id=load.model_id, why="has only just become ready")

    def dismiss(self, model_id: str) -> None:
        """Forget how the latest load of the model ended; the history keeps it.

        Raises ``wrong_state`` where there is nothing to dismiss, ``unknown_model``.
        """
        model_id = self.known_id(model_id)
        with self._lock:
            load = self._loads.get(model_id)
            state = self._adapter.snapshot(model_id)["state"] if load is None else load.state
            if state not in ENDED_EARLY:
                raise wrong_state(model_id, state, "There is nothing to dismiss.", "Reload the page.")
            self._journal().dismiss(model_id)
            self._adapter.dismiss(model_id)

    def close(self) -> None:
        """Refuse new loads, and record how far the running ones came: they end as interrupted."""
        self._keep_later.close()
        with self._lock:
            self.is_closing = True
            for load in self._loads.values():
                timeline = self._adapter.timeline(load.load_id, load.model_id)
                if timeline is not None:
                    snapshot = self._adapter.snapshot(load.model_id)
                    progress = {"seconds": snapshot["elapsed"], "steps": snapshot["steps"]}
                    self._journal().update(load.load_id, {**progress, "ended_at": time.time()})
                    self._journal().keep_timeline(load.load_id, timeline)

    def wait_ended(self, timeout_s: float) -> None:
        """After ``close``: wait until the end of each load was emitted, at most so long in all."""
        deadline = time.monotonic() + timeout_s
        for load in list(self._loads.values()):
            load.ended.wait(max(0.0, deadline - time.monotonic()))

    # What there is

    def row(self, load_id: str) -> LoadRow:
        """A load of this run or of an earlier one; raises ``unknown_load``."""
        load = self._find(load_id)
        row = self._journal().load(load_id) if load is None else load.row
        if row is None:
            raise ModelhubError("unknown_load", id=load_id)
        return row

    def budget(self) -> Budget:
        """Memory use by owner, and what a new load may take."""
        return compute_budget(
            MemoryUse(load.state, self._adapter.snapshot(load.model_id).get("memory"), load.reserved_bytes)
            for load in list(self._loads.values())
        )

    def known_id(self, text: str) -> str:
        """The id of a model that is on this machine or was requested; ``text`` may be a link to the hub.

        Raises ``unknown_model`` for any other, ``invalid_id`` for what is no id.
        """
        model_id = self._catalogue.id_of(text)
        if not self._adapter.knows(model_id) and self._catalogue.find(model_id) is None:
            raise ModelhubError.not_here(model_id)
        return model_id

    @contextmanager
    def unused(self, repo: str) -> Iterator[None]:
        """A context in which no load of a repository can start; keep it short.

        Raises ``wrong_state`` where one of its revisions is loading or in memory.
        """
        with self._lock:
            for load in self._loads.values():
                if load.state in (*CHANGING, State.READY) and load.model_id.partition("@")[0] == repo:
                    todo = "Unload it first." if load.state == State.READY else "Cancel the load first."
                    raise wrong_state(load.model_id, load.state, "Its files are in use.", todo)
            yield

    def loaded(self, model_id: str, also: State = State.READY) -> Load:
        """The load of a model that is ready (or ``also``); raises ``wrong_state`` or ``unknown_model``."""
        model_id = self._catalogue.id_of(model_id)
        load = self._loads.get(model_id)
        if load is None or load.state not in (State.READY, also):
            self.known_id(model_id)
            state = self._adapter.snapshot(model_id)["state"]
            raise wrong_state(model_id, state, "It is not in memory.", "Load it first.")
        return load

    def _is_loading(self) -> bool:
        return any(load.state == State.LOADING for load in list(self._loads.values()))

    def _find(self, load_id: str) -> Load | None:
        """A load of this run that is the latest of its model."""
        return next((load for load in list(self._loads.values()) if load.load_id == load_id), None)

    def _forget_old(self) -> None:
        """Let go of the loads of models that the adapter has forgotten; the journal has them."""
        for model_id, load in list(self._loads.items()):
            if load.process_exited.is_set() and not self._adapter.knows(model_id):
                del self._loads[model_id]

    def _resource(self, load: Load) -> LoadResource:
        return load_resource(load.row, self._adapter.snapshot(load.model_id))

    # The thread of one load

    def _run(self, load: Load) -> None:
        """Carry one load to its end, and on until its process has exited."""
        failure: ModelhubError | None = None
        facts: Facts | None = None
        try:
            if self._wait_for_slot(load):
                facts = self._load(load)
        except ModelhubError as error:
            failure = error
        except Exception:
            log.exception("Following the load of %s failed", load.model_id)
            failure = ModelhubError("internal")
        self._end(load, facts, failure)
        if load.state == State.READY and load.worker is not None:
            self._release(load)
            self._spawn(self._memory.read_later, load.worker)
            load.worker.serve()
            self._leave(load)
        elif load.worker is not None:
            load.worker.close()
            sweep(self._settings.demo_dir)
        load.reserved_bytes = 0
        self._release(load)
        load.process_exited.set()

    def _wait_for_slot(self, load: Load) -> bool:
        """Wait in the queue; False when the load was cancelled there."""
        while not load.may_run and load.cancelled_by is None:
            position, due_s = self._queue.position(load), None
            if position is not None:
                due_s = self._adapter.queued(load.model_id, load.load_id, position)
                load.announced.set()
            load.wakeup.wait(due_s)
            load.wakeup.clear()
        return load.cancelled_by is None

    def _load(self, load: Load) -> Facts | None:
        """Have a worker load the model and emit each checkpoint; None where the load was cancelled."""
        load.state = State.LOADING
        self._record(load, {"state": load.state, "started_at": time.time()})
        log_begin(load)
        entry = self._catalogue.find(load.model_id)
        announce(self._adapter, self._launcher, load.spec, load.load_id, entry)
        load.announced.set()
        with self._lock:
            load.worker = self._launcher.worker(load.spec)
        # A model that has yet to be fetched may not be there, or take hours.
        leaving = None if entry is None else self._replace(load)
        return follow(
            self._adapter,
            load.worker,
            load.spec,
            lambda need: self._admit(load, need, self._replace(load) if leaving is None else leaving),
            lambda: load.cancelled_by is not None,
        )

    def _replace(self, load: Load) -> list[Load]:
        """Have the models that a load replaces leave memory; they leave while it begins."""
        found = (self._loads.get(model_id) for model_id in load.replaces)
        leaving = [other for other in found if other is not None and other.state == State.READY]
        for other in leaving:
            self._spawn(self._unload, other, load.row["by"])
        return leaving

    def _admit(self, load: Load, need_bytes: int, leaving: Sequence[Load]) -> None:
        """Reserve memory for a load; raises ``no_memory`` with the numbers."""
        for other in leaving:
            other.process_exited.wait(_PATIENCE_S)
        with self._lock:
            others = sum(other.reserved_bytes for other in self._loads.values() if other is not load)
            if not load.spec.force:
                self._make_room(need_bytes, others)
                check_fits(load.model_id, need_bytes, free_for_load(others))
            load.reserved_bytes = need_bytes

    def _make_room(self, need_bytes: int, reserved_bytes: int) -> None:
        """Let go of what is only kept for a quicker load, where a load does not fit otherwise."""
        if need_bytes > free_for_load(reserved_bytes):
            self._launcher.kept.let_go()

    def _end(self, load: Load, facts: Facts | None, failure: ModelhubError | None) -> None:
        """Decide how the load ended, record it and emit it."""
        with self._lock:
            load.state = self._final_state(load, failure)
        if load.state == State.INTERRUPTED:
            failure = ModelhubError("interrupted", id=load.model_id)

        def record(payload: Snapshot, timeline: Timeline | None) -> None:
            self._record(load, {**end_values(payload), "ended_by": load.cancelled_by})
            if timeline is not None:
                self._journal().keep_timeline(load.load_id, timeline)
            log_end(load, payload)

        if load.state == State.CANCELLED:
            if not self._adapter.is_open(load.model_id):
                self._adapter.queued(load.model_id, load.load_id, 1)
            self._adapter.cancelled(load.model_id, load.cancelled_by or load.row["by"], record)
        elif failure is not None:
            self._adapter.failed(load.model_id, failure, record, load.state)
        elif facts is not None:
            if load.worker is not None:
                load.reserved_bytes = load.worker.mapped_bytes
            load.ready_at = time.monotonic()
            self._adapter.completed(load.model_id, facts, record)
        load.announced.set()
        load.ended.set()
        self._launcher.prepare_spare()

    def _final_state(self, load: Load, failure: ModelhubError | None) -> State:
        if self.is_closing:
            return State.INTERRUPTED
        if load.cancelled_by is not None:
            return State.CANCELLED
        return State.READY if failure is None else State.FAILED

    def _leave(self, load: Load) -> None:
        """The process of a ready model has exited, on request or not: emit it, with the receipt."""
        worker = load.worker
        assert worker is not None  # noqa: S101 - a ready load has one
        worker.close()
        load.reserved_bytes = 0
        error = None if load.unloaded_by is not None else worker.exit_error(load.model_id)
        receipt = unload_receipt(load.memory_before, self._memory.total(), load.unloaded_by)
        if self.is_closing:
            return
        with self._lock:
            load.state = State.ABSENT if error is None else State.FAILED

        def record(payload: Snapshot, _: Timeline | None) -> None:
            self._record(load, {"state": State.UNLOADED, "error": payload["error"]})
            log_exit(load, payload)

        load.receipt = self._adapter.unloaded(load.model_id, load.load_id, receipt, error, record)
        if error is None:
            self._spawn(self._keep_later.keep, load.spec)

    def _release(self, load: Load) -> None:
        with self._lock:
            self._queue.release(load)

    def _record(self, load: Load, values: dict[str, object]) -> None:
        load.row = {**load.row, **values}  # type: ignore[typeddict-item]
        self._journal().update(load.load_id, values)
