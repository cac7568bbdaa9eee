"""The timeline of a load: bounded, exact at both ends, and a pause stays a pause."""

from __future__ import annotations

import random
from typing import Any

import pytest

from modelhub.checkpoints import checkpoint
from modelhub.progress.timeline import MAX_POINTS, MAX_STALLS, TimelineRecorder
from modelhub.progress.tracker import Tracker
from tests.support.expecting import expecting


def points(timeline: dict[str, Any], step: int) -> list[tuple[float, int]]:
    (series,) = [series for series in timeline["series"] if series["step"] == step]
    return list(zip(series["at"], series["bytes"], strict=True))


def test_times_are_since_the_load_began() -> None:
    timeline = TimelineRecorder(100.0)
    timeline.begin(1, 100.25)
    timeline.begin(5, 101.0)
    timeline.count(5, 10, 40, 101.5)
    assert timeline.timeline() == {
        "began": [0.25, None, None, None, 1.0, None, None, None, None],
        "series": [{"step": 5, "size": 40, "at": [1.5], "bytes": [10]}],
        "counts": [],
        "stalls": [],
    }


@pytest.mark.parametrize("interval", [0.0001, 0.01, 1.0, 60.0])
@pytest.mark.parametrize("count", [1, 2, 199, 201, 20_000])
def test_points_are_bounded_and_the_first_and_the_last_are_kept(interval: float, count: int) -> None:
    timeline = TimelineRecorder(0.0)
    for number in range(count):
        timeline.count(5, number, count, number * interval)
        if count < 1000:
            assert points(timeline.timeline(), 5)[-1][1] == number
    kept = points(timeline.timeline(), 5)
    assert len(kept) <= MAX_POINTS
    assert kept[0][1] == 0
    assert kept[-1] == (round((count - 1) * interval, 4), count - 1)
    assert kept == sorted(kept)
    if count > MAX_POINTS and (count - 1) * interval > 1:
        assert len(kept) > MAX_POINTS / 4, "thinned further than needed"


def test_thinned_points_are_points_of_the_load() -> None:
    noise = random.Random(7)
    timeline, now, done = TimelineRecorder(0.0), 0.0, 0
    true: dict[float, int] = {}
    for _ in range(50_000):
        now = round(now + noise.uniform(0.0001, 0.02), 4)
        done += noise.randrange(0, 1000)
        timeline.count(5, done, None, now)
        true[now] = done
    for at, kept in points(timeline.timeline(), 5):
        assert true[at] == kept


def test_a_pause_stays_a_pause_after_thinning() -> None:
    timeline = TimelineRecorder(0.0)
    for number in range(1000):
        timeline.count(5, number, None, number * 0.01)
    for number in range(100_000):
        timeline.count(5, 1000 + number, None, 1000 + number * 0.01)
    kept = points(timeline.timeline(), 5)
    before = max(at for at, _ in kept if at < 500)
    after = min(at for at, _ in kept if at > 500)
    assert before == pytest.approx(9.99, abs=0.01)
    assert after == pytest.approx(1000.0, abs=0.01)


def test_the_points_of_all_steps_together_are_bounded() -> None:
    timeline = TimelineRecorder(0.0)
    for step in range(1, 10):
        for number in range(1000):
            timeline.count(step, number, 1000, step * 100 + number * 0.1)
    series = timeline.timeline()["series"]
    assert [one["step"] for one in series] == list(range(1, 10))
    assert sum(len(one["at"]) for one in series) <= MAX_POINTS


def test_of_many_stalls_the_longest_are_kept() -> None:
    timeline = TimelineRecorder(0.0)
    for number in range(MAX_STALLS + 10):
        timeline.stall(3, number * 100.0, 10.0 + number)
    stalls = timeline.timeline()["stalls"]
    assert len(stalls) == MAX_STALLS
    assert min(stall["seconds"] for stall in stalls) == 20.0


def test_a_tracker_records_steps_bytes_and_stalls() -> None:
    tracker = Tracker(10.0, *expecting(), stall_s=2.0)
    tracker.feed(checkpoint(1), now=10.5)
    tracker.feed(checkpoint(3), now=11.0)
    tracker.feed(checkpoint(3, 0, 100, "bytes"), now=11.5)
    # Nothing new: the stall goes on.
    tracker.feed(checkpoint(3, 0, 100, "bytes"), now=14.0)
    tracker.feed(checkpoint(3, 60, 100, "bytes"), now=15.0)
    tracker.feed(checkpoint(5, 3, 9, "tensors"), now=16.0)
    timeline = tracker.timeline(17.0)
    assert timeline["began"] == [0.0, None, 1.0, None, 6.0, None, None, None, None]
    assert points(timeline, 3) == [(1.5, 0), (4.0, 0), (5.0, 60)]
    assert timeline["stalls"] == [{"step": 3, "at": 1.5, "seconds": 3.5}]
    assert [series["step"] for series in timeline["series"]] == [3], "tensors are not bytes"
    assert timeline["counts"] == [{"step": 5, "unit": "tensors", "size": 9, "at": [6.0], "done": [3]}]


def test_a_stall_that_lasts_is_shown_and_ends_with_the_load() -> None:
    tracker = Tracker(0.0, *expecting(), stall_s=2.0)
    tracker.feed(checkpoint(5, 0, 100, "bytes"), now=1.0)
    assert tracker.timeline(2.9)["stalls"] == []
    assert tracker.timeline(4.0)["stalls"] == [{"step": 5, "at": 1.0, "seconds": 3.0}]
    assert tracker.timeline(5.0)["stalls"] == [{"step": 5, "at": 1.0, "seconds": 4.0}]
    tracker.finish(6.0)
    assert tracker.timeline(6.0)["stalls"] == [{"step": 5, "at": 1.0, "seconds": 5.0}]


def test_a_load_that_hangs_before_its_first_checkpoint_stalls_in_step_one() -> None:
    tracker = Tracker(0.0, *expecting(), stall_s=2.0)
    assert tracker.timeline(3.0)["stalls"] == [{"step": 1, "at": 0.0, "seconds": 3.0}]
