"""The server's end of the channel of a process that forks workers: the zygote, or a kept model."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable

from modelhub.workers.channel import Channel, Message
from modelhub.workers.worker import Worker


class ZygoteLink:
    """Any thread may call the methods; one thread calls ``listen``. ``on_message`` gets what is not about
    workers, and that there is a spare."""

    def __init__(self, sock: socket.socket, on_message: Callable[[Message], None]) -> None:
        self.channel = Channel(sock)
        self.spare_pid: int | None = None  # of the process that waits for the next load
        self.workers: dict[str, Worker] = {}
        self._on_message = on_message

    def fork(self, worker: Worker, descriptor: int, fresh: bool) -> None:
        """Have it fork a process that serves the channel at ``descriptor``; raises OSError."""
        self.workers[worker.id] = worker
        try:
            request = {"op": "fork", "worker": worker.id, "fresh": fresh}
            self.channel.send_with_fd(request, descriptor)
        except OSError:
            self.workers.pop(worker.id, None)
            raise

    def keep(self, spec: Message, seconds: float, descriptor: int) -> None:
        """Have it fork a process that prepares a model and serves ``descriptor``; raises OSError."""
        self.channel.send_with_fd({"op": "keep", "spec": spec, "seconds": seconds}, descriptor)

    def prepare_spare(self, after_s: float, device: str) -> None:
        """Have it fork a spare for the next load to ``device``, unless a worker is requested before."""
        with contextlib.suppress(OSError):
            self.channel.send({"op": "spare", "after_s": after_s, "device": device})

    def kill(self, worker_id: str) -> None:
        """Have it kill one worker; does nothing if that has exited already."""
        if worker_id in self.workers:
            with contextlib.suppress(OSError):
                self.channel.send({"op": "kill", "worker": worker_id})

    def listen(self) -> None:
        """Take messages until the process has ended; all of its workers have exited then."""
        with contextlib.suppress(EOFError, OSError, ValueError):
            while True:
                message = self.channel.receive()
                if message is not None:
                    self._handle(message)
        self.spare_pid = None

    def close(self, why: str) -> None:
        """Close the channel after ``listen``; what its workers serve fails with ``why``."""
        orphans, self.workers = self.workers, {}
        self.channel.close()
        for worker in orphans.values():
            worker.mark_exited(None, why)

    def _handle(self, message: Message) -> None:
        kind = message["type"]
        if kind == "forked" and message["worker"] in self.workers:
            self.workers[message["worker"]].pid = message["pid"]
        elif kind == "spare":
            self._on_message(message)
            self.spare_pid = message["pid"]
        elif kind == "exited":
            worker = self.workers.pop(message["worker"], None)
            if worker is not None:
                worker.mark_exited(message["status"], message.get("why", ""))
        else:
            self._on_message(message)
