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
from collections.abc import Callable, Sequence
from typing import Any

from modelhub.memory import process_memory
from modelhub.workers import spare
from modelhub.workers.channel import Channel
from modelhub.workers.lifeline import die_with_parent, name_process, thread_count


class Zygote:
    """Serves one control channel: fork, spare, kill, memory in; warm, forked, spare, exited, memory out."""

    def __init__(self, control: socket.socket) -> None:
        self.channel = Channel(control)
        self._descriptors: deque[int] = deque()
        self._workers: dict[int, str] = {}  # pid -> worker id
        self._spare: spare.Spare | None = None
        self._spare_due: float | None = None  # when to fork one
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)

    def run(self, model_types: Sequence[str] = ()) -> None:
        """Import, also the code of these types; then serve until the channel ends; that ends every child."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        name_process("modelhub-zygote")
        started = time.monotonic()
        self._send({"type": "warming", "pid": os.getpid()})
        from modelhub.loader.preparation import import_ahead
        from modelhub.workers import process  # noqa: F401 - what a worker runs, imported before the fork

        import_ahead(model_types)
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
        if self._spare is not None and not self._spare.is_ready:
            waiting.append(self._spare.stage)
        until_due = None if self._spare_due is None else max(0.0, self._spare_due - time.monotonic())
        readable, _, _ = select.select(waiting, [], [], until_due)
        if not readable:
            self._make_spare()
        if self._spare is not None and self._spare.stage in readable:
            self._hear_spare(self._spare)
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
            self._spare_due = self._spare_due if request["fresh"] else None
            self._fork(request["worker"], self._descriptors.popleft(), request["fresh"])
        elif request["op"] == "spare":
            if self._spare is None:
                self._spare_due = time.monotonic() + request["after_s"]
        elif request["op"] == "kill":
            self._kill(request["worker"])
        elif request["op"] == "memory":
            self._send({"type": "memory", "request": request["request"], "bytes": self._memory_bytes()})

    def _memory_bytes(self) -> int:
        """What all hold together, without what the spare has for itself: it comes and goes with no model."""
        total = sum(process_memory(pid).total for pid in (os.getpid(), *self._workers))
        if self._spare is not None:
            waiting = process_memory(self._spare.pid)
            total += waiting.total - waiting.private
        return total

    def _fork(self, worker: str, descriptor: int, fresh: bool) -> None:
        """Have a process serve the channel behind ``descriptor``: the spare, or else a new one."""
        waits = self._spare if not fresh else None
        threads = thread_count()
        if waits is not None and waits.is_ready and waits.take_on(descriptor):
            pid = waits.pid
            self._forget_spare()
        elif threads in (1, None):
            pid = self._start_child(lambda: _work(descriptor))
        else:
            os.close(descriptor)
            why = f"zygote has {threads} threads"
            self._send({"type": "exited", "worker": worker, "status": None, "why": why})
            return
        os.close(descriptor)
        self._workers[pid] = worker
        self._send({"type": "forked", "worker": worker, "pid": pid})

    def _make_spare(self) -> None:
        self._spare_due = None
        if self._spare is not None or thread_count() not in (1, None):
            return
        ours, theirs = socket.socketpair()

        def stand_by() -> None:
            ours.close()
            descriptor = spare.stand_by(theirs)
            if descriptor is not None:
                _work(descriptor)

        pid = self._start_child(stand_by)
        theirs.close()
        self._spare = spare.Spare(pid, ours)

    def _hear_spare(self, heard: spare.Spare) -> None:
        try:
            heard.hear()
            self._send({"type": "spare", "pid": heard.pid})
        except (EOFError, OSError):
            self._forget_spare()  # it is reaped as any child

    def _forget_spare(self) -> None:
        if self._spare is not None:
            self._spare.stage.close()
            self._spare = None
            self._send({"type": "spare", "pid": None})

    def _start_child(self, work: Callable[[], None]) -> int:
        """Fork a child that does ``work`` and ends; answers its process id."""
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._be_child(parent, work)
        return pid

    def _be_child(self, parent: int, work: Callable[[], None]) -> None:
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            die_with_parent(parent)
            self.channel.socket.close()
            for fd in (self._wake_read, self._wake_write, *self._descriptors):
                os.close(fd)
            if self._spare is not None:
                self._spare.stage.close()
            work()
            status = 0
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            sys.stderr.flush()
            os._exit(status)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if self._spare is not None and self._spare.pid == pid:
                self._forget_spare()
            worker = self._workers.pop(pid, None)
            if worker is not None:
                code = os.waitstatus_to_exitcode(status)
                self._send({"type": "exited", "worker": worker, "status": code})

    def _kill(self, worker: str) -> None:
        for pid, name in self._workers.items():
            if name == worker:
                os.kill(pid, signal.SIGKILL)  # not reaped yet, so the number is still its own

    def _kill_all(self) -> None:
        children = [*self._workers, *([self._spare.pid] if self._spare is not None else [])]
        for pid in children:
            os.kill(pid, signal.SIGKILL)
        for pid in children:
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


def _work(descriptor: int) -> None:
    from modelhub.workers import process

    process.main(_blocking(descriptor))


def _blocking(descriptor: int) -> socket.socket:
    """The socket behind a descriptor; a patched parent has left it non-blocking."""
    sock = socket.socket(fileno=descriptor)
    sock.setblocking(True)
    return sock


if __name__ == "__main__":
    main()
