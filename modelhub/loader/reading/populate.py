"""Reads parts of a file into the page cache without copying them, through a mapping with huge pages."""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
from typing import Any

_POPULATE_READ = 22  # MADV_POPULATE_READ, Linux 5.14 and later


class Window:
    """A mapping of the first ``size`` bytes of a file; a context manager. Several threads may populate it.

    Reading 2 GB into a buffer instead takes a second of processor time, and leaves small pages, which the
    first forward pass maps one by one: 32 page faults where a huge page needs one. Nothing can be written to
    it, so that it does not count as memory of the process (RLIMIT_DATA) beside the mapping of the tensors.
    """

    def __init__(self, descriptor: int, size: int) -> None:
        self._address: int | None = None
        self._size = size
        if _c is not None and hasattr(mmap, "MADV_HUGEPAGE") and 0 < size <= os.fstat(descriptor).st_size:
            address = _c.mmap(None, size, mmap.PROT_READ, mmap.MAP_PRIVATE, descriptor, 0)
            if address != _FAILED:
                self._address = address
                _c.madvise(address, size, mmap.MADV_HUGEPAGE)  # fails with a kernel without huge pages

    def populate(self, offset: int, length: int) -> bool:
        """Read these bytes into the page cache and enter them into the page table, without the GIL.

        ``offset`` is a multiple of the page size. False if the caller has to read them instead.
        """
        if self._address is None:
            return False
        return bool(_c.madvise(self._address + offset, length, _POPULATE_READ) == 0)

    def close(self) -> None:
        """Unmap the file; the bytes stay in the page cache. No thread may be populating it."""
        if self._address is not None:
            _c.munmap(self._address, self._size)
            self._address = None

    def __enter__(self) -> Window:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


# Python's own mappings tell their address only where they can be written to.
_c: Any = ctypes.CDLL(None) if sys.platform == "linux" else None
_FAILED = ctypes.c_void_p(-1).value
if _c is not None:
    _sizes = (ctypes.c_void_p, ctypes.c_size_t)
    _c.mmap.argtypes, _c.mmap.restype = (*_sizes, *(3 * [ctypes.c_int]), ctypes.c_long), ctypes.c_void_p
    _c.madvise.argtypes = (*_sizes, ctypes.c_int)
    _c.munmap.argtypes = _sizes
