"""The dashboard's rooms where there are many models, over real WebSockets."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.ids import BERT, LLAMA
from tests.support.server import Server, wait_until
from tests.support.truth import kept
from tests.support.types import Watch
from tests.support.watcher import Watcher

_MADE_UP = [f"no/such-{number}" for number in range(3)]


@pytest.fixture
def large(large_server: Server) -> Server:
    """The server with many models, which has noticed that."""
    wait_until(lambda: acknowledged(large_server)["period"] == 1.0)
    return large_server


def acknowledged(server: Server, **request: Any) -> dict[str, Any]:
    """What ``subscribe`` answers."""
    watcher = Watcher(server.url)
    answer = watcher.client.call("subscribe", request, timeout=20)
    watcher.close()
    return dict(answer["snapshot"] if answer["ok"] else answer["error"])


def load_slowly(server: Server, model_id: str, seconds: float) -> None:
    """A load that lasts for so long; its process is stopped, so that an event comes each second."""
    frozen = server.freeze_load(model_id)
    time.sleep(seconds)
    frozen.resume()
    server.wait_state(model_id, ("ready",))


def test_a_dashboard_gets_an_event_of_each_model_once_a_second(large: Server, watch: Watch) -> None:
    dashboard, room = watch(large), watch(large)
    assert dashboard.subscribe()["snapshot"]["period"] == 1.0
    room.subscribe(LLAMA)
    load_slowly(large, LLAMA, 1.5)
    last = dashboard.wait_for("model_load_completed", model_id=LLAMA)
    assert last == room.wait_for("model_load_completed") == large.snapshot(LLAMA)
    assert len(dashboard.events) <= last["seconds"] + 3, "one at first, one each second, and the end"
    room.wait_until(lambda events: len(events) > len(dashboard.events))
    room.wait_until(lambda events: all(event in events for event in dashboard.events))


def test_no_end_is_left_out_however_soon_another_event_follows(large: Server, watch: Watch) -> None:
    plain, page = watch(large), watch(large)
    plain.subscribe()
    page.client.call("subscribe", {"words": True}, timeout=20)
    for _ in range(3):
        large.load(BERT)
        large.delete(f"/api/models/{BERT}")
    loads = {load["load_id"] for load in large.get(f"/api/loads?model={BERT}&limit=3").json()["loads"]}

    def ended(events: list[tuple[str, dict[str, Any]]], name: str) -> set[str]:
        return {payload["load_id"] for one, payload in events if one == name and payload["id"] == BERT}

    for watcher in (plain, page):
        for name in ("model_load_completed", "model_unloaded"):
            watcher.wait_until(lambda events, name=name: ended(events, name) == loads)
        seqs = [payload["seq"] for _, payload in watcher.of(BERT)]
        assert seqs == sorted(set(seqs))
    assert all("words" in payload for _, payload in page.events)


def test_the_acknowledgement_comes_in_parts(large: Server) -> None:
    for model_id in _MADE_UP:
        large.load(model_id)
    whole = acknowledged(large)
    ids = [model["id"] for model in whole["models"]]
    assert set(_MADE_UP) <= set(ids)
    assert (whole["total"], whole["next"]) == (len(ids), None)
    found, at = [], 0
    while at is not None:
        part = acknowledged(large, limit=2, offset=at)
        assert len(part["models"]) <= 2
        found += [model["id"] for model in part["models"]]
        at = part["next"]
    assert found == ids
    for wrong in ({"limit": 0}, {"limit": "2"}, {"offset": -1}, {"offset": True}):
        assert acknowledged(large, **wrong)["code"] == "invalid_request"


def test_with_fewer_models_each_event_is_sent_at_once(empty_server: Server, watch: Watch) -> None:
    dashboard, room = watch(empty_server), watch(empty_server)
    assert dashboard.subscribe()["snapshot"]["period"] == 0.0
    room.subscribe(LLAMA)
    empty_server.load(LLAMA)
    for watcher in (dashboard, room):
        watcher.wait_for("model_load_completed")
    wait_until(lambda: kept(dashboard.events) == kept(room.events))


def test_what_waits_is_sent_before_the_server_ends(large: Server, tmp_path: Path, watch: Watch) -> None:
    server = Server(tmp_path / "data", MODELS_DIR=large.environ["MODELHUB_MODELS_DIR"]).start()
    try:
        server.get("/api/models")
        dashboard = watch(server)
        wait_until(lambda: dashboard.subscribe()["snapshot"]["period"] == 1.0)
        server.request_load(LLAMA)  # waits for the imports
        dashboard.wait_for("model_load_started", "model_load_progress")
    finally:
        server.stop()
    assert dashboard.wait_for("model_load_failed", timeout_s=5)["state"] == "interrupted"
