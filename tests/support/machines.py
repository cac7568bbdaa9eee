"""Several machines in one process, each with a launcher of its own, whose free memory a test sets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from modelhub import memory
from modelhub.checkpoints import LoadSpec
from modelhub.core.catalogue import Catalogue
from modelhub.core.one_machine import LocalMachine
from modelhub.errors import ModelhubError
from modelhub.payloads import NodeStatus, WorkersStatus
from modelhub.workers.launcher import Launcher
from modelhub.workers.machine import Placement
from modelhub.workers.worker import Worker


class Node(LocalMachine):
    """A node with files in folders of its own; what it has ``free`` is what a test says, if anything."""

    def __init__(self, name: str, models_dir: Path, folder: Path, on_change: Callable[[], None]) -> None:
        catalogue = Catalogue(models_dir, folder / "cache", folder / "demo")
        super().__init__(Launcher(catalogue.model_types, on_change), catalogue, name)
        self.free: int | None = None
        self.workers: list[Worker] = []
        self.on_worker: Callable[[], None] = lambda: None

    def free_bytes(self) -> int:
        """What a test has set, else what is free in truth."""
        return memory.free_bytes() if self.free is None else self.free

    def worker(self, spec: LoadSpec | None = None, fresh: bool = False) -> Worker:
        """A worker process for a load; raises ``node_lost`` where the node is lost."""
        if not self.is_there:
            raise self.lost()
        worker = super().worker(spec, fresh)
        self.workers.append(worker)
        self.on_worker()
        return worker

    def lost(self) -> ModelhubError:
        """The error of a load whose node was lost."""
        return ModelhubError("node_lost", name=self.name)

    def lose(self) -> None:
        """The node is lost: its workers end, and say that."""
        self.is_there = False
        for worker in self.workers:
            worker._process.failure = self.lost()
            worker.kill()


class Nodes:
    """``Machines`` of several nodes: the one with most free memory first, each with so many ``slots``."""

    def __init__(self, folder: Path, models_dir: Path, names: Sequence[str], slots: int = 1) -> None:
        self.on_change: list[Callable[[], None]] = []
        self.slots = slots
        self.nodes = [Node(name, models_dir, folder / name, self.tell_change) for name in names]
        self.left: list[str] = []

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
        """None."""
        return ()

    def status(self) -> WorkersStatus:
        """That of the first that is there."""
        return next((node.status() for node in self.all()), {"state": "cold", "seconds": None, "spare": None})

    def choose(
        self, spec: LoadSpec, loads: Mapping[str | None, int], without: Sequence[str | None] = ()
    ) -> list[Placement]:
        """Those with a slot, the one with most free memory first."""
        able = [
            node
            for node in self.all()
            if not node.is_draining and node.name not in without and loads.get(node.name, 0) < self.slots
        ]
        able.sort(key=lambda node: -node.free_bytes())
        return [Placement(node, f"{node.free_bytes()} bytes free") for node in able]

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
        self.left.append(name)
        self.tell_change()
