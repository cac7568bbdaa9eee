"""The one owner of a load's state: start, join, cancel, unload, close.

queued -> loading -> ready -> unloading -> absent, and from queued or loading to failed, cancelled or
interrupted. Each load has a green thread of its own (core.load_thread), which alone reports its events;
requests from other threads set a flag and wait.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from modelhub.checkpoints import LoadOptions
from modelhub.config import Settings
from modelhub.core.budget import Budget, MemoryUse, compute_budget, sum_of
from modelhub.core.draining import Draining
from modelhub.core.eviction import Eviction
from modelhub.core.experience import Experience
from modelhub.core.follow import load_spec
from modelhub.core.journal import Journal
from modelhub.core.load import Load, can_join, has_ended, load_resource, wrong_state
from modelhub.core.load_thread import LoadThread
from modelhub.core.loads import Loads
from modelhub.core.model_files import ModelFiles
from modelhub.core.quarantine import Quarantine
from modelhub.core.replicas import Replicas
from modelhub.core.unloading import JUST_READY_S, PATIENCE_S, Unloading
from modelhub.devices import check_device
from modelhub.errors import ModelhubError
from modelhub.payloads import LoadResource, LoadRow, NodeStatus, Snapshot
from modelhub.progress.adapter import ProgressAdapter
from modelhub.states import ACTIVE, CHANGING, ENDED_EARLY, State
from modelhub.workers.machine import Machine, Machines

_JOIN_S = 20.0  # how long after the start loads wait for the first machine


class Lifecycle:
    """Starts and ends loads. ``spawn(function, load)`` runs a function in a green thread.

    ``on_new_load`` is called with the id of a model whose load is new.
    Every method may block the thread that calls it, never the process; all raise ModelhubError.
    """

    def __init__(
        self,
        settings: Settings,
        catalogue: ModelFiles,
        machines: Machines,
        adapter: ProgressAdapter,
        journal: Callable[[], Journal],
        spawn: Callable[..., object],
        experience: Experience,
        on_new_load: Callable[[str], None] = lambda model_id: None,
    ) -> None:
        self._loads = Loads(machines)
        self._machines = machines
        self._settings = settings
        self._catalogue = catalogue
        self._adapter = adapter
        self._journal = journal
        self._spawn = spawn
        self._on_new_load = on_new_load
        kept_s = settings.keep_prepared_seconds
        self._quarantine = Quarantine()
        self._unloading = Unloading(self._loads, machines, adapter, journal, spawn, kept_s, self._quarantine)
        eviction = Eviction(self._loads, self._unloading, settings.evict, settings.idle_seconds)
        shared = (self._loads, machines, adapter, journal, spawn)
        self._replicas = Replicas(*shared, experience, eviction)
        self._draining = Draining(self._loads, machines, self._unloading, self._replicas, self.cancel, spawn)
        self._thread = LoadThread(
            *shared,
            self._unloading,
            settings.demo_dir,
            experience,
            eviction,
            self._quarantine,
            self._replicas,
        )

    @property
    def is_closing(self) -> bool:
        """Whether the server ends, and refuses new loads."""
        return self._loads.is_closing

    # Requests, from any thread

    def start(
        self,
        model_id: str,
        by: str,
        force: bool = False,
        device: str | None = None,
        dtype: str | None = None,
        replaces: Sequence[str] = (),
        retry: bool = False,
    ) -> tuple[LoadResource, bool]:
        """Load a model, or join the load that runs or is done: (the load, whether it is a new one).

        The models that it ``replaces`` are unloaded when its turn comes, those of them that are in memory;
        where it is not on this machine, once its files are.
        Without ``device`` or ``dtype`` that of the settings is meant, and any load can be joined. Returns
        once the load's first event was emitted: a client that asks next finds it queued or loading. Raises
        ``invalid_id``, ``no_device``, ``queue_full``, ``wrong_state`` while the model is being unloaded or
        has another device or data type, ``quarantined`` where it has failed again and again, unless a person
        requests it or with ``retry``, and for a model on this machine that cannot be loaded the reason:
        ``gguf``, ``adapter``...
        """
        model_id = self._catalogue.id_of(model_id)
        if by not in ("preload", "resume"):  # of those nobody would see the refusal: they fail as loads
            self._catalogue.check_loadable(model_id)
        if device is not None and any(machine.name is None for machine in self._machines.all()):
            check_device(device)  # a node's own devices are its own matter
        options = LoadOptions(force, device, dtype)
        replaced = [self.known_id(text) for text in replaces]
        journal = self._journal()
        with self._loads.lock:
            if self.is_closing:
                raise ModelhubError("shutting_down")
            load = self._loads.latest.get(model_id)
            is_new = load is None or not can_join(load, options)
            if load is None or is_new:
                self._quarantine.request(model_id, by, retry)
                load = Load(load_spec(self._settings, model_id, options), by)
                load.replaces = tuple(other for other in replaced if other != model_id)
                self._begin(load, journal)
        if not is_new:
            self._replace(replaced, load, by)
        load.announced.wait(PATIENCE_S)
        return self._resource(load), is_new

    def wanted(self, model_id: str, by: str, may_start: bool) -> Load:
        """The load that a request for a model waits for: that under way, ready or unloading, or a new one.

        Where none ``may_start`` only a ready one. Raises ``wrong_state``, as ``start``, and ``unknown_model``
        for a model without files on this machine: what is fetched is fetched since somebody wants that.
        """
        model_id = self._catalogue.id_of(model_id)
        load = self._loads.latest.get(model_id)
        wanted = (*CHANGING, State.READY) if may_start else (State.READY,)
        if load is not None and load.state in wanted:
            return load
        if not may_start:
            return self.loaded(model_id)
        if self._catalogue.find(model_id) is None:
            raise ModelhubError.not_here(model_id)
        self.start(model_id, by)
        return self._loads.latest[model_id]

    def _begin(self, load: Load, journal: Journal) -> None:
        """Have a new load take its place in the queue, and start its thread; the caller holds the lock.

        Raises ``queue_full``. Whatever goes wrong, no place is taken without a thread that will leave it.
        """
        self._forget_old()
        before = self._loads.latest.get(load.model_id)
        self._loads.queue.join(load)
        try:
            self._loads.latest[load.model_id] = load
            self._on_new_load(load.model_id)
            journal.add(load.row)
            self._spawn(self._thread.run, load)
        except BaseException:
            self._loads.queue.leave(load)
            self._loads.queue.release(load)
            if before is None:
                del self._loads.latest[load.model_id]
            else:
                self._loads.latest[load.model_id] = before
            raise

    def _replace(self, replaced: Sequence[str], load: Load, by: str) -> None:
        """Unload what a request replaces by a load that it has joined."""
        for other in (self._loads.latest.get(model_id) for model_id in replaced):
            if other is not None and other is not load and other.state == State.READY:
                self._spawn(self._unloading.unload, other, by)

    def cancel(self, load_id: str, by: str) -> LoadResource:
        """Cancel a load that waits or runs, and wait until its end was emitted.

        Raises ``wrong_state`` for a load that has ended, ``unknown_load``.
        """
        with self._loads.lock:
            load = self._loads.find(load_id)
            if load is None:
                row = self.row(load_id)
                raise has_ended(row["model_id"], row["state"])
            if load.state not in ACTIVE:
                raise has_ended(load.model_id, load.state)
            load.cancelled_by = load.cancelled_by or by
            self._loads.queue.leave(load)
            worker = load.worker
        load.wakeup.set()
        if worker is not None:
            worker.kill()
        load.ended.wait(PATIENCE_S)
        return self._resource(load)

    def unload(self, model_id: str, by: str) -> Snapshot:
        """Have a ready model leave memory, and wait for its process to exit.

        Returns the model's state with the receipt: memory before, after and freed, in bytes. Raises
        ``wrong_state`` for a model that is not in memory.
        """
        return self._unloading.unload(self.loaded(model_id, also=State.UNLOADING), by)

    def scale(self, model_id: str, count: int | None, by: str) -> None:
        """Have ``count`` copies of a ready model in all, see ``Replicas.scale``."""
        self._replicas.scale(self.loaded(model_id), count, by)

    def end_replica(self, model_id: str, node: str, by: str) -> None:
        """End the copy of a ready model on a node, see ``Replicas.end``."""
        self._replicas.end(self.loaded(model_id), node, by)

    def drain(self, name: str, by: str) -> NodeStatus:
        """Have a node leave: it gets no new loads, and its models leave once nobody uses them.

        What takes longer than five minutes is ended. Returns at once; raises ``unknown_node``, and
        ``invalid_request`` where there is no cluster.
        """
        return self._node(self._draining.begin(name, by))

    def let_go(self, model_id: str) -> None:
        """Keep a model no longer prepared; raises ``wrong_state`` where it is not, or in memory."""
        self._unloading.let_go(self.known_id(model_id))

    def check_idle(self, model_id: str) -> None:
        """Raise ``in_use`` for a ready model that predicts, or that has only just become ready.

        A click that was meant for the button that was there before hits Unload: the page asks first.
        """
        load = self.loaded(model_id, also=State.UNLOADING)
        if load.is_in_use:
            raise ModelhubError("in_use", id=load.model_id, why="is running a prediction")
        if load.ready_at is not None and time.monotonic() - load.ready_at < JUST_READY_S:
            raise ModelhubError("in_use", id=load.model_id, why="has only just become ready")

    def dismiss(self, model_id: str) -> None:
        """Forget how the latest load of the model ended; the history keeps it.

        Raises ``wrong_state`` where there is nothing to dismiss, ``unknown_model``.
        """
        model_id = self.known_id(model_id)
        with self._loads.lock:
            load = self._loads.latest.get(model_id)
            state = self._adapter.snapshot(model_id)["state"] if load is None else load.state
            if state not in ENDED_EARLY:
                raise wrong_state(model_id, state, "There is nothing to dismiss.", "Reload the page.")
            self._quarantine.lift(model_id)
            self._journal().dismiss(model_id)
            self._adapter.dismiss(model_id)

    def grant(self) -> None:
        """A machine has come or gone: loads that wait may run, or learn that no machine takes them."""
        self._loads.grant()

    def await_machines(self, closing: threading.Event) -> None:
        """Have loads wait for the first machine, for a while after the start; for a thread of its own."""
        if not self._machines.all():
            closing.wait(_JOIN_S)
        self._loads.is_assembling = False
        self.grant()

    def close(self) -> None:
        """Refuse new loads, and record how far the running ones came: they end as interrupted."""
        self._unloading.close()
        with self._loads.lock:
            self._loads.is_closing = True
            for load in self._loads.all():
                if load.state in (*ACTIVE, State.READY):
                    self._journal().update(load.load_id, {"to_resume": True})
                timeline = self._adapter.timeline(load.load_id, load.model_id)
                if timeline is not None:
                    snapshot = self._adapter.snapshot(load.model_id)
                    progress = {"seconds": snapshot["elapsed"], "steps": snapshot["steps"]}
                    self._journal().update(load.load_id, {**progress, "ended_at": time.time()})
                    self._journal().keep_timeline(load.load_id, timeline)

    def wait_ended(self, timeout_s: float) -> None:
        """After ``close``: wait until the end of each load was emitted, at most so long in all."""
        deadline = time.monotonic() + timeout_s
        for load in self._loads.all():
            load.ended.wait(max(0.0, deadline - time.monotonic()))

    # What there is

    def row(self, load_id: str) -> LoadRow:
        """A load of this run or of an earlier one; raises ``unknown_load``."""
        load = self._loads.find(load_id)
        row = self._journal().load(load_id) if load is None else load.row
        if row is None:
            raise ModelhubError("unknown_load", id=load_id)
        return row

    def load_ids(self) -> list[str]:
        """The latest load of each model in this run."""
        return [load.load_id for load in self._loads.all()]

    def budget(self) -> Budget:
        """Memory use by owner, and what a new load may take: on all machines together."""
        machines = self._machines.all()
        budgets = [self._budget_of(machine) for machine in machines]
        return budgets[0] if len(budgets) == 1 else sum_of(budgets)

    def _budget_of(self, machine: Machine) -> Budget:
        uses = (
            MemoryUse(
                load.state,
                load.held_bytes if load.state == State.READY else None,
                load.reserved_bytes,
                load.pending_bytes,
            )
            for load in self._loads.on(machine)
        )
        return compute_budget(uses, machine)

    def nodes(self) -> list[NodeStatus]:
        """The machines that load models: those of the cluster, also such as are lost, or this one."""
        return [*map(self._node, self._machines.all()), *self._machines.away()]

    def _node(self, machine: Machine) -> NodeStatus:
        loads, budget = self._loads.on(machine), self._budget_of(machine)
        return {
            **machine.node_status(),
            "models": budget.models,
            "loading": budget.loading,
            "loads": sorted(load.model_id for load in loads if load.state == State.LOADING),
            "ready": sorted(load.model_id for load in loads if load.state == State.READY),
        }

    def quarantined(self) -> list[ModelhubError]:
        """Why programs may not load some models for now, an error for each."""
        return self._quarantine.troubles()

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
        with self._loads.lock:
            for load in self._loads.all():
                if load.state in (*CHANGING, State.READY) and load.model_id.partition("@")[0] == repo:
                    todo = "Unload it first." if load.state == State.READY else "Cancel the load first."
                    raise wrong_state(load.model_id, load.state, "Its files are in use.", todo)
            yield

    def loaded(self, model_id: str, also: State = State.READY) -> Load:
        """The load of a model that is ready (or ``also``); raises ``wrong_state`` or ``unknown_model``."""
        model_id = self._catalogue.id_of(model_id)
        load = self._loads.latest.get(model_id)
        if load is None or load.state not in (State.READY, also):
            self.known_id(model_id)
            state = self._adapter.snapshot(model_id)["state"]
            raise wrong_state(model_id, state, "It is not in memory.", "Load it first.")
        return load

    def _forget_old(self) -> None:
        """Let go of the loads of models that the adapter has forgotten; the journal has them."""
        for model_id, load in list(self._loads.latest.items()):
            if load.process_exited.is_set() and not self._adapter.knows(model_id):
                del self._loads.latest[model_id]

    def _resource(self, load: Load) -> LoadResource:
        return load_resource(load.row, self._adapter.snapshot(load.model_id))
