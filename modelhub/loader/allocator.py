"""Has the C library return freed memory to the system while weights are converted, and keep it for passes."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
_WHILE_CONVERTING = 2**20
_FOR_PASSES = 32 * 2**20  # what glibc would raise the threshold to by itself


def give_back() -> None:
    """Return what was freed to the system; does nothing with another C library than glibc."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def keep_blocks() -> None:
    """Keep freed blocks of up to 32 MiB, 64 MiB in all: forward passes ask for such blocks again and again.

    By itself, glibc returned and fetched them in each layer, which was 8 % of the time of a long prompt.
    Does nothing with another C library.
    """
    _set_thresholds(_FOR_PASSES, 2 * _FOR_PASSES)


@contextmanager
def returning_memory() -> Iterator[None]:
    """A context in which a freed block of 1 MiB or more does not stay with the process.

    glibc keeps blocks of up to 32 MiB for later. Between the tensors that stay it can use few of them: a
    mixture of experts of 0.6 GB took 0.9 GB. Afterwards they are kept, see ``keep_blocks``. Does nothing with
    another C library.
    """
    _set_thresholds(_WHILE_CONVERTING, _WHILE_CONVERTING)
    try:
        yield
    finally:
        keep_blocks()


def _set_thresholds(mmap: int, trim: int) -> None:
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, mmap)
        mallopt(_TRIM_THRESHOLD, trim)
