"""The processes that were forked for the server: it kills and reaps them, and learns how they have ended."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import psutil

from modelhub import memory

_POLL_S = 0.05
_SAMPLE_S = 5.0
_KILL_TIMEOUT_S = 5.0
_NAMES = ("modelhub-zygote", "modelhub-kept", "modelhub-spare", "modelhub-worker")


class Exit(NamedTuple):
    """How a process has ended."""

    status: int | None  # of its exit; minus the number of the signal that has ended it; None: not known
    peak_bytes: int = 0  # the most memory that it has had
    limit_bytes: int = 0  # what it might have had: of the machine, or of a control group
    out_of_memory: bool = False  # the system has ended it, since memory had run out


class Child:
    """One process, whose parent is this one. Any thread may call any method."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.exit: Exit | None = None  # once it has ended and was reaped
        self._lock = threading.Lock()
        self._callbacks: list[Callable[[Exit], None]] = []
        self._exited = threading.Event()
        self._kills = (_oom_kills(), _oom_kills())  # in the whole system, as of up to 5 and 10 s ago
        self._limit_bytes = 0
        self.note_limit()
        threading.Thread(target=self._follow, name=f"modelhub-{pid}", daemon=True).start()

    def note_limit(self) -> None:
        """Note how much memory it may have: afterwards that cannot be read any more."""
        with contextlib.suppress(OSError, ValueError):
            self._limit_bytes = memory.total_bytes(Path(f"/proc/{self.pid}"))

    def kill(self) -> None:
        """Send SIGKILL, unless it has been reaped: until then its id is its own."""
        with self._lock:
            if self.exit is None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.pid, signal.SIGKILL)

    def wait(self, timeout_s: float) -> bool:
        """Wait until it has ended and was reaped; returns whether it has."""
        return self._exited.wait(timeout_s)

    def when_exited(self, callback: Callable[[Exit], None]) -> None:
        """Call ``callback`` once it has ended, at once if it has, in any thread."""
        with self._lock:
            if self.exit is None:
                self._callbacks.append(callback)
                return
        callback(self.exit)

    def _follow(self) -> None:
        handle = _handle(self.pid)
        try:
            while not self._has_ended(handle):
                self._kills = (self._kills[1], _oom_kills())
                self.note_limit()
        finally:
            if handle is not None:
                os.close(handle)
        with self._lock:
            self.exit = self._reap()
            callbacks, self._callbacks = self._callbacks, []
        self._exited.set()
        for callback in callbacks:
            callback(self.exit)

    def _has_ended(self, handle: int | None) -> bool:
        """Wait for the next sample at most; returns whether the process has ended."""
        if handle is not None:
            return bool(select.select([handle], [], [], _SAMPLE_S)[0])
        deadline = time.monotonic() + _SAMPLE_S
        while time.monotonic() < deadline:
            if _is_over(self.pid):
                return True
            time.sleep(_POLL_S)
        return False

    def _reap(self) -> Exit:
        try:
            _, status, usage = os.wait4(self.pid, 0)
        except ChildProcessError:  # it is not ours: the system has no subreaper
            return Exit(None)
        code = os.waitstatus_to_exitcode(status)
        is_oom = code == -signal.SIGKILL and _oom_kills() > self._kills[0]
        return Exit(code, usage.ru_maxrss * 1024, self._limit_bytes, is_oom)


class Children:
    """All of them, by process id."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._children: dict[int, Child] = {}

    def add(self, pid: int) -> None:
        """A process was forked for this one: follow it."""
        child = Child(pid)
        with self._lock:
            self._children[pid] = child
        child.when_exited(lambda _: self._forget(child))

    def find(self, pid: int) -> Child | None:
        """One that was added; None once it has ended and was reaped."""
        return self._children.get(pid)

    def sweep(self) -> None:
        """Reap what nobody has told of: its parent was killed before it could."""
        for process in psutil.Process().children():
            with contextlib.suppress(psutil.Error, ChildProcessError):
                is_ours = process.pid not in self._children and process.name() in _NAMES
                if is_ours and process.status() == psutil.STATUS_ZOMBIE:
                    os.waitpid(process.pid, os.WNOHANG)

    def close(self) -> None:
        """Kill all, and wait until they are gone."""
        with self._lock:
            children = list(self._children.values())
        for child in children:
            child.kill()
        deadline = time.monotonic() + _KILL_TIMEOUT_S
        for child in children:
            child.wait(max(0.0, deadline - time.monotonic()))

    def _forget(self, child: Child) -> None:
        with self._lock:
            if self._children.get(child.pid) is child:
                del self._children[child.pid]


def _handle(pid: int) -> int | None:
    """A descriptor that can be read once the process has ended; None where there is no such thing."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):  # macOS, an old kernel, or no handle is left
        return None


def _is_over(pid: int) -> bool:
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        pass
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def _oom_kills() -> int:
    """How many processes the kernel has ended since memory had run out, in the system or a control group."""
    try:
        lines = Path("/proc/vmstat").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))
    except (OSError, StopIteration, ValueError):
        return 0
