"""Reads parts of a file into the page cache without copying them, through a mapping with huge pages."""

from __future__ import annotations

import ctypes
import mmap
import sys

_POPULATE_READ = 22  # MADV_POPULATE_READ, Linux 5.14 and later


class Window:
    """A mapping of the first ``size`` bytes of a file; a context manager. Several threads may populate it.

    Reading 2 GB into a buffer instead takes a second of processor time, and leaves small pages, which the
    first forward pass maps one by one: 32 page faults where a huge page needs one.
    """

    def __init__(self, descriptor: int, size: int) -> None:
        self._map: mmap.mmap | None = None
        self._address = 0
        if sys.platform != "linux" or not hasattr(mmap, "MADV_HUGEPAGE") or not size:
            return
        try:
            # Never written to; only the address of a writable mapping can be had.
            self._map = mmap.mmap(
                descriptor, size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE
            )
            self._map.madvise(mmap.MADV_HUGEPAGE)
        except (OSError, ValueError):  # a kernel without huge pages, or a file that has shrunk
            self.close()
            return
        self._address = ctypes.addressof(ctypes.c_char.from_buffer(self._map))

    def populate(self, offset: int, length: int) -> bool:
        """Read these bytes into the page cache; False if the caller has to read them instead.

        ``offset`` is a multiple of the page size. Waits without the GIL, which ``mmap.madvise`` would hold.
        """
        if self._map is None:
            return False
        return bool(_madvise(self._address + offset, length, _POPULATE_READ) == 0)

    def close(self) -> None:
        """Unmap the file; the bytes stay in the page cache."""
        if self._map is not None:
            self._map.close()
            self._map = None

    def __enter__(self) -> Window:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


if sys.platform == "linux":
    _madvise = ctypes.CDLL(None, use_errno=True).madvise
    _madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
