"""Recorded loads: what is replayed is what was recorded, and what was shown of it obeys the truth rules."""

from __future__ import annotations

import json
from functools import cache, partial
from itertools import pairwise
from pathlib import Path
from statistics import fmean

import pytest

from modelhub.progress.history import History
from modelhub.progress.replay import Recording, checkpoints_of, past_of, replay
from modelhub.progress.score import Score, score
from tests.benchmarks.truth.__main__ import expectation

TRACES = Path(__file__).parent / "traces"


@cache
def recordings() -> list[Recording]:
    return [
        json.loads(line) for path in sorted(TRACES.glob("*.jsonl")) for line in path.read_text().splitlines()
    ]


def test_there_are_real_loads_of_many_kinds() -> None:
    found = recordings()
    cases = {one["case"] for one in found}
    assert cases >= {"cold", "warm", "throttled", "download", "download-broken", "stall", "pressure"}
    assert cases >= {"two-at-once", "cold-zygote", "plain-warm", "again-warm", "demo"}
    sizes = [one["bytes"] or 0 for one in found]
    assert min(sizes) < 0.2e9 < 3e9 < max(sizes)
    assert max(one["conditions"]["files"] for one in found) >= 8


@pytest.mark.parametrize("one", recordings(), ids=lambda one: f"{one['case']}-{one['model']}")
def test_the_bar_of_a_recorded_load_obeys_the_truth_rules(one: Recording) -> None:
    steps = [news.step for _, news in checkpoints_of(one["timeline"])]
    assert steps == sorted(steps)
    assert list(dict.fromkeys(steps)) == list(range(1, 10))
    assert sum(one["steps"]) == pytest.approx(one["seconds"], abs=0.05)
    history = History()
    history.learn(past_of(other) for other in recordings() if other["model"] != one["model"])
    shown = replay(one, partial(history.expect, one["model"]))
    assert shown[-1].at <= one["seconds"] + 0.001
    assert all(before.progress <= after.progress < 1 for before, after in pairwise(shown))
    for seen in shown:
        known = {value is None for value in (seen.left, seen.low, seen.high)}
        assert len(known) == 1, "all of them or none"
        if seen.left is not None and seen.low is not None and seen.high is not None:
            assert 0 <= seen.low <= seen.left <= seen.high <= 3 * seen.low + 0.01


def _scores(is_seen: bool) -> list[Score]:
    """Of the loads of a second and more that did not stall, by what the others taught."""
    found = []
    for one in recordings():
        if one["seconds"] >= 1 and "stall" not in one["case"]:
            expect = expectation(one, recordings(), "seen" if is_seen else "unseen")
            found.append(score(replay(one, expect), one["seconds"]))
    return found


@pytest.mark.parametrize(
    ("is_seen", "deviation", "worst", "left", "covered"),
    [(True, 0.03, 0.09, (0.11, 0.07, 0.05), (0.75, 0.9)), (False, 0.08, 0.2, (0.3, 0.2, 0.1), (0.7, 1.0))],
)
def test_bar_and_time_left_are_as_true_as_they_are_said_to_be(
    is_seen: bool,
    deviation: float,
    worst: float,
    left: tuple[float, float, float],
    covered: tuple[float, float],
) -> None:
    found = _scores(is_seen)
    assert fmean(one.deviation for one in found) <= deviation
    assert fmean(one.worst for one in found) <= worst
    for place, bound in enumerate(left):
        errors = [one.left_errors[place] for one in found]
        assert fmean(error for error in errors if error is not None) <= bound
    assert covered[0] <= fmean(one.covered for one in found if one.covered is not None) <= covered[1]
    assert sum(one.backward + one.early for one in found) == 0
    assert max(one.freeze_s for one in found) <= 0.5 + 1e-9
