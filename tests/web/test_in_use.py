"""A model in use, for those who watch: events, REST, pages, and why it has left; over a real server."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from tests.support.forms import Visitor
from tests.support.ids import LLAMA
from tests.support.invariants import check_invariants
from tests.support.server import Server, wait_until
from tests.support.types import Watch


def write(server: Server, tokens: int = 200, **more: Any) -> requests.Response:
    """Have the model write text, as an OpenAI client that does not stream."""
    request = {"model": LLAMA, "prompt": "hello", "max_tokens": tokens, "ignore_eos": True, **more}
    response = server.post("/v1/completions", request)
    assert response.ok, response.text
    return response


@pytest.fixture
def loaded(empty_server: Server) -> Server:
    """The shared server, with a model in memory that nobody has used."""
    assert empty_server.load(LLAMA)["state"] == "ready"
    return empty_server


def test_all_who_watch_see_that_a_model_is_used(loaded: Server, watch: Watch) -> None:
    rooms = {model_id: watch(loaded) for model_id in (LLAMA, None)}
    for model_id, watcher in rooms.items():
        watcher.subscribe(model_id)
    ready = loaded.snapshot(LLAMA)
    assert ready["use"]["running"] == 0
    write(loaded)
    for watcher in rooms.values():
        watcher.wait_until(lambda events: events and events[-1][1]["use"]["idle_since"] is not None, 20)
        assert set(watcher.names()) == {"model_in_use"}
        seqs = [payload["seq"] for _, payload in watcher.events]
        assert seqs == list(range(ready["seq"] + 1, ready["seq"] + 1 + len(seqs)))
        assert watcher.events[0][1]["use"]["running"] + watcher.events[0][1]["use"]["waiting"] == 1
    assert loaded.snapshot(LLAMA) == rooms[LLAMA].events[-1][1]
    check_invariants(loaded)


def test_a_request_loads_the_model_which_leaves_when_its_client_has_said_so(
    empty_server: Server, watch: Watch
) -> None:
    watcher = watch(empty_server)
    watcher.subscribe()
    write(empty_server, tokens=3, keep_alive=0)
    left = watcher.wait_for("model_unloaded", model_id=LLAMA, timeout_s=20)
    assert (left["by"], left["use"], left["error"]) == ("keep_alive of 0 s", None, None)
    assert "model_load_started" in watcher.names()
    visitor, why = Visitor(empty_server), "since nobody used it for 0 s, as a client had asked (keep_alive)"
    for page in (f"/models/{LLAMA}", "/history", f"/loads/{left['load_id']}"):
        wait_until(lambda page=page: why in visitor.open(page).text, 10)
    check_invariants(empty_server)


def test_pages_say_since_when_a_model_is_idle_and_when_it_leaves(loaded: Server) -> None:
    write(loaded, tokens=3, ttl=900)
    wait_until(lambda: loaded.snapshot(LLAMA)["use"]["leaves_at"] is not None)
    for page in ("/", f"/models/{LLAMA}"):
        said = Visitor(loaded).open(page).text.partition('data-text="use">Idle since ')[2].partition("<")[0]
        assert ", leaves at " in said, said
