"""What a load would bring, asked before it is started, by a process of its own."""

from __future__ import annotations

import threading
import time
from typing import Any

from modelhub.checkpoints import LoadSpec
from modelhub.core.catalogue import Catalogue
from modelhub.errors import ModelhubError
from modelhub.model_ids import parse_model_id
from modelhub.workers.launcher import Launcher

_AT_ONCE = 2
_ANSWER_S = 8.0
_WARM_UP_S = 20.0
_FRESH_S = 30.0
_MOST_KEPT = 100


class Planner:
    """Plans loads. The hub is asked by a worker process: nothing in this one waits with it but who asks."""

    def __init__(self, catalogue: Catalogue, launcher: Launcher) -> None:
        self._catalogue = catalogue
        self._launcher = launcher
        self._places = threading.BoundedSemaphore(_AT_ONCE)
        self._kept: dict[str, tuple[float, dict[str, Any]]] = {}

    def plan(self, spec: LoadSpec) -> dict[str, Any]:
        """The plan of a load, as ``loader.planning`` has it, at most half a minute old.

        Raises ModelhubError: ``invalid_id``, ``unknown_model``, ``gated``, ``hub_unreachable`` and others.
        """
        parse_model_id(spec.model_id)
        entry = self._catalogue.entries().get(spec.model_id)
        if entry is not None and entry.source == "demo":
            known = {"source": "demo", "revision": None, "files": 1, "size_bytes": entry.size_bytes}
            return {**known, "fetch_files": 0, "fetch_bytes": 0}
        then, kept = self._kept.get(spec.model_id, (0.0, {}))
        if kept and time.monotonic() - then < _FRESH_S:
            return kept
        plan = self._ask(spec)
        while len(self._kept) >= _MOST_KEPT:
            del self._kept[next(iter(self._kept))]
        self._kept[spec.model_id] = (time.monotonic(), plan)
        return plan

    def forget(self, model_id: str) -> None:
        """What was planned no longer holds: the model was loaded, or a load of it was tried."""
        self._kept.pop(model_id, None)

    def _ask(self, spec: LoadSpec) -> dict[str, Any]:
        self._launcher.start()
        if not self._launcher.warm.wait(_WARM_UP_S):
            raise ModelhubError("worker_unavailable", why="the parent of all workers is still starting")
        with self._places, self._launcher.worker(fresh=True) as worker:
            return worker.plan(spec, _ANSWER_S)
