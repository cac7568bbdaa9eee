"""Asks the kernel which parts of a file are in memory already (cachestat, Linux 6.5 and later)."""

from __future__ import annotations

import ctypes
import mmap
import platform
import sys

_SYS_CACHESTAT = 451  # the same number on every architecture that was given it, x86_64 and aarch64 among them
_MACHINES = frozenset(("x86_64", "aarch64"))


class _Range(ctypes.Structure):
    _fields_ = (("offset", ctypes.c_uint64), ("length", ctypes.c_uint64))


class _Cachestat(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_uint64) for name in ("cache", "dirty", "writeback", "evicted", "recently_evicted")
    )


class PageCache:
    """Once the kernel has refused an answer, it is not asked again: nothing counts as cached then."""

    def __init__(self) -> None:
        self.available = sys.platform == "linux" and platform.machine() in _MACHINES
        self._syscall = ctypes.CDLL(None, use_errno=True).syscall if self.available else None

    def cached_pages(self, descriptor: int, offset: int, length: int) -> int | None:
        """How many pages of this range are in memory; None where the kernel cannot tell."""
        if self._syscall is None or not self.available:
            return None
        asked, answer = _Range(offset, length), _Cachestat()
        if self._syscall(_SYS_CACHESTAT, descriptor, ctypes.byref(asked), ctypes.byref(answer), 0) != 0:
            self.available = False
            return None
        return int(answer.cache)

    def is_cached(self, descriptor: int, offset: int, length: int) -> bool:
        """Whether all pages of ``length`` bytes from ``offset`` (a multiple of a page) are in memory."""
        pages = self.cached_pages(descriptor, offset, length) if length else None
        return pages is not None and pages >= -(-length // mmap.PAGESIZE)
