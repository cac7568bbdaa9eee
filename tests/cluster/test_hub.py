"""A server that loads on the nodes of a cluster, over its REST: as a client sees it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.cluster import Cluster, all_gone, wait_for
from tests.support.server import Server

DEMO = "demo/random-0.1gb"


@pytest.fixture(scope="module")
def hub(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server on the cluster whose nodes are a and b, both warm; it has ended before others use them."""
    server = Server(tmp_path_factory.mktemp("hub"), CLUSTER=cluster.address).start()
    wait_for(lambda: _warm(server) == ["a", "b"], 90)
    yield server
    agents = [one for command in cluster.commands for one in command.named("modelhub-agent")]
    assert server.stop() == 0
    wait_for(lambda: all_gone(agents))


def _warm(server: Server) -> list[str]:
    nodes = server.get("/api/nodes").json()["nodes"]
    return sorted(node["name"] for node in nodes if node["workers"]["state"] == "warm")


def test_a_model_loads_where_its_files_are_predicts_and_is_unloaded(hub: Server, cluster: Cluster) -> None:
    first = hub.load(DEMO)
    assert first["state"] == "ready", first["error"]
    assert first["node"] in ("a", "b")
    assert first["placement"].startswith("most memory, ")
    (command,) = [one for one in cluster.commands if one.name == first["node"]]
    (process,) = command.named("modelhub-worker")

    answer = hub.post(
        "/api/predictions", {"model": DEMO, "inputs": "Hello", "parameters": {"max_new_tokens": 2}}
    )
    assert answer.ok
    assert answer.json()["outputs"]

    receipt = hub.delete(f"/api/models/{DEMO}").json()
    assert 10**8 < receipt["freed"] < 10**9
    wait_for(lambda: all_gone([process]))

    again = hub.load(DEMO)  # its files are there now
    assert (again["node"], again["placement"].partition(",")[0]) == (first["node"], "its files are there")
    hub.delete(f"/api/models/{DEMO}")


def test_text_streams_from_a_node(hub: Server) -> None:
    hub.load(DEMO)
    request = {"model": DEMO, "prompt": "Once", "max_tokens": 20, "stream": True}
    lines = hub.post("/v1/completions", request).text.split("\n\n")
    parts = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    assert len(parts) >= 10
    assert lines[-2] == "data: [DONE]"
    hub.delete(f"/api/models/{DEMO}")


def test_a_load_is_cancelled_on_its_node(hub: Server, cluster: Cluster) -> None:
    load = hub.request_load("tiny/only-on-b")
    (command,) = [one for one in cluster.commands if one.name == "b"]
    cancelled = hub.delete(f"/api/loads/{load['load_id']}")
    assert cancelled.ok or cancelled.json()["error"]["code"] == "wrong_state"  # it may have failed or ended
    if not cancelled.ok:
        hub.delete("/api/models/tiny/only-on-b")
    wait_for(lambda: not [one for one in command.named("modelhub-worker") if _has_model(one)])


def _has_model(process: psutil.Process) -> bool:
    try:
        return "only-on-b" in " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return False


def test_a_model_that_only_one_node_has_goes_there_and_is_listed_with_it(hub: Server) -> None:
    model = hub.get("/api/models/tiny/only-on-b").json()
    assert (model["source"], model["nodes"]) == ("folder", ["b"])
    assert hub.load("tiny/only-on-b")["node"] == "b"
    hub.delete("/api/models/tiny/only-on-b")


def test_what_no_node_has_room_for_is_refused_with_the_numbers(hub: Server, tmp_path: Path) -> None:
    refused = hub.load("tiny/too-big")
    assert (refused["state"], refused["error"]["code"]) == ("failed", "no_memory")
    assert "a, b" in refused["error"]["hint"] or "b, a" in refused["error"]["hint"]
