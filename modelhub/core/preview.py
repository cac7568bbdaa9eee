"""What a load would bring, found out before it is started, by a worker process."""

from __future__ import annotations

import threading
import time

from modelhub.checkpoints import LoadSpec
from modelhub.core.catalogue import Catalogue
from modelhub.errors import ModelhubError
from modelhub.payloads import Preview
from modelhub.workers.launcher import Launcher

_AT_ONCE = 2
_TIMEOUT_S = 8.0
_WARM_UP_TIMEOUT_S = 20.0
_MAX_AGE_S = 30.0
_MAX_KEPT = 100


class Previewer:
    """Previews loads. A worker process asks the hub: in this one, only the thread that calls waits."""

    def __init__(self, catalogue: Catalogue, launcher: Launcher) -> None:
        self._catalogue = catalogue
        self._launcher = launcher
        self._places = threading.BoundedSemaphore(_AT_ONCE)
        self._kept: dict[str, tuple[float, Preview]] = {}

    def preview(self, spec: LoadSpec) -> Preview:
        """The preview of a load, at most half a minute old.

        Raises ModelhubError: ``unknown_model``, ``gated``, ``hub_unreachable`` and others.
        """
        self._catalogue.check_loadable(spec.model_id)
        entry = self._catalogue.entries().get(spec.model_id)
        if entry is not None and entry.source == "demo":
            return {
                "source": entry.source,
                "revision": None,
                "files": 1,
                "size_bytes": entry.size_bytes or 0,
                "fetch_files": 0,
                "fetch_bytes": 0,
            }
        if (kept := self._kept.get(spec.model_id)) and time.monotonic() - kept[0] < _MAX_AGE_S:
            return kept[1]
        preview = self._ask(spec)
        while len(self._kept) >= _MAX_KEPT:
            del self._kept[next(iter(self._kept))]
        self._kept[spec.model_id] = (time.monotonic(), preview)
        return preview

    def forget(self, model_id: str) -> None:
        """Drop a kept preview: a load of the model changes what is left to fetch."""
        self._kept.pop(model_id, None)

    def _ask(self, spec: LoadSpec) -> Preview:
        self._launcher.start()
        if not self._launcher.warm.wait(_WARM_UP_TIMEOUT_S):
            raise ModelhubError("worker_unavailable", why="the parent of all workers is still starting")
        with self._places, self._launcher.worker(fresh=True) as worker:
            return worker.preview(spec, _TIMEOUT_S)
