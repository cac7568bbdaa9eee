"""Events: full states, numbered, told to the model's room, harmless when they cannot be."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from modelhub.checkpoints import STEPS
from modelhub.errors import ModelhubError
from modelhub.progress.adapter import ProgressAdapter, room_of
from modelhub.progress.schemas import check_event
from tests.support.truth import check_truth

FACTS = {"device": "cpu", "dtype": "bfloat16", "parameters": 7, "bytes": 14, "memory": 21, "source": "folder"}


class Told:
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
        self.adapter.started(model_id, "load1", None)
        for row in STEPS[:last]:
            self.now += 0.2
            self.adapter.emit_progress(model_id, row.step, row.message)


@pytest.fixture
def told() -> Told:
    return Told()


def test_started_one_to_nine_completed(told: Told) -> None:
    told.run_to("org/a")
    told.adapter.completed("org/a", FACTS)
    check_truth(told.events)
    assert [name for name, _ in told.events] == [
        "model_load_started",
        *["model_load_progress"] * 9,
        "model_load_completed",
    ]
    for _, payload in told.events:
        check_event(payload)
    assert all(rooms == [room_of("org/a"), "dashboard"] for rooms in told.rooms)
    assert told.events[-1][1]["parameters"] == 7
    assert told.events[-1][1]["seconds"] == pytest.approx(1.8)


def test_a_wrong_tuple_is_logged_and_counted_and_harms_nothing(
    told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    told.adapter.started("org/a", "load1", None)
    with caplog.at_level(logging.WARNING):
        for wrong in [
            (0, "x"),
            (10, "x"),
            ("5", "x"),
            (5, ""),
            (5, "x", -1),
            (5, "x", 9, 8, "bytes"),
            (5, "x", 1, 2, "miles"),
        ]:
            told.adapter.emit_progress("org/a", *wrong)  # type: ignore[arg-type]
    assert told.adapter.rejected == 7
    assert len(caplog.records) == 7
    told.adapter.emit_progress("org/a", 1, "fine")
    assert told.events[-1][1]["message"] == "fine"


def test_a_failing_socket_harms_no_load(caplog: pytest.LogCaptureFixture) -> None:
    def broken(*_: Any) -> None:
        raise ConnectionError("the socket is gone")

    adapter = ProgressAdapter(broken)
    with caplog.at_level(logging.WARNING):
        adapter.started("org/a", "load1", None)
        adapter.emit_progress("org/a", 1, "Initializing model loader...")
        adapter.completed("org/a", FACTS)
    assert adapter.snapshot("org/a")["state"] == "ready"
    assert "the socket is gone" in caplog.text


def test_nothing_after_the_terminal_event(told: Told) -> None:
    told.run_to("org/a", last=5)
    told.adapter.cancelled("org/a", by="page")
    before = len(told.events)
    told.adapter.emit_progress("org/a", 6, "Model loaded successfully")
    told.adapter.tick("org/a")
    assert len(told.events) == before
    assert told.events[-1][1]["by"] == "page"


def test_two_models_never_mix(told: Told) -> None:
    for model_id in ("org/a", "org/b"):
        told.adapter.started(model_id, f"load of {model_id}", None)
    for row in STEPS:
        told.now += 0.2
        for model_id in ("org/a", "org/b"):
            told.adapter.emit_progress(model_id, row.step, row.message, detail=model_id)
    for model_id in ("org/a", "org/b"):
        told.adapter.completed(model_id, FACTS)
        own = [(name, payload) for name, payload in told.events if payload["id"] == model_id]
        check_truth(own)
        assert {p["detail"] for name, p in own if name == "model_load_progress"} == {model_id}


def test_what_was_held_back_is_told_before_the_end(told: Told) -> None:
    told.run_to("org/a", last=5)
    told.adapter.emit_progress("org/a", 5, "Loading model weights...", 50, 100, "bytes")
    told.adapter.failed("org/a", ModelhubError("killed", id="org/a", signal="SIGKILL"))
    assert [(name, p["done"]) for name, p in told.events[-2:]] == [
        ("model_load_progress", 50),
        ("model_load_failed", 50),
    ]
    assert told.events[-1][1]["error"]["code"] == "killed"
    assert told.events[-1][1]["error"]["step"] == 5


def test_facts_that_make_no_sense_do_not_hide_the_end(told: Told) -> None:
    told.run_to("org/a")
    told.adapter.completed("org/a", {**FACTS, "parameters": "many", "colour": "blue"})
    name, payload = told.events[-1]
    assert (name, payload["state"], payload["device"]) == ("model_load_completed", "ready", "cpu")
    assert "parameters" not in payload
    assert "colour" not in payload


def test_a_snapshot_is_as_of_now(told: Told) -> None:
    told.run_to("org/a", last=5)
    told.now += 3.0
    assert told.adapter.snapshot("org/a")["elapsed"] == pytest.approx(4.0)
    assert told.adapter.snapshot("org/never")["state"] == "absent"


def test_an_end_is_kept_before_it_is_told(told: Told) -> None:
    told.run_to("org/a")
    kept: list[tuple[str, int]] = []
    before = len(told.events)
    told.adapter.completed(
        "org/a", FACTS, lambda payload, _: kept.append((payload["state"], len(told.events)))
    )
    assert kept == [("ready", before)]
    assert len(told.events) == before + 1


def test_seq_goes_on_over_loads_of_one_model(told: Told) -> None:
    told.run_to("org/a")
    told.adapter.completed("org/a", FACTS)
    told.adapter.unloaded("org/a", "load1", {"memory_before": 5, "memory_after": 3, "freed": 2, "by": "page"})
    told.run_to("org/a")
    assert [payload["seq"] for _, payload in told.events] == list(range(1, len(told.events) + 1))


def test_a_process_that_dies_by_itself_is_told_as_a_failure(told: Told) -> None:
    told.run_to("org/a")
    told.adapter.completed("org/a", FACTS)
    told.adapter.unloaded("org/a", "load1", {}, ModelhubError("killed", id="org/a", signal="SIGKILL"))
    name, payload = told.events[-1]
    assert (name, payload["state"], payload["error"]["code"]) == ("model_unloaded", "failed", "killed")
