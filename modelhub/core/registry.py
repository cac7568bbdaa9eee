"""The hub: what there is, and what can be done with it: load, join, cancel, unload, predict."""

from __future__ import annotations

import secrets
import sqlite3
import time
from collections.abc import Callable
from typing import Any

from modelhub.config import Settings
from modelhub.core.budget import Ledger
from modelhub.core.catalogue import Catalogue
from modelhub.core.journal import Journal
from modelhub.core.lifecycle import Runner, spec_of
from modelhub.core.load import ACTIVE, Load
from modelhub.core.preview import Planner
from modelhub.demos import sweep
from modelhub.errors import ModelhubError
from modelhub.model_ids import parse_model_id
from modelhub.progress.adapter import Emit, ProgressAdapter
from modelhub.progress.trace import Trace
from modelhub.workers.launcher import Launcher

_PATIENCE_S = 10.0  # how long a request waits for a process to be gone


class Hub:
    """The models of one server. ``spawn`` starts a green thread; ``emit`` tells an event to rooms.

    Every method may block the thread that calls it, never the process; all raise ModelhubError.
    """

    def __init__(self, settings: Settings, spawn: Callable[..., Any], emit: Emit) -> None:
        self.settings = settings
        self._catalogue = Catalogue(settings.models_dir)
        self.launcher = Launcher(self._catalogue.model_types)
        self._planner = Planner(self._catalogue, self.launcher)
        self.adapter = ProgressAdapter(emit, settings.stall_seconds)
        self._spawn = spawn
        self._runner = Runner(settings, self._catalogue, self.launcher, self.adapter, lambda: self.journal)
        self._interrupted: dict[str, dict[str, Any]] = {}  # model id -> why its load of an earlier run ended
        self.at_start: list[Callable[[], None]] = []  # what else is to be done once the data folder is ours
        self._journal: Journal | None = None

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
        """Open the journal, warm the zygote up, load the boot list. Done once; called again it does nothing.

        Raises ModelhubError ``already_running`` when another server uses the data folder, ``bad_setting``
        when the folder cannot be used.
        """
        with self._runner.lock:
            if self._journal is not None:
                return
            try:
                self._journal = Journal(self.settings.data_dir)
            except (OSError, sqlite3.Error) as error:
                folder = repr(str(self.settings.data_dir))
                raise ModelhubError(
                    "bad_setting", setting="MODELHUB_DATA_DIR", value=folder, why=f"{error}."
                ) from error
        sweep(self.settings.demo_dir)
        for do in self.at_start:
            do()
        self._journal.interrupt()
        newest = {row["model_id"]: row for row in reversed(self._journal.loads(limit=1000))}
        self._interrupted = {
            model_id: row["error"] for model_id, row in newest.items() if row["state"] == "interrupted"
        }
        self.launcher.start()
        for model_id in self.settings.preload:
            self.request(model_id, by="preload")

    def close(self) -> None:
        """End every process and mark what was loading as interrupted."""
        with self._runner.lock:
            self._runner.closing = True
            journal = self._journal
            if journal is not None:
                self._keep_unfinished(journal)
        self.adapter.stopping(ModelhubError("shutting_down"))
        self.launcher.close()
        if journal is not None:
            journal.interrupt()
            journal.close()

    def _keep_unfinished(self, journal: Journal) -> None:
        """How far the loads under way had come: their page is to tell it after the restart."""
        for load in self._runner.loads.values():
            timeline = self.adapter.timeline(load.load_id, load.model_id)
            if timeline is not None:
                snapshot = self.snapshot(load.model_id)
                values = {"seconds": snapshot["elapsed"], "steps": snapshot["steps"], "timeline": timeline}
                journal.update(load.load_id, ended_at=time.time(), **values)

    # What there is

    def models(self) -> list[dict[str, Any]]:
        """Every model that is here or was asked for, by id."""
        known = {*self._catalogue.entries(), *self.adapter.known(), *self._interrupted}
        ledger = self.ledger()
        return [self._model_resource(model_id, ledger) for model_id in sorted(known, key=str.lower)]

    def model(self, model_id: str) -> dict[str, Any]:
        """One model; raises ``unknown_model`` where nothing is known of it."""
        if not self.knows(model_id):
            raise ModelhubError("unknown_model", id=model_id)
        return self._model_resource(model_id, self.ledger())

    def trace(self, model_id: str) -> Trace:
        """What is kept of the model's latest load: its story, and its rate over time."""
        return self.adapter.trace(model_id)

    def ledger(self) -> Ledger:
        """Whose the memory is, and what a new load may take."""
        return self._runner.ledger()

    def knows(self, model_id: str) -> bool:
        """Whether the model is here or was asked for; raises ``invalid_id``."""
        parse_model_id(model_id)
        is_told = self.adapter.knows(model_id) or model_id in self._interrupted
        return is_told or self._catalogue.find(model_id) is not None

    def snapshot(self, model_id: str) -> dict[str, Any]:
        """The full state of a model: the payload of its latest event, as of now.

        One that was loading when an earlier run of the server ended is absent, with that as its ``error``.
        """
        snapshot = self.adapter.snapshot(model_id)
        if snapshot["seq"] == 0 and model_id in self._interrupted:
            return {**snapshot, "error": self._interrupted[model_id]}
        return snapshot

    def load(self, load_id: str) -> dict[str, Any]:
        """One load of this run or an earlier one; raises ``unknown_load``."""
        for load in self._runner.loads.values():
            if load.load_id == load_id:
                return self._load_resource(load.row)
        row = self.journal.load(load_id)
        if row is None:
            raise ModelhubError("unknown_load", id=load_id)
        return self._load_resource(row)

    def loads(
        self, model_id: str | None = None, outcome: str | None = None, limit: int = 50, offset: int = 0
    ) -> list[dict[str, Any]]:
        """The newest loads first, of one model or of all, with one outcome or with any."""
        return [self._load_resource(row) for row in self.journal.loads(model_id, outcome, limit, offset)]

    def timeline(self, load: dict[str, Any]) -> dict[str, Any] | None:
        """When the steps of a load began, its bytes over time and its stalls, so far; None if not known."""
        running = self.adapter.timeline(load["load_id"], load["model_id"])
        return running or self.journal.timeline(load["load_id"])

    def plan(self, model_id: str) -> dict[str, Any]:
        """What a load would bring and need, without starting it; raises as the load itself would."""
        plan = self._planner.plan(spec_of(self.settings, model_id))
        ledger = self.ledger()
        fits = ledger.fits(plan["size_bytes"])
        return {"id": model_id, **plan, "free_bytes": ledger.free, "fits": fits}

    def readiness(self) -> dict[str, Any]:
        """Whether new loads start at once and the boot list is loaded, and how far that is."""
        preload = {model_id: self.snapshot(model_id)["state"] for model_id in self.settings.preload}
        workers = self.launcher.status()
        ready = workers["state"] == "warm" and all(state == "ready" for state in preload.values())
        return {"ready": ready and not self._runner.closing, "workers": workers, "preload": preload}

    # What can be done

    def request(self, model_id: str, by: str, force: bool = False) -> tuple[dict[str, Any], bool]:
        """Load a model, or join the load that runs or is done: (load resource, whether it is a new load).

        Answers when the load's first event was told: whoever asks after it finds the model queued or loading.
        """
        load, is_new = self._join_or_make(model_id, by, force)
        load.told.wait(_PATIENCE_S)
        return self._load_resource(load.row), is_new

    def _join_or_make(self, model_id: str, by: str, force: bool) -> tuple[Load, bool]:
        parse_model_id(model_id)
        journal = self.journal
        with self._runner.lock:
            if self._runner.closing:
                raise ModelhubError("shutting_down")
            current = self._runner.loads.get(model_id)
            if current is not None and current.state in (*ACTIVE, "ready"):
                return current, False
            if current is not None and current.state == "unloading":
                raise _wrong_state(
                    model_id, "unloading", "It leaves memory just now.", "Try again in a moment."
                )
            self._planner.forget(model_id)
            load = Load(secrets.token_hex(8), model_id, by, force)
            self._runner.queue.join(load)
            self._runner.loads[model_id] = load
            journal.add(load.load_id, model_id, by)
            load.row = journal.load(load.load_id) or {"load_id": load.load_id, "model_id": model_id}
        self._spawn(self._runner.run, load)
        return load, True

    def cancel(self, load_id: str, by: str) -> dict[str, Any]:
        """Cancel a load that waits or runs, and wait until its end was told."""
        with self._runner.lock:
            load = next((load for load in self._runner.loads.values() if load.load_id == load_id), None)
            if load is None:
                past = self.load(load_id)
                raise _wrong_state(
                    past["model_id"], past["state"], "That load has ended.", "There is nothing to cancel."
                )
            if load.state not in ACTIVE:
                todo = "Unload the model instead." if load.state == "ready" else "There is nothing to cancel."
                raise _wrong_state(load.model_id, load.state, "That load has ended.", todo)
            load.cancelled_by = load.cancelled_by or by
            self._runner.queue.leave(load)
            worker = load.worker
        load.wake.set()
        if worker is not None:
            worker.kill()
        load.ended.wait(_PATIENCE_S)
        return self._load_resource(load.row)

    def unload(self, model_id: str, by: str) -> dict[str, Any]:
        """Let a ready model leave memory; answers the receipt: memory before, after, freed (bytes)."""
        load = self._ready_load(model_id, also="unloading")
        before = self._runner.memory_bytes()
        with self._runner.lock:
            if load.state == "ready":
                load.state, load.unloaded_by, load.memory_before = "unloading", by, before
                self.adapter.unloading(model_id)
        if load.worker is not None:
            load.worker.kill()
        load.gone.wait(_PATIENCE_S)
        return load.receipt or self.snapshot(model_id)

    def predict(self, model_id: str, inputs: Any, parameters: dict[str, Any]) -> bytes:
        """Run one prediction in the model's process; answers JSON text as the API sends it."""
        load = self._ready_load(model_id)
        assert load.worker is not None  # noqa: S101 - a ready load has one
        try:
            ok, body = load.worker.predict(model_id, inputs, parameters)
        except ModelhubError:
            if load.unloaded_by is None:
                raise
            raise _wrong_state(model_id, "absent", "It was unloaded meanwhile.", "Load it again.") from None
        if not ok:
            raise ModelhubError.from_json(body)
        return body

    def _ready_load(self, model_id: str, also: str = "ready") -> Load:
        load = self._runner.loads.get(model_id)
        if load is None or load.state not in ("ready", also):
            state = self.model(model_id)["state"]
            raise _wrong_state(model_id, state, "It is not in memory.", "Load it first.")
        return load

    def _model_resource(self, model_id: str, ledger: Ledger) -> dict[str, Any]:
        entry = self._catalogue.find(model_id)
        snapshot = self.snapshot(model_id)
        is_here = snapshot["state"] in ("loading", "ready", "unloading")
        return {
            "id": model_id,
            "source": entry.source if entry else "hub",
            "size_bytes": entry.size_bytes if entry else None,
            "fits": None if is_here or entry is None else ledger.fits(entry.size_bytes),
            "random_weights": entry is not None and entry.source == "demo",
            "state": snapshot["state"],
            "snapshot": snapshot,
        }

    def _load_resource(self, row: dict[str, Any]) -> dict[str, Any]:
        snapshot = self.snapshot(row["model_id"])
        return {**row, "snapshot": snapshot if snapshot["load_id"] == row["load_id"] else None}


def _wrong_state(model_id: str, state: str, why: str, todo: str) -> ModelhubError:
    return ModelhubError("wrong_state", id=model_id, state=state, why=why, todo=todo)
