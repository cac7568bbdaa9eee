"""The end of a ready model: on request or not, with a receipt; after a request it may be kept prepared."""

from __future__ import annotations

from collections.abc import Callable

from modelhub.core.budget import unload_receipt
from modelhub.core.journal import Journal
from modelhub.core.keep_later import KeepLater
from modelhub.core.load import Load, record
from modelhub.core.load_log import log_exit
from modelhub.core.loads import Loads
from modelhub.core.memory_count import MemoryCount
from modelhub.payloads import Snapshot, Timeline
from modelhub.progress.adapter import ProgressAdapter
from modelhub.states import State
from modelhub.workers.launcher import Launcher

PATIENCE_S = 10.0  # how long a request waits for a process to exit


class Unloading:
    """``unload`` is for any thread, ``begin_use`` and ``leave`` for that of the load."""

    def __init__(
        self,
        loads: Loads,
        launcher: Launcher,
        adapter: ProgressAdapter,
        journal: Callable[[], Journal],
        spawn: Callable[..., object],
        keep_seconds: float,
    ) -> None:
        self._loads = loads
        self._memory = MemoryCount(launcher)
        self._keep_later = KeepLater(launcher, keep_seconds, loads.is_loading)
        self._adapter = adapter
        self._journal = journal
        self._spawn = spawn

    def unload(self, load: Load, by: str) -> Snapshot:
        """End the process of a ready model and wait for that; return the state with the receipt."""
        before = self._memory.total(leaving=load.worker)
        with self._loads.lock:
            if load.state == State.READY:
                load.state, load.unloaded_by, load.memory_before = State.UNLOADING, by, before
                self._adapter.unloading(load.model_id)
        if load.worker is not None:
            load.worker.kill()
        load.process_exited.wait(PATIENCE_S)
        return load.receipt or self._adapter.snapshot(load.model_id)

    def begin_use(self, load: Load) -> None:
        """A model has become ready: count its memory soon, so that the receipt need not wait for that."""
        self._spawn(self._memory.read_later, load.worker)

    def leave(self, load: Load) -> None:
        """The process of a ready model has exited, on request or not: emit it, with the receipt."""
        worker = load.worker
        assert worker is not None  # noqa: S101 - a ready load has one
        worker.close()
        load.reserved_bytes = 0
        error = None if load.unloaded_by is not None else worker.exit_error(load.model_id)
        receipt = unload_receipt(load.memory_before, self._memory.total(), load.unloaded_by)
        if self._loads.is_closing:
            return
        with self._loads.lock:
            load.state = State.ABSENT if error is None else State.FAILED

        def keep_record(payload: Snapshot, _: Timeline | None) -> None:
            record(self._journal(), load, {"state": State.UNLOADED, "error": payload["error"]})
            log_exit(load, payload)

        load.receipt = self._adapter.unloaded(load.model_id, load.load_id, receipt, error, keep_record)
        if error is None:
            self._spawn(self._keep_later.keep, load.spec)

    def close(self) -> None:
        """Keep nothing prepared any more."""
        self._keep_later.close()
