"""An adapter that follows that of another process: the same events, logs and stories."""

from __future__ import annotations

import json
from typing import Any, cast

from modelhub.payloads import Snapshot
from modelhub.progress import logs
from modelhub.progress.adapter import ProgressAdapter
from modelhub.states import EventName, StallCause, State
from tests.progress.test_adapter import FACTS, Recorder
from tests.support.expecting import expecting


class Follower(Recorder):
    """What another process has: it takes events as JSON."""

    def __init__(self, leader: ProgressAdapter) -> None:
        super().__init__()
        self.adopt(leader)

    def adopt(self, leader: ProgressAdapter) -> None:
        """Take the whole state."""
        known = leader.known()
        state = [(_sent(leader.snapshot(name)), leader.log_of(name).packed()) for name in known]
        self.adapter.adopt(leader.epoch, state)

    def take(self, *events: tuple[str, Any]) -> None:
        """Take events of the other process."""
        for name, payload in events:
            self.adapter.take(EventName(name), _sent(payload))


def _sent(payload: Any) -> Snapshot:
    return cast(Snapshot, json.loads(json.dumps(payload)))


def test_what_follows_is_emitted_with_the_same_rooms_states_and_story() -> None:
    leader = Recorder()
    follower = Follower(leader.adapter)
    leader.run_to("org/a", 4)
    leader.now += 20
    leader.adapter.tick("org/a", lambda: StallCause.DISK)
    leader.adapter.completed("org/a", FACTS)
    follower.take(*leader.events)
    assert (follower.events, follower.rooms) == (leader.events, leader.rooms)
    stalled = next(payload for _, payload in follower.events if payload["stall_cause"])
    assert (type(stalled["stall_cause"]), type(stalled["state"])) == (StallCause, State)
    log, other = follower.adapter.log_of("org/a"), leader.adapter.log_of("org/a")
    assert log.events == other.events
    assert (log.trace.lines, log.trace.rates) == (other.trace.lines, other.trace.rates)


def test_old_events_and_those_of_another_epoch_are_ignored() -> None:
    leader = Recorder()
    follower = Follower(leader.adapter)
    leader.run_to("org/a", 3)
    follower.take(*leader.events, *leader.events[1:])
    assert follower.events == leader.events
    follower.take(("model_load_progress", {**leader.events[-1][1], "seq": 99, "epoch": "another"}))
    assert follower.events == leader.events


def test_the_use_of_a_model_is_no_part_of_its_story() -> None:
    leader = Recorder()
    follower = Follower(leader.adapter)
    leader.run_to("org/a")
    leader.adapter.completed("org/a", FACTS)
    use = {"running": 1, "waiting": 0, "tokens_per_second": None, "idle_since": None, "leaves_at": None}
    leader.adapter.in_use("org/a", "load1", {**use, "memory": 7})
    follower.take(*leader.events)
    assert follower.adapter.snapshot("org/a")["use"] == {**use, "memory": 7}
    assert [event.name for event in follower.adapter.log_of("org/a").events][-1] == "model_load_completed"


def test_who_adopts_in_the_middle_of_a_load_goes_on_from_there() -> None:
    leader = Recorder()
    leader.run_to("org/a", 5)
    follower = Follower(leader.adapter)
    seen = len(leader.events)
    leader.adapter.completed("org/a", FACTS)
    follower.take(*leader.events)
    assert follower.events == leader.events[seen:]
    assert follower.adapter.log_of("org/a").events == leader.adapter.log_of("org/a").events
    assert follower.adapter.trace("org/a").lines == leader.adapter.trace("org/a").lines


def test_an_event_that_came_while_the_state_was_read_is_taken_once() -> None:
    leader = Recorder()
    leader.run_to("org/a", 3)
    snapshot = _sent(leader.adapter.snapshot("org/a"))
    leader.adapter.completed("org/a", FACTS)  # the log is read after the snapshot
    follower = Recorder()
    follower.adapter.adopt(leader.adapter.epoch, [(snapshot, leader.adapter.log_of("org/a").packed())])
    follower.adapter.take(EventName.COMPLETED, _sent(leader.events[-1][1]))
    assert follower.adapter.snapshot("org/a")["state"] == State.READY
    assert follower.adapter.log_of("org/a").events == leader.adapter.log_of("org/a").events


def test_a_model_whose_log_was_forgotten_is_taken_again(monkeypatch: Any) -> None:
    monkeypatch.setattr(logs, "KEPT_MODELS", 1)
    leader = Recorder()
    follower = Follower(leader.adapter)
    for model_id in ("org/a", "org/b"):
        for number in range(3):
            leader.adapter.started(model_id, f"load{number}", *expecting())
            leader.adapter.cancelled(model_id, by="rest")
            follower.take(*leader.events[len(follower.events) :])
    assert follower.events == leader.events
