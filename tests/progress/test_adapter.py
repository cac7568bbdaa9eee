"""Events: full states, numbered, emitted to the model's room; a failing emit harms no load."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from modelhub.checkpoints import STEPS
from modelhub.errors import ModelhubError
from modelhub.payloads import Use
from modelhub.progress.adapter import ProgressAdapter, room_of
from modelhub.progress.schemas import check_event
from modelhub.states import StallCause
from tests.support.expecting import expecting
from tests.support.truth import check_truth

FACTS = {"device": "cpu", "dtype": "bfloat16", "parameters": 7, "bytes": 14, "memory": 21, "source": "folder"}


class Recorder:
    """Collects what an adapter emits."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.rooms: list[list[str]] = []
        self.now = 0.0
        self.adapter = ProgressAdapter(self.emit, stall_s=10.0, clock=lambda: self.now)

    def emit(self, name: str, payload: dict[str, Any], rooms: list[str]) -> None:
        self.events.append((name, payload))
        self.rooms.append(rooms)

    def run_to(self, model_id: str, last: int = 9) -> None:
        self.adapter.started(model_id, "load1", *expecting())
        for row in STEPS[:last]:
            self.now += 0.2
            self.adapter.emit_progress(model_id, row.step, row.message)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


def test_started_one_to_nine_completed(recorder: Recorder) -> None:
    recorder.run_to("org/a")
    recorder.adapter.completed("org/a", FACTS)
    check_truth(recorder.events)
    assert [name for name, _ in recorder.events] == [
        "model_load_started",
        *["model_load_progress"] * 9,
        "model_load_completed",
    ]
    for _, payload in recorder.events:
        check_event(payload)
    assert all(rooms == [room_of("org/a"), "dashboard"] for rooms in recorder.rooms)
    assert recorder.events[-1][1]["parameters"] == 7
    assert recorder.events[-1][1]["seconds"] == pytest.approx(1.8)


def test_an_invalid_checkpoint_is_logged_and_counted_and_changes_nothing(
    recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    recorder.adapter.started("org/a", "load1", *expecting())
    with caplog.at_level(logging.WARNING):
        for invalid in [
            (0, "x"),
            (10, "x"),
            ("5", "x"),
            (5, ""),
            (5, "x", -1),
            (5, "x", 9, 8, "bytes"),
            (5, "x", 1, 2, "miles"),
        ]:
            recorder.adapter.emit_progress("org/a", *invalid)  # type: ignore[arg-type]
    assert recorder.adapter.rejected == 7
    assert len(caplog.records) == 7
    recorder.adapter.emit_progress("org/a", 1, "fine")
    assert recorder.events[-1][1]["message"] == "fine"


def test_a_failing_socket_harms_no_load(caplog: pytest.LogCaptureFixture) -> None:
    def broken(*_: Any) -> None:
        raise ConnectionError("the socket is closed")

    adapter = ProgressAdapter(broken)
    with caplog.at_level(logging.WARNING):
        adapter.started("org/a", "load1", *expecting())
        adapter.emit_progress("org/a", 1, "Initializing model loader...")
        adapter.completed("org/a", FACTS)
    assert adapter.snapshot("org/a")["state"] == "ready"
    assert "the socket is closed" in caplog.text


def test_nothing_after_the_terminal_event(recorder: Recorder) -> None:
    recorder.run_to("org/a", last=5)
    recorder.adapter.cancelled("org/a", by="page")
    before = len(recorder.events)
    recorder.adapter.emit_progress("org/a", 6, "Model loaded successfully")
    recorder.adapter.tick("org/a")
    assert len(recorder.events) == before
    assert recorder.events[-1][1]["by"] == "page"


def test_the_cause_of_a_stall_is_asked_for_and_emitted_while_it_lasts(recorder: Recorder) -> None:
    asked: list[float] = []

    def find_cause() -> StallCause | None:
        asked.append(recorder.now)
        return StallCause.DISK if recorder.now >= 12 else None

    recorder.adapter.started("org/a", "load1", *expecting())
    recorder.adapter.emit_progress("org/a", 5, "x", 1, 9, "bytes")
    for recorder.now in (9.0, 10.0, 12.0):
        recorder.adapter.tick("org/a", find_cause)
    assert asked == [10.0, 12.0]
    assert recorder.adapter.snapshot("org/a")["stall_cause"] == "disk"
    recorder.now = 13.0
    recorder.adapter.emit_progress("org/a", 5, "x", 2, 9, "bytes")
    recorder.now = 40.0
    assert recorder.adapter.snapshot("org/a")["stall_cause"] is None, "of the next stall it is not known yet"
    recorder.adapter.tick("org/a", find_cause)
    recorder.adapter.completed("org/a", FACTS)
    causes = [payload["stall_cause"] for _, payload in recorder.events]
    assert causes == [None, None, None, None, "disk", None, "disk", None]
    for _, payload in recorder.events:
        check_event(payload)


def test_two_models_never_mix(recorder: Recorder) -> None:
    for model_id in ("org/a", "org/b"):
        recorder.adapter.started(model_id, f"load of {model_id}", *expecting())
    for row in STEPS:
        recorder.now += 0.2
        for model_id in ("org/a", "org/b"):
            recorder.adapter.emit_progress(model_id, row.step, row.message, detail=model_id)
    for model_id in ("org/a", "org/b"):
        recorder.adapter.completed(model_id, FACTS)
        own = [(name, payload) for name, payload in recorder.events if payload["id"] == model_id]
        check_truth(own)
        assert {p["detail"] for name, p in own if name == "model_load_progress"} == {model_id}


def test_what_was_held_back_is_emitted_before_the_end(recorder: Recorder) -> None:
    recorder.run_to("org/a", last=5)
    recorder.adapter.emit_progress("org/a", 5, "Loading model weights...", 50, 100, "bytes")
    recorder.adapter.failed("org/a", ModelhubError("killed", id="org/a", signal="SIGKILL"))
    assert [(name, p["done"]) for name, p in recorder.events[-2:]] == [
        ("model_load_progress", 50),
        ("model_load_failed", 50),
    ]
    assert recorder.events[-1][1]["error"]["code"] == "killed"
    assert recorder.events[-1][1]["error"]["step"] == 5


def test_facts_that_make_no_sense_do_not_hide_the_end(recorder: Recorder) -> None:
    recorder.run_to("org/a")
    recorder.adapter.completed("org/a", {**FACTS, "parameters": "many", "colour": "blue"})
    name, payload = recorder.events[-1]
    assert (name, payload["state"], payload["device"]) == ("model_load_completed", "ready", "cpu")
    assert "parameters" not in payload
    assert "colour" not in payload


def test_a_snapshot_is_as_of_now(recorder: Recorder) -> None:
    recorder.run_to("org/a", last=5)
    recorder.now += 3.0
    assert recorder.adapter.snapshot("org/a")["elapsed"] == pytest.approx(4.0)
    assert recorder.adapter.snapshot("org/never")["state"] == "absent"


def test_an_end_is_written_before_it_is_emitted(recorder: Recorder) -> None:
    recorder.run_to("org/a")
    written: list[tuple[str, int]] = []
    before = len(recorder.events)
    recorder.adapter.completed(
        "org/a", FACTS, lambda payload, _: written.append((payload["state"], len(recorder.events)))
    )
    assert written == [("ready", before)]
    assert len(recorder.events) == before + 1


def test_seq_continues_over_the_loads_of_one_model(recorder: Recorder) -> None:
    recorder.run_to("org/a")
    recorder.adapter.completed("org/a", FACTS)
    recorder.adapter.unloaded(
        "org/a", "load1", {"memory_before": 5, "memory_after": 3, "freed": 2, "by": "page"}
    )
    recorder.run_to("org/a")
    assert [payload["seq"] for _, payload in recorder.events] == list(range(1, len(recorder.events) + 1))


def test_a_process_that_dies_by_itself_is_emitted_as_a_failure(recorder: Recorder) -> None:
    recorder.run_to("org/a")
    recorder.adapter.completed("org/a", FACTS)
    recorder.adapter.unloaded("org/a", "load1", {}, ModelhubError("killed", id="org/a", signal="SIGKILL"))
    name, payload = recorder.events[-1]
    assert (name, payload["state"], payload["error"]["code"]) == ("model_unloaded", "failed", "killed")


def _use(running: int) -> Use:
    moments = {"idle_since": None if running else 7.0, "leaves_at": None}
    return {"running": running, "waiting": 0, "tokens_per_second": None, "memory": 21, **moments}  # type: ignore[typeddict-item]


def test_the_use_of_a_ready_model_is_an_event_only_where_it_has_changed(recorder: Recorder) -> None:
    adapter = recorder.adapter
    recorder.run_to("org/a")
    adapter.in_use("org/a", "load1", _use(1))
    assert recorder.events[-1][0] == "model_load_progress", "it is not ready"
    ready = adapter.completed("org/a", FACTS, use=_use(0))
    check_truth(recorder.events)
    for running in (1, 1, 2, 0, 0):
        adapter.in_use("org/a", "load1", _use(running))
    adapter.in_use("org/a", "another load", _use(5))
    used = recorder.events[-3:]
    assert [(name, payload["use"]["running"]) for name, payload in used] == [
        ("model_in_use", 1),
        ("model_in_use", 2),
        ("model_in_use", 0),
    ]
    for place, (_, payload) in enumerate(used):
        check_event(payload)
        assert payload == {**ready, "seq": ready["seq"] + 1 + place, "use": payload["use"]}
    adapter.unloading("org/a")
    adapter.in_use("org/a", "load1", _use(1))
    assert adapter.snapshot("org/a")["use"] is None
    left = adapter.unloaded(
        "org/a", "load1", {"memory_before": 1, "memory_after": 1, "freed": 0, "by": "page"}
    )
    assert (left["seq"], left["use"]) == (ready["seq"] + 4, None)


def test_events_of_use_are_not_kept_for_a_replay(recorder: Recorder) -> None:
    recorder.run_to("org/a")
    recorder.adapter.completed("org/a", FACTS, use=_use(0))
    kept = recorder.adapter.log_of("org/a").after(0, 0)
    for turn in range(600):
        recorder.adapter.in_use("org/a", "load1", _use(turn % 2))
    assert recorder.adapter.log_of("org/a").after(0, 0) == kept
    recorder.run_to("org/a")
    names = [event.name for event in recorder.adapter.log_of("org/a").after(kept[-1].seq, 0)]
    assert names == ["model_load_started", *["model_load_progress"] * 9]


def test_a_use_that_makes_no_sense_is_not_sent(recorder: Recorder, caplog: pytest.LogCaptureFixture) -> None:
    recorder.run_to("org/a")
    ready = recorder.adapter.completed("org/a", FACTS, use=_use(0))
    recorder.adapter.in_use("org/a", "load1", _use(-1))
    assert recorder.adapter.snapshot("org/a") == ready
    assert recorder.adapter.rejected == 1
    assert "the use of org/a was rejected" in caplog.text
