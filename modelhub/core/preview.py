"""What a load would bring, and how long it would take: found out before it is started."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from modelhub.checkpoints import LoadSpec
from modelhub.core.experience import Experience
from modelhub.core.journal import Journal
from modelhub.core.model_files import ModelFiles
from modelhub.core.next_machine import no_node
from modelhub.core.outlook import Outlook, last_seconds
from modelhub.errors import ModelhubError
from modelhub.payloads import Preview
from modelhub.states import Outcome
from modelhub.workers.machine import Machine, Machines

_AT_ONCE = 2
_TIMEOUT_S = 8.0
_WARM_UP_TIMEOUT_S = 20.0
_LOOK_S = 0.02
_MAX_AGE_S = 30.0
_MAX_KEPT = 100


class Previewer:
    """Previews loads. A worker process asks the hub: in this one, only the thread that calls waits."""

    def __init__(
        self,
        catalogue: ModelFiles,
        machines: Machines,
        experience: Experience,
        journal: Callable[[], Journal],
    ) -> None:
        self._catalogue = catalogue
        self._machines = machines
        self._experience = experience
        self._journal = journal
        self._places = threading.BoundedSemaphore(_AT_ONCE)
        self._kept: dict[str, dict[str, tuple[float, Preview]]] = {}  # by model and dtype

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
                "need_bytes": entry.need_bytes(spec.dtype),
                "fetch_files": 0,
                "fetch_bytes": 0,
            }
        kept = self._kept.get(spec.model_id, {}).get(spec.dtype)
        if kept is not None and time.monotonic() - kept[0] < _MAX_AGE_S:
            return kept[1]
        preview = self._ask(spec)
        while len(self._kept) >= _MAX_KEPT:
            del self._kept[next(iter(self._kept))]
        self._kept.setdefault(spec.model_id, {})[spec.dtype] = (time.monotonic(), preview)
        return preview

    def outlook(self, spec: LoadSpec, preview: Preview | None = None) -> Outlook:
        """What is expected of a load that would begin now; with its preview, also of one from the hub.

        Raises ``no_node``.
        """
        fetch_bytes = None if preview is None else preview["fetch_bytes"]
        machine = self._best(spec)
        conditions = machine.ask_conditions(spec, fetch_bytes=fetch_bytes)()
        if preview is not None and conditions["weight_bytes"] is None:
            conditions["weight_bytes"] = preview["size_bytes"]
        forecast = self._experience.expect(spec.model_id, conditions, machine).forecast()
        past = self._journal().loads(spec.model_id, Outcome.COMPLETED, limit=1)
        return Outlook(conditions, forecast, last_seconds(conditions, past))

    def forget(self, model_id: str) -> None:
        """Drop a kept preview: a load of the model changes what is left to fetch."""
        self._kept.pop(model_id, None)

    def _ask(self, spec: LoadSpec) -> Preview:
        self._machines.start()
        machine = self._best(spec)
        deadline = time.monotonic() + _WARM_UP_TIMEOUT_S
        while machine.status()["state"] != "warm":
            if time.monotonic() > deadline:
                raise ModelhubError("worker_unavailable", why="the parent of all workers is still starting")
            time.sleep(_LOOK_S)
        with self._places, machine.worker(fresh=True) as worker:
            return worker.preview(spec, _TIMEOUT_S)

    def _best(self, spec: LoadSpec) -> Machine:
        """The machine that a load would begin on, if it had a slot there; raises ``no_node``."""
        for choice in self._machines.choose(spec, {}):
            return choice.machine
        raise no_node(self._machines, spec.model_id)
