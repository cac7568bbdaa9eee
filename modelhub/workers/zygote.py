"""The zygote: a process that has imported torch and transformers, has one thread, and forks workers.

It is started by exec (``python -m modelhub.workers.zygote FD PARENT_PID``) and so inherits nothing of the
server, whose standard library is patched. A child can load after milliseconds instead of the seconds that
the imports take. It never computes: torch would start threads, and a process with threads cannot fork safely.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import logging
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from modelhub import json_log
from modelhub.workers import spare
from modelhub.workers.channel import Channel, Message, blocking_socket
from modelhub.workers.forking import fork_for_server
from modelhub.workers.import_count import ImportCount
from modelhub.workers.kept import CHECK_S, Keeping, keep
from modelhub.workers.lifeline import die_with_parent, name_process, thread_count

log = logging.getLogger(__name__)


class Zygote:
    """Serves one control channel: see ``channel.Message`` for what it receives and sends.

    The processes that it forks are the server's: see ``forking``.
    """

    def __init__(self, control: socket.socket, server_pid: int, keeping: Keeping | None = None) -> None:
        self.channel = Channel(control, takes_descriptors=True)
        self._server_pid = server_pid
        self._keeping = keeping
        self._workers: set[str] = set()  # those of a kept model, which waits for their end
        self._spare: spare.Spare | None = None
        self._spare_due: float | None = None  # when to fork one
        self._spare_device = "cpu"

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
        with contextlib.suppress(EOFError):
            while self._keeping is None or not self._keeping.is_over(bool(self._workers)):
                self._serve_once()

    def _serve_once(self) -> None:
        waiting: list[Any] = [self.channel.socket]
        if self._spare is not None:
            waiting.append(self._spare.control)
        until_due = None if self._spare_due is None else max(0.0, self._spare_due - time.monotonic())
        until_check = None if self._keeping is None else CHECK_S
        timeouts = [seconds for seconds in (until_due, until_check) if seconds is not None]
        readable, _, _ = select.select(waiting, [], [], min(timeouts, default=None))
        if not readable and self._spare_due is not None and self._spare_due <= time.monotonic():
            self._fork_spare()
        if self._spare is not None and self._spare.control in readable:
            self._read_spare(self._spare)
        if self.channel.socket in readable:
            self.channel.fill()
            while self.channel.buffered():
                request = self.channel.receive(0)
                if request is not None:
                    self._handle(request)

    def _handle(self, request: Message) -> None:
        if request["op"] == "fork":
            self._spare_due = self._spare_due if request["fresh"] else None
            self._serve_worker(request["worker"], request["fresh"])
        elif request["op"] == "ended":
            self._workers.discard(request["worker"])
        elif request["op"] == "spare":
            if self._spare is None:
                self._spare_due = time.monotonic() + request["after_s"]
                self._spare_device = request["device"]
        elif request["op"] == "keep":
            self._fork_kept(request["spec"], request["seconds"])

    def _serve_worker(self, worker: str, fresh: bool) -> None:
        """Have the spare serve the channel that came with the request, or else a new process."""
        try:
            with self._received() as descriptor:
                pid = self._worker_process(descriptor, fresh)
        except OSError as error:
            self._send({"type": "refused", "worker": worker, "why": error.strerror or str(error)})
            return
        self._workers.add(worker)
        self._send({"type": "forked", "worker": worker, "pid": pid})

    def _worker_process(self, descriptor: int, fresh: bool) -> int:
        waiting_spare = self._spare if not fresh else None
        if waiting_spare is not None and waiting_spare.is_ready:
            is_assigned = waiting_spare.assign(descriptor)
            self._forget_spare()  # also where it has ended: its socket is closed
            if is_assigned:
                return waiting_spare.pid
        return self._start_child(lambda: self._work(descriptor))

    def _fork_spare(self) -> None:
        self._spare_due = None
        if self._spare is not None:
            return
        device, kept = self._spare_device, self._keeping
        title = "modelhub: spare" if kept is None else f"modelhub: spare of {kept.prepared.files.model_id}"

        def wait_for_work() -> None:
            ours.close()
            descriptor = spare.wait_for_work(theirs, device, title)
            if descriptor is not None:
                self._work(descriptor)

        try:
            ours, theirs = socket.socketpair()
            with theirs:
                self._spare = spare.Spare(self._start_child(wait_for_work), ours)
        except OSError as error:
            log.warning("No process was made ready for the next load: %s", error)

    def _fork_kept(self, spec: Message, seconds: float) -> None:
        """Fork a process that prepares a model, and then serves the channel that came with the request."""

        def work() -> None:
            keeping = keep(spec, seconds)
            if keeping is not None:
                zygote = Zygote(blocking_socket(descriptor), self._server_pid, keeping)
                zygote._send({"type": "kept", "pid": os.getpid()})
                zygote.serve()

        try:
            with self._received() as descriptor:
                self._start_child(work)
        except OSError as error:
            log.warning("Nothing is kept of %s: %s", spec["model_id"], error)

    @contextlib.contextmanager
    def _received(self) -> Iterator[int]:
        """The descriptor that came with a request; it is closed here. Raises OSError where it got lost."""
        if not self.channel.descriptors:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        descriptor = self.channel.descriptors.popleft()
        try:
            yield descriptor
        finally:
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
            self._forget_spare()

    def _forget_spare(self) -> None:
        if self._spare is not None:
            self._spare.control.close()
            self._spare = None
            self._send({"type": "spare", "pid": None, "rehearsal": None})

    def _start_child(self, work: Callable[[], None]) -> int:
        """Fork a process of the server that runs ``work``; returns its id. Raises OSError."""
        threads = thread_count()
        if threads not in (1, None):
            raise OSError(f"the parent process of the workers has {threads} threads")

        def begin() -> None:
            self.channel.socket.close()
            for descriptor in self.channel.descriptors:
                os.close(descriptor)
            if self._spare is not None:
                self._spare.control.close()
            work()

        pid = fork_for_server(self._server_pid, begin)
        self._send({"type": "child", "pid": pid})
        return pid

    def _send(self, message: Message) -> None:
        try:
            self.channel.send(message)
        except OSError:
            raise EOFError from None


def main() -> None:
    """Entry point; arguments: the control socket's descriptor, the parent's process id, model types."""
    descriptor, parent = int(sys.argv[1]), int(sys.argv[2])
    die_with_parent(parent)
    json_log.use_in_child()
    zygote = Zygote(blocking_socket(descriptor), parent)
    with contextlib.suppress(EOFError):
        zygote.run(sys.argv[3:])


if __name__ == "__main__":
    main()
