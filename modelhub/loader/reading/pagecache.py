"""Which parts of a file are in the page cache (the system call cachestat, Linux 6.5 and later)."""

from __future__ import annotations

import ctypes
import mmap
import platform
import sys

_SYS_CACHESTAT = 451  # on x86_64 and aarch64
_MACHINES = frozenset(("x86_64", "aarch64"))


class _Range(ctypes.Structure):
    _fields_ = (("offset", ctypes.c_uint64), ("length", ctypes.c_uint64))


class _Cachestat(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_uint64) for name in ("cache", "dirty", "writeback", "evicted", "recently_evicted")
    )


class PageCache:
    """Queries the page cache. After the kernel has refused once, nothing counts as cached."""

    def __init__(self) -> None:
        self.available = sys.platform == "linux" and platform.machine() in _MACHINES
        self._syscall = ctypes.CDLL(None, use_errno=True).syscall if self.available else None

    def cached_pages(self, descriptor: int, offset: int, length: int) -> int | None:
        """The number of pages of this range that are in memory; None if the kernel cannot say."""
        if self._syscall is None or not self.available:
            return None
        pages, result = _Range(offset, length), _Cachestat()
        if self._syscall(_SYS_CACHESTAT, descriptor, ctypes.byref(pages), ctypes.byref(result), 0) != 0:
            self.available = False
            return None
        return int(result.cache)

    def is_cached(self, descriptor: int, offset: int, length: int) -> bool:
        """Whether all pages of ``length`` bytes from ``offset`` (a multiple of a page) are in memory."""
        pages = self.cached_pages(descriptor, offset, length) if length else None
        return pages is not None and pages >= -(-length // mmap.PAGESIZE)
