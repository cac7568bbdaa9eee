"""The logs of all models in one run of the server, of bounded number."""

from __future__ import annotations

from collections.abc import Callable

from modelhub.payloads import Snapshot
from modelhub.progress.log import ModelLog, absent
from modelhub.states import ENDED_EARLY, OCCUPYING, State

KEPT_MODELS = 1000
KEPT_UNFOUND = 100  # whose files were not even found: anybody may request as many as they like


class ModelLogs:
    """A log for each model that was asked for; of too many, the one without news for longest is forgotten.

    Of those whose load has ended before its files were found, such as that of an unknown id, few are kept.
    ``is_open`` says whether a load of a model waits or runs: its log stays, as does one of a model in memory.
    ``numbers``: the events are numbered here, and not by another process that is followed.
    """

    def __init__(self, epoch: str, is_open: Callable[[str], bool], numbers: bool = True) -> None:
        self._epoch = epoch
        self._is_open = is_open
        self._numbers = numbers
        self._logs: dict[str, ModelLog] = {}
        self._first_seq = 0

    def find(self, model_id: str) -> ModelLog | None:
        """The log of a model, if there is one."""
        return self._logs.get(model_id)

    def of(self, model_id: str) -> ModelLog:
        """The log of a model, made on first use."""
        model_log = self._logs.get(model_id)
        if model_log is None:
            if len(self._logs) >= KEPT_MODELS:
                self._forget_oldest(list(self._logs.items()))
            unfound = [(name, one) for name, one in list(self._logs.items()) if _found_nothing(one)]
            if len(unfound) >= KEPT_UNFOUND:
                self._forget_oldest(unfound)
            model_log = self._logs.setdefault(model_id, ModelLog(self.absent(model_id)))
        return model_log

    def absent(self, model_id: str) -> Snapshot:
        """The full state of a model without a log."""
        return absent(model_id, self._epoch, self._first_seq)

    def known(self) -> list[str]:
        """The models that there is anything to say about."""
        return [model_id for model_id in list(self._logs) if self.knows(model_id)]

    def knows(self, model_id: str) -> bool:
        """Whether there is anything to say about this model."""
        model_log = self._logs.get(model_id)
        if model_log is None:
            return False
        return model_log.snapshot["load_id"] is not None or model_log.snapshot["state"] != State.ABSENT

    def _forget_oldest(self, logs: list[tuple[str, ModelLog]]) -> None:
        """Forget one of these logs.

        If the events of its model counted from 1 again, a client that has seen later ones would ignore them:
        all logs that are new from now on count from above.
        """
        unused = [
            (model_log.used_at, model_id)
            for model_id, model_log in logs
            if model_log.snapshot["state"] not in OCCUPYING and not self._is_open(model_id)
        ]
        if unused:
            forgotten = self._logs.pop(min(unused)[1], None)
            seq = 0 if forgotten is None else forgotten.snapshot["seq"]
            if self._numbers:
                self._first_seq = max(self._first_seq, seq + 1)


def _found_nothing(model_log: ModelLog) -> bool:
    """Whether the model's load has ended in its first step, or before."""
    return model_log.snapshot["state"] in ENDED_EARLY and (model_log.snapshot["step"] or 0) <= 1
