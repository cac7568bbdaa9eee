"""The server's end of the channel of a process that forks workers: the zygote, or a kept model."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable

from modelhub.workers.channel import Channel, Message
from modelhub.workers.children import Children
from modelhub.workers.handle import Process


class ZygoteLink:
    """Any thread may call the methods; one thread calls ``listen``. ``on_message`` gets what is not about
    processes, and that there is a spare."""

    def __init__(
        self, sock: socket.socket, children: Children, on_message: Callable[[Message], None]
    ) -> None:
        self.channel = Channel(sock)
        self.spare_pid: int | None = None  # of the process that waits for the next load
        self.workers: dict[str, Process] = {}  # requested, and not ended
        self._children = children
        self._on_message = on_message

    def fork(self, process: Process, descriptor: int, fresh: bool) -> None:
        """Have it fork a process that serves the channel at ``descriptor``; raises OSError."""
        self.workers[process.id] = process
        try:
            request = {"op": "fork", "worker": process.id, "fresh": fresh}
            self.channel.send_with_fd(request, descriptor)
        except OSError:
            self.workers.pop(process.id, None)
            raise

    def keep(self, spec: Message, seconds: float, descriptor: int) -> None:
        """Have it fork a process that prepares a model and serves ``descriptor``; raises OSError."""
        self.channel.send_with_fd({"op": "keep", "spec": spec, "seconds": seconds}, descriptor)

    def prepare_spare(self, after_s: float, device: str) -> None:
        """Have it fork a spare for the next load to ``device``, unless a worker is requested before."""
        with contextlib.suppress(OSError):
            self.channel.send({"op": "spare", "after_s": after_s, "device": device})

    def listen(self) -> None:
        """Take messages until the process has ended; its workers may live on."""
        with contextlib.suppress(EOFError, OSError, ValueError):
            while True:
                message = self.channel.receive()
                if message is not None:
                    self._handle(message)
        self.spare_pid = None

    def close(self) -> None:
        """Close the channel after ``listen``; whoever waits for a process of it waits no longer."""
        orphans, self.workers = self.workers, {}
        self.channel.close()
        for process in orphans.values():
            process.lose_parent()

    def _handle(self, message: Message) -> None:
        kind = message["type"]
        if kind == "child":
            self._children.add(message["pid"])
        elif kind == "forked":
            self._adopt(message["worker"], message["pid"])
        elif kind == "refused":
            process = self.workers.pop(message["worker"], None)
            if process is not None:
                process.refuse(message["why"])
        elif kind == "spare":
            self._on_message(message)
            self.spare_pid = message["pid"]
        else:
            self._on_message(message)

    def _adopt(self, process_id: str, pid: int) -> None:
        child, process = self._children.find(pid), self.workers.get(process_id)
        # Whoever waits for the end of the process finds that this has no worker any more.
        if child is None:  # it has ended already
            self._end(process_id)
        else:
            child.when_exited(lambda _: self._end(process_id))
        if process is not None:
            process.adopt(child)
        elif child is not None:
            child.kill()  # nobody waits for it any more

    def _end(self, process_id: str) -> None:
        self.workers.pop(process_id, None)
        with contextlib.suppress(OSError):
            self.channel.send({"op": "ended", "worker": process_id})
