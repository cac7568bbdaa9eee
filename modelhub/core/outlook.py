"""What is to be expected of a load before it begins: how long it takes, and why."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from modelhub.checkpoints import TOTAL_STEPS
from modelhub.payloads import Conditions, Forecast, LoadRow, OutlookPayload
from modelhub.progress.kinds import kind_of, uncached_bytes
from modelhub.states import OUTCOME_OF_STATE, Outcome

_ALIKE = 0.1  # of the weights: as much more or less of them may be in memory
_SAME = ("device", "dtype", "weight_bytes", "fetch_bytes")


class Outlook(NamedTuple):
    """What is expected of a load.

    ``last_seconds`` is how long the model's last completed load took, where it began in like conditions.
    """

    conditions: Conditions
    forecast: Forecast
    last_seconds: float | None

    def to_dict(self) -> OutlookPayload:
        """The same for another process."""
        return {
            "conditions": self.conditions,
            "forecast": self.forecast,
            "last_seconds": self.last_seconds,
        }


def outlook_of(load: LoadRow, others: Iterable[LoadRow]) -> Outlook | None:
    """The outlook that there was on a load; ``others`` are loads of its model, the newest first.

    None where it has not begun, or where an older version loaded it.
    """
    conditions, forecast = load["conditions"], load["forecast"]
    if conditions is None or forecast is None:
        return None
    earlier = (one for one in others if one["requested_at"] < load["requested_at"])
    return Outlook(conditions, forecast, last_seconds(conditions, earlier))


def last_seconds(conditions: Conditions, loads: Iterable[LoadRow]) -> float | None:
    """How long the first completed one of these loads took; None where it began in other conditions."""
    completed = (one for one in loads if OUTCOME_OF_STATE[one["state"]] == Outcome.COMPLETED)
    last = next(completed, None)
    if last is None or last["conditions"] is None or not _are_alike(conditions, last["conditions"]):
        return None
    return last["seconds"]


def _are_alike(one: Conditions, other: Conditions) -> bool:
    """Whether loads that begin in these conditions should take the same time."""
    weight_bytes = one["weight_bytes"]
    if weight_bytes is None or any(one[name] != other[name] for name in _SAME):  # type: ignore[literal-required]
        return False
    is_kind = all(kind_of(step, one) == kind_of(step, other) for step in range(1, TOTAL_STEPS + 1))
    return is_kind and abs(uncached_bytes(one) - uncached_bytes(other)) <= _ALIKE * weight_bytes
