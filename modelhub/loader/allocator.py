"""Has the C library return freed memory to the system: at once while weights are converted, or on request."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
_WHILE_CONVERTING = 2**20
_AFTERWARDS = 32 * 2**20  # what glibc would raise the threshold to by itself


def give_back() -> None:
    """Return what was freed to the system; does nothing with another C library than glibc."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


@contextmanager
def returning_memory() -> Iterator[None]:
    """A context in which a freed block of 1 MiB or more does not stay with the process.

    glibc keeps blocks of up to 32 MiB for later. Between the tensors that stay it can use few of them: a
    mixture of experts of 0.6 GB took 0.9 GB. Afterwards it keeps them, as forward passes ask for such blocks
    again and again. Does nothing with another C library.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:
        yield
        return
    mallopt(_MMAP_THRESHOLD, _WHILE_CONVERTING)
    mallopt(_TRIM_THRESHOLD, _WHILE_CONVERTING)
    try:
        yield
    finally:
        mallopt(_MMAP_THRESHOLD, _AFTERWARDS)
        mallopt(_TRIM_THRESHOLD, 2 * _AFTERWARDS)
