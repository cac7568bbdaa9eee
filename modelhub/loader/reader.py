"""Reads weight files into the page cache, several pieces at once, and counts every byte that is there."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from typing import NamedTuple

from modelhub.loader.background import Cancel
from modelhub.loader.inspection import Files, WeightFile, opened
from modelhub.loader.pagecache import PageCache

THREADS = 4
PIECE_BYTES = 16 * 2**20


class _Piece(NamedTuple):
    weight: WeightFile
    offset: int
    length: int


class Reader:
    """Reads ``weights`` in the background; from_pretrained then only maps what is in memory.

    ``done`` counts a byte only once it is in memory, ``size`` is the sum of the file sizes, headers
    included. Pieces that the kernel has in memory already are counted without reading them again. It may be
    started as soon as the files are known, also beside other work.
    """

    def __init__(self, files: Files, weights: Sequence[WeightFile]) -> None:
        self.size = sum(weight.size for weight in weights)
        self.done = 0
        self.read = 0
        self.current: str | None = None
        self.error: BaseException | None = None
        self._files = files
        self._cache = PageCache()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._pieces = iter(
            _Piece(weight, offset, min(PIECE_BYTES, weight.size - offset))
            for weight in weights
            for offset in range(0, weight.size, PIECE_BYTES)
        )
        self._threads = [
            threading.Thread(target=self._run, name=f"modelhub-read-{number}", daemon=True)
            for number in range(min(THREADS, -(-self.size // PIECE_BYTES)))
        ]

    def start(self) -> None:
        """Begin to read."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End the reading within one piece of 16 MiB per thread."""
        self._stop.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    def wait(self, cancel: Cancel) -> None:
        """Until everything is in memory, or Cancelled; raises ``corrupt`` for a file that became shorter."""
        for thread in self._threads:
            while thread.is_alive():
                thread.join(0.05)
                cancel.check()
        if self.error is not None:
            raise self.error

    def _run(self) -> None:
        buffer: bytearray | None = None
        try:
            while not self._stop.is_set():
                with self._lock:
                    piece = next(self._pieces, None)
                if piece is None:
                    return
                buffer = self._bring(piece, buffer)
        except BaseException as error:
            self.error = error
            self._stop.set()

    def _bring(self, piece: _Piece, buffer: bytearray | None) -> bytearray | None:
        with opened(self._files, piece.weight.name) as (descriptor, _):
            cached = self._cache.is_cached(descriptor, piece.offset, piece.length)
            if not cached:
                buffer = buffer or bytearray(PIECE_BYTES)
                self._read(descriptor, piece, memoryview(buffer))
        with self._lock:
            self.done += piece.length
            self.read += 0 if cached else piece.length
            self.current = piece.weight.name
        return buffer

    def _read(self, descriptor: int, piece: _Piece, buffer: memoryview) -> None:
        position = 0
        while position < piece.length:
            count = os.preadv(descriptor, [buffer[position : piece.length]], piece.offset + position)
            if count == 0:
                raise self._files.corrupt(piece.weight.name, "it became shorter while it was read")
            position += count
