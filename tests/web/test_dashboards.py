"""What all open dashboards are sent at once, so that none of them fetches its page when a state changes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from tests.support import models
from tests.support.ids import BERT, LLAMA
from tests.support.server import Server, wait_until
from tests.support.types import StartServer, Watch


def open_dashboard(server: Server, watch: Watch) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Subscribe as a dashboard does; returns the acknowledgement, and a list to which parts are added."""
    parts: list[dict[str, Any]] = []
    client = watch(server).client
    client.on("page_parts", parts.append)
    ack = client.call("subscribe", {"words": True}, timeout=20)
    return dict(ack["snapshot"]), parts


def test_dashboards_are_sent_memory_and_sizes_soon_after_a_change(empty_server: Server, watch: Watch) -> None:
    _, parts = open_dashboard(empty_server, watch)
    _, also = open_dashboard(empty_server, watch)
    plain: list[Any] = []
    other = watch(empty_server)
    other.client.on("page_parts", plain.append)
    other.subscribe()
    empty_server.load(LLAMA)
    wait_until(lambda: parts and parts[-1]["memory"][0][0] == "models")
    newest = parts[-1]
    assert newest["memory"][0][2].endswith(("kB in 1 model", "MB in 1 model"))  # it is a tiny model
    assert sum(share for _, share, _ in newest["memory"]) > 0.99
    row = newest["rows"][LLAMA]
    assert row["about"] == "233 kB · models folder"
    assert row["need"] == "needs 231 kB, fits"
    assert newest["watchers"] == 2
    wait_until(lambda: also == parts)
    assert plain == []


def test_many_changes_at_once_are_sent_together(empty_server: Server, watch: Watch) -> None:
    frozen = empty_server.freeze_load(LLAMA)
    _, parts = open_dashboard(empty_server, watch)
    ids = [f"{BERT}@{number}" for number in range(30)]
    for model_id in ids:
        empty_server.request_load(model_id)
    for load in empty_server.get("/api/loads?outcome=running").json()["loads"]:
        empty_server.delete(f"/api/loads/{load['load_id']}")
    wait_until(lambda: {name for one in parts for name in one["rows"]} >= set(ids))
    assert len(parts) < len(ids)
    frozen.wait(10)


def test_the_acknowledgement_has_the_version_of_the_list(
    start_server: StartServer, tmp_path: Path, watch: Watch
) -> None:
    first = models.make_llama(tmp_path / "models" / "one")
    server = start_server(MODELS_DIR=tmp_path / "models")
    html = server.get("/").text
    ack, _ = open_dashboard(server, watch)
    assert f'"version": "{ack["version"]}"' in html
    assert ack["models"] == []
    assert ack["parts"]["watchers"] == 1
    shutil.copytree(first, first.with_name("two"))
    wait_until(lambda: 'data-model="two"' in server.get("/").text)
    assert open_dashboard(server, watch)[0]["version"] != ack["version"]
