"""How quickly the disk gives files: ``python raw_read.py direct|populate FILE...`` prints the seconds.

Stands alone: it imports nothing of modelhub. All files are read by several threads in pieces, either past the
page cache (O_DIRECT, into one buffer for each thread, used again) or into it (madvise, MADV_POPULATE_READ).
Both wait in the kernel without Python's lock.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

PIECE = 4 << 20  # bytes
THREADS = {"direct": 8, "populate": 4}
_HUGEPAGE, _POPULATE_READ = 14, 22  # of linux/mman.h

Piece = tuple[int, int, int]  # the number of the file, the offset and the length in bytes

_libc = ctypes.CDLL(None, use_errno=True)
_libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


def direct(paths: list[str]) -> Callable[[Iterator[Piece]], None]:
    """Read past the page cache; the end of a file comes in whole blocks, as far as it has them."""
    files = [os.open(path, os.O_RDONLY | os.O_DIRECT) for path in paths]

    def work(pieces: Iterator[Piece]) -> None:
        buffer = memoryview(mmap.mmap(-1, PIECE))  # mmap gives whole pages, which O_DIRECT needs
        for number, offset, length in pieces:
            done = 0
            while done < length:
                count = os.preadv(files[number], [buffer[done:]], offset + done)
                assert count > 0, "the file has become shorter"
                done += count

    return work


def populate(paths: list[str]) -> Callable[[Iterator[Piece]], None]:
    """Map the files and have the kernel read them into the page cache."""
    firsts = []  # the first byte of each mapping, which keeps it mapped
    for path in paths:
        with open(path, "rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, flags=mmap.MAP_PRIVATE)
        firsts.append(ctypes.c_char.from_buffer(mapped))
        _libc.madvise(ctypes.addressof(firsts[-1]), len(mapped), _HUGEPAGE)

    def work(pieces: Iterator[Piece]) -> None:
        for number, offset, length in pieces:
            failed = _libc.madvise(ctypes.addressof(firsts[number]) + offset, length, _POPULATE_READ)
            assert not failed, os.strerror(ctypes.get_errno())

    return work


def main() -> None:
    """Read, and print the seconds."""
    mode, *paths = sys.argv[1:]
    sizes = [os.path.getsize(path) for path in paths]
    pieces = [
        (number, offset, min(PIECE, size - offset))
        for number, size in enumerate(sizes)
        for offset in range(0, size, PIECE)
    ]
    began = time.perf_counter()
    work = {"direct": direct, "populate": populate}[mode](paths)
    shared = iter(pieces)  # the iterator of a list can be shared by threads
    count = THREADS[mode]
    with ThreadPoolExecutor(count) as pool:
        list(pool.map(work, [shared] * count))
    print(time.perf_counter() - began)


if __name__ == "__main__":
    main()
