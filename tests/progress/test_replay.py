"""Recorded loads: what is replayed is what was recorded, and what was shown of it obeys the truth rules."""

from __future__ import annotations

import json
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest

from modelhub.progress.history import History
from modelhub.progress.replay import Recording, checkpoints_of, past_of, replay

TRACES = Path(__file__).parent / "traces"


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
