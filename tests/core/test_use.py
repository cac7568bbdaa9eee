"""A model in use: what is sent of it, how long it stays, and what becomes of its users when it leaves."""

from __future__ import annotations

import math
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import psutil
import pytest

from modelhub import memory, wording
from modelhub.core.registry import Registry
from modelhub.errors import ModelhubError
from modelhub.states import EventName, State
from tests.support.server import wait_until
from tests.support.serverless import ENDLESS, STORY, House


@pytest.fixture
def registry(house: House) -> Registry:
    """With the two models in memory."""
    house.clear()
    for model_id in (STORY, ENDLESS):
        load(house.registry, model_id)
    house.events.clear()
    return house.registry


def load(registry: Registry, model_id: str) -> None:
    for _ in registry.on_demand.ready(model_id, "openai"):
        pass


def uses(house: House, model_id: str) -> list[dict[str, Any]]:
    return [
        event["use"]
        for name, event in list(house.events)
        if name == EventName.IN_USE and event["id"] == model_id
    ]


def wait_idle(house: House, model_id: str) -> dict[str, Any]:
    """Wait until the last that was sent of a model is that nobody uses it."""
    wait_until(lambda: (found := uses(house, model_id)) and found[-1]["idle_since"] is not None)
    return uses(house, model_id)[-1]


def wait_left(house: House, model_id: str) -> dict[str, Any]:
    wait_until(lambda: house.registry.snapshot(model_id)["state"] == State.ABSENT)
    return dict(house.registry.snapshot(model_id))


# What is sent


def test_the_use_of_a_model_is_sent_at_once_then_each_second_until_nobody_uses_it(
    house: House, registry: Registry
) -> None:
    ready = registry.snapshot(ENDLESS)
    assert ready["use"] is not None
    assert ready["use"]["idle_since"] == pytest.approx(time.time(), abs=20)
    began = time.monotonic()
    answer, frames = house.begin(ENDLESS)
    wait_until(lambda: bool(uses(house, ENDLESS)))
    assert time.monotonic() - began < 1
    written = 0
    while len(uses(house, ENDLESS)) < 3:
        frame = next(frames)
        written = written if frame is None else frame.get("tokens", written)
    took_s = time.monotonic() - began
    answer.cancel()
    idle = wait_idle(house, ENDLESS)
    events = [event for name, event in house.events if name == EventName.IN_USE]
    assert [event["seq"] for event in events] == list(range(ready["seq"] + 1, ready["seq"] + 1 + len(events)))
    assert {(event["load_id"], event["state"]) for event in events} == {(ready["load_id"], State.READY)}
    assert all(event["parameters"] == ready["parameters"] for event in events), "each is the full state"
    running = [use for use in uses(house, ENDLESS) if use["running"]]
    assert all((use["running"], use["waiting"], use["idle_since"]) == (1, 0, None) for use in running)
    assert running[-1]["tokens_per_second"] == pytest.approx(written / took_s, rel=0.5)
    assert idle["tokens_per_second"] is None
    assert idle["idle_since"] == pytest.approx(time.time(), abs=5)
    assert (idle["running"], idle["leaves_at"]) == (0, None)
    assert registry.snapshot(ENDLESS)["use"] == idle


def test_at_most_one_event_a_second_however_many_requests_come(house: House, registry: Registry) -> None:
    began = time.monotonic()
    while time.monotonic() - began < 1.5:
        house.text(house.write(STORY, tokens=2))
    assert wait_idle(house, STORY)["running"] == 0
    took_s = time.monotonic() - began
    assert 2 <= len(uses(house, STORY)) <= 1 + took_s
    assert uses(house, ENDLESS) == [], "nothing of it has changed"
    assert all(one != other for one, other in pairwise(uses(house, STORY)))


def test_a_plain_prediction_is_use_without_tokens(house: House, registry: Registry) -> None:
    registry.predict(STORY, "x", {"max_new_tokens": 4})
    wait_idle(house, STORY)
    assert all(use["tokens_per_second"] is None for use in uses(house, STORY))


def test_the_story_of_the_load_is_not_lost_by_use(house: House, registry: Registry) -> None:
    log = registry.adapter.log_of(STORY)
    before, lines = log.after(0, 0), len(registry.adapter.trace(STORY).lines)
    house.text(house.write(STORY))
    wait_idle(house, STORY)
    assert log.after(0, 0) == before
    assert len(registry.adapter.trace(STORY).lines) == lines
    assert before[-1].name == EventName.COMPLETED


def test_what_a_process_takes_since_its_load_is_counted_to_its_model(
    house: House, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = registry.budget()
    pid, own = house.load_of(STORY).worker.pid, memory.anonymous_bytes  # type: ignore[union-attr]
    took = registry.snapshot(STORY)["memory"]
    monkeypatch.setattr(memory, "anonymous_bytes", lambda one: own(one) + (10**9 if one == pid else 0))
    assert registry.budget().models - before.models == pytest.approx(10**9, rel=0.05)
    house.text(house.write(STORY))
    assert wait_idle(house, STORY)["memory"] == pytest.approx(took + 10**9, rel=0.05)
    assert registry.snapshot(STORY)["memory"] == took


# How long it stays


def test_keep_alive_counts_from_the_end_of_the_request(house: House, registry: Registry) -> None:
    answer, frames = house.begin(ENDLESS, keep_s=0.4)
    began = time.monotonic()
    while time.monotonic() - began < 0.8:
        next(frames)
    assert registry.snapshot(ENDLESS)["state"] == State.READY, "it is in use"
    ended = time.monotonic()
    answer.cancel()
    left = wait_left(house, ENDLESS)
    assert time.monotonic() - ended >= 0.4
    assert (left["by"], left["error"]) == ("keep_alive of 0.4 s", None)
    (row,) = registry.loads(ENDLESS, limit=1)
    assert (row["state"], row["ended_by"]) == (State.UNLOADED, "keep_alive of 0.4 s")
    assert registry.snapshot(STORY)["state"] == State.READY


def test_with_keep_alive_0_a_model_leaves_once_nobody_uses_it(house: House, registry: Registry) -> None:
    other, _frames = house.begin(ENDLESS)
    waits = house.write(ENDLESS, keep_s=0)
    waits.cancel()
    time.sleep(0.2)  # time enough to leave
    assert registry.snapshot(ENDLESS)["state"] == State.READY
    other.cancel()
    assert wait_left(house, ENDLESS)["by"] == "keep_alive of 0 s"


@pytest.mark.parametrize("never", [-1, math.inf])
def test_what_a_client_says_holds_until_another_says_otherwise(
    house: House, registry: Registry, monkeypatch: pytest.MonkeyPatch, never: float
) -> None:
    eviction = registry.lifecycle._thread._eviction
    monkeypatch.setattr(eviction, "_idle_s", 300.0)
    story = house.load_of(STORY)
    house.text(house.write(STORY))
    assert wait_idle(house, STORY)["leaves_at"] == pytest.approx(time.time() + 300, abs=20)
    for keep_s, stays_s in ((60, 60), (None, 60), (never, None), (None, None), (30, 30)):
        house.text(house.write(STORY, keep_s, tokens=1))
        assert eviction.stays_s(story) == stays_s


# Those who use it


@pytest.fixture
def full(house: House, registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other model is not in memory, and there is no room for it until the first has left."""
    registry.lifecycle.unload(STORY, by="page")
    has_left = house.load_of(ENDLESS).process_exited.is_set
    monkeypatch.setattr("modelhub.core.budget.memory.free_bytes", lambda: 10**10 if has_left() else 1000)


@pytest.mark.usefixtures("full")
def test_a_model_in_use_never_leaves_for_a_load(house: House, registry: Registry) -> None:
    _answer, _frames = house.begin(ENDLESS)
    registry.lifecycle.start(STORY, by="rest")
    assert house.load_of(STORY).ended.wait(30)
    assert house.load_of(STORY).row["error"]["code"] == "no_memory"  # type: ignore[index]
    assert registry.snapshot(ENDLESS)["state"] == State.READY


@pytest.mark.usefixtures("full")
def test_a_load_for_a_request_waits_for_a_model_in_use_and_says_so(house: House, registry: Registry) -> None:
    answer, _frames = house.begin(ENDLESS)
    with ThreadPoolExecutor(1) as pool:
        loads = pool.submit(load, registry, STORY)
        wait_until(lambda: registry.snapshot(STORY)["detail"] == f"waiting for {ENDLESS}")
        said = wording.describe(registry.snapshot(STORY))
        assert said["headline"] == f"Waiting for {ENDLESS} to be idle"
        stalled = {**registry.snapshot(STORY), "stalled_for": 12.0}
        assert f"It is waiting for {ENDLESS} to be idle" in wording.describe(stalled)["stalled"]  # type: ignore[arg-type]
        assert registry.snapshot(ENDLESS)["state"] == State.READY
        answer.cancel()
        loads.result(60)
    assert registry.snapshot(ENDLESS)["by"] == f"room for {STORY}"
    names = [name for name, event in house.events if event["id"] == STORY]
    assert names.count(EventName.STARTED) == names.count(EventName.COMPLETED) == 1


@pytest.mark.usefixtures("full")
def test_a_load_that_waits_for_a_model_in_use_can_be_cancelled(house: House, registry: Registry) -> None:
    _answer, _frames = house.begin(ENDLESS)
    with ThreadPoolExecutor(1) as pool:
        loads = pool.submit(load, registry, STORY)
        wait_until(lambda: registry.snapshot(STORY)["detail"] == f"waiting for {ENDLESS}")
        registry.lifecycle.cancel(house.load_of(STORY).load_id, by="page")
        assert "was cancelled" in str(loads.exception(30))
    assert registry.snapshot(ENDLESS)["state"] == State.READY


def test_caches_are_let_go_before_a_load_is_refused(
    house: House, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.lifecycle.unload(STORY, by="page")
    worker = house.load_of(ENDLESS).worker
    assert worker is not None
    pid, own, kept = worker.pid, memory.anonymous_bytes, [10**9]
    monkeypatch.setattr(memory, "anonymous_bytes", lambda one: own(one) + (kept[0] if one == pid else 0))
    monkeypatch.setattr("modelhub.core.budget.memory.free_bytes", lambda: 10**9 + 1000 - kept[0])
    monkeypatch.setattr(worker, "trim", lambda: kept.__setitem__(0, 0))
    load(registry, STORY)
    assert registry.snapshot(ENDLESS)["state"] == State.READY
    assert kept == [0]


def test_the_process_of_a_model_lets_go_of_conversations_when_asked(house: House, registry: Registry) -> None:
    def cached() -> int:
        frames = [frame for frame in house.write(STORY, tokens=2, prompt="Hello! " * 60).frames() if frame]
        return frames[-1]["finish"]["usage"]["cached_tokens"]

    assert (cached(), cached() > 300) == (0, True)
    worker = house.load_of(STORY).worker
    assert worker is not None
    worker.trim()
    assert cached() == 0


def test_an_unload_ends_what_is_written_with_the_reason(house: House, registry: Registry) -> None:
    _, first = house.begin(ENDLESS)
    frames = [first, house.write(ENDLESS).frames()]
    registry.lifecycle.unload(ENDLESS, by="page")
    for one in frames:
        with pytest.raises(ModelhubError) as caught:
            for _ in one:
                pass
        assert (caught.value.code, caught.value.status) == ("wrong_state", 409)
        assert caught.value.message == f"{ENDLESS} is absent: It was unloaded meanwhile."
    assert registry.generations._running == {}


def test_a_model_that_is_unloaded_the_moment_it_is_ready_leaves(
    house: House, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.clear()
    unload = threading.Thread(target=registry.lifecycle.unload, args=(STORY, "page"))

    def begin_to_unload() -> None:
        unload.start()
        wait_until(lambda: house.load_of(STORY).state == State.UNLOADING)

    monkeypatch.setattr(
        registry.machines.all()[0], "prepare_spare", begin_to_unload
    )  # the last that a load's end does
    registry.lifecycle.start(STORY, by="rest")
    wait_until(lambda: unload.ident is not None)
    unload.join(30)
    assert wait_left(house, STORY)["by"] == "page"


def test_beyond_those_that_may_wait_a_request_is_refused(house: House, registry: Registry) -> None:
    answer, _frames = house.begin(ENDLESS)
    worker = house.load_of(ENDLESS).worker
    assert worker is not None
    process = psutil.Process(worker.pid)
    process.suspend()  # it begins with no other
    try:
        waits = house.write(ENDLESS)
        with pytest.raises(ModelhubError) as caught:
            house.write(ENDLESS)
        assert (caught.value.code, caught.value.status) == ("too_busy", 503)
        assert worker.requests == (1, 1)
        wait_until(lambda: (1, 1) in {(use["running"], use["waiting"]) for use in uses(house, ENDLESS)})
    finally:
        process.resume()
    for one in (waits, answer):
        one.cancel()
    wait_idle(house, ENDLESS)


def test_one_is_ended_by_its_id(house: House, registry: Registry) -> None:
    answer, frames = house.begin(ENDLESS)
    assert registry.generations.cancel(answer.id) == ENDLESS
    with pytest.raises(ModelhubError) as caught:
        for _ in frames:
            pass
    assert caught.value.code == "prediction_failed"
    with pytest.raises(ModelhubError) as caught:
        registry.generations.cancel(answer.id)
    assert caught.value.code == "unknown_prediction"
    assert not house.load_of(ENDLESS).is_in_use
