"""The agent of a node, an actor of Ray: it runs this node's launcher, and passes on what its workers say.

Ray runs it in a process of the node; neither the hub nor the bridge imports what it needs. Its settings are
those of the environment of its node.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator, Mapping

import psutil

from modelhub.cluster.local_node import LocalNode
from modelhub.cluster.outbox import Item, Outbox
from modelhub.cluster.wire import NODE_COMMAND, check_versions
from modelhub.config import read_settings
from modelhub.errors import ModelhubError
from modelhub.versions import versions
from modelhub.workers.confinement.in_force import check as check_sandbox
from modelhub.workers.lifeline import name_process


class NodeAgent:
    """One for each node. ``stream`` is called once, and ``take`` for each batch."""

    def __init__(self, name: str, of_hub: Mapping[str, str]) -> None:
        # In this thread, which lives as long as the process: what it starts dies with it.
        name_process("modelhub-agent", f"modelhub: agent of {name}")
        self._out = Outbox()
        self._turn = threading.Lock()
        self._early: dict[int, list[Item]] = {}  # batches that have overtaken others, by number
        self._next = 0
        self._node: LocalNode | None = None
        here = versions()
        try:
            check_versions(name, of_hub, here)
            settings = read_settings()
            settings.check_machine()
            check_sandbox(settings.sandbox)
            node = LocalNode(settings, self._out)
            node.start()
            self._node = node
        except ModelhubError as error:
            self._out.say({"type": "refused", "error": error.to_dict(), "versions": here})
            self._out.close()

    def take(self, number: int, batch: list[Item]) -> None:
        """What the hub has sent: batches have numbers, since Ray begins with calls in any order."""
        with self._turn:
            self._early[number] = batch
            while (following := self._early.pop(self._next, None)) is not None:
                self._next += 1
                self._take(following)

    def _take(self, batch: list[Item]) -> None:
        for item in batch:
            if isinstance(item, dict) and item["op"] in ("close", "leave"):
                self._close(has_left=item["op"] == "leave")
            elif self._node is None:
                continue
            elif isinstance(item, dict):
                self._node.handle(item)
            else:
                self._node.feed(*item)

    def stream(self) -> Iterator[list[Item]]:
        """What there is for the hub, in batches, until this is closed."""
        while batch := self._out.take():
            yield batch

    def _close(self, has_left: bool) -> None:
        if self._node is not None:
            self._node.close()
        if has_left:
            self._out.say({"type": "left"})
        self._out.close()
        if has_left:
            _end_command()


def _end_command() -> None:
    """Have ``modelhub node`` end, and with it this machine's part in the cluster, if it was started so."""
    with contextlib.suppress(psutil.Error, OSError):
        for parent in psutil.Process().parents():
            if parent.name() == NODE_COMMAND:
                os.kill(parent.pid, signal.SIGTERM)
