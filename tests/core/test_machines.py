"""Loads on several machines, which are all of this process: where they go, and what holds for each alone."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelhub.core import draining
from modelhub.core.budget import Budget
from modelhub.errors import ModelhubError
from modelhub.states import EventName, State
from tests.support.machines import Cluster
from tests.support.server import wait_until

ONE, TWO, THREE, ONLY_B = "tiny/one", "tiny/two", "tiny/three", "tiny/only-b"
GB = 10**9


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    from tests.support.models import make_llama

    folder = tmp_path_factory.mktemp("cluster")
    first = make_llama(folder / "a/models" / ONE)
    for path in (f"a/models/{TWO}", f"a/models/{THREE}", *(f"b/models/{name}" for name in (ONE, TWO, THREE))):
        shutil.copytree(first, folder / path)
    shutil.copytree(first, folder / "b/models" / ONLY_B)
    cluster = Cluster(folder, ("a", "b"), EVICT="on").open()
    yield cluster
    cluster.close()


@pytest.fixture
def cluster(running: Cluster) -> Cluster:
    running.clear()
    return running


def test_a_load_goes_to_the_first_choice_and_says_where_and_why(cluster: Cluster) -> None:
    cluster.nodes["b"].claims = 7
    load = cluster.load(ONE)
    (started,) = cluster.events_of(ONE, EventName.STARTED)
    assert (started["node"], started["placement"]) == ("b", "it claims 7")
    ready = cluster.registry.snapshot(ONE)
    assert (ready["state"], ready["node"], ready["placement"]) == (State.READY, "b", "it claims 7")
    assert load.machine is cluster.nodes["b"]
    b = next(node for node in cluster.registry.lifecycle.nodes() if node["name"] == "b")
    assert (b["ready"], b["loads"]) == ([ONE], [])
    assert b["models"] == load.held_bytes


def test_where_one_refuses_the_next_takes_the_load_which_goes_on_from_there(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    a, b = cluster.nodes["a"], cluster.nodes["b"]
    a.claims, a.free = 9, lambda: 0
    load = cluster.load(ONE)
    assert (load.state, load.machine, load.tried) == (State.READY, b, ["a"])
    events = cluster.events_of(ONE)
    assert [event["seq"] for event in events] == list(range(events[0]["seq"], events[-1]["seq"] + 1))
    assert events[0]["node"] == "a"
    assert (events[-1]["node"], events[-1]["placement"]) == ("b", "it claims 0")
    moved = next(event for event in events if event["node"] == "b")
    assert moved["detail"] == "on b now, since a has too little memory"
    assert f"{ONE} goes on on b now, since a has too little memory (it claims 0)" in caplog.messages
    steps = [event["step"] for event in events]
    assert steps == sorted(steps), "a load never goes back"
    assert len(cluster.events_of(ONE, EventName.STARTED)) == 1
    assert a.launcher.kept.ids() == frozenset()
    assert not [worker for worker in a.workers if not worker.process.is_over], "what was refused is gone"


def test_where_all_refuse_the_last_refusal_says_which_were_tried(cluster: Cluster) -> None:
    for node in cluster.nodes.nodes:
        node.free = lambda: 0
    load = cluster.load(ONE)
    error = load.row["error"]
    assert error is not None
    assert (load.state, error["code"]) == (State.FAILED, "no_memory")
    assert error["hint"].startswith("Tried were the nodes a, b. ")


def test_a_node_that_is_lost_before_the_load_has_memory_is_left(cluster: Cluster) -> None:
    a, b = cluster.nodes["a"], cluster.nodes["b"]
    a.claims, a.on_worker = 9, a.lose
    load = cluster.load(ONE)
    assert (load.state, load.machine, load.tried) == (State.READY, b, ["a"])
    assert any(event["detail"] == "on b now, since a was lost" for event in cluster.events_of(ONE))


def test_a_lost_node_fails_its_own_models_only_and_is_not_their_fault(cluster: Cluster) -> None:
    cluster.load_on("b", TWO)
    for _ in range(4):  # a program that does this with a model that fails is refused in the end
        cluster.load_on("a", ONE)
        cluster.nodes["a"].lose()
        wait_until(lambda: cluster.registry.snapshot(ONE)["state"] == State.FAILED)
        error = cluster.registry.snapshot(ONE)["error"]
        assert error is not None
        assert (error["code"], error["message"]) == ("node_lost", "Node a is gone.")
        cluster.nodes["a"].come_back()
    assert cluster.registry.snapshot(TWO)["state"] == State.READY
    assert cluster.registry.lifecycle.quarantined() == []
    cluster.nodes["a"].lose()
    states = {node["name"]: node["state"] for node in cluster.registry.lifecycle.nodes()}
    assert states == {"a": "lost", "b": "ready"}


def test_each_machine_has_slots_of_its_own(cluster: Cluster) -> None:
    with cluster.held(ONE, TWO):
        one, two, three = (cluster.start(model_id) for model_id in (ONE, TWO, THREE))
        wait_until(lambda: one.worker is not None and two.worker is not None)
        assert {load.machine.name for load in (one, two) if load.machine is not None} == {"a", "b"}
        assert (three.state, three.machine) == (State.QUEUED, None)
        cluster.let_go_on(TWO)
        assert three.ended.wait(60)
        assert (three.state, three.machine) == (State.READY, two.machine)
        assert one.state == State.LOADING


def test_loads_that_both_are_refused_take_the_slots_of_each_other(cluster: Cluster) -> None:
    a, b = cluster.nodes["a"], cluster.nodes["b"]
    a.claims = 9
    with cluster.held(ONE, TWO):
        one, two = cluster.start(ONE), cluster.start(TWO)
        wait_until(lambda: one.worker is not None and two.worker is not None)
        assert (one.machine, two.machine) == (a, b)
        a.free = lambda: 10 * GB if one.tried else 0
        b.free = lambda: 10 * GB if two.tried else 0
    assert one.ended.wait(60)
    assert two.ended.wait(60)
    assert (one.state, one.machine, two.state, two.machine) == (State.READY, b, State.READY, a)


def test_a_load_that_waits_for_another_node_can_be_cancelled(cluster: Cluster) -> None:
    cluster.nodes["b"].claims = 9
    with cluster.held(TWO):
        cluster.start(TWO)
        cluster.nodes["a"].free = lambda: 0
        one = cluster.start(ONE)
        wait_until(lambda: one.tried == ["a"] and not one.may_run)
        cluster.registry.lifecycle.cancel(one.load_id, by="page")
        assert one.state == State.CANCELLED
        three = cluster.start(THREE)
        wait_until(lambda: three.machine is cluster.nodes["a"])


def test_a_refused_load_waits_for_the_slot_of_the_next(cluster: Cluster) -> None:
    a, b = cluster.nodes["a"], cluster.nodes["b"]
    b.claims = 9
    with cluster.held(TWO):
        cluster.start(TWO)
        a.free = lambda: 0
        one = cluster.start(ONE)
        wait_until(lambda: any("waiting for a node" in (e["detail"] or "") for e in cluster.events_of(ONE)))
    assert one.ended.wait(60)
    assert (one.state, one.machine) == (State.READY, b)


def test_models_leave_only_the_machine_that_lacks_memory(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelhub.core.unloading.JUST_READY_S", 0)
    on_a, _ = cluster.load_on("a", ONE), cluster.load_on("b", TWO)
    a = cluster.nodes["a"]
    a.claims, a.free = 9, lambda: 10 * GB if on_a.process_exited.is_set() else 0
    three = cluster.load(THREE)
    assert (three.state, three.machine, three.tried) == (State.READY, a, [])
    assert cluster.registry.snapshot(ONE)["by"] == f"room for {THREE}"
    assert cluster.registry.snapshot(TWO)["state"] == State.READY


def test_the_budget_is_the_sum_and_a_model_fits_where_most_is_free(cluster: Cluster) -> None:
    one, two = cluster.load_on("a", ONE), cluster.load_on("b", TWO)
    a, b = cluster.nodes["a"], cluster.nodes["b"]
    a.free, b.free = lambda: 2 * GB, lambda: 3 * GB
    budget: Budget = cluster.registry.budget()
    pending = one.pending_bytes + two.pending_bytes
    assert budget.free == 5 * GB - pending
    assert budget.room == 3 * GB - two.pending_bytes
    assert budget.total == a.total_bytes() + b.total_bytes()
    assert budget.models == one.held_bytes + two.held_bytes
    assert (budget.fits(budget.room), budget.fits(budget.room + 1)) == (True, False)
    assert budget.models + budget.loading + budget.other + budget.free == budget.total


def test_the_receipt_is_of_the_machine_that_had_the_model(cluster: Cluster) -> None:
    cluster.load_on("a", ONE)
    load = cluster.load_on("b", TWO)
    assert load.worker is not None
    cluster.nodes["b"].count_later(load.worker)
    before = cluster.nodes["b"].memory_of_all(load.worker)
    receipt = cluster.registry.lifecycle.unload(TWO, by="page")
    assert before is not None
    assert receipt["memory_before"] == pytest.approx(before, rel=0.05)
    assert (receipt["freed"] or 0) > 1_000_000
    assert cluster.registry.snapshot(ONE)["state"] == State.READY


def test_a_model_is_kept_prepared_where_it_was(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    later = cluster.registry.lifecycle._unloading._keep_later
    monkeypatch.setattr(later, "_seconds", 60.0)
    cluster.load_on("b", ONE)
    cluster.registry.lifecycle.unload(ONE, by="page")
    wait_until(lambda: cluster.registry.prepared() == {ONE})
    assert cluster.nodes["a"].kept.ids() == frozenset()
    assert cluster.registry.model(ONE)["prepared"]
    cluster.registry.lifecycle.let_go(ONE)
    assert cluster.registry.prepared() == frozenset()


def test_a_node_is_drained_once_its_load_and_requests_have_ended(cluster: Cluster) -> None:
    cluster.load_on("a", ONE)
    cluster.nodes["a"].claims = 9
    with cluster.held(TWO):
        two = cluster.start(TWO)
        wait_until(lambda: two.worker is not None)
        status = cluster.registry.lifecycle.drain("a", by="page")
        assert (status["state"], status["loads"]) == ("draining", [TWO])
        wait_until(lambda: cluster.registry.snapshot(ONE)["state"] == State.ABSENT)
        assert cluster.registry.snapshot(ONE)["by"] == "drain of a"
        assert cluster.load(THREE).machine is cluster.nodes["b"], "no new loads there"
        assert (two.state, cluster.nodes["a"].is_there) == (State.LOADING, True)
        cluster.registry.lifecycle.drain("a", by="page")  # again, which changes nothing
    assert two.ended.wait(60)
    assert two.ready_at is not None, "the load under way has come to its end"
    wait_until(lambda: not cluster.nodes["a"].is_there)
    assert two.process_exited.is_set()
    assert cluster.registry.snapshot(THREE)["state"] == State.READY
    with pytest.raises(ModelhubError, match="There is no node a"):
        cluster.registry.lifecycle.drain("a", by="page")


def test_a_drain_ends_what_takes_too_long(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draining, "PATIENCE_S", 0.5)
    cluster.nodes["a"].claims = 9
    with cluster.held(TWO):
        load = cluster.start(TWO)
        wait_until(lambda: load.worker is not None)
        assert load.machine is cluster.nodes["a"]
        cluster.registry.lifecycle.drain("a", by="page")
        wait_until(lambda: load.cancelled_by == "drain of a")
    assert load.ended.wait(10)
    assert (load.state, cluster.registry.snapshot(TWO)["by"]) == (State.CANCELLED, "drain of a")
    wait_until(lambda: not cluster.nodes["a"].is_there)


def test_without_a_node_a_load_says_so_but_what_nobody_watches_waits(cluster: Cluster) -> None:
    for node in cluster.nodes.nodes:
        node.lose()
    patient = cluster.start(TWO, by="resume")
    refused = cluster.load(ONE)
    error = refused.row["error"]
    assert error is not None
    assert (refused.state, error["code"]) == (State.FAILED, "no_node")
    assert error["message"] == f"No node of the cluster can load {ONE}: none has joined."
    assert "modelhub node" in error["hint"]
    assert cluster.registry.outlook(ONE) is None
    assert (patient.state, patient.may_run) == (State.QUEUED, False)
    cluster.nodes["b"].come_back()
    cluster.nodes.tell_change()
    assert patient.ended.wait(60)
    assert (patient.state, patient.machine) == (State.READY, cluster.nodes["b"])


def test_soon_after_the_start_every_load_waits_for_the_first_node(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelhub.core.lifecycle._JOIN_S", 0.3)
    monkeypatch.setattr(cluster.registry.lifecycle._loads, "is_assembling", True)
    for node in cluster.nodes.nodes:
        node.lose()
    early = cluster.start(ONE)
    assert early.state == State.QUEUED
    cluster.nodes["a"].come_back()
    cluster.nodes.tell_change()
    assert early.ended.wait(60)
    assert early.state == State.READY
    cluster.nodes["a"].lose()
    late = cluster.start(TWO)
    cluster.registry.lifecycle.await_machines(threading.Event())
    assert late.ended.wait(60)
    assert late.row["error"] is not None
    assert late.row["error"]["code"] == "no_node"


def test_the_list_has_the_models_of_all_nodes(cluster: Cluster) -> None:
    registry = cluster.registry
    registry.catalogue.refresh()
    wait_until(lambda: registry.listing.has(ONLY_B))
    nodes = {model_id: registry.model(model_id)["nodes"] for model_id in (ONE, ONLY_B)}
    assert nodes == {ONE: ["a", "b"], ONLY_B: ["b"]}
    version = registry.list_version
    cluster.nodes["b"].is_there = False
    cluster.nodes.tell_change()
    assert not registry.listing.has(ONLY_B)
    assert registry.list_version != version


def test_files_are_deleted_on_every_node(cluster: Cluster, tmp_path: Path) -> None:
    folders = [node.catalogue.models_dir for node in cluster.nodes.nodes]
    for folder in folders:
        shutil.copytree(folder / ONE, folder / "tiny/doomed")
    deleted = cluster.registry.delete_files("tiny/doomed", own=True)
    size = sum(path.stat().st_blocks * 512 for path in (folders[0] / ONE).iterdir())
    assert deleted["freed_bytes"] == pytest.approx(2 * size, rel=0.1)
    assert not any((folder / "tiny/doomed").exists() for folder in folders)
    with pytest.raises(ModelhubError, match="no files"):
        cluster.registry.delete_files("tiny/doomed", own=True)


def test_a_preview_is_of_the_machine_that_would_load_it(cluster: Cluster) -> None:
    cluster.nodes["b"].claims = 9
    preview = cluster.registry.preview(ONLY_B)
    assert (preview["source"], preview["fetch_bytes"]) == ("folder", 0)
