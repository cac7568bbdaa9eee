"""Nodes over Ray: from what leaves them as they were to what ends them, in this order.

All in one file, since two clusters at the same moment on one machine are in each other's way.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

import modelhub
from modelhub.checkpoints import LoadSpec
from modelhub.cluster.machines import ClusterMachines
from modelhub.cluster.node import Node
from modelhub.errors import ModelhubError
from modelhub.generation import GenerationRequest
from modelhub.payloads import ErrorPayload, Facts
from modelhub.states import NodeState
from modelhub.workers.worker import Worker
from tests.cluster.conftest import are_warm
from tests.support.cluster import Cluster, NodeCommand, all_gone, wait_for
from tests.support.server import ROOT, Server

DEMO = "demo/random-0.1gb"
SPEC = LoadSpec(DEMO, "/not-there", "/not-there")
LONG = replace(SPEC, model_id="demo/random-2gb")


class Loaded:
    """A model on a node, with the thread that serves it."""

    def __init__(self, node: Node, spec: LoadSpec = SPEC) -> None:
        self.worker = node.worker(spec)
        self.steps: list[int] = []
        self.facts = self._load(spec)
        self._thread = threading.Thread(target=self.worker.serve)
        self._thread.start()

    def _load(self, spec: LoadSpec) -> Facts:
        load = self.worker.load(spec)
        while True:
            try:
                checkpoint = next(load)
            except StopIteration as end:
                facts: Facts = end.value
                return facts
            if checkpoint is not None and checkpoint.step not in self.steps:
                self.steps.append(checkpoint.step)

    def __enter__(self) -> Loaded:
        return self

    def __exit__(self, *_: object) -> None:
        self.worker.kill()
        self._thread.join()
        self.worker.close()


def named(machines: ClusterMachines, name: str) -> Node:
    """The node of this name."""
    (node,) = [one for one in machines.known() if one.name == name]
    return node


def command_of(cluster: Cluster, name: str) -> NodeCommand:
    """What was last started with this name; ``head`` is the one that loads no models."""
    return [one for one in cluster.commands if (one.name or "head") == name][-1]


def oom_score(process: psutil.Process) -> int:
    """How much the kernel prefers to end this process where memory runs out."""
    return int(Path(f"/proc/{process.pid}/oom_score_adj").read_text())


def begun(node: Node) -> tuple[Worker, Iterator[object]]:
    """A load in its middle: the weights of a large model are being made."""
    worker = node.worker(LONG)
    load = worker.load(LONG)
    while (checkpoint := next(load)) is None or not checkpoint.done:
        pass
    return worker, load


@pytest.fixture(scope="class")
def hub(cluster: Cluster, of_ray: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
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


def _has_model(process: psutil.Process) -> bool:
    try:
        return "only-on-b" in " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return False


class TestOverRest:
    """A server that loads on the nodes, as a client sees it; it has ended before others use them."""

    def test_a_model_loads_on_a_node_predicts_there_and_is_unloaded(
        self, hub: Server, cluster: Cluster
    ) -> None:
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

    def test_text_streams_from_a_node(self, hub: Server) -> None:
        hub.load(DEMO)
        request = {"model": DEMO, "prompt": "Once", "max_tokens": 20, "stream": True}
        lines = hub.post("/v1/completions", request).text.split("\n\n")
        parts = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
        assert len(parts) >= 10
        assert lines[-2] == "data: [DONE]"
        hub.delete(f"/api/models/{DEMO}")

    def test_a_load_is_cancelled_on_its_node(self, hub: Server, cluster: Cluster) -> None:
        load = hub.request_load("tiny/only-on-b")
        (command,) = [one for one in cluster.commands if one.name == "b"]
        cancelled = hub.delete(f"/api/loads/{load['load_id']}")
        assert (
            cancelled.ok or cancelled.json()["error"]["code"] == "wrong_state"
        )  # it may have failed or ended
        if not cancelled.ok:
            hub.delete("/api/models/tiny/only-on-b")
        wait_for(lambda: not [one for one in command.named("modelhub-worker") if _has_model(one)])

    def test_a_model_that_only_one_node_has_goes_there_and_is_listed_with_it(self, hub: Server) -> None:
        model = hub.get("/api/models/tiny/only-on-b").json()
        assert (model["source"], model["nodes"]) == ("folder", ["b"])
        loaded = hub.load("tiny/only-on-b")
        assert (loaded["state"], loaded["node"]) == ("ready", "b")
        assert loaded["placement"].startswith("its files are there, ")
        hub.delete("/api/models/tiny/only-on-b")

    def test_what_no_node_has_room_for_is_refused_with_the_numbers(self, hub: Server, tmp_path: Path) -> None:
        refused = hub.load("tiny/too-big")
        assert (refused["state"], refused["error"]["code"]) == ("failed", "no_memory")
        assert "a, b" in refused["error"]["hint"] or "b, a" in refused["error"]["hint"]

    def test_a_copy_on_another_node_shares_the_requests(self, hub: Server) -> None:
        first = hub.load(DEMO)["node"]
        assert hub.post(f"/api/models/{DEMO}/replicas", {"count": 2}).ok

        def copies() -> list[tuple[str, str]]:
            replicas = hub.get(f"/api/models/{DEMO}").json()["snapshot"]["replicas"]
            return [(one["node"], one["state"]) for one in replicas]

        (other,) = {"a", "b"} - {first}
        wait_for(lambda: copies() == [(other, "ready")])
        assert hub.delete(f"/api/models/{DEMO}/replicas/{first}").ok
        wait_for(lambda: not copies())
        assert hub.get(f"/api/models/{DEMO}").json()["snapshot"]["node"] == other
        request = {"model": DEMO, "inputs": "Hello", "parameters": {"max_new_tokens": 2}}
        assert hub.post("/api/predictions", request).ok
        assert hub.delete(f"/api/models/{DEMO}").json()["freed"] > 10**8


def test_a_model_loads_on_a_node_and_predicts_there(machines: ClusterMachines, cluster: Cluster) -> None:
    for name in ("a", "b"):
        with Loaded(named(machines, name)) as model:
            assert model.steps == [1, 2, 3, 4, 5, 6, 7, 8, 9]
            assert model.facts["memory"] > 10**8
            (process,) = command_of(cluster, name).named("modelhub-worker")
            assert process.pid == model.worker.pid
            others = [*command_of(cluster, name).named("modelhub-agent"), process.parent()]
            assert max(map(oom_score, others)) < oom_score(process), "where memory runs out, the model goes"
            ok, body = model.worker.predict(DEMO, "Hello", {"max_new_tokens": 3})
            assert ok
            assert json.loads(body)["outputs"]
        assert all_gone([process])


def test_text_streams_token_by_token_and_can_be_stopped(machines: ClusterMachines) -> None:
    with Loaded(named(machines, "a")) as model:
        request: GenerationRequest = {
            "prompt": "Once",
            "sampling": {"max_new_tokens": 500, "ignore_eos": True},
        }
        generation = model.worker.generate(DEMO, request)
        first, second = generation.next(20), generation.next(20)
        assert first is not None
        assert second is not None
        assert first["tokens"] < second["tokens"] < 500
        model.worker.stop(generation)
        ok, _ = model.worker.predict(DEMO, "And now", {"max_new_tokens": 1})
        assert ok


def test_a_load_is_cancelled_and_its_process_reaped(machines: ClusterMachines) -> None:
    worker, _ = begun(named(machines, "a"))
    worker.kill()
    assert worker.wait()
    assert not psutil.pid_exists(worker.pid or 0)
    worker.close()


def test_the_node_says_what_is_free_and_admits_by_itself(machines: ClusterMachines) -> None:
    spec = replace(SPEC, model_id="tiny/too-big")
    asked: list[int] = []
    with named(machines, "a").worker(spec) as worker:
        with pytest.raises(ModelhubError) as refused:
            list(worker.load(spec, asked.append))  # here it is admitted
        assert refused.value.code == "no_memory"
        assert worker.free_bytes is not None
        assert 0 < worker.free_bytes < asked[0]


def test_a_load_goes_where_its_files_are_and_the_reason_says_so(machines: ClusterMachines) -> None:
    only_on_b = replace(SPEC, model_id="tiny/only-on-b")
    first, *_ = machines.choose(only_on_b, {})
    assert first.machine.name == "b"
    assert first.why.startswith("its files are there, ")
    assert first.why.endswith(" free")
    assert machines.choose(only_on_b, {"b": 1}) == [], "it waits for b"
    assert [one.machine.name for one in machines.choose(only_on_b, {}, ["a"])] == ["b"]
    conditions = first.machine.ask_conditions(only_on_b)()
    assert (conditions["source"], conditions["files"]) == ("folder", 1)
    assert conditions["weight_bytes"] == first.machine.entries()["tiny/only-on-b"].size_bytes


def test_a_model_is_kept_prepared_there_and_let_go(machines: ClusterMachines) -> None:
    node = named(machines, "a")
    with Loaded(node):
        pass
    node.keep(SPEC, 60)
    wait_for(lambda: DEMO in node.kept.ids())
    assert node.ask_conditions(SPEC)()["start"] == "prepared"
    first, *_ = machines.choose(SPEC, {})
    assert (first.machine.name, first.why.partition(",")[0]) == ("a", "it is prepared there")
    with Loaded(node) as model:
        assert model.steps == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    node.kept.let_go(DEMO)
    wait_for(lambda: not node.kept.ids())


def test_what_an_unload_frees_is_known(machines: ClusterMachines) -> None:
    node = named(machines, "a")
    with Loaded(node) as model:
        wait_for(lambda: node.own_bytes(model.worker))
        before, own = node.memory_of_all(model.worker), node.own_bytes(model.worker)
    after = node.memory_of_all()
    assert before is not None
    assert after is not None
    assert own is not None
    assert 10**8 < own < before
    assert abs(before - after - own) < 20 * 10**6


def test_files_are_deleted_there(machines: ClusterMachines) -> None:
    node = named(machines, "b")
    with pytest.raises(ModelhubError) as refused:
        node.delete_files("tiny/only-on-b", False, lambda _: nullcontext())
    assert refused.value.code == "own_folder"
    assert node.delete_files("tiny/only-on-b", True, lambda _: nullcontext())["freed_bytes"] > 0
    assert "tiny/only-on-b" not in node.entries()


def test_a_node_with_another_modelhub_is_refused_in_words(
    machines: ClusterMachines, cluster: Cluster, short_folder: Path
) -> None:
    other = short_folder / "other"
    shutil.copytree(ROOT / "modelhub", other / "modelhub", ignore=shutil.ignore_patterns("__pycache__"))
    init = other / "modelhub" / "__init__.py"
    init.write_text(re.sub(r'__version__ = ".*"', '__version__ = "0.0.9"', init.read_text()))
    older = refusal_of(machines, cluster.start_node("c", cwd=other))
    assert older["code"] == "versions_differ"
    assert "it has modelhub 0.0.9" in older["message"]
    assert f"this server modelhub {modelhub.__version__}" in older["message"]
    (other / "modelhub" / "cluster" / "agent.py").unlink()
    broken = refusal_of(machines, cluster.start_node("d", cwd=other))
    assert broken["code"] == "node_unusable"
    assert "No module named 'modelhub.cluster.agent'" in broken["message"]
    assert {one.machine.name for one in machines.choose(SPEC, {})} == {"a", "b"}
    for name in ("c", "d"):
        assert command_of(cluster, name).stop() == 0
    wait_for(lambda: [one.name for one in machines.known()] == ["a", "b"])


def test_when_the_bridge_dies_its_models_end_in_words_and_the_nodes_come_back(
    machines: ClusterMachines, cluster: Cluster
) -> None:
    with Loaded(named(machines, "a")) as model:
        processes = [*command_of(cluster, "a").named("modelhub-zygote"), psutil.Process(model.worker.pid)]
        bridge = machines.bridge_pid
        assert bridge is not None
        os.kill(bridge, signal.SIGKILL)
        error = loss_of(model)
        assert error.code == "node_lost"
        assert "the bridge to it has ended" in error.message
    wait_for(lambda: are_warm(machines, "a", "b"), 60)
    assert machines.bridge_pid != bridge
    assert all_gone(processes)
    wait_for(lambda: not any(one.is_running() for one in processes))  # and they were reaped
    with Loaded(named(machines, "a")) as again:
        assert again.steps[-1] == 9


def test_models_outlive_rays_main_process_which_is_started_again(
    machines: ClusterMachines, cluster: Cluster
) -> None:
    head, bridge = command_of(cluster, "head"), machines.bridge_pid
    with Loaded(named(machines, "a")) as model:
        (before,) = head.named("gcs_server")
        before.kill()
        ok, _ = model.worker.predict(DEMO, "Hello", {"max_new_tokens": 1})
        assert ok
        wait_for(lambda: "was started again" in head.log())
        with Loaded(named(machines, "b")) as other:  # and nodes load meanwhile
            assert other.steps[-1] == 9
        (after,) = head.named("gcs_server")
        assert after.pid != before.pid
        cluster.start_node("e")  # it answers again: a node can join
        wait_for(lambda: "e" in [one.name for one in machines.all()], 60)
        ok, _ = model.worker.predict(DEMO, "Hello", {"max_new_tokens": 1})
        assert ok
    assert machines.bridge_pid == bridge
    assert command_of(cluster, "e").stop() == 0
    wait_for(lambda: are_warm(machines, "a", "b"))


def test_a_node_that_stops_answering_is_lost_and_comes_back_clean(
    machines: ClusterMachines, cluster: Cluster
) -> None:
    with Loaded(named(machines, "b")) as model, Loaded(named(machines, "a")) as other:
        frozen = command_of(cluster, "b").freeze()
        stopped_at = time.monotonic()
        try:
            error = loss_of(model)
            seconds = time.monotonic() - stopped_at
            choices = machines.choose(SPEC, {})
        finally:
            for one in frozen:
                one.resume()
        print(f"a node that no longer answered was lost after {seconds:.2f} s")
        assert seconds < 8
        assert (error.code, error.message) == ("node_lost", "Node b no longer answers.")
        assert [one.machine.name for one in choices] == ["a"]
        wait_for(lambda: are_warm(machines, "a", "b"), 60)
        # All but the command itself, which has joined again.
        assert all_gone(frozen[1:])
        ok, _ = other.worker.predict(DEMO, "Hello", {"max_new_tokens": 1})
        assert ok


def test_a_node_that_dies_in_the_middle_of_a_load_is_lost_within_two_seconds(
    machines: ClusterMachines, cluster: Cluster
) -> None:
    with Loaded(named(machines, "b")) as other:
        worker, load = begun(named(machines, "a"))
        lost_at: list[float] = []
        waiting = threading.Thread(target=lambda: (worker.wait(20), lost_at.append(time.monotonic())))
        waiting.start()
        killed_at = command_of(cluster, "a").kill()
        waiting.join()
        print(f"a node that died was lost after {lost_at[0] - killed_at:.2f} s")
        assert lost_at[0] - killed_at < 2
        with pytest.raises(ModelhubError) as lost:
            list(load)
        assert (lost.value.code, lost.value.message) == ("node_lost", "Node a has died.")
        worker.close()
        first, *rest = machines.choose(SPEC, {})
        assert first.machine.name == "b"
        assert not rest
        ok, _ = other.worker.predict(DEMO, "Hello", {"max_new_tokens": 1})
        assert ok
    with Loaded(named(machines, "b")) as again:
        assert again.steps[-1] == 9


def test_a_drained_node_takes_no_loads_and_leaves(machines: ClusterMachines, cluster: Cluster) -> None:
    with Loaded(named(machines, "b")) as model:
        machines.drain("b")
        assert machines.choose(SPEC, {}) == []
        ok, _ = model.worker.predict(DEMO, "Hello", {"max_new_tokens": 1})
        assert ok
    family = command_of(cluster, "b").family()
    machines.remove("b")
    command = command_of(cluster, "b").process
    assert command is not None
    assert command.wait(20) == 0
    assert all_gone(family)
    wait_for(lambda: not any(one.name == "b" for one in machines.known()))
    with pytest.raises(ModelhubError) as unknown:
        machines.drain("b")
    assert unknown.value.code == "unknown_node"


def loss_of(model: Loaded) -> ModelhubError:
    """Why a model has ended, once it has."""
    assert model.worker.wait(20)
    return model.worker.exit_error(DEMO)


def refusal_of(machines: ClusterMachines, command: NodeCommand) -> ErrorPayload:
    """Why a node that has just been started is refused."""
    name = command.name or ""
    wait_for(lambda: any(one.name == name and one.state == NodeState.REFUSED for one in machines.known()))
    error = named(machines, name).node_status()["error"]
    assert error is not None
    return error
