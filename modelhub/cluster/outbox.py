"""What an agent has yet to send, in order; who adds more than can be sent waits."""

from __future__ import annotations

import threading
from collections import deque
from typing import TypeAlias

from modelhub.workers.channel import Message

# A message to the hub, or bytes of the channel of a worker.
Item: TypeAlias = Message | tuple[str, bytes]

_MOST_BYTES = 16 * 2**20
_BATCH_BYTES = 2**20


class Outbox:
    """Any thread may add; one takes."""

    def __init__(self) -> None:
        self._items: deque[Item] = deque()
        self._bytes = 0
        self._changed = threading.Condition()
        self._closed = False

    def say(self, message: Message) -> None:
        """Add a message to the hub; never waits."""
        with self._changed:
            self._items.append(message)
            self._changed.notify_all()

    def send(self, worker: str, data: bytes) -> None:
        """Add bytes of a worker; waits while too many are on their way."""
        with self._changed:
            self._changed.wait_for(lambda: self._bytes < _MOST_BYTES or self._closed)
            self._items.append((worker, data))
            self._bytes += len(data)
            self._changed.notify_all()

    def take(self) -> list[Item]:
        """What there is, at most about a megabyte; waits for it. Empty once it is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._closed)
            batch: list[Item] = []
            size = 0
            while self._items and size < _BATCH_BYTES:
                item = self._items.popleft()
                batch.append(item)
                size += len(item[1]) if isinstance(item, tuple) else 0
            self._bytes -= size
            self._changed.notify_all()
            return batch

    def close(self) -> None:
        """What was added is still taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
