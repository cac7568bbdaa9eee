"""Why nothing moves in a load, by what the kernel says of its processes in /proc; not known without /proc."""

from __future__ import annotations

import contextlib
import os
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from modelhub.states import StallCause

_EVERY_S = 1.0
_LOOKS = 5  # the most frequent cause of the last few is given, so that it does not flicker
_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
_BUSY_SHARE = 0.5  # of one core
_SWAPPED_KB = 16_000
_MANY_FAULTS = 8
_LAST_STEP_OF_HUB = 3
_FILE_WAITS = ("request_wait_answer", "fuse_")  # of files that another process serves: not in state D
_CONNECTED = ("01", "02")  # established, or waiting for the first answer


class Thread(NamedTuple):
    """A line of /proc/PID/stat, of a thread or of a whole process."""

    state: str  # R runs, S sleeps, D waits for a device, T is stopped
    major_faults: int  # pages that were read from a disk since it began
    cpu_s: float

    @classmethod
    def parse(cls, line: str) -> Thread:
        """The line as the kernel writes it: its second field, the name in brackets, may contain anything."""
        state, *fields = line.rpartition(")")[2].split()
        return cls(state, int(fields[8]), (int(fields[10]) + int(fields[11])) / _TICKS_A_SECOND)


class Look(NamedTuple):
    """A process at one moment, as far as it tells why it makes no progress."""

    at: float
    whole: Thread
    waits_for_files: bool
    is_running: bool
    swapped_kb: int
    swapped_in: int  # pages, by all processes


class Diagnosis:
    """Looks at the processes of one load while it is stalled. ``pids`` returns them, the worker first."""

    def __init__(
        self, pids: Callable[[], Sequence[int]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._pids = pids
        self._clock = clock
        self._before: dict[int, Look] = {}
        self._causes: deque[StallCause | None] = deque(maxlen=_LOOKS)
        self._looked_at = -_EVERY_S

    def cause(self, step: int) -> StallCause | None:
        """The likely cause of a stall in ``step``, None where it cannot be told; for any number of calls.

        It looks at most once a second, which takes a millisecond. In the steps that ask the hub, a connection
        on which nothing has come is one.
        """
        now = self._clock()
        if now - self._looked_at < _EVERY_S:
            return self._likely()
        if now - self._looked_at > 2 * _EVERY_S:  # that was another stall
            self._before.clear()
            self._causes.clear()
        self._looked_at = now
        self._causes.appendleft(self._look_at_all(step, now))
        return self._likely()

    def _likely(self) -> StallCause | None:
        newest = self._causes[0]
        if newest == StallCause.STOPPED:
            return newest
        found = Counter(cause for cause in self._causes if cause not in (None, StallCause.STOPPED))
        return found.most_common(1)[0][0] if found else None

    def _look_at_all(self, step: int, now: float) -> StallCause | None:
        for place, pid in enumerate(self._pids()):
            with contextlib.suppress(OSError, ValueError, IndexError):  # it has exited, or there is no /proc
                look = take_look(Path("/proc", str(pid)), now)
                cause = judge(look, self._before.get(pid))
                self._before[pid] = look
                if cause is not None:
                    return cause
                if place == 0 and step <= _LAST_STEP_OF_HUB and waits_for_network(Path("/proc", str(pid))):
                    return StallCause.NETWORK
        return None


def judge(now: Look, before: Look | None) -> StallCause | None:
    """What a process waits for, by its state and by what has changed since the last look at it."""
    if now.whole.state in "Tt":
        return StallCause.STOPPED
    if before is not None and _is_swapped_in(now, before):
        return StallCause.SWAP
    if now.waits_for_files:
        return StallCause.DISK
    # A thread that only looks for news now and then is running at a look by chance, not at two of them.
    if now.is_running and (before is None or before.is_running):
        return StallCause.PROCESSOR
    if before is not None and now.whole.cpu_s - before.whole.cpu_s >= _BUSY_SHARE * (now.at - before.at):
        return StallCause.PROCESSOR
    return None


def _is_swapped_in(now: Look, before: Look) -> bool:
    """Whether a process waits for memory of its own on the disk, and not for pages of its files."""
    faults = now.whole.major_faults - before.whole.major_faults
    return now.swapped_kb >= _SWAPPED_KB and now.swapped_in > before.swapped_in and faults >= _MANY_FAULTS


def take_look(process: Path, now: float) -> Look:
    """Look at the process of a folder in /proc; raises OSError if it has exited."""
    threads = list(_threads(process))
    return Look(
        now,
        Thread.parse((process / "stat").read_text()),
        any(thread.state == "D" or wait.startswith(_FILE_WAITS) for thread, wait in threads),
        any(thread.state == "R" for thread, _ in threads),
        _number_after("VmSwap:", process / "status"),
        _number_after("pswpin ", process.parent / "vmstat"),
    )


def _threads(process: Path) -> Iterator[tuple[Thread, str]]:
    """The threads of a process, each with the function of the kernel that it waits in, where that is told."""
    for thread in (process / "task").iterdir():
        with contextlib.suppress(OSError):  # it has ended
            wait = ""
            with contextlib.suppress(PermissionError):
                wait = (thread / "wchan").read_text()
            yield Thread.parse((thread / "stat").read_text()), wait


def _number_after(name: str, path: Path) -> int:
    _, found, rest = path.read_text().partition(name)
    return int(rest.split(maxsplit=1)[0]) if found else 0


def waits_for_network(process: Path) -> bool:
    """Whether a process has a connection to another one on which nothing has come that it has not read."""
    sockets = set()
    for link in (process / "fd").iterdir():
        with contextlib.suppress(OSError):  # it was closed
            kind, _, rest = os.readlink(link).partition(":[")
            if kind == "socket":
                sockets.add(rest.rstrip("]"))
    tables = (process / "net" / name for name in ("tcp", "tcp6", "udp", "udp6"))
    return any(
        inode in sockets
        for table in tables
        if table.exists()  # not of IPv6 where that is off
        for inode in silent_connections(table.read_text())
    )


def silent_connections(table: str) -> Iterator[str]:
    """The inodes of the sockets of a table in /proc/net that are connected, with nothing left to read."""
    for line in table.splitlines()[1:]:
        fields = line.split()
        _, _, unread = fields[4].partition(":")
        if fields[3] in _CONNECTED and not int(unread, 16):
            yield fields[9]
