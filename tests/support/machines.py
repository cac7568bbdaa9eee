"""Several machines in one process, each with a launcher and files of its own, whose memory a test sets."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from modelhub import memory
from modelhub.checkpoints import LoadSpec
from modelhub.core.catalogue import Catalogue
from modelhub.core.load import Load
from modelhub.core.one_machine import LocalMachine
from modelhub.errors import ModelhubError
from modelhub.payloads import Conditions, NodeStatus, WorkersStatus
from modelhub.states import EventName, State
from modelhub.workers.launcher import Launcher
from modelhub.workers.machine import Placement
from modelhub.workers.worker import Worker
from tests.support.server import wait_until
from tests.support.serverless import WithoutServer


class Node(LocalMachine):
    """A node whose models are in a folder of its own.

    A test may say what is ``free`` for a load, and what it ``claims`` to have where loads are placed.
    """

    def __init__(self, name: str, folder: Path, on_change: Callable[[], None]) -> None:
        catalogue = Catalogue(folder / "models", folder / "cache", folder / "demo")
        super().__init__(Launcher(catalogue.model_types, on_change), catalogue, name)
        self.free: Callable[[], int] = memory.free_bytes
        self.claims = 0
        self.workers: list[Worker] = []
        self.on_worker: Callable[[], None] = lambda: None

    def free_bytes(self) -> int:
        """What a test has set, else what is free in truth."""
        return self.free()

    def worker(self, spec: LoadSpec | None = None, fresh: bool = False) -> Worker:
        """A worker process for a load, which finds the folders of this node; raises ``node_lost``."""
        if not self.is_there:
            raise self._lost()
        worker = super().worker(None if spec is None else self._local(spec), fresh)
        begin, load, preview = worker.begin, worker.load, worker.preview
        worker.begin = lambda spec: begin(self._local(spec))  # type: ignore[method-assign]
        worker.load = lambda spec, admit=None: load(self._local(spec), admit)  # type: ignore[method-assign]
        worker.preview = lambda spec, *more: preview(self._local(spec), *more)  # type: ignore[method-assign]
        self.workers.append(worker)
        self.on_worker()
        return worker

    def keep(self, spec: LoadSpec, seconds: float) -> None:
        """Keep a model prepared, from the folders of this node."""
        super().keep(self._local(spec), seconds)

    def ask_conditions(
        self, spec: LoadSpec, others: int = 0, fetch_bytes: int | None = None
    ) -> Callable[[], Conditions]:
        """The conditions of a load from the folders of this node."""
        return super().ask_conditions(self._local(spec), others, fetch_bytes)

    def lose(self) -> None:
        """The node is lost: its workers end, and that is why."""
        self.is_there = False
        for worker in self.workers:
            worker.process.failure = self._lost()
            worker.kill()

    def come_back(self) -> None:
        """It is as it was at first, but for what is prepared."""
        self.is_there, self.is_draining = True, False
        self.free, self.claims, self.on_worker = memory.free_bytes, 0, lambda: None
        self.workers.clear()

    def _local(self, spec: LoadSpec) -> LoadSpec:
        folders = self.catalogue.models_dir, self.catalogue.demo_dir
        return replace(spec, models_dir=str(folders[0]), demo_dir=str(folders[1]))

    def _lost(self) -> ModelhubError:
        return ModelhubError("node_lost", node=self.name, how="is gone")


class Nodes:
    """``Machines`` of several nodes: the one that claims most memory first, each with a slot."""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self.on_change: list[Callable[[], None]] = []
        self.nodes = [Node(name, folder / name, self.tell_change) for name in names]

    def __getitem__(self, name: str) -> Node:
        return next(node for node in self.nodes if node.name == name)

    def tell_change(self) -> None:
        """A node has come or gone, or what is prepared has changed."""
        for hook in self.on_change:
            hook()

    def start(self) -> None:
        """Start all."""
        for node in self.nodes:
            node.launcher.start()

    def close(self) -> None:
        """End all."""
        for node in self.nodes:
            node.launcher.close()

    def all(self) -> Sequence[Node]:
        """Those that are there."""
        return [node for node in self.nodes if node.is_there]

    def away(self) -> Sequence[NodeStatus]:
        """Those that are not."""
        return [{**node.node_status(), "state": "lost"} for node in self.nodes if not node.is_there]

    def status(self) -> WorkersStatus:
        """That of the first that is there."""
        cold: WorkersStatus = {"state": "cold", "seconds": None, "spare": None}
        return next((node.status() for node in self.all()), cold)

    def choose(
        self, spec: LoadSpec, loads: Mapping[str | None, int], without: Sequence[str | None] = ()
    ) -> list[Placement]:
        """Those with a slot, the one that claims most memory first."""
        left = [node for node in self.all() if node.name not in without and not loads.get(node.name)]
        able = sorted((node for node in left if not node.is_draining), key=lambda node: -node.claims)
        return [Placement(node, f"it claims {node.claims}") for node in able]

    def drain(self, name: str) -> Node:
        """No new loads there."""
        node = next((node for node in self.all() if node.name == name), None)
        if node is None:
            raise ModelhubError("unknown_node", name=name)
        node.is_draining = True
        return node

    def remove(self, name: str) -> None:
        """It leaves."""
        self[name].is_there = False
        self.tell_change()


class Cluster(WithoutServer):
    """A registry over nodes of this process."""

    def __init__(self, folder: Path, names: Sequence[str], **settings: Any) -> None:
        self.nodes = Nodes(folder, names)
        super().__init__(folder, self.nodes, **settings)

    def open(self) -> Cluster:
        """Start the nodes, and wait until all are warm."""
        self.registry.start()
        for node in self.nodes.nodes:
            assert node.launcher.warm.wait(120)
        return self

    def events_of(self, model_id: str, name: EventName | None = None) -> list[dict[str, Any]]:
        """The events of a model so far, all or those of one name."""
        return [event for one, event in self.events if event["id"] == model_id and name in (None, one)]

    def start(self, model_id: str, by: str = "page") -> Load:
        """Begin to load a model."""
        self.registry.lifecycle.start(model_id, by=by)
        return self.load_of(model_id)

    def load(self, model_id: str) -> Load:
        """Load a model, whatever comes of it, and wait until its slot is free again."""
        load = self.start(model_id)
        assert load.ended.wait(60)
        wait_until(lambda: not load.may_run)
        return load

    def load_on(self, name: str, model_id: str) -> Load:
        """Load a model on one node."""
        for node in self.nodes.nodes:
            node.claims = int(node.name == name)
        load = self.load(model_id)
        assert (load.state, self.registry.snapshot(model_id)["node"]) == (State.READY, name)
        return load

    @contextmanager
    def held(self, *model_ids: str) -> Iterator[None]:
        """A context in which loads of these models do not get their memory yet."""
        for model_id in model_ids:
            self._held[model_id] = threading.Event()
        try:
            yield
        finally:
            for model_id in model_ids:
                self.let_go_on(model_id)

    def let_go_on(self, model_id: str) -> None:
        """A held load goes on."""
        if (held := self._held.pop(model_id, None)) is not None:
            held.set()

    def clear(self) -> None:
        """Have every model leave memory, forget how its load ended, and every node be there again."""
        super().clear()
        for node in self.nodes.nodes:
            node.come_back()
        self.nodes.tell_change()
        self.events.clear()
