"""Control groups that a server runs in: a slow disk, little memory. Linux, and root or a delegated group.

Version 1 of control groups was run; version 2 was not, and needs the controllers io and memory in the group
that this process is in.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.server import Server

_GROUPS = Path("/sys/fs/cgroup")
_PATIENCE_S = 10.0


class Group:
    """A group of one controller below the one that this process is in.

    Raises OSError where it cannot be made.
    """

    def __init__(self, old: str, new: str) -> None:
        lines = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
        own = next((path for _, names, path in lines if old in names.split(",")), None)
        self.is_old = own is not None
        unified = next(path for number, _, path in lines if number == "0")
        parent = _GROUPS / old / own.lstrip("/") if own is not None else _GROUPS / unified.lstrip("/")
        if not self.is_old and new not in (parent / "cgroup.subtree_control").read_text().split():
            raise OSError(f"{parent} has no controller {new}")
        self._folder = parent / f"modelhub-{new}-{os.getpid()}"
        self._folder.mkdir()

    def hold(self, server: Server) -> None:
        """Have the server start in the group; call it before it is started."""
        enter = f'echo $$ > "{self._folder}/cgroup.procs" && exec "$@"'
        server.command = ["-c", enter, "sh", server.python, *server.command]
        server.python = "/bin/sh"

    def write(self, name: str, value: str) -> None:
        """Set one of its limits."""
        (self._folder / name).write_text(value)

    def read(self, name: str) -> str:
        """One of its files."""
        return (self._folder / name).read_text()

    def remove(self) -> None:
        """Remove it, once the last of its processes has exited."""
        deadline = time.monotonic() + _PATIENCE_S
        while self._folder.exists():
            try:
                self._folder.rmdir()
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)


class SlowDisk:
    """Limits what is read from the disk of a folder; ``group`` has to hold the server."""

    def __init__(self, group: Group, folder: Path) -> None:
        device = folder.stat().st_dev
        self._device = f"{os.major(device)}:{os.minor(device)}"
        self._group = group

    def limit(self, bytes_per_s: int | None) -> None:
        """Read so fast and no faster from now on; None has no limit."""
        if self._group.is_old:
            self._group.write("blkio.throttle.read_bps_device", f"{self._device} {bytes_per_s or 0}")
        else:
            self._group.write("io.max", f"{self._device} rbps={bytes_per_s or 'max'}")

    def hang(self, seconds: float, bytes_per_s: int) -> None:
        """Deliver nothing for a while, and then ``bytes_per_s`` again."""
        self.limit(1)
        time.sleep(seconds)
        self.limit(bytes_per_s)


class SmallMemory:
    """Limits the memory of the processes in a group, the files that they read included."""

    def __init__(self, group: Group) -> None:
        self._group = group

    def leave(self, room_bytes: int | None) -> None:
        """Leave so much beyond what is in use and cannot be taken back; None has no limit."""
        old = self._group.is_old
        limit = "memory.limit_in_bytes" if old else "memory.max"
        if room_bytes is None:
            self._group.write(limit, "-1" if old else "max")
            return
        usage, inactive = (
            ("memory.usage_in_bytes", "total_inactive_file") if old else ("memory.current", "inactive_file")
        )
        stat = dict(line.split() for line in self._group.read("memory.stat").splitlines())
        used = int(self._group.read(usage)) - int(stat[inactive])
        self._group.write(limit, str(used + room_bytes))


@contextmanager
def slow_disk(folder: Path) -> Iterator[tuple[Group, SlowDisk]]:
    """A group for a server, and the disk of ``folder`` for it."""
    group = Group("blkio", "io")
    try:
        yield group, SlowDisk(group, folder)
    finally:
        group.remove()


@contextmanager
def small_memory() -> Iterator[tuple[Group, SmallMemory]]:
    """A group for a server, and its memory."""
    group = Group("memory", "memory")
    try:
        yield group, SmallMemory(group)
    finally:
        group.remove()
