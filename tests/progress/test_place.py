"""A load's place in the queue: which positions are events, and what snapshots say in between."""

from __future__ import annotations

import pytest

from tests.progress.test_adapter import Recorder
from tests.support.expecting import expecting


def positions(recorder: Recorder, model_id: str = "org/a") -> list[int]:
    return [payload["queue_position"] for _, payload in recorder.events if payload["id"] == model_id]


def test_the_first_position_and_that_of_the_next_in_line_are_emitted_at_once() -> None:
    recorder = Recorder()
    assert recorder.adapter.queued("org/a", "1", 40) is None
    assert recorder.adapter.queued("org/a", "1", 1) is None
    assert positions(recorder) == [40, 1]
    assert [payload["seq"] for _, payload in recorder.events] == [1, 2]


def test_a_snapshot_has_the_real_position_whatever_was_emitted() -> None:
    recorder = Recorder()
    for position in (40, 39, 38):
        recorder.adapter.queued("org/a", "1", position)
        assert recorder.adapter.snapshot("org/a")["queue_position"] == position
    assert positions(recorder) == [40]
    assert recorder.adapter.snapshot("org/a")["seq"] == 1
    recorder.adapter.started("org/a", "1", *expecting())
    assert recorder.adapter.snapshot("org/a")["queue_position"] is None


@pytest.mark.parametrize(("position", "within_s"), [(39, 10), (14, 10), (13, 2), (3, 2), (2, 2)])
def test_a_position_that_was_held_back_is_emitted_when_it_is_due(position: int, within_s: float) -> None:
    recorder = Recorder()
    recorder.adapter.queued("org/a", "1", 40)
    recorder.now += 0.5
    due_s = recorder.adapter.queued("org/a", "1", position)
    assert due_s == within_s - 0.5
    recorder.now += due_s
    assert recorder.adapter.queued("org/a", "1", position) is None
    assert positions(recorder) == [40, position]
    assert recorder.adapter.queued("org/a", "1", position) is None
    assert positions(recorder) == [40, position], "once"


def test_a_queue_of_a_hundred_that_moves_quickly_costs_a_few_events_a_load() -> None:
    recorder = Recorder()
    waiting = [f"org/{number}" for number in range(99)]
    for place, model_id in enumerate(waiting, 1):
        recorder.adapter.queued(model_id, model_id, place)
    while waiting:
        recorder.now += 0.2
        recorder.adapter.started(waiting[0], waiting.pop(0), *expecting())
        for place, model_id in enumerate(waiting, 1):
            recorder.adapter.queued(model_id, model_id, place)
    queued = [payload for name, payload in recorder.events if name == "model_load_queued"]
    assert len(queued) <= 99 * 5
    assert sum(payload["queue_position"] == 1 for payload in queued) == 99
    last = positions(recorder, "org/98")
    assert last[:-1] == sorted(set(last[:-1]), reverse=True)
    assert last[-2:] == [1, None]


def test_the_next_load_of_a_model_that_was_cancelled_in_the_queue_has_a_place_of_its_own() -> None:
    recorder = Recorder()
    recorder.adapter.queued("org/a", "1", 5)
    recorder.adapter.cancelled("org/a", by="rest")
    recorder.adapter.queued("org/a", "2", 5)
    assert [payload["queue_position"] for _, payload in recorder.events] == [5, None, 5]
