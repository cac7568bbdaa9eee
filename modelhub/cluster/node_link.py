"""The bridge's end of one node: two threads and one stream, however many models the node has."""

from __future__ import annotations

import contextlib
import logging
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from itertools import count
from typing import Any

import ray

from modelhub.cluster.outbox import Item
from modelhub.workers.channel import Message

log = logging.getLogger(__name__)
_READ_BYTES = 256 * 1024
BATCHES = 4  # at most so many are on their way to a node


class NodeLink:
    """``say`` passes messages of the node to the hub, ``end`` is called once the node's stream has ended."""

    def __init__(
        self,
        name: str,
        node_id: str,
        agent: Any,
        say: Callable[[Message], None],
        end: Callable[[NodeLink, Exception | None], None],
    ) -> None:
        self.name = name
        self.node_id = node_id
        self.agent = agent
        self.over = threading.Event()
        self.has_spoken = False  # its agent has begun
        self.heard_at = time.monotonic()
        self.is_refused = False
        self.has_left = False
        self._say = say
        self._end = end
        self._sockets: dict[str, socket.socket] = {}  # of the hub's workers
        self._messages: deque[tuple[Message, socket.socket | None]] = deque()
        self._wake_in, self._wake_out = socket.socketpair()

    def start(self) -> None:
        """Begin to pass on what there is."""
        for work in (self._receive, self._send):
            threading.Thread(target=work, name=f"modelhub-{self.name}", daemon=True).start()

    def open(self, message: Message, sock: socket.socket) -> None:
        """A worker is wanted; what it says is read from and written to ``sock``."""
        self._sockets[message["worker"]] = sock
        self._add(message, sock)

    def say(self, message: Message) -> None:
        """Send a message to the node."""
        self._add(message, None)

    def _add(self, message: Message, sock: socket.socket | None) -> None:
        self._messages.append((message, sock))
        with contextlib.suppress(OSError):
            self._wake_in.send(b"x")

    def _receive(self) -> None:
        """Take what the agent says until its stream ends."""
        error: Exception | None = None
        try:
            # The stream ends with the actor; what it says is small, or a part of what a worker says.
            for batch in self.agent.stream.options(num_returns="streaming").remote():
                items = ray.get(batch)  # the last one is the error that has ended the stream
                self.heard_at = time.monotonic()
                for item in items:
                    self._take(item)
        except Exception as caught:
            error = caught
        for sock in list(self._sockets.values()):
            _shut_down(sock)
        self._end(self, error)
        self.over.set()
        self._add({}, None)  # wakes the other thread, which ends

    def _take(self, item: Item) -> None:
        if isinstance(item, tuple):
            worker, data = item
            if (sock := self._sockets.get(worker)) is not None:
                with contextlib.suppress(OSError):  # the hub has closed it: the other thread notices
                    sock.sendall(data)
            return
        self.has_spoken = True
        self.is_refused = self.is_refused or item["type"] == "refused"
        self.has_left = self.has_left or item["type"] == "left"
        self._say({**item, "node": self.name})
        if item["type"] == "exited" and (sock := self._sockets.get(item["worker"])) is not None:
            _shut_down(sock)

    def _send(self) -> None:
        """Send what the hub says until the agent has ended."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._wake_out, selectors.EVENT_READ)
            # The agent has ended: the other thread says so.
            with contextlib.suppress(Exception):
                self._send_batches(selector)
            for key in list(selector.get_map().values()):
                key.fileobj.close()  # type: ignore[union-attr]

    def _send_batches(self, selector: selectors.BaseSelector) -> None:
        """Send what the hub says, in its order: a few batches are on their way at once."""
        numbers, sent = count(), deque[Any]()
        while not self.over.is_set():
            batch = self._collect(selector)
            if batch and not self.over.is_set():
                if len(sent) == BATCHES:
                    ray.get(sent.popleft())
                sent.append(self.agent.take.remote(next(numbers), batch))

    def _collect(self, selector: selectors.BaseSelector) -> list[Item]:
        """Wait for what the hub says, and take all that has come."""
        ready = [key for key, _ in selector.select()]
        batch: list[Item] = []
        for key in ready:
            if key.fileobj is self._wake_out:
                self._wake_out.recv(4096)
            else:
                batch.append(self._read(key.data, key.fileobj, selector))  # type: ignore[arg-type]
        # A message about a worker never comes before what was said to that worker earlier.
        while self._messages:
            message, sock = self._messages.popleft()
            if message:
                batch.append(message)
            if sock is not None:
                selector.register(sock, selectors.EVENT_READ, message["worker"])
        return batch

    def _read(self, worker: str, sock: socket.socket, selector: selectors.BaseSelector) -> Item:
        try:
            data = sock.recv(_READ_BYTES)
        except OSError:
            data = b""
        if data:
            return worker, data
        selector.unregister(sock)
        self._sockets.pop(worker, None)
        sock.close()
        return {"op": "kill", "worker": worker}


def _shut_down(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
