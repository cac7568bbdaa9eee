"""Replicas: copies of a ready model on other machines, all of this process; real models, real processes."""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil
import pytest
from flask import Flask
from flask.testing import FlaskClient

from modelhub import memory
from modelhub.core.generations import Generation
from modelhub.core.load import Load
from modelhub.core.unloading import JUST_READY_S
from modelhub.errors import ModelhubError
from modelhub.generation import Frame
from modelhub.states import EventName, State
from modelhub.web import current
from modelhub.web.current import registry_of
from tests.support.forms import csrf_token
from tests.support.machines import Cluster
from tests.support.server import wait_until
from tests.support.serverless import ENDLESS, STORY


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    from tests.support.chat_models import make_story

    folder = tmp_path_factory.mktemp("replicas")
    make_story(folder / "a/models" / STORY)
    make_story(folder / "a/models" / ENDLESS, is_endless=True)
    shutil.copytree(folder / "a/models", folder / "b/models")
    cluster = Cluster(folder, ("a", "b"), EVICT="on").open()
    yield cluster
    cluster.close()


@pytest.fixture
def cluster(running: Cluster) -> Cluster:
    running.clear()
    return running


def replicas(cluster: Cluster, model_id: str = ENDLESS) -> list[dict[str, Any]]:
    return [dict(one) for one in cluster.registry.snapshot(model_id)["replicas"]]


def states(cluster: Cluster, model_id: str = ENDLESS) -> list[tuple[str, str, str | None]]:
    return [
        (one["node"], one["state"], one["error"] and one["error"]["code"])
        for one in replicas(cluster, model_id)
    ]


def two_copies(cluster: Cluster, model_id: str = ENDLESS) -> Load:
    """A model that is ready on a, with a replica on b."""
    load = cluster.load_on("a", model_id)
    cluster.registry.lifecycle.scale(model_id, 2, by="page")
    wait_until(lambda: states(cluster, model_id) == [("b", "ready", None)])
    return load


def begin(
    cluster: Cluster, model_id: str = ENDLESS, tokens: int = 8000
) -> tuple[Generation, Iterator[Frame | None]]:
    request: Any = {"prompt": "x", "sampling": {"max_new_tokens": tokens, "temperature": 0.0}}
    generation = cluster.registry.generations.start(model_id, request)
    frames = generation.frames()
    next(frames)
    return generation, frames


def error_of(frames: Iterator[Frame | None]) -> ModelhubError:
    with pytest.raises(ModelhubError) as caught:
        for _ in frames:
            pass
    return caught.value


def test_a_replica_loads_on_the_other_node_and_the_events_of_the_model_tell_it(cluster: Cluster) -> None:
    load = cluster.load_on("a", STORY)
    ready = cluster.registry.snapshot(STORY)
    assert (ready["node"], ready["replicas"]) == ("a", [])
    cluster.registry.lifecycle.scale(STORY, None, by="page")
    wait_until(lambda: states(cluster, STORY) == [("b", "ready", None)])
    told = cluster.events_of(STORY, EventName.IN_USE)
    assert [event["seq"] for event in told] == list(range(ready["seq"] + 1, ready["seq"] + 1 + len(told)))
    assert {(event["state"], event["load_id"], event["node"]) for event in told} == {
        ("ready", load.load_id, "a")
    }
    seen = [one for event in told for one in event["replicas"]]
    assert {one["state"] for one in seen} == {"loading", "ready"}
    assert all(0 <= one["progress"] <= 1 for one in seen if one["progress"] is not None)
    assert all(one["placement"] == "it claims 0" for one in seen if one["node"])
    (replica,) = replicas(cluster, STORY)
    assert (replica["running"], replica["waiting"], replica["error"]) == (0, 0, None)
    assert replica["memory"] > 0
    use = cluster.registry.snapshot(STORY)["use"]
    assert use is not None
    assert use["memory"] == pytest.approx(2 * replica["memory"], rel=0.2)
    assert cluster.registry.loads(STORY)[0]["node"] == "a", "the history has the load, and no other"
    assert len(cluster.registry.loads(STORY)) == 1


def test_requests_go_to_the_least_busy_copy_and_use_counts_them_all(cluster: Cluster) -> None:
    load = two_copies(cluster)
    begun = [begin(cluster) for _ in range(4)]
    running = [sum(one.worker.requests) for one in load.copies if one.worker is not None]
    assert running == [2, 2]
    wait_until(lambda: (use := cluster.registry.snapshot(ENDLESS)["use"]) is not None and use["running"] == 4)
    wait_until(lambda: replicas(cluster)[0]["running"] == 2)
    for generation, _ in begun:
        generation.cancel()
    wait_until(lambda: (use := cluster.registry.snapshot(ENDLESS)["use"]) is not None and use["running"] == 0)
    assert replicas(cluster)[0]["running"] == 0


def test_plain_predictions_go_to_both(cluster: Cluster) -> None:
    load = two_copies(cluster, STORY)
    _hold, frames = begin(cluster, STORY)  # the first copy is busy as long as its answer is not read
    (replica,) = load.replicas
    assert replica.worker is not None
    sent: list[int] = []
    predict = replica.worker.predict

    def count(*args: Any) -> tuple[bool, bytes]:
        sent.append(1)
        return predict(*args)

    replica.worker.predict = count  # type: ignore[method-assign]
    with ThreadPoolExecutor(4) as pool:
        bodies = list(
            pool.map(lambda _: cluster.registry.predict(STORY, "x", {"max_new_tokens": 2}), range(8))
        )
    assert len(bodies) == 8
    assert sent
    list(frames)


def test_the_receipt_of_an_unload_is_for_all_copies(cluster: Cluster) -> None:
    load = two_copies(cluster)
    processes = [psutil.Process(one.worker.pid) for one in load.copies if one.worker is not None]

    def own() -> list[int | None]:
        return [one.machine.own_bytes(one.worker) for one in load.copies if one.machine is not None]

    wait_until(lambda: None not in own())
    held = sum(filter(None, own()))
    receipt = cluster.registry.lifecycle.unload(ENDLESS, by="page")
    assert receipt["state"] == State.ABSENT
    assert receipt["replicas"] == []
    assert receipt["freed"] == pytest.approx(held, rel=0.2)
    assert not any(process.is_running() and process.status() != "zombie" for process in processes)
    assert cluster.registry.snapshot(ENDLESS)["state"] == State.ABSENT


def test_a_replica_that_dies_is_shown_with_the_reason_and_the_model_stays_ready(cluster: Cluster) -> None:
    load = two_copies(cluster)
    (replica,) = load.replicas
    assert replica.worker is not None
    psutil.Process(replica.worker.pid).kill()
    wait_until(lambda: states(cluster) == [("b", "failed", "killed")])
    snapshot = cluster.registry.snapshot(ENDLESS)
    assert (snapshot["state"], snapshot["node"]) == (State.READY, "a")
    begun = [begin(cluster) for _ in range(2)]
    assert load.worker is not None
    assert sum(load.worker.requests) == 2
    for generation, _ in begun:
        generation.cancel()
    cluster.registry.lifecycle.end_replica(ENDLESS, "b", by="page")
    wait_until(lambda: states(cluster) == [])
    cluster.registry.lifecycle.scale(ENDLESS, 2, by="page")
    wait_until(lambda: states(cluster) == [("b", "ready", None)])


@pytest.mark.parametrize("how", ["its process is killed", "its node is lost"])
def test_where_the_first_copy_dies_the_replica_takes_its_place(cluster: Cluster, how: str) -> None:
    load = two_copies(cluster)
    (_, on_a), (second, on_b) = begin(cluster), begin(cluster)
    assert load.worker is not None
    heir = load.replicas[0].worker
    if how == "its node is lost":
        cluster.nodes["a"].lose()
    else:
        psutil.Process(load.worker.pid).kill()
    code = "node_lost" if how == "its node is lost" else "killed"
    assert error_of(on_a).code == code
    assert next(on_b) is not None, "a request on the other copy goes on"
    wait_until(lambda: cluster.registry.snapshot(ENDLESS)["node"] == "b")
    assert states(cluster) == [("a", "failed", code)]
    snapshot = cluster.registry.snapshot(ENDLESS)
    assert (snapshot["state"], snapshot["load_id"], snapshot["placement"]) == (
        State.READY,
        load.load_id,
        "it claims 0",
    )
    assert load.worker is heir
    third, frames = begin(cluster)
    assert next(frames) is not None, "later ones go on"
    third.cancel()
    assert cluster.events_of(ENDLESS, EventName.UNLOADED) == []
    second.cancel()
    assert cluster.registry.loads(ENDLESS)[0]["node"] == "b"
    receipt = cluster.registry.lifecycle.unload(ENDLESS, by="page")
    assert (receipt["state"], receipt["error"], receipt["by"]) == (State.ABSENT, None, "page")


def test_where_the_last_copy_dies_the_model_has_failed(cluster: Cluster) -> None:
    load = two_copies(cluster)
    for _ in range(2):
        worker = load.worker
        assert worker is not None
        psutil.Process(worker.pid).kill()
        wait_until(lambda worker=worker: load.worker is not worker or load.process_exited.is_set())
    snapshot = cluster.registry.snapshot(ENDLESS)
    assert snapshot["state"] == State.FAILED
    assert snapshot["error"] is not None
    assert snapshot["error"]["code"] == "killed"


def test_a_copy_is_ended_by_its_node_also_the_first_one(cluster: Cluster) -> None:
    load = two_copies(cluster)
    _, frames = begin(cluster)
    cluster.registry.lifecycle.end_replica(ENDLESS, "a", by="page")
    assert (cluster.registry.snapshot(ENDLESS)["node"], states(cluster)) == ("b", [])
    failed = error_of(frames)
    assert (failed.code, failed.status) == ("wrong_state", 409)
    assert "The copy that ran the request was ended" in failed.message
    with pytest.raises(ModelhubError) as caught:
        cluster.registry.lifecycle.end_replica(ENDLESS, "b", by="page")
    assert caught.value.code == "wrong_state", "it is the last one"
    with pytest.raises(ModelhubError) as caught:
        cluster.registry.lifecycle.end_replica(ENDLESS, "nowhere", by="page")
    assert (caught.value.code, caught.value.status) == ("unknown_replica", 404)
    assert load.state == State.READY


def test_fewer_copies_end_those_that_are_too_many(cluster: Cluster) -> None:
    load = two_copies(cluster)
    process = psutil.Process(load.replicas[0].worker.pid)  # type: ignore[union-attr]
    cluster.registry.lifecycle.scale(ENDLESS, 1, by="page")
    assert not process.is_running() or process.status() == "zombie"
    wait_until(lambda: states(cluster) == [])
    cluster.registry.lifecycle.scale(ENDLESS, 1, by="page")
    assert load.copies == [load]


def test_no_more_copies_than_nodes(cluster: Cluster) -> None:
    load = two_copies(cluster)
    with pytest.raises(ModelhubError) as caught:
        cluster.registry.lifecycle.scale(ENDLESS, 3, by="page")
    assert (caught.value.code, caught.value.status) == ("no_other_node", 409)
    assert len(load.copies) == 2
    with pytest.raises(ModelhubError) as caught:
        cluster.registry.lifecycle.scale(STORY, 2, by="page")
    assert caught.value.code == "wrong_state", "it is not in memory"


def test_a_replica_that_finds_no_memory_fails_in_words_and_may_be_tried_again(cluster: Cluster) -> None:
    load, b = cluster.load_on("a", ENDLESS), cluster.nodes["b"]
    b.free = lambda: 1000
    cluster.registry.lifecycle.scale(ENDLESS, 2, by="page")
    wait_until(lambda: states(cluster) == [("b", "failed", "no_memory")])
    assert cluster.registry.snapshot(ENDLESS)["state"] == State.READY
    assert load.replicas[0].tried == ["b"], "there is no third node"
    b.free = memory.free_bytes
    cluster.registry.lifecycle.scale(ENDLESS, 2, by="page")
    wait_until(lambda: states(cluster) == [("b", "ready", None)])


def test_a_replica_that_waits_for_a_slot_can_be_ended_and_is_told(cluster: Cluster) -> None:
    load = cluster.load_on("a", ENDLESS)
    cluster.nodes["a"].claims, cluster.nodes["b"].claims = 0, 1
    with cluster.held(STORY):
        other = cluster.start(STORY)
        wait_until(lambda: other.machine is cluster.nodes["b"])
        cluster.registry.lifecycle.scale(ENDLESS, 2, by="page")
        wait_until(lambda: [one["state"] for one in replicas(cluster)] == ["loading"])
        assert replicas(cluster)[0]["progress"] is None
        cluster.registry.lifecycle.scale(ENDLESS, 1, by="page")
        wait_until(lambda: replicas(cluster) == [])
        assert load.copies == [load]
    assert other.ended.wait(60)
    assert other.state == State.READY


def test_a_model_with_a_busy_replica_does_not_leave_for_a_load(cluster: Cluster) -> None:
    load = two_copies(cluster)
    (first, _), (second, _) = begin(cluster), begin(cluster)
    first.cancel()
    assert load.worker is not None
    wait_until(lambda: not load.worker.is_busy)  # type: ignore[union-attr]
    for one in load.copies:
        assert one.ready_at is not None
        one.ready_at -= JUST_READY_S  # it has not only just become ready
    full: Callable[[], int] = lambda: 10**10 if load.process_exited.is_set() else 1000  # noqa: E731
    for node in cluster.nodes.nodes:
        node.free = full
    assert cluster.load(STORY).row["error"]["code"] == "no_memory"  # type: ignore[index]
    assert cluster.registry.snapshot(ENDLESS)["state"] == State.READY
    second.cancel()
    wait_until(lambda: not load.is_in_use)
    assert cluster.load(STORY).state == State.READY
    gone = cluster.registry.snapshot(ENDLESS)
    assert (gone["state"], gone["by"]) == (State.ABSENT, f"room for {STORY}")


def test_an_unload_ends_replicas_that_load(cluster: Cluster) -> None:
    load = cluster.load_on("a", ENDLESS)
    may_go_on = threading.Event()
    admission = cluster.registry.lifecycle._replicas._thread._admission
    admit = admission.admit

    def admit_later(*args: Any) -> None:
        may_go_on.wait(30)
        admit(*args)

    admission.admit = admit_later  # type: ignore[method-assign]
    try:
        cluster.registry.lifecycle.scale(ENDLESS, 2, by="page")
        wait_until(lambda: load.replicas[0].worker is not None)
        worker = load.replicas[0].worker
        unload = threading.Thread(target=cluster.registry.lifecycle.unload, args=(ENDLESS, "page"))
        unload.start()
        wait_until(lambda: load.state == State.UNLOADING)
    finally:
        may_go_on.set()
        admission.admit = admit  # type: ignore[method-assign]
    unload.join(30)
    assert (load.state, load.replicas) == (State.ABSENT, [])
    assert worker is not None
    assert worker.wait(10), "its process has ended"


@pytest.mark.parametrize(("drained", "left"), [("a", "b"), ("b", "a")])
def test_a_drain_ends_the_copy_of_the_node_once_it_has_no_requests(
    cluster: Cluster, drained: str, left: str
) -> None:
    load = two_copies(cluster)
    begun = {"a": begin(cluster), "b": begin(cluster)}
    cluster.registry.lifecycle.drain(drained, by="page")
    later, _ = begin(cluster)
    staying = next(one for one in load.copies if one.machine is cluster.nodes[left])
    assert staying.worker is not None
    assert sum(staying.worker.requests) == 2, "the other gets no new ones"
    assert next(begun[drained][1]) is not None, "those that it has go on"
    begun[drained][0].cancel()
    wait_until(lambda: not cluster.nodes[drained].is_there)
    assert (cluster.registry.snapshot(ENDLESS)["node"], states(cluster)) == (left, [])
    assert next(begun[left][1]) is not None
    for generation in (later, begun[left][0]):
        generation.cancel()
    assert cluster.events_of(ENDLESS, EventName.UNLOADED) == []


# Over REST, and on pages


@pytest.fixture
def client(cluster: Cluster, app: Flask) -> Iterator[FlaskClient]:
    """Sends requests to an application over the nodes."""
    own = registry_of(app)
    current.init_app(app, cluster.registry)
    yield app.test_client()
    current.init_app(app, own)


def test_copies_over_rest(cluster: Cluster, client: FlaskClient) -> None:
    cluster.load_on("a", ENDLESS)
    accepted = client.post(f"/api/models/{ENDLESS}/replicas", json={"count": 2})
    assert accepted.json is not None
    (replica,) = accepted.json["snapshot"]["replicas"]
    assert (accepted.status_code, accepted.json["state"], replica["state"]) == (202, "ready", "loading")
    wait_until(lambda: states(cluster) == [("b", "ready", None)])
    again = client.post(f"/api/models/{ENDLESS}/replicas", json={"count": 2}).json
    assert again is not None
    assert len(again["snapshot"]["replicas"]) == 1, "there are two already"
    left = client.delete(f"/api/models/{ENDLESS}/replicas/a").json
    assert left is not None
    assert (left["snapshot"]["node"], left["snapshot"]["replicas"]) == ("b", [])
    (row,) = client.get(f"/api/loads?model={ENDLESS}&limit=1").json["loads"]  # type: ignore[index]
    assert (row["node"], row["placement"]) == ("b", "it claims 0")


def test_a_copy_is_added_and_ended_on_the_page_without_javascript(
    cluster: Cluster, client: FlaskClient
) -> None:
    cluster.load_on("a", ENDLESS)

    def press(action: str, **fields: str) -> None:
        html = client.get(f"/models/{ENDLESS}").text
        assert f'"{action}"' in html
        answer = client.post(action, data={"csrf_token": csrf_token(html), **fields})
        assert (answer.status_code, answer.location) == (303, f"/models/{ENDLESS}")

    press(f"/models/{ENDLESS}/replicas")
    wait_until(lambda: states(cluster) == [("b", "ready", None)])
    page = client.get(f"/models/{ENDLESS}").text
    assert "on node a: it claims 1 · 2 copies, also on b" in page
    assert "on node b: ready, " in page
    assert "Add a copy" not in page, "there is no third node"
    assert "2 copies, also on b" in client.get("/").text
    press(f"/models/{ENDLESS}/replicas/end", node="b")
    page = client.get(f"/models/{ENDLESS}").text
    assert "2 copies" not in page
    assert "Add a copy" in page


def test_pages_show_the_nodes_and_one_is_drained_there(cluster: Cluster, client: FlaskClient) -> None:
    cluster.load_on("a", ENDLESS)
    dashboard, page = client.get("/").text, client.get("/nodes").text
    assert re.search(r'<li class="ready">a: \S+ .B of \S+ .B free · 1 model</li>', dashboard)
    assert re.search(r'<li class="ready">b: \S+ .B of \S+ .B free</li>', dashboard)
    assert 'href="/nodes"' in dashboard
    assert "No models" in page
    assert f'href="/models/{ENDLESS}"' in page
    asked = client.get("/nodes/a/drain").text
    assert ENDLESS in asked
    answer = client.post("/nodes/a/drain", data={"csrf_token": csrf_token(asked)})
    assert (answer.status_code, answer.location) == (303, "/nodes")
    wait_until(lambda: not cluster.nodes["a"].is_there)
    page = client.get("/nodes").text
    assert "Node a is draining" in page
    assert 'data-state="lost"' in page, "as the nodes of this test say of one that has left"
    assert client.get("/nodes/nowhere/drain").status_code == 404
    gone = cluster.registry.snapshot(ENDLESS)
    assert (gone["state"], gone["by"]) == (State.ABSENT, "drain of a")
