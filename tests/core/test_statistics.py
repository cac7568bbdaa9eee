"""The statistics of each model over many loads."""

from __future__ import annotations

import random
import statistics

import pytest

from modelhub.core.statistics import Result, compute_statistics, mean_rate
from modelhub.states import LOAD_STATES, OUTCOME_OF_STATE, STATES_OF_OUTCOME, Outcome
from modelhub.wording import STATE_NAMES


def results_of(*results: tuple[str, float | None, int | None]) -> list[Result]:
    return [Result("org/a", *result) for result in results]


def test_every_state_of_a_load_is_one_outcome() -> None:
    states = [state for states in STATES_OF_OUTCOME.values() for state in states]
    assert sorted(states) == sorted(LOAD_STATES)
    assert set(states) <= set(STATE_NAMES)
    assert OUTCOME_OF_STATE["unloaded"] == OUTCOME_OF_STATE["ready"] == Outcome.COMPLETED


def test_cancelled_and_running_loads_do_not_count_in_the_success_rate() -> None:
    states = [
        "ready",
        "unloaded",
        "ready",
        "failed",
        "interrupted",
        "cancelled",
        "cancelled",
        "loading",
        "queued",
    ]
    (only,) = compute_statistics(results_of(*((state, 1.0, 10) for state in states)))
    assert (only.loads, only.completed, only.failed, only.interrupted) == (9, 3, 1, 1)
    assert (only.cancelled, only.running) == (2, 2)
    assert only.success_rate == pytest.approx(0.6)


def test_times_and_rates_are_of_completed_loads_only() -> None:
    (only,) = compute_statistics(
        results_of(("ready", 2.0, 100), ("failed", 500.0, None), ("cancelled", 400.0, 100))
    )
    assert (only.seconds_median, only.seconds_p90, only.rate_median) == (2.0, 2.0, 50.0)


def test_the_error_of_forecasts_is_the_median_over_the_loads_that_had_one() -> None:
    loads = [("ready", 2.0, 3.0), ("unloaded", 4.0, 3.0), ("ready", 10.0, 11.0), ("ready", 1.0, None)]
    results = [Result("org/a", state, seconds, None, expected) for state, seconds, expected in loads]
    (only,) = compute_statistics([*results, Result("org/a", "failed", 0.1, None, 40.0)])
    assert only.forecast_error_median == pytest.approx(0.25)
    (only,) = compute_statistics(results_of(("ready", 2.0, 100)))
    assert only.forecast_error_median is None


def test_what_is_not_known_is_null() -> None:
    (only,) = compute_statistics(results_of(("cancelled", None, None)))
    assert only.success_rate is only.seconds_median is only.seconds_p90 is only.rate_median is None
    assert compute_statistics([]) == []
    assert mean_rate(None, 1.0) is mean_rate(10, None) is mean_rate(10, 0.0) is None


@pytest.mark.parametrize("count", [2, 3, 10, 11, 101])
def test_median_and_p90_lie_where_sorting_puts_them(count: int) -> None:
    times = [random.Random(count).uniform(0.1, 90) for _ in range(count)]
    times = sorted(time + number for number, time in enumerate(times))
    (only,) = compute_statistics(results_of(*(("ready", time, None) for time in times)))
    assert only.seconds_median == statistics.median(times)
    assert only.seconds_p90 is not None
    place = 0.9 * (count - 1)
    assert times[int(place)] <= only.seconds_p90 <= times[min(int(place) + 1, count - 1)]
    assert only.rate_median is None


def test_models_come_in_the_order_of_their_newest_load() -> None:
    results = [Result(model, "ready", 1.0, 1) for model in ("org/b", "org/a", "org/b")]
    assert [(one.model_id, one.loads) for one in compute_statistics(results)] == [("org/b", 2), ("org/a", 1)]
