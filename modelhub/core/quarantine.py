"""Quarantine: programs may not load a model again and again whose process fails each time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from modelhub.errors import ModelhubError

_MOST = 3
_WITHIN_S = 60.0
# Failures that cost a process, or the reading of the weights. What is refused before costs nothing, and may
# succeed at the next attempt: memory is free again, the hub responds, a file was replaced. Nor does a node
# that was lost count: that was no fault of the model.
_COUNTED = (
    *("crashed", "killed", "out_of_memory", "device_out_of_memory", "file_changed"),
    *("forward_failed", "load_failed", "internal"),
)
_PERSONS = ("page", "cli")  # what a person uses; all else are programs


class _Failure(NamedTuple):
    at: float
    was_ready: bool  # it was no load that failed, but the process of a model that was ready


class Quarantine:
    """The failures of the last minute by model, and the models with too many of them.

    For ``core.lifecycle`` and what it is made of. A model stays quarantined until a person loads it or
    dismisses its failure, or a load of it succeeds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: dict[str, list[_Failure]] = {}
        self._reasons: dict[str, str] = {}  # of those in quarantine, the message of the last failure

    def fail(self, model_id: str, error: ModelhubError, was_ready: bool = False) -> None:
        """The process of a model has failed; where it is now quarantined, the hint of the error says so."""
        if error.code not in _COUNTED:
            return
        now = self._clock()
        for other, failures in list(self._failures.items()):
            self._keep(other, [failure for failure in failures if now - failure.at < _WITHIN_S])
        failures = [*self._failures.get(model_id, ()), _Failure(now, was_ready)]
        self._keep(model_id, failures)
        if len(failures) >= _MOST:
            self._reasons[model_id] = error.message
            error.hint = (
                f"It has failed {len(failures)} times within a minute: requests of programs to load it are "
                f"refused until a person loads it. {error.hint}"
            )

    def succeed(self, model_id: str) -> None:
        """A load of the model has succeeded; how often its process ended once it was ready still counts."""
        self._reasons.pop(model_id, None)
        self._keep(model_id, [failure for failure in self._failures.get(model_id, ()) if failure.was_ready])

    def lift(self, model_id: str) -> None:
        """A person tries again, or has dismissed the failure."""
        self._reasons.pop(model_id, None)
        self._failures.pop(model_id, None)

    def request(self, model_id: str, by: str, retry: bool) -> None:
        """A new load is requested; raises ``quarantined`` for a program, unless it is to ``retry``."""
        if retry or by in _PERSONS:
            self.lift(model_id)
        elif model_id in self._reasons:
            raise _refusal(model_id, self._reasons[model_id])

    def troubles(self) -> list[ModelhubError]:
        """What a program is answered that requests one of the models in quarantine, one for each of them."""
        return [_refusal(model_id, why) for model_id, why in self._reasons.items()]

    def _keep(self, model_id: str, failures: list[_Failure]) -> None:
        if failures:
            self._failures[model_id] = failures
        else:
            self._failures.pop(model_id, None)


def _refusal(model_id: str, why: str) -> ModelhubError:
    return ModelhubError("quarantined", id=model_id, why=why)
