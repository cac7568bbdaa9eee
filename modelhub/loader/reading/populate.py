"""Reads parts of a file into the page cache without copying them, through a mapping with huge pages."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import sys
from typing import Any

_POPULATE_READ = 22  # MADV_POPULATE_READ, Linux 5.14 and later


def map_file(descriptor: int, size: int) -> mmap.mmap:
    """A private mapping of the first ``size`` bytes of a file, with huge pages where the system has them.

    Raises OSError or ValueError, for a file that is shorter among others.
    """
    private = {"flags": mmap.MAP_PRIVATE, "prot": mmap.PROT_READ | mmap.PROT_WRITE}
    window = mmap.mmap(descriptor, size, **private)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # a kernel without huge pages
            window.madvise(mmap.MADV_HUGEPAGE)
    return window


def populate(window: mmap.mmap, offset: int, length: int) -> bool:
    """Read these bytes into the page cache and enter them into the page table; False if that failed.

    ``offset`` is a multiple of the page size. Waits without the GIL, which ``mmap.madvise`` would hold.
    """
    if _madvise is None:
        return False
    # Only the address of a writable mapping can be had.
    address = ctypes.addressof(ctypes.c_char.from_buffer(window))
    return bool(_madvise(address + offset, length, _POPULATE_READ) == 0)


class Window:
    """A mapping of the first ``size`` bytes of a file; a context manager. Several threads may populate it.

    Reading 2 GB into a buffer instead takes a second of processor time, and leaves small pages, which the
    first forward pass maps one by one: 32 page faults where a huge page needs one.
    """

    def __init__(self, descriptor: int, size: int) -> None:
        self._map: mmap.mmap | None = None
        if sys.platform == "linux" and hasattr(mmap, "MADV_HUGEPAGE") and size:
            with contextlib.suppress(OSError, ValueError):  # a file that has shrunk
                self._map = map_file(descriptor, size)

    def populate(self, offset: int, length: int) -> bool:
        """Read these bytes into the page cache; False if the caller has to read them instead."""
        return self._map is not None and populate(self._map, offset, length)

    def close(self) -> None:
        """Unmap the file; the bytes stay in the page cache."""
        if self._map is not None:
            self._map.close()
            self._map = None

    def __enter__(self) -> Window:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


_madvise: Any = ctypes.CDLL(None, use_errno=True).madvise if sys.platform == "linux" else None
if _madvise is not None:
    _madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
