"""Models that are loaded since a request needs them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from modelhub.core.lifecycle import Lifecycle
from modelhub.errors import ModelhubError
from modelhub.payloads import Snapshot
from modelhub.progress.adapter import ProgressAdapter
from modelhub.states import ACTIVE, State

_LOOK_S = 0.1
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
        """Wait until a model is ready, and load it where it is not: its snapshot, each second meanwhile.

        Ends early where the client ``has_left``; the load goes on. Raises the failure of the load, and
        ``wrong_state`` where nothing may be loaded on demand.
        """
        try:
            self._lifecycle.loaded(model_id)
            return
        except ModelhubError as error:
            if not self._is_allowed or error.code not in ("wrong_state", "unknown_model"):
                raise
        load, _ = self._lifecycle.start(model_id, by=by)
        model_id = load["model_id"]
        told_at = 0.0
        while (snapshot := self._adapter.snapshot(model_id))["state"] in ACTIVE and not has_left():
            if time.monotonic() - told_at >= _TELL_S:
                told_at = time.monotonic()
                yield snapshot
            time.sleep(_LOOK_S)
        if snapshot["state"] != State.READY and snapshot["error"] is not None:
            raise ModelhubError.from_dict(snapshot["error"])
