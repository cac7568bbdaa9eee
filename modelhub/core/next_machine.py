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
        machines: Machines,
        adapter: ProgressAdapter,
        wait_for: Callable[[Load, str], None],
    ) -> None:
        self._loads = loads
        self._machines = machines
        self._adapter = adapter
        self._wait_for = wait_for

    def move(self, load: Load, error: ModelhubError) -> str:
        """Give a load the next machine after this ``error``: why it goes on there, in words.

        Empty where it cannot: the error, which then names the nodes that were tried, is that of the load.
        """
        if load.machine is None or load.machine.name is None or not _may_move(load, error):
            return ""
        load.tried.append(load.machine.name)
        if len(load.tried) >= _MOST or not self._take_next(load):
            if len(load.tried) > 1:
                error.hint = f"Tried were the nodes {', '.join(load.tried)}. {error.hint}"
            return ""
        if load.worker is not None:
            load.worker.close()
        load.worker, load.is_second_attempt = None, True
        self._adapter.placed(load.model_id, load.machine.name, load.placement or None)
        return f"on {load.machine.name} now, since {_why(load.tried[-1], error)}"

    def _take_next(self, load: Load) -> bool:
        """Take a slot of a machine that was not tried yet, once one is free; False where none is left."""
        while load.cancelled_by is None:
            with self._loads.lock:
                choices = self._machines.choose(load.spec, self._loads.queue.running(), load.tried)
                if choices:
                    load.machine, load.placement = choices[0]
                    self._loads.queue.grant()
                    return True
            if not self._machines.choose(load.spec, {}, load.tried):
                return False
            self._wait_for(load, _SLOT)
        return False


def is_lost(load: Load, error: ModelhubError) -> bool:
    """Whether a load has failed since its machine was lost, or has left."""
    return error.code == "node_lost" or (load.machine is not None and not load.machine.is_there)


def _may_move(load: Load, error: ModelhubError) -> bool:
    return error.code == "no_memory" or (load.reserved_bytes == 0 and is_lost(load, error))


def _why(name: str, error: ModelhubError) -> str:
    return f"{name} has too little memory" if error.code == "no_memory" else f"{name} was lost"
