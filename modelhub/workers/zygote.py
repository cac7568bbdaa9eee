"""The zygote: has torch and transformers imported, has one thread, never computes, and forks workers.

Started by exec (``python -m modelhub.workers.zygote FD PARENT_PID``), so that nothing of the patched web
process is inherited. A child of it is ready to load in milliseconds instead of the seconds an import takes.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from modelhub.memory import process_memory
from modelhub.workers.channel import Channel
from modelhub.workers.lifeline import die_with_parent, thread_count


class Zygote:
    """Serves one control channel: ``fork``, ``kill``, ``memory`` in; ``warm``, ``forked``, ``exited`` out."""

    def __init__(self, control: socket.socket) -> None:
        self.channel = Channel(control)
        self._descriptors: deque[int] = deque()
        self._workers: dict[int, str] = {}  # pid -> worker id
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)

    def run(self, model_types: Sequence[str] = ()) -> None:
        """Import, also the code of these types; then serve until the channel ends; that ends every child."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        started = time.monotonic()
        self._send({"type": "warming", "pid": os.getpid()})
        from modelhub import loader

        loader.warm(model_types)
        gc.collect()
        gc.freeze()  # what is here now is never collected: children share its pages for longer
        self._send({"type": "warm", "seconds": time.monotonic() - started, "threads": thread_count()})
        try:
            while True:
                self._serve_once()
        except EOFError:
            self._kill_all()

    def _serve_once(self) -> None:
        waiting: list[Any] = [self.channel.socket, self._wake_read]
        readable, _, _ = select.select(waiting, [], [])
        if self._wake_read in readable:
            with contextlib.suppress(BlockingIOError):
                os.read(self._wake_read, 4096)
            self._reap()
        if self.channel.socket in readable:
            data, descriptors, _, _ = socket.recv_fds(self.channel.socket, 65536, 16)
            if not data:
                raise EOFError
            self._descriptors.extend(descriptors)
            self.channel.feed(data)
            while self.channel.buffered():
                request = self.channel.receive(0)
                if request is not None:
                    self._answer(request)

    def _answer(self, request: dict[str, Any]) -> None:
        if request["op"] == "fork":
            self._fork(request["worker"], self._descriptors.popleft())
        elif request["op"] == "kill":
            self._kill(request["worker"])
        elif request["op"] == "memory":
            total = sum(process_memory(pid).total for pid in (os.getpid(), *self._workers))
            self._send({"type": "memory", "request": request["request"], "bytes": total})

    def _fork(self, worker: str, descriptor: int) -> None:
        threads = thread_count()
        if threads not in (1, None):
            os.close(descriptor)
            self._send(
                {"type": "exited", "worker": worker, "status": None, "why": f"zygote has {threads} threads"}
            )
            return
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._become_worker(parent, descriptor)
        os.close(descriptor)
        self._workers[pid] = worker
        self._send({"type": "forked", "worker": worker, "pid": pid})

    def _become_worker(self, parent: int, descriptor: int) -> None:
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            die_with_parent(parent)
            self.channel.socket.close()
            for fd in (self._wake_read, self._wake_write, *self._descriptors):
                os.close(fd)
            from modelhub.workers import process

            process.main(_blocking(descriptor))
            status = 0
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            sys.stderr.flush()
            os._exit(status)

    def _reap(self) -> None:
        while self._workers:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            worker = self._workers.pop(pid, None)
            code = os.waitstatus_to_exitcode(status)
            self._send({"type": "exited", "worker": worker, "status": code})

    def _kill(self, worker: str) -> None:
        for pid, name in self._workers.items():
            if name == worker:
                os.kill(pid, signal.SIGKILL)  # not reaped yet, so the number is still its own

    def _kill_all(self) -> None:
        for pid in self._workers:
            os.kill(pid, signal.SIGKILL)
        for pid in self._workers:
            os.waitpid(pid, 0)

    def _send(self, message: dict[str, Any]) -> None:
        try:
            self.channel.send(message)
        except OSError:
            raise EOFError from None


def main() -> None:
    """Entry point; arguments: the control socket's descriptor, the parent's process id, model types."""
    descriptor, parent = int(sys.argv[1]), int(sys.argv[2])
    die_with_parent(parent)
    zygote = Zygote(_blocking(descriptor))
    with contextlib.suppress(EOFError):
        zygote.run(sys.argv[3:])


def _blocking(descriptor: int) -> socket.socket:
    """The socket behind a descriptor; a patched parent has left it non-blocking."""
    sock = socket.socket(fileno=descriptor)
    sock.setblocking(True)
    return sock


if __name__ == "__main__":
    main()
