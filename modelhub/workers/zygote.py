"""The zygote: a process that has imported torch and transformers, has one thread, and forks workers.

It is started by exec (``python -m modelhub.workers.zygote FD PARENT_PID``) and so inherits nothing of the
server, whose standard library is patched. A child can load after milliseconds instead of the seconds that
the imports take. It never computes: torch would start threads, and a process with threads cannot fork safely.
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
from collections.abc import Callable, Sequence
from typing import Any

from modelhub.workers import spare
from modelhub.workers.channel import Channel, Message, blocking_socket
from modelhub.workers.import_count import ImportCount
from modelhub.workers.kept import CHECK_S, Keeping, keep
from modelhub.workers.lifeline import die_with_parent, name_process, thread_count


class Zygote:
    """Serves one control channel: see ``channel.Message`` for what it receives and sends."""

    def __init__(self, control: socket.socket, keeping: Keeping | None = None) -> None:
        self.channel = Channel(control, takes_descriptors=True)
        self._keeping = keeping
        self._workers: dict[int, str] = {}  # pid -> worker id
        self._spare: spare.Spare | None = None
        self._spare_due: float | None = None  # when to fork one
        self._spare_device = "cpu"
        self._wakeup_read, self._wakeup_write = os.pipe()
        os.set_blocking(self._wakeup_read, False)
        os.set_blocking(self._wakeup_write, False)

    def run(self, model_types: Sequence[str] = ()) -> None:
        """Import what loads need and the code of ``model_types``; serve until the channel ends."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        name_process("modelhub-zygote", "modelhub: zygote")
        started = time.monotonic()
        self._send({"type": "warming", "pid": os.getpid()})
        with ImportCount(lambda done: self.channel.send({"type": "importing", "done": done})) as counted:
            from modelhub.loader.preparation import import_ahead
            from modelhub.workers import process  # noqa: F401 - imported before the fork

            import_ahead(model_types)
        gc.collect()
        gc.freeze()  # these objects are never collected, so that children keep sharing their pages
        seconds = time.monotonic() - started
        self._send({"type": "warm", "seconds": seconds, "modules": counted.done, "threads": thread_count()})
        self.serve()

    def serve(self) -> None:
        """Serve until the channel ends, or what is kept has to be let go."""
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wakeup_write, warn_on_full_buffer=False)
        try:
            while self._keeping is None or not self._keeping.is_over(bool(self._workers)):
                self._serve_once()
        except EOFError:
            pass
        self._kill_all()

    def _serve_once(self) -> None:
        waiting: list[Any] = [self.channel.socket, self._wakeup_read]
        if self._spare is not None and not self._spare.is_ready:
            waiting.append(self._spare.control)
        until_due = None if self._spare_due is None else max(0.0, self._spare_due - time.monotonic())
        until_check = None if self._keeping is None else CHECK_S
        timeouts = [seconds for seconds in (until_due, until_check) if seconds is not None]
        readable, _, _ = select.select(waiting, [], [], min(timeouts, default=None))
        if not readable and self._spare_due is not None and self._spare_due <= time.monotonic():
            self._fork_spare()
        if self._spare is not None and self._spare.control in readable:
            self._read_spare(self._spare)
        if self._wakeup_read in readable:
            with contextlib.suppress(BlockingIOError):
                os.read(self._wakeup_read, 4096)
            self._reap()
        if self.channel.socket in readable:
            self.channel.fill()
            while self.channel.buffered():
                request = self.channel.receive(0)
                if request is not None:
                    self._handle(request)

    def _handle(self, request: Message) -> None:
        if request["op"] == "fork":
            self._spare_due = self._spare_due if request["fresh"] else None
            self._fork(request["worker"], self.channel.descriptors.popleft(), request["fresh"])
        elif request["op"] == "spare":
            if self._spare is None:
                self._spare_due = time.monotonic() + request["after_s"]
                self._spare_device = request["device"]
        elif request["op"] == "keep":
            self._fork_kept(self.channel.descriptors.popleft(), request["spec"], request["seconds"])
        elif request["op"] == "kill":
            self._kill(request["worker"])

    def _fork(self, worker: str, descriptor: int, fresh: bool) -> None:
        """Have the spare serve the channel at ``descriptor``, or else a new process."""
        waiting_spare = self._spare if not fresh else None
        threads = thread_count()
        if waiting_spare is not None and waiting_spare.is_ready and waiting_spare.assign(descriptor):
            pid = waiting_spare.pid
            self._forget_spare()
        elif threads in (1, None):
            pid = self._start_child(lambda: self._work(descriptor))
        else:
            os.close(descriptor)
            why = f"zygote has {threads} threads"
            self._send({"type": "exited", "worker": worker, "status": None, "why": why})
            return
        os.close(descriptor)
        self._workers[pid] = worker
        self._send({"type": "forked", "worker": worker, "pid": pid})

    def _fork_spare(self) -> None:
        self._spare_due = None
        if self._spare is not None or thread_count() not in (1, None):
            return
        ours, theirs = socket.socketpair()
        device = self._spare_device

        def wait_for_work() -> None:
            ours.close()
            descriptor = spare.wait_for_work(theirs, device)
            if descriptor is not None:
                self._work(descriptor)

        pid = self._start_child(wait_for_work)
        theirs.close()
        self._spare = spare.Spare(pid, ours)

    def _fork_kept(self, descriptor: int, spec: Message, seconds: float) -> None:
        """Fork a process that prepares a model, and then serves the channel at ``descriptor``."""

        def work() -> None:
            keeping = keep(spec, seconds)
            if keeping is not None:
                zygote = Zygote(blocking_socket(descriptor), keeping)
                zygote._send({"type": "kept", "pid": os.getpid()})
                zygote.serve()

        if thread_count() in (1, None):
            self._start_child(work)
        os.close(descriptor)

    def _work(self, descriptor: int) -> None:
        """In a child: serve the channel of a worker."""
        from modelhub.workers import process

        prepared = None if self._keeping is None else self._keeping.prepared
        process.main(blocking_socket(descriptor), prepared)

    def _read_spare(self, waiting: spare.Spare) -> None:
        try:
            waiting.read_ready()
            self._send({"type": "spare", "pid": waiting.pid, "rehearsal": waiting.rehearsal_seconds})
        except (EOFError, OSError):
            self._forget_spare()  # _reap() reaps it as any child

    def _forget_spare(self) -> None:
        if self._spare is not None:
            self._spare.control.close()
            self._spare = None
            self._send({"type": "spare", "pid": None, "rehearsal": None})

    def _start_child(self, work: Callable[[], None]) -> int:
        """Fork a child that runs ``work`` and exits; returns its process id."""
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._run_child(parent, work)
        return pid

    def _run_child(self, parent: int, work: Callable[[], None]) -> None:
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            die_with_parent(parent)
            self.channel.socket.close()
            for fd in (self._wakeup_read, self._wakeup_write, *self.channel.descriptors):
                os.close(fd)
            if self._spare is not None:
                self._spare.control.close()
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
                os.kill(pid, signal.SIGKILL)  # not reaped yet, so the pid is still its own

    def _kill_all(self) -> None:
        children = [*self._workers, *([self._spare.pid] if self._spare is not None else [])]
        for pid in children:
            os.kill(pid, signal.SIGKILL)
        for pid in children:
            os.waitpid(pid, 0)

    def _send(self, message: Message) -> None:
        try:
            self.channel.send(message)
        except OSError:
            raise EOFError from None


def main() -> None:
    """Entry point; arguments: the control socket's descriptor, the parent's process id, model types."""
    descriptor, parent = int(sys.argv[1]), int(sys.argv[2])
    die_with_parent(parent)
    zygote = Zygote(blocking_socket(descriptor))
    with contextlib.suppress(EOFError):
        zygote.run(sys.argv[3:])


if __name__ == "__main__":
    main()
