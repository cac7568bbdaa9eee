"""Brings the files of a model into the state of the page cache that a case asks for."""

from __future__ import annotations

import ctypes
import mmap
import time
from pathlib import Path

from tests.support.resident import drop_all, resident_bytes

_PIECE = 8 << 20
_TRIES = 20
_SYS_CACHESTAT = 451  # Linux 6.5 and later, on x86_64 and aarch64

_libc = ctypes.CDLL(None, use_errno=True)


def weights(folder: Path) -> list[Path]:
    """The files with the weights."""
    return sorted(folder.glob("*.safetensors"))


def resident(folder: Path) -> int:
    """Bytes of the weights that are in memory, in whole pages."""
    return sum(map(resident_bytes, weights(folder)))


def taken_back(folder: Path) -> int:
    """Bytes that were in memory until the kernel needed it for something else; 0 if it cannot say.

    A machine that gives idle memory back to its host takes pages at any time, also in the middle of a load.
    Those that make_cold drops do not count.
    """
    pages = 0
    for path in weights(folder):
        found = (ctypes.c_uint64 * 5)()  # cached, dirty, being written, evicted, recently evicted
        whole = (ctypes.c_uint64 * 2)(0, path.stat().st_size)
        with path.open("rb") as file:
            if _libc.syscall(_SYS_CACHESTAT, file.fileno(), ctypes.byref(whole), ctypes.byref(found), 0) == 0:
                pages += found[3]
    return pages * mmap.PAGESIZE


def make_cold(folder: Path) -> None:
    """Drop the files, and see that nothing of them is left: a process that maps them could keep them.

    Call ``make_warm`` shortly before. A virtual machine may give memory that was free for two seconds back to
    its host, and whoever then fills it waits for the host, page by page: up to a second for 2 GB.
    """
    for _ in range(_TRIES):
        drop_all(folder)
        left = resident(folder)
        if not left and not taken_back(folder):
            return
        time.sleep(0.1)
    raise AssertionError(f"{left} bytes of {folder} stay in the page cache")


def make_warm(folder: Path) -> None:
    """Read the files as any program does, also where they are in memory already.

    In a virtual machine the processor's first access to a page that the disk has filled is slow. A raw read
    leaves such pages, and whoever came next would pay for them.
    """
    for path in weights(folder):
        with path.open("rb", buffering=0) as file:
            while file.read(_PIECE):
                pass
