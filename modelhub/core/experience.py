"""What the loads of this machine have taught so far: read from the journal once, then kept up to date."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from modelhub.checkpoints import TOTAL_STEPS
from modelhub.payloads import Conditions, LoadRow, Timeline
from modelhub.progress.expectation import Expectation
from modelhub.progress.history import History, Past
from modelhub.progress.pace import Expect
from modelhub.progress.reference import REHEARSAL_S
from modelhub.states import STATES_OF_OUTCOME, Outcome
from modelhub.workers.machine import Machine


class Experience:
    """The history that forecasts are made from. Any thread may call any method."""

    def __init__(self) -> None:
        self._history = History()

    def learn(self, loads: Iterable[tuple[LoadRow, Timeline | None]]) -> None:
        """Take loads, the oldest first; those that have not completed teach nothing."""
        past = [one for row, timeline in loads if (one := _past(row, timeline)) is not None]
        if past:
            self._history.learn(past)

    def expect(self, model_id: str, conditions: Conditions, machine: Machine | None = None) -> Expectation:
        """What to expect of a load of this model in these conditions.

        The rehearsal of the ``machine`` tells how fast its processor is.
        """
        rehearsal_s = None if machine is None else machine.rehearsal_seconds
        if rehearsal_s is not None:
            self._history.speed = REHEARSAL_S / rehearsal_s
        return self._history.expect(model_id, conditions)

    def of(self, model_id: str, machine: Machine | None = None) -> Expect:
        """The same for the loads of one model on one machine."""
        return partial(self.expect, model_id, machine=machine)


def _past(row: LoadRow, timeline: Timeline | None) -> Past | None:
    """What a load teaches; nothing where it did not complete, or an older version kept too little."""
    steps, conditions = row["steps"], row["conditions"]
    if row["state"] not in STATES_OF_OUTCOME[Outcome.COMPLETED] or steps is None or conditions is None:
        return None
    seconds = [one for one in steps if one is not None]
    if len(seconds) < TOTAL_STEPS:
        return None
    return Past.of(row["model_id"], conditions, seconds, row["bytes"], timeline)
