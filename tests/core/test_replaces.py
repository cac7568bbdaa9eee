"""One request that loads a model in the place of others."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from modelhub.config import read_settings
from modelhub.core.registry import Registry
from modelhub.errors import ModelhubError
from modelhub.states import State
from tests.support import models
from tests.support.ids import BERT, LLAMA, VIT
from tests.support.server import Server, wait_until
from tests.support.types import Watch


def request(server: Server, model_id: str, *replaces: str, **more: Any) -> Any:
    return server.post("/api/loads", {"model": model_id, "replaces": list(replaces), **more})


def loads_of(server: Server) -> int:
    return int(server.get("/api/loads").json()["total"])


def test_the_other_model_leaves_with_a_receipt_and_the_new_one_is_ready(
    empty_server: Server, watch: Watch
) -> None:
    empty_server.load(LLAMA)
    (worker,) = empty_server.workers()
    watcher = watch(empty_server)
    watcher.subscribe()
    assert request(empty_server, BERT, LLAMA).status_code == 202
    watcher.wait_for("model_load_completed", model_id=BERT)
    left = watcher.wait_for("model_unloaded", model_id=LLAMA)
    assert (left["state"], left["error"], left["by"]) == ("absent", None, "rest")
    assert left["freed"] > 10_000_000, "its own part, though another model came meanwhile"
    assert empty_server.snapshot(LLAMA)["state"] == "absent"
    assert not worker.is_running()
    row = empty_server.get(f"/api/loads?model={LLAMA}&limit=1").json()["loads"][0]
    assert row["state"] == "unloaded"


def test_several_are_replaced_and_others_stay(empty_server: Server) -> None:
    for model_id in (LLAMA, BERT):
        empty_server.load(model_id)
    request(empty_server, VIT, LLAMA, BERT)
    assert empty_server.wait_state(VIT, ("ready", "failed"))["state"] == "ready"
    for model_id in (LLAMA, BERT):
        empty_server.wait_state(model_id, ("absent",))
    request(empty_server, LLAMA)
    empty_server.wait_state(LLAMA, ("ready",))
    assert empty_server.snapshot(VIT)["state"] == "ready", "it was not named"


def test_an_unknown_model_among_them_is_refused_and_nothing_happens(empty_server: Server) -> None:
    empty_server.load(LLAMA)
    before = loads_of(empty_server)
    response = request(empty_server, BERT, LLAMA, "org/nowhere")
    assert (response.status_code, response.json()["error"]["code"]) == (404, "unknown_model")
    assert "org/nowhere" in response.json()["error"]["message"]
    assert empty_server.snapshot(LLAMA)["state"] == "ready"
    assert empty_server.snapshot(BERT)["state"] == "absent"
    assert loads_of(empty_server) == before


@pytest.mark.parametrize("replaces", ["tiny/llama", [1], [""], ["a/b/c"], ["tiny/llama"] * 17])
def test_what_is_no_list_of_models_is_refused(empty_server: Server, replaces: Any) -> None:
    before = loads_of(empty_server)
    response = empty_server.post("/api/loads", {"model": BERT, "replaces": replaces})
    assert response.status_code == 422, response.text
    assert loads_of(empty_server) == before


def test_a_model_that_is_not_in_memory_is_ignored(empty_server: Server) -> None:
    request(empty_server, BERT, LLAMA, BERT)
    assert empty_server.wait_state(BERT, ("ready", "failed"))["state"] == "ready"
    assert empty_server.snapshot(LLAMA)["state"] == "absent"


def test_a_model_that_still_loads_is_not_touched(empty_server: Server) -> None:
    """It is loading when the request comes, and waits before it in the queue: it is ready by then."""
    worker = empty_server.freeze_load(LLAMA)
    request(empty_server, BERT, LLAMA)
    assert empty_server.snapshot(LLAMA)["state"] == "loading"
    assert empty_server.snapshot(BERT)["state"] == "queued"
    worker.resume()
    assert empty_server.wait_state(BERT, ("ready", "failed"))["state"] == "ready"
    empty_server.wait_state(LLAMA, ("absent",))


def test_the_other_model_stays_while_the_load_waits_in_the_queue(empty_server: Server) -> None:
    empty_server.load(LLAMA)
    worker = empty_server.freeze_load(VIT)
    load = request(empty_server, BERT, LLAMA).json()
    assert empty_server.snapshot(BERT)["state"] == "queued"
    assert empty_server.snapshot(LLAMA)["state"] == "ready"
    assert empty_server.delete(f"/api/loads/{load['load_id']}").json()["state"] == "cancelled"
    worker.resume()
    empty_server.wait_state(VIT, ("ready",))
    assert empty_server.snapshot(LLAMA)["state"] == "ready", "the load that would replace it never began"


@pytest.mark.parametrize("model_id", ["org/nowhere", "tiny/nowhere"])
def test_a_load_of_a_model_that_is_not_there_replaces_nothing(empty_server: Server, model_id: str) -> None:
    empty_server.load(LLAMA)
    response = request(empty_server, model_id, LLAMA)
    if response.ok:
        assert empty_server.wait_state(model_id, ("failed",))["error"]["code"]
    assert empty_server.snapshot(LLAMA)["state"] == "ready"


# The memory of a server whose size the test says; its models have 40 MB.

NEED = 41 * 10**6


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    """A server without transport that has a little more memory than one model needs."""
    for name in ("one", "two"):
        models.make_sparse_llama(tmp_path / "models" / "large" / name, 160_000)
    monkeypatch.setattr("modelhub.core.budget.memory.free_bytes", lambda: NEED + 4 * 10**6)
    folders = {"DATA_DIR": tmp_path / "data", "MODELS_DIR": tmp_path / "models"}
    (tmp_path / "data").mkdir()
    settings = read_settings({f"MODELHUB_{name}": str(path) for name, path in folders.items()})

    def spawn(work: Callable[..., None], *args: Any) -> None:
        threading.Thread(target=work, args=args, daemon=True).start()

    registry = Registry(settings, spawn, lambda name, payload, rooms: None)
    yield registry
    registry.close()


def test_the_memory_of_what_is_replaced_counts_as_free(registry: Registry) -> None:
    def ends_as(model_id: str, replaces: tuple[str, ...] = ()) -> Any:
        load, _ = registry.lifecycle.start(model_id, by="rest", replaces=replaces)
        started = registry.lifecycle._loads.latest[model_id]
        assert started.ended.wait(90)
        return registry.load(load["load_id"])

    assert ends_as("large/one")["state"] == State.READY
    refused = ends_as("large/two")
    assert (refused["state"], refused["error"]["code"]) == (State.FAILED, "no_memory")
    assert registry.snapshot("large/one")["state"] == State.READY
    assert ends_as("large/two", ("large/one",))["state"] == State.READY
    wait_until(lambda: registry.snapshot("large/one")["state"] == State.ABSENT)


def test_an_unknown_one_is_an_error_before_anything(registry: Registry) -> None:
    with pytest.raises(ModelhubError) as caught:
        registry.lifecycle.start("large/one", by="rest", replaces=["org/nowhere"])
    assert caught.value.code == "unknown_model"
    assert not registry.lifecycle._loads.latest


def test_a_request_that_joins_a_load_replaces_too(empty_server: Server) -> None:
    empty_server.load(LLAMA)
    empty_server.load(BERT)
    assert request(empty_server, BERT, LLAMA).status_code == 200
    empty_server.wait_state(LLAMA, ("absent",))
    assert empty_server.snapshot(BERT)["state"] == "ready"
