"""The launcher: starts the zygote, asks it for workers, watches and kills them. Knows no torch.

Works the same with real threads (the command line) and with green ones (the server): it uses only the
standard library's threading, socket and select.
"""

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
from typing import Any

from modelhub.errors import ModelhubError
from modelhub.workers.channel import Channel
from modelhub.workers.worker import Worker

log = logging.getLogger(__name__)
_EXIT_WAIT_S = 5.0
_SPARE_AFTER_S = 1.0  # it takes a core for 0.1 s, which who has just loaded a model may want
_WARM_UP_S = 8.0  # what importing torch and transformers takes on a slow machine
_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
# Threads that wait sleep instead of spinning: where something else wants a core too, a forward pass of a
# model of 2 GB on two cores takes 0.3 s so, and 1.7 s otherwise; where nothing does, both take the same.
_GENTLE = {"OMP_WAIT_POLICY": "PASSIVE"}
_ZYGOTE_ENVIRONMENT = {**_ONE_THREAD, "TOKENIZERS_PARALLELISM": "false", "PYTHONUNBUFFERED": "1"}


class Launcher:
    """Owns the zygote. Use as a context manager, or call ``close``: no process outlives it.

    ``model_types`` tells the types of models (as in config.json) whose code the zygote imports ahead.
    """

    def __init__(self, model_types: Callable[[], Iterable[str]] = tuple) -> None:
        self._model_types = model_types
        self.warm = threading.Event()
        self.warm_seconds: float | None = None
        self.zygote_pid: int | None = None
        self.spare_pid: int | None = None  # of the process that is ready for the next load
        self._lock = threading.Lock()
        self._control: Channel | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._workers: dict[str, Worker] = {}
        self._memory: dict[int, tuple[threading.Event, list[int]]] = {}
        self._numbers = count(1)
        self._started_at = 0.0
        self._closed = False

    def start(self) -> None:
        """Start the zygote if it does not run; returns at once, it warms up by itself.

        Raises ModelhubError ``worker_unavailable`` when it cannot be started.
        """
        with self._lock:
            if self._control is not None:
                return
            if self._closed:
                raise ModelhubError("shutting_down")
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
                    start_new_session=True,  # Ctrl-C in the terminal is the server's to handle
                    env={**_GENTLE, **os.environ, **_ZYGOTE_ENVIRONMENT, "PYTHONPATH": _python_path()},
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

    def worker(self, fresh: bool = False) -> Worker:
        """A worker process: the spare that waits for work, or with ``fresh`` or where none waits, a new one.

        Returns at once, also while the zygote is still warming up.
        """
        self.start()
        ours, theirs = socket.socketpair()
        worker_id = f"w{next(self._numbers)}"
        worker = Worker(worker_id, Channel(ours), lambda: self.kill(worker_id))
        self._workers[worker.id] = worker
        try:
            control = self._control
            if control is None:
                raise OSError("The zygote is gone.")
            control.send_with_fd({"op": "fork", "worker": worker.id, "fresh": fresh}, theirs.fileno())
        except OSError:
            self._workers.pop(worker.id, None)
            ours.close()
            raise ModelhubError("worker_unavailable", why="the parent of all workers is gone") from None
        finally:
            theirs.close()
        return worker

    def prepare(self) -> None:
        """Have a spare wait for the next load, unless another worker is asked for within a second."""
        control = self._control
        if control is not None:
            with contextlib.suppress(OSError):
                control.send({"op": "spare", "after_s": _SPARE_AFTER_S})

    def kill(self, worker_id: str) -> None:
        """Have the zygote kill one worker; nothing happens when it is gone already."""
        control = self._control
        if worker_id in self._workers and control is not None:
            with contextlib.suppress(OSError):
                control.send({"op": "kill", "worker": worker_id})

    def memory_bytes(self, timeout_s: float = 5.0) -> int | None:
        """What the zygote and all workers hold together (PSS); None when it cannot be told in time."""
        control = self._control
        if control is None or not self.warm.is_set():
            return None
        number, event, box = next(self._numbers), threading.Event(), list[int]()
        self._memory[number] = (event, box)
        try:
            control.send({"op": "memory", "request": number})
            event.wait(timeout_s)
        except OSError:
            pass
        finally:
            self._memory.pop(number, None)
        return box[0] if box else None

    def status(self) -> dict[str, Any]:
        """How far the zygote is: ``{"state": "cold"|"warming"|"warm", "seconds", "spare"}``.

        ``spare`` is the id of the process that waits for the next load and has rehearsed one, else None.
        """
        if self._control is None:
            return {"state": "cold", "seconds": None, "spare": None}
        if self.warm.is_set():
            return {"state": "warm", "seconds": self.warm_seconds, "spare": self.spare_pid}
        seconds = round(time.monotonic() - self._started_at, 1)
        return {"state": "warming", "seconds": seconds, "spare": None}

    def expected_wait_s(self) -> float:
        """Seconds until a worker can be had, roughly: 0 once the zygote is warm."""
        if self.warm.is_set():
            return 0.0
        passed = time.monotonic() - self._started_at if self._control is not None else 0.0
        return max(_WARM_UP_S - passed, 1.0)

    def close(self) -> None:
        """End the zygote and with it every worker, and wait for it."""
        with self._lock:
            self._closed = True
            control, process = self._control, self._process
        if control is not None:
            control.hang_up()
        if process is not None:
            try:
                process.wait(_EXIT_WAIT_S)
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
                    self._hear(message)
        except (EOFError, OSError, ValueError):
            pass
        if not self._closed:
            log.error("The parent of all workers ended; a new one starts with the next load.")
        process.kill()
        process.wait()
        with self._lock:
            self._control, self._process, self.zygote_pid, self.spare_pid = None, None, None, None
            self.warm.clear()
            orphans, self._workers = self._workers, {}
        control.close()
        for worker in orphans.values():
            worker.ended(None, "the parent of all workers was killed")

    def _hear(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "warm":
            self.warm_seconds = round(message["seconds"], 3)
            self.warm.set()
            if not self._workers:
                self.prepare()
        elif kind == "forked" and message["worker"] in self._workers:
            self._workers[message["worker"]].pid = message["pid"]
        elif kind == "spare":
            self.spare_pid = message["pid"]
        elif kind == "exited":
            worker = self._workers.pop(message["worker"], None)
            if worker is not None:
                worker.ended(message["status"], message.get("why", ""))
        elif kind == "memory" and message["request"] in self._memory:
            event, box = self._memory[message["request"]]
            box.append(message["bytes"])
            event.set()


def _python_path() -> str:
    """Where the zygote finds this package, also when the server was started from elsewhere."""
    here = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    return os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")]))
