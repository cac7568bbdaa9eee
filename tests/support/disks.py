"""Disks that are too small, and a server that may not open every file, for tests of faults."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.server import Server

_SHARED_MEMORY = Path("/dev/shm")  # a disk in memory that every container has
_MOST_BYTES = 256 * 10**6
_BALLAST = "ballast"


@contextmanager
def small_disk(folder: Path, size_bytes: int) -> Iterator[Path]:
    """A folder on a disk of its own in memory; where none may be mounted, on the one that is there."""
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs"]
    if subprocess.run(["mount", *options, str(folder)], capture_output=True, check=False).returncode == 0:
        try:
            yield folder
        finally:
            subprocess.run(["umount", "-l", str(folder)], check=True)
        return
    if shutil.disk_usage(_SHARED_MEMORY).total > _MOST_BYTES:
        pytest.skip("no disk can be mounted, and there is no small one")
    shared = _SHARED_MEMORY / f"modelhub-test-{os.getpid()}"
    shared.mkdir()
    try:
        yield shared
    finally:
        shutil.rmtree(shared)


def fill(folder: Path, free_bytes: int) -> None:
    """Fill the disk of a folder but for so many bytes."""
    with (folder / _BALLAST).open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(folder).free - free_bytes)


def empty(folder: Path) -> None:
    """Take back what ``fill`` has done."""
    (folder / _BALLAST).unlink()


def obey_permissions(server: Server) -> Server:
    """Have a server that is to be started obey the permissions of files, also where root starts it."""
    if os.geteuid() == 0:
        server.prefix = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    return server
