"""Where a load goes on that its machine has refused, or that was lost before the load had its memory."""

from __future__ import annotations

from collections.abc import Callable

from modelhub.core.load import Load
from modelhub.core.loads import Loads
from modelhub.errors import ModelhubError
from modelhub.progress.adapter import ProgressAdapter
from modelhub.workers.machine import Machines

_MOST = 3  # machines that one load tries
_SLOT = "waiting for a node that loads no other model"


class NextMachine:
    """For the threads of the loads; ``wait_for(load, what)`` waits a moment, and says what for."""

    def __init__(
        self,
        loads: Loads,
        adapter: ProgressAdapter,
        wait_for: Callable[[Load, str], None],
    ) -> None:
        self._loads = loads
        self._adapter = adapter
        self._wait_for = wait_for

    def move(self, load: Load, error: ModelhubError) -> str:
        """Give a load the next machine after this ``error``: why it goes on there, in words.

        Empty where it cannot: the error, which then names the nodes that were tried, is that of the load.
        """
        if load.machine is None or load.machine.name is None or not _may_move(load, error):
            return ""
        load.tried.append(load.machine.name)
        if load.worker is not None:
            load.worker.close()
        load.worker, load.is_second_attempt = None, True
        if len(load.tried) >= _MOST or not self._wait_for_next(load):
            if len(load.tried) > 1:
                error.hint = f"Tried were the nodes {', '.join(load.tried)}. {error.hint}"
            return ""
        assert load.machine is not None  # noqa: S101 - it was given one
        self._adapter.placed(load.model_id, load.machine.name, load.placement or None)
        return f"on {load.machine.name} now, since {_why(load.tried[-1], error)}"

    def _wait_for_next(self, load: Load) -> bool:
        """Wait for a slot of a machine that was not tried yet; False where none is left, or at a cancel."""
        with self._loads.lock:
            if load.cancelled_by is None:
                self._loads.queue.join_again(load)
        while not load.may_run and load.cancelled_by is None:
            self._wait_for(load, _SLOT)
        return load.machine is not None and load.cancelled_by is None


def no_node(machines: Machines, model_id: str) -> ModelhubError:
    """The error for a load that no machine takes."""
    names = [machine.name or "" for machine in machines.all()]
    why = f"of {', '.join(names)}, none takes new loads for that device" if names else "none has joined"
    return ModelhubError("no_node", id=model_id, why=why)


def is_lost(load: Load, error: ModelhubError) -> bool:
    """Whether a load has failed since its machine was lost, or has left."""
    return error.code == "node_lost" or (load.machine is not None and not load.machine.is_there)


def _may_move(load: Load, error: ModelhubError) -> bool:
    return error.code == "no_memory" or (load.reserved_bytes == 0 and is_lost(load, error))


def _why(name: str, error: ModelhubError) -> str:
    return f"{name} has too little memory" if error.code == "no_memory" else f"{name} was lost"
