"""The launcher: starts the zygote, has it fork workers, and kills them. Imports no torch."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterable
from itertools import count
from pathlib import Path
from types import TracebackType

from modelhub.checkpoints import Checkpoint, LoadSpec, checkpoint
from modelhub.errors import ModelhubError
from modelhub.payloads import WorkersStatus
from modelhub.workers.channel import Channel, Message
from modelhub.workers.children import Children
from modelhub.workers.environment import python_path, without_secrets
from modelhub.workers.handle import Process
from modelhub.workers.kept_models import KeptModels
from modelhub.workers.lifeline import adopt_orphans
from modelhub.workers.read_ahead import ReadAheadProcess
from modelhub.workers.restart import Restarts, wait_or_kill
from modelhub.workers.start import start_module
from modelhub.workers.warm_up import WarmUp, keep_warm_up, read_warm_up
from modelhub.workers.worker import Worker
from modelhub.workers.zygote_link import ZygoteLink

log = logging.getLogger(__name__)
_IMPORTING = "importing torch and transformers"
_EXIT_TIMEOUT_S = 5.0
_LONGEST_PAUSE_S = 30.0  # after zygotes that have not become warm
# Preparing a spare takes a core for 0.1 s, which a model that was just loaded may need.
_SPARE_AFTER_S = 1.0
_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
# Waiting threads spin for some microseconds only, then sleep. While other processes need the cores too, a
# forward pass of a model of 2 GB on two cores then takes 0.2 s instead of 0.9 s; on an idle machine that of a
# small model, with its many short pieces of work, is a third quicker than with threads that sleep at once.
_SHORT_WAIT = {"GOMP_SPINCOUNT": "4000"}
_ZYGOTE_ENVIRONMENT = {**_ONE_THREAD, "TOKENIZERS_PARALLELISM": "false", "PYTHONUNBUFFERED": "1"}


class Launcher:
    """Owns the zygote. Use it as a context manager, or call ``close``: no process outlives it.

    ``model_types`` returns the types of models (as in config.json) whose code the zygote imports ahead;
    ``on_kept`` is called when other models are kept prepared; ``device`` is where the spare rehearses;
    ``warm_up_path`` is a file that keeps for the next launcher what the warm-up of the zygote took.
    It works with real threads (the command line) and green threads (the server) alike, since it uses only
    threading, socket and select of the standard library.
    """

    def __init__(
        self,
        model_types: Callable[[], Iterable[str]] = tuple,
        on_kept: Callable[[], None] = lambda: None,
        device: str = "cpu",
        warm_up_path: Path | None = None,
    ) -> None:
        self._model_types = model_types
        self._device = device
        self._warm_up_path = warm_up_path
        self._last_warm_up = read_warm_up(warm_up_path)
        self._imported = 0  # modules, by the zygote that warms up
        self.warm = threading.Event()
        self.warm_seconds: float | None = None
        self.rehearsal_seconds: float | None = None  # of the newest spare: how fast this machine is
        self.zygote_pid: int | None = None
        self._children = Children()
        self.kept = KeptModels(self._children, on_kept)
        self._lock = threading.Lock()
        self._read_ahead = ReadAheadProcess(_environment())
        self._zygote: ZygoteLink | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._processes: list[Process] = []  # of workers, that have not ended
        self._numbers = count(1)
        self._started_at = 0.0
        self._closed = threading.Event()
        self._restarts = Restarts(self.start, self._closed, _LONGEST_PAUSE_S, log)

    @property
    def spare_pid(self) -> int | None:
        """The process that waits for the next load, if there is one."""
        zygote = self._zygote
        return None if zygote is None else zygote.spare_pid

    def start(self) -> None:
        """Start the zygote if it does not run; returns at once, without waiting until it is warm.

        Raises ModelhubError ``worker_unavailable`` if it cannot be started.
        """
        with self._lock:
            if self._zygote is not None:
                return
            if self._closed.is_set():
                raise ModelhubError("shutting_down")
            adopt_orphans()
            self._read_ahead.start()
            types = self._model_types()
            try:
                self._process, control = start_module("modelhub.workers.zygote", _environment(), *types)
            except OSError as error:
                raise ModelhubError("worker_unavailable", why=error.strerror) from None
            self._zygote = ZygoteLink(control, self._children, self._handle)
            self.zygote_pid = self._process.pid
            self._imported = 0
            self._started_at = time.monotonic()
            threading.Thread(target=self._listen, args=(self._zygote, self._process), daemon=True).start()

    def worker(self, spec: LoadSpec | None = None, fresh: bool = False) -> Worker:
        """A worker process: the spare, or a new process if there is none or ``fresh`` is set.

        If the model of ``spec`` is kept, the worker has what is prepared of it. The weights are read from now
        on. Returns at once, also while the zygote is still warming up. Raises ModelhubError.
        """
        return Worker(lambda fresh: self._fork(spec, fresh), fresh)

    def _fork(self, spec: LoadSpec | None, fresh: bool) -> Process:
        self.start()
        link = None if spec is None else self._read_ahead.read(spec)
        kept = None if spec is None else self.kept.find(spec)
        try:
            ours, theirs = socket.socketpair()
        except OSError as error:
            raise ModelhubError("worker_unavailable", why=error.strerror) from None
        process = Process(f"w{next(self._numbers)}", Channel(ours), link)
        with contextlib.closing(theirs):
            for parent in (kept, self._zygote):  # what is kept may be let go at any moment
                with contextlib.suppress(OSError):
                    if parent is not None:
                        parent.fork(process, theirs.fileno(), fresh)
                        self._processes = [*self._processes, process]
                        return process
        process.close()
        raise ModelhubError("worker_unavailable", why="their parent process has ended")

    def prepare_spare(self) -> None:
        """Have the zygote fork a spare for the next load, unless a worker is requested within a second."""
        if (zygote := self._zygote) is not None:
            zygote.prepare_spare(_SPARE_AFTER_S, self._device)

    def keep(self, spec: LoadSpec, seconds: float) -> None:
        """Keep a model that was unloaded prepared for its next load, for so long."""
        if (zygote := self._zygote) is not None:
            self.kept.keep(spec, zygote, seconds)

    def worker_pids(self) -> list[int]:
        """The processes of all workers that were forked and have not exited, and of the kept models."""
        self._processes = [process for process in self._processes if not process.is_over]
        workers = [process.pid for process in self._processes if process.pid is not None]
        return [*workers, *self.kept.pids()]

    def processes_of(self, worker: Worker) -> list[int]:
        """The processes that a load is held up by: its worker, else what forks that, and the reader."""
        pids = (worker.pid or self.zygote_pid, self._read_ahead.pid)
        return [pid for pid in pids if pid is not None]

    def status(self) -> WorkersStatus:
        """How far the zygote is; the seconds are those that it took to warm up, or has taken so far."""
        if self._zygote is None:
            return {"state": "cold", "seconds": None, "spare": None}
        if self.warm.is_set():
            return {"state": "warm", "seconds": self.warm_seconds, "spare": self.spare_pid}
        seconds = round(time.monotonic() - self._started_at, 1)
        return {"state": "warming", "seconds": seconds, "spare": None}

    def expected_wait_s(self) -> float:
        """Estimated seconds until a worker can start: 0 once the zygote is warm."""
        if self.warm.is_set():
            return 0.0
        passed = time.monotonic() - self._started_at if self._zygote is not None else 0.0
        return max(self._last_warm_up.seconds - passed, 1.0)

    def waiting(self) -> Checkpoint | None:
        """How far a load is that waits for the zygote, as a checkpoint of step 1; None once that is warm.

        The size is what the last warm-up needed, so the count stays below it.
        """
        if self.warm.is_set():
            return None
        size = self._last_warm_up.modules
        return checkpoint(1, min(self._imported, size - 1), size, "modules", _IMPORTING)

    def start_of(self, spec: LoadSpec) -> str:
        """What the process of a load would come from now: import, fork, spare or prepared."""
        if spec.model_id in self.kept.ids() and self.kept.find(spec) is not None:
            return "prepared"
        if not self.warm.is_set():
            return "import"
        return "fork" if self.spare_pid is None else "spare"

    def close(self) -> None:
        """End the zygote and every worker, and wait until they are gone."""
        self._read_ahead.close()
        with self._lock:
            self._closed.set()
            zygote, process = self._zygote, self._process
        self._children.close()
        if zygote is not None:
            zygote.channel.shut_down()
        if process is not None:
            wait_or_kill(process, _EXIT_TIMEOUT_S)

    def __enter__(self) -> Launcher:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _listen(self, zygote: ZygoteLink, process: subprocess.Popen[bytes]) -> None:
        zygote.listen()
        process.kill()
        process.wait()
        with self._lock:
            self._zygote = self._process = self.zygote_pid = None
            was_warm = self.warm.is_set()
            self.warm.clear()
        zygote.close()
        self._children.sweep()
        if not self._closed.is_set():
            self._restarts.replace(was_warm, "The process that forks the workers has ended")

    def _handle(self, message: Message) -> None:
        if message["type"] == "importing":
            self._imported = max(self._imported, message["done"])
        elif message["type"] == "spare":
            self.rehearsal_seconds = message["rehearsal"] or self.rehearsal_seconds
        elif message["type"] == "warm":
            self.warm_seconds = round(message["seconds"], 3)
            self.warm.set()
            self._last_warm_up = WarmUp(self.warm_seconds, message["modules"])
            keep_warm_up(self._warm_up_path, self._last_warm_up)
            if (zygote := self._zygote) is not None and not zygote.workers:
                self.prepare_spare()


def _environment() -> dict[str, str]:
    wait = {} if "OMP_WAIT_POLICY" in os.environ else _SHORT_WAIT
    return {**wait, **without_secrets(), **_ZYGOTE_ENVIRONMENT, "PYTHONPATH": python_path()}
