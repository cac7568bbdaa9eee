"""What is expected of a load before it begins: when the last load says it."""

from __future__ import annotations

from typing import Any

import pytest

from modelhub.core.outlook import Outlook, last_seconds, outlook_of
from tests.support.expecting import conditions

GB = 1_000_000_000
COLD = conditions(GB)
FORECAST = {"seconds": 2.0, "low": 1.5, "high": 2.5, "steps": [0.2] * 9, "basis": "model"}


def load(state: str = "unloaded", seconds: float = 3.1, at: float = 1.0, **changes: Any) -> dict[str, Any]:
    known = {"state": state, "seconds": seconds, "requested_at": at, "conditions": COLD, "forecast": None}
    return {**known, **changes}


def test_the_last_load_that_completed_says_how_long_one_takes() -> None:
    past = [load("failed", 0.1), load("cancelled", 0.2), load("ready", 3.1), load("unloaded", 9.9)]
    assert last_seconds(COLD, past) == 3.1
    assert last_seconds(COLD, [load("failed"), load("queued")]) is last_seconds(COLD, []) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"cached_bytes": GB},
        {"cached_bytes": GB // 2},
        {"device": "cuda"},
        {"dtype": "float32"},
        {"weight_bytes": 2 * GB},
        {"start": "prepared"},
        {"source": "hub", "fetch_bytes": GB},
    ],
)
def test_a_load_that_began_in_other_conditions_does_not(changes: dict[str, Any]) -> None:
    other = conditions(**{"weight_bytes": GB, **changes})
    assert last_seconds(other, [load(), load()]) is None
    assert last_seconds(COLD, [load(conditions=other), load()]) is None


def test_a_few_pages_more_in_memory_make_no_difference() -> None:
    assert last_seconds(conditions(GB, cached_bytes=GB // 20), [load()]) == 3.1


def test_a_download_of_unknown_size_and_a_load_of_an_older_version_say_nothing() -> None:
    assert last_seconds(conditions(), [load(conditions=conditions())]) is None
    assert last_seconds(COLD, [load(conditions=None)]) is None


def test_the_outlook_on_a_load_that_runs_is_that_of_its_beginning() -> None:
    running = load("loading", at=2.0, forecast=FORECAST)
    assert outlook_of(running, [running, load(at=1.0)]) == Outlook(COLD, FORECAST, 3.1)
    assert outlook_of(running, [load(at=3.0), running]) == Outlook(COLD, FORECAST, None)
    assert outlook_of(load("queued", conditions=None), []) is None
