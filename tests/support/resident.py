"""How much of a file is in memory, measured in another way than modelhub does; and how to evict it."""

from __future__ import annotations

import ctypes
import mmap
import os
from pathlib import Path

import numpy

_mincore = ctypes.CDLL(None, use_errno=True).mincore
_mincore.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)


def resident_bytes(path: Path) -> int:
    """Bytes of the file in memory, in whole pages; a page that is still being read does not count."""
    size = path.stat().st_size
    with path.open("rb") as file, mmap.mmap(file.fileno(), size, prot=mmap.PROT_READ) as mapped:
        pages = numpy.empty(-(-size // mmap.PAGESIZE), dtype=numpy.uint8)
        address = numpy.frombuffer(mapped, dtype=numpy.uint8, count=1).ctypes.data
        assert _mincore(address, size, pages.ctypes.data) == 0
    return int((pages & 1).sum()) * mmap.PAGESIZE


def drop(path: Path) -> None:
    """Evict a file from the page cache; written to disk first, since only clean pages can be evicted."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def drop_all(folder: Path) -> None:
    """Evict all files of a folder from the page cache."""
    for path in folder.iterdir():
        drop(path)
