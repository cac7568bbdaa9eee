"""Models that are loaded since a request needs them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from modelhub.core.lifecycle import Lifecycle
from modelhub.core.load import Load, wrong_state
from modelhub.errors import ModelhubError
from modelhub.payloads import Snapshot
from modelhub.progress.adapter import ProgressAdapter
from modelhub.states import State

_FIRST_S = 0.5  # what fails within that time has told nobody that it loads
_TELL_S = 1.0


class OnDemand:
    """Loads a model for a request where ``MODELHUB_AUTOLOAD`` allows it."""

    def __init__(self, lifecycle: Lifecycle, adapter: ProgressAdapter, is_allowed: bool) -> None:
        self._lifecycle = lifecycle
        self._adapter = adapter
        self._is_allowed = is_allowed

    def ready(
        self, model_id: str, by: str, has_left: Callable[[], bool] = lambda: False
    ) -> Iterator[Snapshot]:
        """Wait until a model is ready, and load it where it is not: its snapshot after each second or less.

        From now on the model stays in memory until the request has begun, or two seconds have passed without
        that. Ends early where the client ``has_left``; the load goes on. Raises the failure of the load,
        ``unknown_model`` for one that is not on this machine, ``quarantined``, ``queue_full``, and
        ``wrong_state`` where nothing may be loaded on demand or the load was cancelled.
        """
        tell_s = _FIRST_S
        while not has_left():
            load = self._lifecycle.wanted(model_id, by, self._is_allowed)
            with load.use.awaited():
                while not self._has_come(load, tell_s) and not has_left():
                    tell_s = _TELL_S
                    yield self._adapter.snapshot(load.model_id)
                if load.state == State.READY:
                    load.use.claim()
                    return

    def _has_come(self, load: Load, timeout_s: float) -> bool:
        """Wait until a load has ended, or its model has left memory; raises the failure of the load."""
        has_come = load.process_exited if load.state == State.UNLOADING else load.ended
        if not has_come.is_set() and not has_come.wait(timeout_s):
            return False
        if load.ready_at is None:
            raise _failure(load)
        return True


def _failure(load: Load) -> ModelhubError:
    """Why a load has not made its model ready."""
    if (error := load.row["error"]) is not None:
        return ModelhubError.from_dict(error)
    why, todo = "Its load was cancelled.", "Send the request again, or load it first."
    return wrong_state(load.model_id, load.state, why, todo)
