"""The life of a load: it waits for its turn, is followed, ends, and in the end its process is gone."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from typing import Any

from modelhub import memory, units
from modelhub.checkpoints import LoadSpec, checkpoint
from modelhub.config import Settings
from modelhub.core.budget import Holding, Ledger, draw_up
from modelhub.core.catalogue import Catalogue
from modelhub.core.journal import Journal
from modelhub.core.load import Load, LoadQueue
from modelhub.demos import sweep
from modelhub.errors import ModelhubError
from modelhub.progress.adapter import ProgressAdapter
from modelhub.workers.launcher import Launcher

log = logging.getLogger(__name__)
_KEPT_AT_THE_END = (
    *("bytes", "memory", "device", "dtype", "source", "revision", "architecture", "parameters"),
    *("error", "steps"),
)


def spec_of(settings: Settings, model_id: str, force: bool = False) -> LoadSpec:
    """What a worker has to know to load the model, by these settings."""
    folders = {"models_dir": str(settings.models_dir), "demo_dir": str(settings.demo_dir)}
    return LoadSpec(model_id, **folders, device=settings.device, dtype=settings.dtype, force=force)


class Runner:
    """Runs loads, each in a green thread of its own that alone tells its events.

    ``loads`` has the latest load of each model in this run; it and the loads' states change under ``lock``.
    """

    def __init__(
        self,
        settings: Settings,
        catalogue: Catalogue,
        launcher: Launcher,
        adapter: ProgressAdapter,
        journal: Callable[[], Journal],
    ) -> None:
        self.lock = threading.RLock()
        self.loads: dict[str, Load] = {}
        self.queue = LoadQueue(settings.max_concurrent_loads)
        self.closing = False
        self._settings = settings
        self._catalogue = catalogue
        self._launcher = launcher
        self._adapter = adapter
        self._journal = journal

    def run(self, load: Load) -> None:
        """Carry one load to its end, and on until its process is gone."""
        failure: ModelhubError | None = None
        facts: dict[str, Any] = {}
        try:
            if self._wait_for_turn(load):
                facts = self._follow(load)
        except ModelhubError as error:
            failure = error
        except Exception:
            log.exception("Following the load of %s failed", load.model_id)
            failure = ModelhubError("internal")
        self._end(load, facts, failure)
        if load.state == "ready" and load.worker is not None:
            self._release(load)
            load.worker.serve()
            self._leave(load)
        elif load.worker is not None:
            load.worker.close()
            sweep(self._settings.demo_dir)
        load.reserved_bytes = 0
        self._release(load)
        load.gone.set()

    def _wait_for_turn(self, load: Load) -> bool:
        """Wait in the queue; False when the load was cancelled there."""
        told = None
        while not load.turn and load.cancelled_by is None:
            position = self.queue.position(load)
            if position is not None and position != told:
                told = position
                self._adapter.queued(load.model_id, load.load_id, position)
                load.told.set()
            load.wake.wait()
            load.wake.clear()
        return load.cancelled_by is None

    def _follow(self, load: Load) -> dict[str, Any]:
        """Have a worker load the model and tell each checkpoint; answers the facts of the loaded model."""
        load.state = "loading"
        self._record(load, state="loading", started_at=time.time())
        entry = self._catalogue.find(load.model_id)
        wait_s = self._launcher.expected_wait_s()
        self._adapter.started(load.model_id, load.load_id, entry.size_bytes if entry else None, wait_s)
        load.told.set()
        if wait_s:
            detail = "The server has just started: importing torch and transformers."
            self._adapter.emit_progress(load.model_id, *checkpoint(1, detail=detail))
        with self.lock:
            load.worker = self._launcher.worker()
        checkpoints = load.worker.load(
            spec_of(self._settings, load.model_id, load.force), lambda need: self._admit(load, need)
        )
        while True:
            if load.cancelled_by is not None:
                return {}
            try:
                news = next(checkpoints)
            except StopIteration as end:
                facts: dict[str, Any] = end.value
                return facts
            if news is None:
                self._adapter.tick(load.model_id)
            else:
                self._adapter.emit_progress(load.model_id, *news)

    def _end(self, load: Load, facts: dict[str, Any], failure: ModelhubError | None) -> None:
        """Decide how the load ended, and tell it."""
        if self.closing:
            failure = ModelhubError("interrupted", id=load.model_id)
        with self.lock:
            if load.cancelled_by is not None and not self.closing:
                load.state = "cancelled"
            else:
                load.state = "failed" if failure is not None else "ready"
        if load.state == "cancelled":
            if not self._adapter.is_open(load.model_id):
                self._adapter.queued(load.model_id, load.load_id, 1)
            self._adapter.cancelled(load.model_id, load.cancelled_by or load.by, self._keeper(load))
        elif failure is not None:
            self._adapter.failed(load.model_id, failure, self._keeper(load))
        else:
            if load.worker is not None:
                load.reserved_bytes = load.worker.mapped_bytes
            self._adapter.completed(load.model_id, facts, self._keeper(load))
        load.told.set()
        load.ended.set()
        self._launcher.prepare()

    def _keeper(self, load: Load) -> Callable[[dict[str, Any]], None]:
        """Writes the end of a load into the journal."""

        def keep(payload: dict[str, Any]) -> None:
            state = "interrupted" if self.closing else load.state
            values = {"state": state, "ended_at": time.time(), "seconds": payload["elapsed"]}
            values |= {name: payload.get(name) for name in _KEPT_AT_THE_END}
            self._record(load, **values, ended_by=load.cancelled_by)
            self._journal().update(load.load_id, timeline=payload["timeline"])

        return keep

    def _leave(self, load: Load) -> None:
        """The process of a ready model has ended, asked to or not: tell it, with the receipt."""
        worker = load.worker
        assert worker is not None  # noqa: S101 - a ready load has one
        worker.close()
        load.reserved_bytes = 0
        error = None if load.unloaded_by is not None else worker.exit_error(load.model_id)
        before, after = load.memory_before, self.memory_bytes()
        freed = None if before is None or after is None else max(0, before - after)
        receipt = {"memory_before": before, "memory_after": after, "freed": freed, "by": load.unloaded_by}
        if self.closing:
            return
        with self.lock:
            load.state = "absent" if error is None else "failed"

        def keep(payload: dict[str, Any]) -> None:
            self._record(load, state="unloaded", error=payload["error"])

        load.receipt = self._adapter.unloaded(load.model_id, load.load_id, receipt, error, keep)

    def _admit(self, load: Load, need_bytes: int) -> None:
        """Reserve memory for a load; raises ``no_memory`` with the numbers.

        Weights mapped from files count as page cache, which the system calls available: they stay reserved as
        long as the model is loaded.
        """
        with self.lock:
            others = sum(other.reserved_bytes for other in self.loads.values() if other is not load)
            free = max(0, memory.free_bytes() - others)
            if need_bytes > free and not load.force:
                raise ModelhubError(
                    "no_memory", id=load.model_id, needed=units.size(need_bytes), free=units.size(free)
                )
            load.reserved_bytes = need_bytes

    def _release(self, load: Load) -> None:
        with self.lock:
            self.queue.release(load)

    def _record(self, load: Load, **values: Any) -> None:
        load.row |= values
        self._journal().update(load.load_id, **values)

    def ledger(self) -> Ledger:
        """Whose the memory is, and what a new load may take."""
        return draw_up(
            Holding(load.state, self._adapter.snapshot(load.model_id).get("memory"), load.reserved_bytes)
            for load in list(self.loads.values())
        )

    def memory_bytes(self) -> int | None:
        """What modelhub's processes hold together."""
        workers = self._launcher.memory_bytes()
        return None if workers is None else workers + memory.process_memory(os.getpid()).total
