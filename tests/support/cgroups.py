"""Control groups that limit the memory of a process, for tests that may make one (root)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

_PAGE = 4096


class Group:
    """A control group at ``path``."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, pid: int) -> None:
        """Move a process into it; what it has already stays counted where it was."""
        (self.path / "cgroup.procs").write_text(str(pid))


@contextmanager
def memory_limit(limit_bytes: int) -> Iterator[Group]:
    """A control group whose processes may take so much memory in all, without swap; skips without the right
    to make one."""
    parent, limit_name, swap = _parent()
    path = parent / f"modelhub-test-{limit_bytes}"
    try:
        path.mkdir(exist_ok=True)
        (path / limit_name).write_text(str(limit_bytes // _PAGE * _PAGE))
    except OSError as error:
        pytest.skip(f"needs the right to make a control group for memory: {error}")
    with suppress(OSError):
        (path / swap[0]).write_text(swap[1])
    try:
        yield Group(path)
    finally:
        for pid in (path / "cgroup.procs").read_text().split():
            (parent / "cgroup.procs").write_text(pid)
        path.rmdir()


def _parent() -> tuple[Path, str, tuple[str, str]]:
    """The control group of this process: its folder, and the names of what limits memory and swap in it."""
    mine = dict(line.split(":", 2)[1:] for line in Path("/proc/self/cgroup").read_text().splitlines())
    if "memory" in mine:  # version 1
        top = Path("/sys/fs/cgroup/memory")
        own = top / mine["memory"].lstrip("/")
        return (own if own.is_dir() else top), "memory.limit_in_bytes", ("memory.swappiness", "0")
    top = Path("/sys/fs/cgroup")
    own = top / mine.get("", "/").lstrip("/")
    return (own if own.is_dir() else top), "memory.max", ("memory.swap.max", "0")
