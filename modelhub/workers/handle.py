"""A process that was requested for a worker, as the server sees it."""

from __future__ import annotations

import socket
import threading

from modelhub import memory
from modelhub.errors import ModelhubError
from modelhub.workers.channel import Channel
from modelhub.workers.children import Child, Exit

EXIT_TIMEOUT_S = 5.0


class Process:
    """One process that was requested for a worker: from the request on, until it has ended."""

    def __init__(self, process_id: str, channel: Channel, link: socket.socket | None = None) -> None:
        self.id = process_id
        self.channel = channel
        self.link = link  # to the process that reads ahead, for the worker
        self.is_loading = False  # the load went along with the request for it
        self.refusal: str | None = None  # why there will be no process
        self.failure: ModelhubError | None = None  # why it has ended, where its exit does not say that
        self._child: Child | None = None
        self._lock = threading.Lock()
        self._killed = False
        self._over = threading.Event()
        self._ended = Exit(None)

    @property
    def pid(self) -> int | None:
        """Its id, once it was forked."""
        return None if self._child is None else self._child.pid

    @property
    def is_over(self) -> bool:
        """Whether it has ended, or will never begin."""
        return self._over.is_set()

    def anonymous_bytes(self) -> int:
        """The memory that it has for itself, see ``memory.anonymous_bytes``; 0 where that is not known."""
        return 0 if self.pid is None else memory.anonymous_bytes(self.pid)

    def adopt(self, child: Child | None) -> None:
        """It was forked; None where it has ended before that was known."""
        if child is None:
            self._end(Exit(None))
            return
        with self._lock:
            self._child, killed = child, self._killed
        child.note_limit()
        if killed:
            child.kill()
        child.when_exited(self._end)

    def refuse(self, why: str) -> None:
        """It cannot be forked."""
        self.refusal = why
        self._end(Exit(None))

    def lose_parent(self) -> None:
        """What would have forked it has ended; one that was forked goes on."""
        if self._child is None:
            self._end(Exit(None))

    def kill(self) -> None:
        """Kill it, now or once it was forked; a thread that reads from it gets an end of file at once."""
        with self._lock:
            self._killed, child = True, self._child
        self.channel.shut_down()
        if child is not None:
            child.kill()

    def wait(self, timeout_s: float) -> Exit | None:
        """How it has ended; None if it has not within ``timeout_s`` seconds."""
        return self._ended if self._over.wait(timeout_s) else None

    def close(self) -> None:
        """Kill it, wait for its exit, and close the sockets; no thread may be reading any more."""
        self.kill()
        if self._child is not None:
            self.wait(EXIT_TIMEOUT_S)
        self.channel.close()
        if self.link is not None:
            self.link.close()

    def _end(self, ended: Exit) -> None:
        self._ended = ended
        self._over.set()
        self.channel.shut_down()
