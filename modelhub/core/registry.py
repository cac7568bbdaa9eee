"""The registry: the models of one server, their loads and the memory they use."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

from modelhub.checkpoints import LoadOptions
from modelhub.config import Settings
from modelhub.core import deletion
from modelhub.core.budget import Budget
from modelhub.core.catalogue import Catalogue
from modelhub.core.experience import Experience
from modelhub.core.follow import load_spec
from modelhub.core.generations import Generations
from modelhub.core.housekeeping import Housekeeping
from modelhub.core.journal import Journal
from modelhub.core.lifecycle import Lifecycle
from modelhub.core.listing import Listing
from modelhub.core.load import ended_on_purpose, load_resource
from modelhub.core.model_files import ModelFiles
from modelhub.core.node_files import NodeFiles
from modelhub.core.on_demand import OnDemand
from modelhub.core.one_machine import OneMachine
from modelhub.core.outlook import Outlook
from modelhub.core.particulars import NEWEST_LOADS, particulars
from modelhub.core.preview import Previewer
from modelhub.core.tally import Tally
from modelhub.demos import sweep
from modelhub.devices import devices
from modelhub.errors import ModelhubError
from modelhub.payloads import (
    DeletedFiles,
    ErrorPayload,
    LoadResource,
    ModelResource,
    NodeStatus,
    Particulars,
    PreviewResource,
    Readiness,
    Snapshot,
    Timeline,
)
from modelhub.progress.adapter import Emit, ProgressAdapter
from modelhub.states import Outcome, State
from modelhub.workers.confinement.in_force import check as check_sandbox
from modelhub.workers.confinement.in_force import in_force
from modelhub.workers.machine import Machines

_LAST_EVENTS_S = 2.0  # how long a server that ends waits for the last events of its loads


class Registry:
    """The models of one server; ``lifecycle`` loads, cancels and unloads them.

    ``spawn(function, *args)`` starts a green thread; ``emit`` sends an event to Socket.IO rooms; ``machines``
    load the models, without them this one alone. Nothing is started before ``start``, ``close`` ends every
    process. Every method may block the thread that calls it, never the process; all raise ModelhubError.
    """

    def __init__(
        self,
        settings: Settings,
        spawn: Callable[..., object],
        emit: Emit,
        machines: Machines | None = None,
    ) -> None:
        self.settings = settings
        self._spawn = spawn
        self.machines: Machines
        self.catalogue: ModelFiles
        if machines is None:
            self.machines = one = OneMachine(settings)
            self.catalogue = one.machine.catalogue
        else:
            self.machines, self.catalogue = machines, NodeFiles(machines)
        self.machines.on_change.append(self._take_change)
        self.adapter = ProgressAdapter(emit, settings.stall_seconds)
        self.experience = Experience()
        self._previewer = Previewer(self.catalogue, self.machines, self.experience, lambda: self.journal)
        self.lifecycle = Lifecycle(
            settings,
            self.catalogue,
            self.machines,
            self.adapter,
            lambda: self.journal,
            spawn,
            self.experience,
            on_new_load=self._previewer.forget,
        )
        self.on_demand = OnDemand(self.lifecycle, self.adapter, settings.autoload)
        self.tally = Tally()
        self.generations = Generations(settings, self.lifecycle, self.tally)
        # Called each time the data folder has become this server's; it may be impossible to write to.
        self.on_start: list[Callable[[], None]] = []
        self.on_change: list[Callable[[], None]] = []  # called when the list of models has changed
        self.on_prepared: list[Callable[[], None]] = []  # called when other models are kept prepared
        self.on_parts: list[Callable[[], None]] = []  # where memory use is another without any event: never
        self.on_stopping: list[Callable[[], None]] = []  # called when the server is about to end
        self.on_close: list[Callable[[], None]] = []  # and then, for what ends with it
        self.on_closed: list[Callable[[], None]] = []  # called when all loads have ended
        self.listing = Listing(self.catalogue, self.adapter, self.budget, self.prepared, settings.dtype)
        self.catalogue.on_late.append(self.announce_change)
        # What each returns does not work as it should, though loads do: see ``degraded``.
        self.troubles: list[Callable[[], Iterable[ModelhubError]]] = [
            self._journal_troubles,
            self.lifecycle.quarantined,
        ]
        self._changes = 0  # of the list of models, that were announced
        self._starting = threading.Lock()
        self._closing = threading.Event()
        self._journal: Journal | None = None
        self._housekeeping = Housekeeping(
            settings,
            self.catalogue,
            self.lifecycle,
            self.adapter,
            self.experience,
            lambda: self.journal,
            self.degraded,
            self.announce_change,
            self._closing,
        )

    @property
    def epoch(self) -> str:
        """Names this run of the server."""
        return self.adapter.epoch

    @property
    def journal(self) -> Journal:
        """The journal of this server's data folder."""
        if self._journal is None:
            self.start()
        assert self._journal is not None  # noqa: S101 - start sets it or raises
        return self._journal

    def start(self) -> None:
        """Open the journal, warm the zygote up, load the boot list. Calling it again does nothing.

        Raises ModelhubError ``already_running`` when another server uses the data folder, ``bad_setting``
        when the folder cannot be made, ``newer_journal``, ``no_sandbox``. A journal that cannot be
        used stops nothing.
        """
        with self._starting:
            if self._journal is not None:
                return
            check_sandbox(self.settings.sandbox)
            try:
                self._journal = Journal(
                    self.settings.data_dir, self.settings.keep_loads, self._announce_folder
                )
            except OSError as error:
                folder = repr(str(self.settings.data_dir))
                raise ModelhubError(
                    "bad_setting", setting="MODELHUB_DATA_DIR", value=folder, why=f"{error}."
                ) from error
        if isinstance(self.catalogue, Catalogue):  # else the nodes do that with their own
            folders = self.catalogue.models_dir, self.catalogue.cache_dir, self.catalogue.demo_dir
            sweep(self.catalogue.demo_dir)
            self._spawn(deletion.sweep, *folders)
        self._announce_folder()
        house = self._housekeeping
        to_resume = house.take_over(self._journal)
        self.machines.start()
        self._spawn(self.lifecycle.await_machines, self._closing)
        for chore in (house.watch_folders, house.trim_journal, house.mend):
            self._spawn(chore)
        for model_id in self.settings.preload:
            self.lifecycle.start(model_id, by="preload")
        house.resume(to_resume)

    def _announce_folder(self) -> None:
        for hook in self.on_start:
            hook()

    def close(self) -> None:
        """End every process; loads that are running end as interrupted."""
        self._closing.set()
        self.lifecycle.close()
        for hook in (*self.on_stopping, *self.on_close):
            hook()
        self.machines.close()
        self.lifecycle.wait_ended(_LAST_EVENTS_S)
        for hook in self.on_closed:
            hook()
        if self._journal is not None:
            self._journal.interrupt()
            self._journal.close()

    def dismiss(self, model_id: str) -> None:
        """Forget how the latest load of the model ended; raises as ``lifecycle.dismiss``."""
        self.lifecycle.dismiss(model_id)
        self.announce_change()

    def announce_change(self) -> None:
        """The list of models is another: pages read it again."""
        self._changes += 1
        for hook in self.on_change:
            hook()

    def _take_change(self) -> None:
        """A machine has come or gone, or keeps other models prepared."""
        self.lifecycle.grant()
        if isinstance(self.catalogue, NodeFiles) and self.catalogue.has_changed():
            self.announce_change()
        for hook in self.on_prepared:
            hook()

    def prepared(self) -> frozenset[str]:
        """The models that are kept prepared for their next load, on any machine."""
        return frozenset[str]().union(*(machine.kept.ids() for machine in self.machines.all()))

    def _journal_troubles(self) -> list[ModelhubError]:
        return [] if self._journal is None else self._journal.troubles()

    def degraded(self) -> list[ErrorPayload]:
        """What does not work as it should, though loads do: its code, what it means and what to do."""
        return [error.to_dict() for trouble in self.troubles for error in trouble()]

    def id_of(self, text: str) -> str:
        """The id of what a person or a client names; raises ``invalid_id``."""
        return self.catalogue.id_of(text)

    def known_id(self, text: str) -> str:
        """The id of a model that is on this machine or was requested; raises ``unknown_model``."""
        return self.lifecycle.known_id(text)

    @property
    def is_complete(self) -> bool:
        """Whether the folders of models were looked through once, so that the list is whole."""
        return self.catalogue.is_complete

    def tokens_of_hub(self) -> frozenset[str] | None:
        """What a web process has to know of the tokens of its hub: nothing here."""
        return None

    def devices(self) -> Sequence[str]:
        """The devices that a load can choose."""
        return devices()

    def away(self) -> str:
        """What keeps this process from knowing how things are, in words: nothing."""
        return ""

    def models(self) -> list[ModelResource]:
        """Every model that is on this machine or was requested, by id."""
        return self.listing.resources(one.model_id for one in self.listing.all())

    def model(self, model_id: str) -> ModelResource:
        """One model; raises ``unknown_model``."""
        return self.listing.resource(self.lifecycle.known_id(model_id))

    @property
    def list_version(self) -> str:
        """Another text whenever the list of models, or what a page says of absent ones, is another."""
        return f"{self.epoch}.{self._changes}.{self.catalogue.version}"

    def snapshot(self, model_id: str) -> Snapshot:
        """The full state of a model: the payload of its latest event, as of now."""
        return self.adapter.snapshot(model_id)

    def load(self, load_id: str) -> LoadResource:
        """One load of this run or an earlier one; raises ``unknown_load``."""
        row = self.lifecycle.row(load_id)
        return load_resource(row, self.snapshot(row["model_id"]))

    def loads(
        self,
        model_id: str | None = None,
        outcome: Outcome | None = None,
        limit: int = 50,
        offset: int = 0,
        before: str | None = None,
    ) -> list[LoadResource]:
        """The newest loads first, see ``Journal.loads``."""
        rows = self.journal.loads(model_id, outcome, limit, offset, before)
        return [load_resource(row, self.snapshot(row["model_id"])) for row in rows]

    def timeline(self, load: LoadResource) -> Timeline | None:
        """The timeline of a load, so far; None where none was kept."""
        running = self.adapter.timeline(load["load_id"], load["model_id"])
        return running or self.journal.timeline(load["load_id"])

    def nodes(self) -> list[NodeStatus]:
        """The nodes of the cluster, also such as are lost or were refused; empty where there is none."""
        return self.lifecycle.nodes() if isinstance(self.catalogue, NodeFiles) else []

    def budget(self) -> Budget:
        """Memory use by owner, and what a new load may take."""
        return self.lifecycle.budget()

    def preview(self, model_id: str, options: LoadOptions | None = None) -> PreviewResource:
        """What a load would bring and need, without starting it; raises as the load itself would."""
        model_id = self.catalogue.id_of(model_id)
        spec = load_spec(self.settings, model_id, options or LoadOptions())
        preview = self._previewer.preview(spec)
        budget, (_, forecast, last_seconds) = self.budget(), self._previewer.outlook(spec, preview)
        return {
            **preview,
            "id": model_id,
            "free_bytes": budget.room,
            "fits": budget.fits(preview["need_bytes"]),
            "forecast": forecast,
            "last_seconds": last_seconds,
        }

    def outlook(self, model_id: str) -> Outlook | None:
        """What is expected of a load of the model that would begin now; None where no machine takes it."""
        try:
            return self._previewer.outlook(load_spec(self.settings, model_id, LoadOptions()))
        except ModelhubError as error:
            if error.code != "no_node":
                raise
            return None

    def particulars(self, model_id: str, with_outlook: bool) -> Particulars:
        """What the page of a model shows beside its state; raises ``unknown_model``."""
        model_id = self.known_id(model_id)
        entry = self.catalogue.find(model_id)
        loads = self.loads(model_id, limit=NEWEST_LOADS)
        outlook = functools.partial(self.outlook, model_id) if with_outlook else None
        return particulars(loads, outlook, entry.folder if entry is not None else None)

    def delete_files(self, model_id: str, own: bool = False) -> DeletedFiles:
        """Delete the files of a model, in the cache those of all revisions, on every machine that has them.

        Raises ``own_folder`` for one in the user's models folder unless ``own``, ``wrong_state`` while it
        loads or is in memory, ``no_files``, ``cannot_delete``.
        """
        self.catalogue.refresh()
        model_id = self.catalogue.id_of(model_id)
        deleted = deletion.delete_everywhere(self.machines.all(), model_id, own, self.lifecycle.unused)
        self._previewer.forget(model_id)
        self.announce_change()
        return deleted

    def readiness(self) -> Readiness:
        """Whether new loads start at once and the boot list is loaded, how far that is, what is degraded."""
        preload = {model_id: self.snapshot(model_id)["state"] for model_id in self.settings.preload}
        workers = self.machines.status()
        ready = workers["state"] == "warm" and all(state == State.READY for state in preload.values())
        return {
            "ready": ready and not self.lifecycle.is_closing,
            "workers": workers,
            "preload": preload,
            "sandbox": in_force(self.settings.sandbox),
            "degraded": self.degraded(),
        }

    def predict(
        self,
        model_id: str,
        inputs: Any,
        parameters: dict[str, Any],
        has_left: Callable[[], bool] = lambda: False,
        op: Literal["predict", "embed"] = "predict",
        keep_s: float | None = None,
    ) -> bytes:
        """Run one prediction in the model's process; return a ``payloads.Prediction`` as JSON text.

        With ``embed``, embeddings: {"embeddings": [[...]], "prompt_tokens": n}. ``keep_s`` seconds after its
        end the model may leave, see ``core.use``; None: as before.

        It is stopped once its client ``has_left``. Raises ``wrong_state`` for a model that is not in memory,
        ``bad_inputs``, ``prediction_failed``, ``prediction_timeout``, ``too_busy``.
        """
        with self.tally.prediction(op, has_left):
            return self._predict(model_id, inputs, parameters, has_left, op, keep_s)

    def _predict(
        self,
        model_id: str,
        inputs: Any,
        parameters: dict[str, Any],
        has_left: Callable[[], bool],
        op: Literal["predict", "embed"],
        keep_s: float | None,
    ) -> bytes:
        load = self.lifecycle.loaded(model_id)
        model_id, copy = load.model_id, load.least_busy()
        worker = copy.worker
        assert worker is not None  # noqa: S101 - a ready copy has one
        if (waiting := worker.waiting) >= self.settings.max_waiting_predictions:
            raise ModelhubError("too_busy", id=model_id, waiting=waiting)
        load.use.begin()
        try:
            ok, body = worker.predict(model_id, inputs, parameters, self.settings.limits, has_left, op)
        except ModelhubError:
            if (ended := ended_on_purpose(copy, worker)) is None:
                raise
            raise ended from None
        finally:
            load.use.end(keep_s)
        if not ok:
            raise ModelhubError.from_json(body)
        return body
