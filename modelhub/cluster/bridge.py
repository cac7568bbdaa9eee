"""The bridge: the process of the hub that speaks with Ray, and passes on what hub and nodes say.

Started by exec (``python -m modelhub.cluster.bridge FD PARENT_PID ADDRESS``), like the zygote: nothing of the
hub's patched process is inherited, and a driver of Ray may end without the hub. JSON lines on the socket; a
request for a worker brings along the socket of its channel.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
import time
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from modelhub.cluster.agent import NodeAgent
from modelhub.cluster.node_link import BATCHES, NodeLink
from modelhub.cluster.wire import LABEL, NAMESPACE, RESOURCE
from modelhub.errors import ModelhubError
from modelhub.handles import raise_limit
from modelhub.versions import versions
from modelhub.workers.channel import Channel, blocking_socket
from modelhub.workers.lifeline import die_with_parent, name_process

log = logging.getLogger(__name__)
_POLL_S = 0.3
_CLOSE_S = 4.0
_SILENT_S = 3.5
_LOOK_S, _PAUSE_S = 1.2, 0.02
_AGAIN_S = 1.0  # so that an agent that ends again and again takes no core
_CONCURRENCY = BATCHES + 2  # batches and a stream at once; one more in reserve


def main() -> None:
    """Entry point; arguments: the control socket's descriptor, the parent's process id, the address."""
    die_with_parent(int(sys.argv[2]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    name_process("modelhub-bridge", "modelhub: bridge")
    raise_limit()
    # Ray has its workers import from the driver's folder, which means nothing on another machine.
    os.chdir(os.sep)
    control = Channel(blocking_socket(int(sys.argv[1])), takes_descriptors=True)
    try:
        ray.init(address=sys.argv[3], namespace=NAMESPACE, log_to_driver=False, logging_level="ERROR")
    except ConnectionError:
        sys.exit(1)  # the hub says it, and starts the next one
    bridge = Bridge(control)
    threading.Thread(target=bridge.watch, name="modelhub-watch", daemon=True).start()
    with contextlib.suppress(EOFError, OSError, ValueError):
        bridge.serve()
    bridge.close()
    os._exit(0)


class Bridge:
    """One thread serves the hub, one looks which nodes there are; each node has two of its own."""

    def __init__(self, control: Channel) -> None:
        self._control = control
        self._versions = versions()
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._again_at = 0.0  # the time from which on nodes get agents
        self._links: dict[str, NodeLink] = {}  # by node
        self._namesakes: set[str] = set()  # Ray's ids of nodes with the name of another
        self._done: dict[str, str] = {}  # by Ray's id, nodes that get no other agent: refused, or drained
        self._agent: Any = ray.remote(num_cpus=0, max_restarts=0, max_concurrency=_CONCURRENCY)(NodeAgent)

    def serve(self) -> None:
        """Pass messages on until the hub closes the channel; raises EOFError."""
        self._control.send({"type": "connected"})
        while True:
            message = self._control.receive()
            if message is None:
                continue
            link = self._links.get(message["node"])
            if message["op"] == "open":
                sock = blocking_socket(self._control.descriptors.popleft())
                if link is None:
                    sock.close()
                else:
                    link.open(message, sock)
            elif link is not None:
                link.say(message)

    def watch(self) -> None:
        """Look which nodes there are, and give each one that joins an agent."""
        while not self._closing.wait(_POLL_S):
            try:
                nodes = [node for node in ray.nodes() if node["Alive"] and RESOURCE in node["Resources"]]
            except Exception as error:  # Ray's main process is away: what runs goes on
                log.warning("The nodes of the cluster are not known: %s", error)
                continue
            self._forget(nodes)
            for node in nodes if time.monotonic() >= self._again_at else ():
                self._join(node)

    def close(self) -> None:
        """End what runs on the nodes, and wait for that; Ray ends what is left when its driver has ended."""
        self._closing.set()
        with self._lock:
            links = list(self._links.values())
        for link in links:
            link.say({"op": "close"})
        deadline = time.monotonic() + _CLOSE_S
        for link in links:
            link.over.wait(max(0.0, deadline - time.monotonic()))

    def _forget(self, nodes: list[dict[str, Any]]) -> None:
        """Those that were refused, or drained, are shown until they have left."""
        there = {node["NodeID"] for node in nodes}
        with self._lock:
            gone = [self._done.pop(node_id) for node_id in [*self._done] if node_id not in there]
        for name in gone:
            self._say({"type": "gone", "node": name, "how": "has left the cluster"})

    def _join(self, node: dict[str, Any]) -> None:
        node_id, address = node["NodeID"], node["NodeManagerAddress"]
        name = node["Labels"].get(LABEL) or node["NodeManagerHostname"] or address
        gpus = int(node["Resources"].get("GPU", 0))
        with self._lock:
            if node_id in self._done:
                return
            if (there := self._links.get(name)) is not None:
                if there.node_id != node_id and node_id not in self._namesakes:
                    self._namesakes.add(node_id)
                    log.warning("A second node is called %s: give it another MODELHUB_NODE.", name)
                return
            affinity = NodeAffinitySchedulingStrategy(node_id, soft=False)
            # The resource is one for each node, so that two servers cannot both load models there.
            options = {"num_gpus": gpus, "resources": {RESOURCE: 1}, "scheduling_strategy": affinity}
            agent = self._agent.options(**options).remote(name, self._versions)
            self._links[name] = NodeLink(name, node_id, agent, self._say, self._end)
        self._say({"type": "joining", "node": name, "address": address, "gpus": gpus})
        self._links[name].start()

    def _say(self, message: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):
            self._control.send(message)

    def _end(self, link: NodeLink, error: Exception | None) -> None:
        """The stream of a node has ended: ``error`` says why, None where it was asked to leave."""
        silent_s = time.monotonic() - link.heard_at
        node = self._node_of(link)
        # Ray notices the end of the agent sooner than that of its machine.
        deadline = time.monotonic() + _LOOK_S
        while link.has_spoken and error is not None and _is_alive(node) and time.monotonic() < deadline:
            time.sleep(_PAUSE_S)
            node = self._node_of(link)
        is_there = _is_alive(node)
        if error is not None:
            log.error("The agent of node %s has ended: %s", link.name, error)
            if is_there and not link.has_spoken:
                self._refuse(link, error)
        with self._lock:
            self._links.pop(link.name, None)
            self._again_at = time.monotonic() + _AGAIN_S
            if link.is_refused or link.has_left:
                self._done[link.node_id] = link.name
        if not (link.is_refused and is_there):  # else it is shown until it has left
            self._say({"type": "gone", "node": link.name, "how": _how(error, node, silent_s)})
        with contextlib.suppress(Exception):  # it has ended, or Ray's main process is away
            ray.kill(link.agent)

    def _refuse(self, link: NodeLink, error: Exception) -> None:
        """The agent could not even begin: modelhub is not installed there, or another one."""
        link.is_refused = True
        why = str(error).strip().splitlines()[-1]
        failure = ModelhubError("node_unusable", node=link.name, why=why)
        self._say({"type": "refused", "node": link.name, "error": failure.to_dict(), "versions": {}})

    def _node_of(self, link: NodeLink) -> dict[str, Any] | None:
        """What Ray says of the node; None where it says nothing."""
        with contextlib.suppress(Exception):
            for node in ray.nodes():
                if node["NodeID"] == link.node_id:
                    found: dict[str, Any] = node
                    return found
        return None


def _is_alive(node: dict[str, Any] | None) -> bool:
    return node is not None and bool(node["Alive"])


def _how(error: Exception | None, node: dict[str, Any] | None, silent_s: float) -> str:
    """How a node was lost, in words."""
    if error is None:
        return "has left the cluster"
    if _is_alive(node):
        return "has lost the process that loads models there"
    # The head gives up both, and calls it the same. An agent has something to say every second.
    return "no longer answers" if silent_s > _SILENT_S else "has died"


if __name__ == "__main__":
    main()
