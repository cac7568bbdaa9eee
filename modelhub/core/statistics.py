"""Statistics of each model over many loads: counts by outcome, success rate, times and rates."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from modelhub.states import OUTCOME_OF_STATE, Outcome, State


class Result(NamedTuple):
    """One load, as far as the statistics need it.

    ``bytes`` are those of its weights, ``expected`` are the seconds that it was expected to take.
    """

    model_id: str
    state: State
    seconds: float | None
    bytes: int | None
    expected: float | None = None


@dataclass(frozen=True, slots=True)
class ModelStatistics:
    """The loads of one model. Times (seconds) and rate (bytes a second) are those of the completed ones.

    ``success_rate`` is completed / (completed + failed + interrupted): a cancelled load is neither a success
    nor a failure. The rate of a load is the size of its weights over the whole time it took. None is not
    known. ``forecast_error_median`` is by how much the time that was expected of a load before it began was
    wrong, as a share of the time it took.
    """

    model_id: str
    loads: int
    completed: int
    failed: int
    cancelled: int
    interrupted: int
    running: int
    success_rate: float | None
    seconds_median: float | None
    seconds_p90: float | None
    rate_median: float | None
    forecast_error_median: float | None

    def to_dict(self) -> dict[str, Any]:
        """The fields by name, as REST returns them."""
        return asdict(self)


def mean_rate(bytes_: int | None, seconds: float | None) -> float | None:
    """Bytes a second over the whole load; None where either is not known."""
    return bytes_ / seconds if bytes_ and seconds else None


def forecast_error(expected: float | None, seconds: float | None) -> float | None:
    """How wrong the expected time was, as a share of the time taken; None where either is not known."""
    return None if expected is None or not seconds else abs(seconds - expected) / seconds


def compute_statistics(results: Iterable[Result]) -> list[ModelStatistics]:
    """The statistics of each model, in the order in which the models first appear."""
    by_model: dict[str, list[Result]] = {}
    for result in results:
        by_model.setdefault(result.model_id, []).append(result)
    return [_statistics_of(model_id, own) for model_id, own in by_model.items()]


def _statistics_of(model_id: str, results: list[Result]) -> ModelStatistics:
    outcomes = [OUTCOME_OF_STATE[result.state] for result in results]
    completed = [
        result for result, outcome in zip(results, outcomes, strict=True) if outcome == Outcome.COMPLETED
    ]
    decided = sum(outcomes.count(one) for one in (Outcome.COMPLETED, Outcome.FAILED, Outcome.INTERRUPTED))
    times = [result.seconds for result in completed if result.seconds is not None]
    rates = [rate for result in completed if (rate := mean_rate(result.bytes, result.seconds)) is not None]
    errors = [off for one in completed if (off := forecast_error(one.expected, one.seconds)) is not None]
    return ModelStatistics(
        model_id,
        len(results),
        **{outcome.value: outcomes.count(outcome) for outcome in Outcome},
        success_rate=len(completed) / decided if decided else None,
        seconds_median=statistics.median(times) if times else None,
        seconds_p90=_p90(times),
        rate_median=statistics.median(rates) if rates else None,
        forecast_error_median=statistics.median(errors) if errors else None,
    )


def _p90(values: list[float]) -> float | None:
    """The value below which nine tenths lie, interpolated between neighbours."""
    if len(values) < 2:
        return values[0] if values else None
    return statistics.quantiles(values, n=10, method="inclusive")[8]
