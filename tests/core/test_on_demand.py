"""A request loads the model that it needs: joined, waited for, refused."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from modelhub.core.on_demand import OnDemand
from modelhub.core.registry import Registry
from modelhub.core.unloading import is_unused
from modelhub.core.use import Use
from modelhub.errors import ModelhubError
from modelhub.states import State
from tests.support.server import wait_until
from tests.support.serverless import ENDLESS, STORY, House


@pytest.fixture
def registry(house: House) -> Registry:
    """With no model in memory."""
    house.clear()
    return house.registry


def wait_ready(registry: Registry, model_id: str = STORY, **more: Any) -> list[State]:
    """Wait as a request does; returns the states that it was told of."""
    return [snapshot["state"] for snapshot in registry.on_demand.ready(model_id, "openai", **more)]


def refusal(registry: Registry, model_id: str = STORY) -> ModelhubError:
    with pytest.raises(ModelhubError) as caught:
        wait_ready(registry, model_id)
    return caught.value


def test_requests_for_a_model_that_is_not_in_memory_share_one_load(registry: Registry) -> None:
    before = registry.journal.count()
    with ThreadPoolExecutor(4) as pool:
        told = list(pool.map(lambda _: wait_ready(registry), range(4)))
    assert registry.snapshot(STORY)["state"] == State.READY
    assert {state for states in told for state in states} <= {State.QUEUED, State.LOADING}
    assert registry.journal.count() == before + 1
    (load,) = registry.loads(STORY, limit=1)
    assert load["by"] == "openai"
    assert wait_ready(registry) == [], "it is in memory"
    assert registry.journal.count() == before + 1


def test_a_load_that_somebody_has_requested_is_joined(registry: Registry) -> None:
    load, _ = registry.lifecycle.start(STORY, by="page")
    wait_ready(registry)
    assert registry.snapshot(STORY)["load_id"] == load["load_id"]


def test_a_load_is_told_of_each_second(registry: Registry, house: House) -> None:
    with house.held_load(ENDLESS):  # it waits in the queue behind this one
        waiting = registry.on_demand.ready(STORY, "openai")
        told = [next(waiting)["state"] for _ in range(2)]
    assert told == [State.QUEUED, State.QUEUED]
    assert {snapshot["state"] for snapshot in waiting} <= {State.QUEUED, State.LOADING}
    assert registry.snapshot(STORY)["state"] == State.READY


def test_a_model_that_is_unloading_is_waited_for_and_then_loaded(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait_ready(registry)
    before = registry.snapshot(STORY)["load_id"]
    machine = registry.machines.all()[0]
    total, may_leave = machine.memory_of_all, threading.Event()

    def count(leaving: Any = None) -> int | None:
        assert leaving is not None or may_leave.wait(30)  # without one, its process has just exited
        return total(leaving)

    monkeypatch.setattr(machine, "memory_of_all", count)
    unloads = threading.Thread(target=registry.lifecycle.unload, args=(STORY, "page"))
    unloads.start()
    wait_until(lambda: registry.snapshot(STORY)["state"] == State.UNLOADING)
    waiting = registry.on_demand.ready(STORY, "openai")
    assert next(waiting)["state"] == State.UNLOADING
    may_leave.set()
    for _ in waiting:
        pass
    unloads.join()
    ready = registry.snapshot(STORY)
    assert ready["state"] == State.READY
    assert ready["load_id"] != before


def test_a_failed_load_raises_its_error_in_all_that_wait(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelhub.core.budget.memory.free_bytes", lambda: 1000)
    with ThreadPoolExecutor(2) as pool:
        errors = list(pool.map(lambda _: refusal(registry), range(2)))
    assert [(error.code, error.status) for error in errors] == [("no_memory", 507)] * 2


def test_a_cancelled_load_is_an_error_of_those_that_wait(registry: Registry, house: House) -> None:
    with house.held_load(STORY) as load_id, ThreadPoolExecutor(1) as pool:
        failed = pool.submit(refusal, registry)
        wait_until(lambda: house.load_of(STORY).is_in_use)
        registry.lifecycle.cancel(load_id, by="page")
        error = failed.result(30)
    assert (error.code, error.message) == ("wrong_state", f"{STORY} is cancelled: Its load was cancelled.")


def test_where_nothing_is_loaded_on_demand_a_request_is_refused(registry: Registry) -> None:
    never = OnDemand(registry.lifecycle, registry.adapter, False)
    with pytest.raises(ModelhubError) as caught:
        list(never.ready(STORY, "openai"))
    assert (caught.value.code, caught.value.status) == ("wrong_state", 409)
    assert registry.snapshot(STORY)["state"] == State.ABSENT
    wait_ready(registry)
    assert list(never.ready(STORY, "openai")) == []


def test_a_model_that_is_not_on_this_machine_is_not_fetched_for_a_request(registry: Registry) -> None:
    before = registry.journal.count()
    assert refusal(registry, "org/nowhere").code == "unknown_model"
    assert registry.journal.count() == before


def test_a_model_in_quarantine_is_refused(registry: Registry) -> None:
    quarantine = registry.lifecycle._quarantine
    for _ in range(3):
        quarantine.fail(STORY, ModelhubError("crashed", id=STORY, status="SIGSEGV"))
    assert refusal(registry).code == "quarantined"
    quarantine.lift(STORY)
    wait_ready(registry)


def test_a_client_that_leaves_does_not_end_the_load(registry: Registry, house: House) -> None:
    with house.held_load(STORY) as load_id:
        left = threading.Event()
        waiting = registry.on_demand.ready(STORY, "openai", left.is_set)
        assert next(waiting)["state"] == State.LOADING
        left.set()
        assert list(waiting) == []
        closed = registry.on_demand.ready(STORY, "openai")
        next(closed)
        closed.close()
        assert not house.load_of(STORY).is_in_use, "nobody waits any more"
    wait_until(lambda: registry.snapshot(STORY)["state"] == State.READY)
    assert registry.snapshot(STORY)["load_id"] == load_id


def test_a_model_stays_for_a_request_that_has_yet_to_begin(registry: Registry, house: House) -> None:
    wait_ready(registry, ENDLESS)
    load = house.load_of(ENDLESS)

    def leaves() -> bool:
        registry.lifecycle._unloading.unload(load, "idle for 1 s", only_if=is_unused)
        return load.state != State.READY

    assert not leaves()
    answer = house.write(ENDLESS)
    frames = answer.frames()
    assert not leaves()
    assert next(frames) == {"text": "One", "tokens": 1}
    answer.cancel()
    assert leaves()


def test_a_claim_ends_with_its_request_or_after_some_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("modelhub.core.use.time.monotonic", lambda: now[0])
    use, checks = Use(), []
    for step in (lambda: use.claim(), lambda: use.claim(), lambda: use.begin(), lambda: use.begin()):
        step()
        checks.append(use.is_awaited)
    assert checks == [True, True, True, False]
    use.claim()
    now[0] += 1.9
    assert use.is_awaited
    now[0] += 0.2
    assert not use.is_awaited
    with use.awaited():
        now[0] += 1000
        assert use.is_awaited
    assert not use.is_awaited
