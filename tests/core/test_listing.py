"""The list of many models, over a real server: parts of it, and a disk that is slow."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.ids import LLAMA
from tests.support.many import make_many, on_slow_disk
from tests.support.server import Server, wait_until
from tests.support.types import StartServer, Watch

DEMOS = 3
SLOW = 60


@pytest.fixture
def slow(start_server: StartServer, tmp_path: Path) -> Server:
    """A server that looks through its folders for some seconds: their disk takes 5 ms a call."""
    folder = make_many(tmp_path / "models", SLOW, organizations=4)
    server = start_server(on_slow_disk(folder, 0.005), MODELS_DIR=folder)
    server.get("/livez")
    return server


def listed(server: Server) -> int:
    return int(server.get("/api/models?limit=1").json()["total"])


def test_a_part_of_the_list_can_be_asked_for(empty_server: Server) -> None:
    def get(query: str) -> dict[str, Any]:
        return dict(empty_server.get(f"/api/models{query}").json())

    whole = get("")
    ids = [model["id"] for model in whole["models"]]
    assert whole["total"] == len(ids) > 6
    assert ids == sorted(ids, key=str.lower)
    part = get("?limit=3&offset=2")
    assert ([model["id"] for model in part["models"]], part["total"]) == (ids[2:5], len(ids))
    found = get("?q=TINY/&limit=2")
    assert [model["id"] for model in found["models"]] == [name for name in ids if "tiny/" in name][:2]
    assert found["total"] == sum("tiny/" in name for name in ids)
    assert get("?offset=1000")["models"] == []
    assert empty_server.get("/api/models?limit=0").status_code == 422


def test_the_server_responds_while_it_looks_through_a_slow_disk(slow: Server) -> None:
    answers = 0
    while listed(slow) < SLOW:
        for _ in range(10):
            slow.get("/livez")
            answers += 1
    assert answers >= 20, "it looked through all of it before it answered"
    wait_until(lambda: listed(slow) == SLOW + DEMOS)


def test_the_page_says_that_the_list_is_not_complete_and_hears_when_it_is(slow: Server, watch: Watch) -> None:
    changed: list[Any] = []
    watcher = watch(slow)
    watcher.client.on("models_changed", changed.append)
    html = slow.get("/").text
    assert "Looking through the folders: " in html
    assert "No models of your own yet" not in html
    wait_until(lambda: changed)
    assert listed(slow) == SLOW + DEMOS
    assert "Looking through the folders" not in slow.get("/").text


def test_a_model_is_found_before_the_scan_has_come_to_it(slow: Server) -> None:
    last = f"org03/model-{SLOW - 1:04}"
    assert slow.get(f"/api/models/{last}").json()["source"] == "folder"
    assert listed(slow) < SLOW + DEMOS, "the scan still goes on"


def test_a_folder_is_found_at_the_next_look(start_server: StartServer, tmp_path: Path) -> None:
    folder = make_many(tmp_path / "models", 4)
    server = start_server(MODELS_DIR=folder)
    assert listed(server) == 4 + DEMOS
    (folder / "org00" / "model-0000").rename(folder / "org00" / "another")
    assert server.get("/api/models/org00/another").json()["source"] == "folder"


def test_look_ups_for_longer_than_a_scan_is_fresh_share_few_scans(
    start_server: StartServer, tmp_path: Path
) -> None:
    folder = make_many(tmp_path / "models", SLOW)
    server = start_server(on_slow_disk(folder, 0.01), MODELS_DIR=folder)
    wait_until(lambda: listed(server) == SLOW + DEMOS, 120)
    began = time.monotonic()
    for _ in range(20):
        assert server.get("/api/models/org01/model-0001").ok
    # Each of them would scan again: 60 folders with three files are more than 300 calls of 10 ms.
    assert time.monotonic() - began < 20


def test_a_subscription_has_the_models_that_were_loaded(empty_server: Server, watch: Watch) -> None:
    empty_server.load(LLAMA)
    models = watch(empty_server).subscribe()["snapshot"]["models"]
    by_id = {model["id"]: model for model in models}
    assert by_id[LLAMA] == empty_server.get(f"/api/models/{LLAMA}").json()
    assert all(model["snapshot"]["load_id"] or model["state"] != "absent" for model in models)
    assert "demo/random-2gb" not in by_id
