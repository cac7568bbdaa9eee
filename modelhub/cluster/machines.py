"""The nodes of a cluster as the machines of a server, over a bridge that is started again where it ends."""

from __future__ import annotations

import logging
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from modelhub.checkpoints import LoadSpec
from modelhub.cluster.node import Node, largest_need
from modelhub.cluster.placement import order
from modelhub.errors import ModelhubError
from modelhub.payloads import NodeStatus, WorkersStatus
from modelhub.states import NodeState
from modelhub.workers.channel import Channel, Message
from modelhub.workers.environment import bridge_environment
from modelhub.workers.machine import Placement
from modelhub.workers.restart import Restarts, wait_or_kill
from modelhub.workers.start import start_module

log = logging.getLogger(__name__)
_EXIT_TIMEOUT_S = 6.0
_LONGEST_PAUSE_S = 10.0  # after bridges that have reached no cluster


class ClusterMachines:
    """See ``workers.machine.Machines``; ``address`` is that of a Ray cluster that this machine is part of."""

    def __init__(self, address: str) -> None:
        self.on_change: list[Callable[[], None]] = []
        self._address = address
        self._nodes: dict[str, Node] = {}  # by name, also those that were lost
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: Channel | None = None
        self._is_connected = False
        self._started_at = 0.0
        self._closed = threading.Event()
        self._restarts = Restarts(self.start, self._closed, _LONGEST_PAUSE_S, log)

    def start(self) -> None:
        """Start the bridge if it does not run; returns at once. Raises ``worker_unavailable``."""
        with self._lock:
            if self._process is not None:
                return
            if self._closed.is_set():
                raise ModelhubError("shutting_down")
            try:
                self._process, control = start_module(
                    "modelhub.cluster.bridge", bridge_environment(), self._address
                )
            except OSError as error:
                raise ModelhubError("worker_unavailable", why=error.strerror) from None
            self._channel, self._started_at = Channel(control), time.monotonic()
            threading.Thread(target=self._listen, args=(self._channel, self._process), daemon=True).start()

    def close(self) -> None:
        """End the bridge and what it has started on the nodes, and wait for that."""
        with self._lock:
            self._closed.set()
            channel, process = self._channel, self._process
        if channel is not None:
            channel.shut_down()
        if process is not None:
            wait_or_kill(process, _EXIT_TIMEOUT_S)

    @property
    def bridge_pid(self) -> int | None:
        """The process that speaks with Ray, if it runs."""
        process = self._process
        return None if process is None else process.pid

    def all(self) -> Sequence[Node]:
        """Those that load models now, and those that drain, by name."""
        return [node for node in self.known() if node.is_there]

    def away(self) -> Sequence[NodeStatus]:
        """The nodes that are not there, but are worth to be shown: joining, lost or refused."""
        return [node.node_status() for node in self.known() if not node.is_there]

    def known(self) -> Sequence[Node]:
        """Also those that join, were refused or are lost."""
        nodes = dict(self._nodes)
        return [nodes[name] for name in sorted(nodes)]

    def status(self) -> WorkersStatus:
        """How far they are: warm once one of them is."""
        found = [node.status() for node in self.all()]
        for wanted in ("warm", "warming"):
            for status in found:
                if status["state"] == wanted:
                    return status
        if self._process is None:
            return {"state": "cold", "seconds": None, "spare": None}
        return {"state": "warming", "seconds": round(time.monotonic() - self._started_at, 1), "spare": None}

    def choose(
        self, spec: LoadSpec, loads: Mapping[str | None, int], without: Sequence[str | None] = ()
    ) -> list[Placement]:
        """The nodes for a load, the best one first; empty where none takes it."""
        nodes = {node.name: node for node in self.all() if not node.is_draining and node.name not in without}
        need = largest_need(nodes, spec.model_id, spec.dtype)
        candidates = [node.candidate(spec, loads.get(node.name, 0), need) for node in nodes.values()]
        # Where it is somebody's own folder, the hub does not have it.
        entries = (node.find(spec.model_id) for node in self.all())
        is_own = any(entry is not None and entry.source == "folder" for entry in entries)
        return [Placement(nodes[name], why) for name, why in order(candidates, spec.device, is_own)]

    def drain(self, name: str) -> Node:
        """Give a node no new loads from now on; raises ``unknown_node``."""
        node = self._nodes.get(name)
        if node is None or not node.is_there:
            raise ModelhubError("unknown_node", name=name)
        node.drain()
        self._announce()
        return node

    def remove(self, name: str) -> None:
        """A drained node has no models any more: let it leave the cluster."""
        if (node := self._nodes.get(name)) is not None:
            node.leave()

    def _listen(self, channel: Channel, process: subprocess.Popen[bytes]) -> None:
        try:
            while True:
                if (message := channel.receive()) is not None:
                    self._handle(message)
        except (EOFError, OSError, ValueError):
            pass
        if not self._closed.is_set():
            process.kill()
        process.wait()
        with self._lock:
            was_connected, self._is_connected = self._is_connected, False
            self._process = self._channel = None
        for node in self.all():
            how = "was given up, since the bridge to it has ended"
            self._lose(node.name, ModelhubError("node_lost", node=node.name, how=how))
        channel.close()
        if not self._closed.is_set():
            what = "has ended" if was_connected else f"reaches no Ray cluster at {self._address}"
            self._restarts.replace(was_connected, f"The bridge to the nodes {what}")

    def _handle(self, message: Message) -> None:
        kind = message["type"]
        if kind == "connected":
            self._is_connected = True
            return
        name = message["node"]
        if kind == "joining":
            self._nodes[name] = Node(name, message["address"], message["gpus"], self._send)
            self._announce()
        elif kind == "gone":
            self._lose(name, ModelhubError("node_lost", node=name, how=message["how"]))
        elif (node := self._nodes.get(name)) is not None and node.handle(message):
            if node.state == NodeState.REFUSED and node.error is not None:
                log.error("%s %s", node.error.message, node.error.hint)
            self._announce()

    def _lose(self, name: str, error: ModelhubError) -> None:
        node = self._nodes.get(name)
        if node is None:
            return
        if node.state in (NodeState.DRAINING, NodeState.REFUSED):
            del self._nodes[name]  # there is nothing to say of it any more
        if node.is_there or node.state == NodeState.JOINING:
            log.warning("%s", error.message)
        node.lose(error)
        self._announce()

    def _send(self, message: Message, descriptor: int | None) -> None:
        channel = self._channel
        if channel is None:
            raise BrokenPipeError
        if descriptor is None:
            channel.send(message)
        else:
            channel.send_with_fd(message, descriptor)

    def _announce(self) -> None:
        for hook in self.on_change:
            hook()
