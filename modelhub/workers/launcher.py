"""The launcher: starts the zygote, has it fork workers, and kills them. Imports no torch."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from itertools import count
from types import TracebackType

from modelhub.checkpoints import LoadSpec
from modelhub.errors import ModelhubError
from modelhub.payloads import WorkersStatus
from modelhub.workers.channel import Channel, Message
from modelhub.workers.read_ahead import ReadAheadProcess
from modelhub.workers.worker import Worker

log = logging.getLogger(__name__)
_EXIT_TIMEOUT_S = 5.0
# Preparing a spare takes a core for 0.1 s, which a model that was just loaded may need.
_SPARE_AFTER_S = 1.0
_WARM_UP_S = 8.0  # to import torch and transformers on a slow machine
_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
# Waiting threads sleep instead of spinning. While another process needs a core too, a forward pass of a
# model of 2 GB on two cores then takes 0.3 s instead of 1.7 s; on an idle machine both take the same.
_PASSIVE_WAIT = {"OMP_WAIT_POLICY": "PASSIVE"}
_ZYGOTE_ENVIRONMENT = {**_ONE_THREAD, "TOKENIZERS_PARALLELISM": "false", "PYTHONUNBUFFERED": "1"}


class Launcher:
    """Owns the zygote. Use it as a context manager, or call ``close``: no process outlives it.

    ``model_types`` returns the types of models (as in config.json) whose code the zygote imports ahead.
    It works with real threads (the command line) and green threads (the server) alike, since it uses only
    threading, socket and select of the standard library.
    """

    def __init__(self, model_types: Callable[[], Iterable[str]] = tuple) -> None:
        self._model_types = model_types
        self.warm = threading.Event()
        self.warm_seconds: float | None = None
        self.zygote_pid: int | None = None
        self.spare_pid: int | None = None  # of the process that waits for the next load
        self._lock = threading.Lock()
        self._read_ahead = ReadAheadProcess(_environment())
        self._control: Channel | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._workers: dict[str, Worker] = {}
        self._numbers = count(1)
        self._started_at = 0.0
        self._closed = False

    def start(self) -> None:
        """Start the zygote if it does not run; returns at once, without waiting until it is warm.

        Raises ModelhubError ``worker_unavailable`` if it cannot be started.
        """
        with self._lock:
            if self._control is not None:
                return
            if self._closed:
                raise ModelhubError("shutting_down")
            self._read_ahead.start()
            ours, theirs = socket.socketpair()
            arguments = [
                sys.executable,
                "-P",
                "-m",
                "modelhub.workers.zygote",
                str(theirs.fileno()),
                str(os.getpid()),
                *self._model_types(),
            ]
            try:
                self._process = subprocess.Popen(
                    arguments,
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    start_new_session=True,  # so that Ctrl-C in the terminal reaches the server only
                    env=_environment(),
                )
            except OSError as error:
                ours.close()
                raise ModelhubError("worker_unavailable", why=error.strerror) from None
            finally:
                theirs.close()
            self._control = Channel(ours)
            self.zygote_pid = self._process.pid
            self._started_at = time.monotonic()
            threading.Thread(target=self._listen, args=(self._control, self._process), daemon=True).start()

    def worker(self, spec: LoadSpec | None = None, fresh: bool = False) -> Worker:
        """A worker process: the spare, or a new process if there is none or ``fresh`` is set.

        The weights of ``spec``, which the worker will load, are read from now on. Returns at once, also while
        the zygote is still warming up. Raises ModelhubError.
        """
        self.start()
        link = None if spec is None else self._read_ahead.read(spec)
        ours, theirs = socket.socketpair()
        worker_id = f"w{next(self._numbers)}"
        worker = Worker(worker_id, Channel(ours), lambda: self.kill(worker_id), link)
        self._workers[worker.id] = worker
        try:
            control = self._control
            if control is None:
                raise OSError("The zygote has exited.")
            control.send_with_fd({"op": "fork", "worker": worker.id, "fresh": fresh}, theirs.fileno())
        except OSError:
            self._workers.pop(worker.id, None)
            worker.close()
            raise ModelhubError(
                "worker_unavailable", why="the parent process of the workers has exited"
            ) from None
        finally:
            theirs.close()
        return worker

    def prepare_spare(self) -> None:
        """Have the zygote fork a spare for the next load, unless a worker is requested within a second."""
        control = self._control
        if control is not None:
            with contextlib.suppress(OSError):
                control.send({"op": "spare", "after_s": _SPARE_AFTER_S})

    def kill(self, worker_id: str) -> None:
        """Have the zygote kill one worker; does nothing if it has exited already."""
        control = self._control
        if worker_id in self._workers and control is not None:
            with contextlib.suppress(OSError):
                control.send({"op": "kill", "worker": worker_id})

    def worker_pids(self) -> list[int]:
        """The processes of all workers that were forked and have not exited."""
        return [worker.pid for worker in list(self._workers.values()) if worker.pid is not None]

    def status(self) -> WorkersStatus:
        """How far the zygote is; the seconds are those that it took to warm up, or has taken so far."""
        if self._control is None:
            return {"state": "cold", "seconds": None, "spare": None}
        if self.warm.is_set():
            return {"state": "warm", "seconds": self.warm_seconds, "spare": self.spare_pid}
        seconds = round(time.monotonic() - self._started_at, 1)
        return {"state": "warming", "seconds": seconds, "spare": None}

    def expected_wait_s(self) -> float:
        """Estimated seconds until a worker can start: 0 once the zygote is warm."""
        if self.warm.is_set():
            return 0.0
        passed = time.monotonic() - self._started_at if self._control is not None else 0.0
        return max(_WARM_UP_S - passed, 1.0)

    def close(self) -> None:
        """End the zygote and with it every worker, and wait for its exit."""
        self._read_ahead.close()
        with self._lock:
            self._closed = True
            control, process = self._control, self._process
        if control is not None:
            control.shut_down()
        if process is not None:
            try:
                process.wait(_EXIT_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def __enter__(self) -> Launcher:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _listen(self, control: Channel, process: subprocess.Popen[bytes]) -> None:
        try:
            while True:
                message = control.receive()
                if message is not None:
                    self._handle(message)
        except (EOFError, OSError, ValueError):
            pass
        if not self._closed:
            log.error("The zygote exited unexpectedly; the next load starts a new one.")
        process.kill()
        process.wait()
        with self._lock:
            self._control, self._process, self.zygote_pid, self.spare_pid = None, None, None, None
            self.warm.clear()
            orphans, self._workers = self._workers, {}
        control.close()
        for worker in orphans.values():
            worker.mark_exited(None, "the parent process of the workers was killed")

    def _handle(self, message: Message) -> None:
        kind = message["type"]
        if kind == "warm":
            self.warm_seconds = round(message["seconds"], 3)
            self.warm.set()
            if not self._workers:
                self.prepare_spare()
        elif kind == "forked" and message["worker"] in self._workers:
            self._workers[message["worker"]].pid = message["pid"]
        elif kind == "spare":
            self.spare_pid = message["pid"]
        elif kind == "exited":
            worker = self._workers.pop(message["worker"], None)
            if worker is not None:
                worker.mark_exited(message["status"], message.get("why", ""))


def _environment() -> dict[str, str]:
    return {**_PASSIVE_WAIT, **os.environ, **_ZYGOTE_ENVIRONMENT, "PYTHONPATH": _python_path()}


def _python_path() -> str:
    """PYTHONPATH with which the zygote finds this package from any working directory."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    return os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
