"""How loads came out: the outcomes that one can ask for, and the figures of each model over many loads."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

OUTCOMES: dict[str, tuple[str, ...]] = {
    "completed": ("ready", "unloaded"),
    "failed": ("failed",),
    "cancelled": ("cancelled",),
    "interrupted": ("interrupted",),
    "running": ("queued", "loading"),
}
_OUTCOME_OF = {state: outcome for outcome, states in OUTCOMES.items() for state in states}


class Result(NamedTuple):
    """What the figures are made of: one load. ``bytes`` are those of its weights."""

    model_id: str
    state: str
    seconds: float | None
    bytes: int | None


@dataclass(frozen=True, slots=True)
class ModelFigures:
    """The loads of one model. Times (seconds) and rate (bytes a second) are of the completed ones.

    ``success_rate`` is completed / (completed + failed + interrupted): a load that somebody cancelled is
    neither. The rate of a load is the size of its weights over the whole time it took. None is not known.
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

    def to_dict(self) -> dict[str, Any]:
        """As REST answers it."""
        return asdict(self)


def outcome_of(state: str) -> str:
    """The outcome that a state in the journal stands for."""
    return _OUTCOME_OF[state]


def mean_rate(bytes_: int | None, seconds: float | None) -> float | None:
    """Bytes a second over the whole load; None where either is not known."""
    return bytes_ / seconds if bytes_ and seconds else None


def figures(results: Iterable[Result]) -> list[ModelFigures]:
    """The figures of each model, in the order in which the models come first."""
    by_model: dict[str, list[Result]] = {}
    for result in results:
        by_model.setdefault(result.model_id, []).append(result)
    return [_figures_of(model_id, own) for model_id, own in by_model.items()]


def _figures_of(model_id: str, results: list[Result]) -> ModelFigures:
    counts = dict.fromkeys(OUTCOMES, 0)
    for result in results:
        counts[outcome_of(result.state)] += 1
    decided = counts["completed"] + counts["failed"] + counts["interrupted"]
    completed = [result for result in results if outcome_of(result.state) == "completed"]
    times = [result.seconds for result in completed if result.seconds is not None]
    rates = [rate for result in completed if (rate := mean_rate(result.bytes, result.seconds)) is not None]
    return ModelFigures(
        model_id,
        len(results),
        **counts,
        success_rate=counts["completed"] / decided if decided else None,
        seconds_median=statistics.median(times) if times else None,
        seconds_p90=_p90(times),
        rate_median=statistics.median(rates) if rates else None,
    )


def _p90(values: list[float]) -> float | None:
    """The value below which nine tenths lie, between neighbours where it falls between them."""
    if len(values) < 2:
        return values[0] if values else None
    return statistics.quantiles(values, n=10, method="inclusive")[8]
