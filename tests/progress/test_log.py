"""The log of a model: small once its load has ended, and the same events to who asks for them."""

from __future__ import annotations

import gc
import json
import threading
import tracemalloc
from typing import Any

import pytest

from modelhub.checkpoints import STEPS
from modelhub.errors import ModelhubError
from modelhub.progress import logs
from tests.progress.test_adapter import FACTS, Recorder
from tests.support.expecting import expecting


def _run(recorder: Recorder, model_id: str, ticks: int = 40) -> None:
    """A load with many events, some of which have fields that the next has not."""
    recorder.adapter.queued(model_id, f"load of {model_id}", 1)
    recorder.adapter.started(model_id, f"load of {model_id}", *expecting(10**9))
    for row in STEPS:
        for tick in range(ticks):
            recorder.now += 0.13
            count = (tick * 10**6, 10**9, "bytes", f"part-{tick // 9}") if row.step == 5 else ()
            recorder.adapter.emit_progress(model_id, row.step, row.message, *count)
    recorder.adapter.completed(model_id, FACTS)


def _events(recorder: Recorder, model_id: str = "org/a") -> list[tuple[str, dict[str, Any]]]:
    return [(name, payload) for name, payload in recorder.events if payload["id"] == model_id]


def _kept(recorder: Recorder, after: int = 0) -> list[tuple[str, dict[str, Any]]]:
    return [(name, payload) for _, name, payload in recorder.adapter.log_of("org/a").after(after, 0)]


def test_the_events_of_a_load_that_has_ended_are_those_that_were_sent() -> None:
    recorder = Recorder()
    _run(recorder, "org/a")
    sent = _events(recorder)
    assert _kept(recorder) == sent[-256:]
    for seq in (0, 100, 200, len(sent) - 5, len(sent) - 3, len(sent) - 1, len(sent)):
        assert _kept(recorder, seq) == sent[max(seq, len(sent) - 256) :]
    assert json.dumps(_kept(recorder), sort_keys=True) == json.dumps(sent[-256:], sort_keys=True)


def test_the_log_goes_on_after_an_end() -> None:
    recorder = Recorder()
    _run(recorder, "org/a", ticks=3)
    recorder.adapter.unloaded("org/a", "load of org/a", {"freed": 2, "by": "page"})
    assert _kept(recorder) == _events(recorder)
    lines = [line["state"] for line in recorder.adapter.trace("org/a").lines]
    assert lines[0] == "queued"
    assert lines[-2:] == ["ready", "absent"]
    _run(recorder, "org/a", ticks=3)
    assert _kept(recorder) == _events(recorder)
    assert [payload["seq"] for _, payload in _kept(recorder)] == list(range(1, len(recorder.events) + 1))


def test_the_story_of_a_load_is_the_same_after_its_end() -> None:
    recorder = Recorder()
    stories: list[tuple[list[Any], list[Any]]] = []

    def look(name: str, payload: dict[str, Any], rooms: list[str]) -> None:
        trace = recorder.adapter.trace("org/a")
        stories.append((list(trace.lines), list(trace.rates)))

    recorder.adapter._emit = look  # type: ignore[assignment]
    _run(recorder, "org/a")
    trace = recorder.adapter.trace("org/a")
    assert (trace.lines, trace.rates) == stories[-1]
    assert len(trace.rates) > 20
    assert trace.load_id == "load of org/a"


def test_a_reader_that_waits_gets_the_end() -> None:
    recorder = Recorder()
    recorder.run_to("org/a")
    seq = recorder.adapter.snapshot("org/a")["seq"]
    found: list[Any] = []
    reader = threading.Thread(target=lambda: found.extend(recorder.adapter.log_of("org/a").after(seq, 20)))
    reader.start()
    recorder.adapter.completed("org/a", FACTS)
    reader.join(20)
    assert [event.name for event in found] == ["model_load_completed"]


def test_a_log_is_small_once_its_load_has_ended() -> None:
    recorder = Recorder()
    recorder.adapter._emit = lambda *_: None  # type: ignore[assignment] - keep nothing here
    _run(recorder, "org/first", ticks=1)
    gc.collect()
    tracemalloc.start()
    _run(recorder, "org/a")
    gc.collect()
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 30_000
    assert len(recorder.adapter.log_of("org/a").events) == 256


def test_of_too_many_models_the_one_without_news_for_longest_is_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logs, "KEPT_MODELS", 4)
    recorder = Recorder()
    _run(recorder, "org/ready", ticks=1)
    recorder.adapter.queued("org/waiting", "1", 1)
    for number in range(6):
        recorder.adapter.started(f"org/{number}", str(number), *expecting())
        recorder.adapter.failed(f"org/{number}", ModelhubError("internal"))
    assert set(recorder.adapter.known()) == {"org/ready", "org/waiting", "org/4", "org/5"}
    assert not recorder.adapter.knows("org/0")
    assert recorder.adapter.snapshot("org/0")["state"] == "absent"


def test_a_client_that_saw_a_forgotten_model_takes_its_next_events_for_news(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logs, "KEPT_MODELS", 1)
    recorder = Recorder()
    recorder.run_to("org/a")
    recorder.adapter.failed("org/a", ModelhubError("internal"))
    seen = recorder.adapter.snapshot("org/a")["seq"]
    recorder.adapter.started("org/b", "1", *expecting())
    recorder.adapter.failed("org/b", ModelhubError("internal"))
    absent = recorder.adapter.snapshot("org/a")
    assert (absent["state"], absent["load_id"]) == ("absent", None)
    assert absent["seq"] > seen
    recorder.adapter.started("org/a", "2", *expecting())
    assert recorder.adapter.snapshot("org/a")["seq"] == recorder.events[-1][1]["seq"] > absent["seq"]


def test_ids_of_which_nothing_was_found_are_few_and_push_out_no_model(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logs, "KEPT_UNFOUND", 3)
    recorder = Recorder()
    _run(recorder, "org/ready", ticks=1)
    recorder.run_to("org/known")
    recorder.adapter.failed("org/known", ModelhubError("internal"))
    recorder.adapter.queued("org/waiting", "1", 1)
    for number in range(20):
        recorder.adapter.started(f"org/{number}", str(number), *expecting())
        recorder.adapter.failed(f"org/{number}", ModelhubError("internal"))
    unfound = {"org/17", "org/18", "org/19"}
    assert set(recorder.adapter.known()) == {"org/ready", "org/known", "org/waiting"} | unfound
