"""Which parts of a file are in the page cache: cachestat (Linux 6.5 and later), else mincore."""

from __future__ import annotations

import ctypes
import mmap
import platform
import sys

_SYS_CACHESTAT = 451  # on x86_64 and aarch64
_MACHINES = frozenset(("x86_64", "aarch64"))
_MAP_FAILED = ctypes.c_void_p(-1).value


class _Range(ctypes.Structure):
    _fields_ = (("offset", ctypes.c_uint64), ("length", ctypes.c_uint64))


class _Cachestat(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_uint64) for name in ("cache", "dirty", "writeback", "evicted", "recently_evicted")
    )


class PageCache:
    """Queries the page cache. Where the kernel can say neither way, nothing counts as cached."""

    def __init__(self) -> None:
        self.available = sys.platform == "linux"
        self._has_cachestat = self.available and platform.machine() in _MACHINES
        self._libc = _libc() if self.available else None

    def cached_pages(self, descriptor: int, offset: int, length: int) -> int | None:
        """The number of pages of this range (from a multiple of a page) that are in memory.

        None if the kernel cannot say.
        """
        if self._libc is None:
            return None
        if self._has_cachestat:
            pages, result = _Range(offset, length), _Cachestat()
            places = ctypes.byref(pages), ctypes.byref(result)
            if self._libc.syscall(_SYS_CACHESTAT, descriptor, *places, 0) == 0:
                return int(result.cache)
            self._has_cachestat = False
        return self._resident_pages(descriptor, offset, length)

    def is_cached(self, descriptor: int, offset: int, length: int) -> bool:
        """Whether all pages of ``length`` bytes from ``offset`` (a multiple of a page) are in memory."""
        pages = self.cached_pages(descriptor, offset, length) if length else None
        return pages is not None and pages >= -(-length // mmap.PAGESIZE)

    def _resident_pages(self, descriptor: int, offset: int, length: int) -> int | None:
        """The same by mincore, which since Linux 5.2 tells only who may write the file, or owns it."""
        if self._libc is None or not length:
            return None
        address = self._libc.mmap(None, length, mmap.PROT_READ, mmap.MAP_SHARED, descriptor, offset)
        if address in (None, _MAP_FAILED):
            return None
        try:
            found = (ctypes.c_ubyte * -(-length // mmap.PAGESIZE))()
            if self._libc.mincore(address, length, found) != 0:
                return None
            return sum(page & 1 for page in found)
        finally:
            self._libc.munmap(address, length)


def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = (
        *(ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int64),
    )
    libc.mincore.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)
    libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
    return libc
