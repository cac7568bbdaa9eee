"""Keeps a model prepared once it was unloaded and no load is running, which would need the processor."""

from __future__ import annotations

import threading
from collections.abc import Callable

from modelhub.checkpoints import LoadSpec
from modelhub.workers.machine import Machine

_AFTER_S = 0.2
_AGAIN_S = 0.2


class KeepLater:
    """``keep`` is for a thread of its own. Nothing is kept where ``seconds`` is 0."""

    def __init__(self, seconds: float, is_busy: Callable[[Machine], bool]) -> None:
        self._seconds = seconds
        self._is_busy = is_busy
        self._closing = threading.Event()
        self._waiting: set[str] = set()  # the models that will be kept

    def keep(self, machine: Machine, spec: LoadSpec) -> None:
        """Wait until no load runs on the machine, then have the model prepared there."""
        if not self._seconds or machine.is_draining:
            return
        self._waiting.add(spec.model_id)
        wait_s = _AFTER_S
        while not self._closing.wait(wait_s) and spec.model_id in self._waiting:
            if not self._is_busy(machine):
                self._waiting.discard(spec.model_id)
                machine.keep(spec, self._seconds)
                return
            wait_s = _AGAIN_S

    def forget(self, model_id: str) -> bool:
        """Do not keep a model that waits for it; whether it did."""
        was_waiting = model_id in self._waiting
        self._waiting.discard(model_id)
        return was_waiting

    def close(self) -> None:
        """Keep nothing any more."""
        self._closing.set()
