"""Reads weight files into the page cache in several threads, and counts every byte that is in memory."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from modelhub.loader.background import Cancel
from modelhub.loader.files.inspection import Files, WeightFile, opened
from modelhub.loader.reading.pagecache import PageCache
from modelhub.loader.reading.populate import Window

THREADS = 4
PIECE_BYTES = 8 * 2**20
SPAN_PIECES = 8  # read by one thread in order, so that the kernel reads ahead in it


class _Span(NamedTuple):
    weight: WeightFile
    pieces: tuple[tuple[int, int, bool], ...]  # offset, length, whether it was cached before


class Reader:
    """Reads ``weights`` in the background, so that assembling the model only maps memory.

    ``done`` counts the bytes that are in memory, ``read`` those of them that had to be read; ``size`` is the
    sum of the file sizes, headers included; ``current`` is the name of the file read last. At most ``limit``
    bytes are read: more than the free memory would only evict what was read first.
    """

    def __init__(self, files: Files, weights: Sequence[WeightFile], limit: int | None = None) -> None:
        self.size = sum(weight.size for weight in weights)
        self.limit = self.size if limit is None else min(limit, self.size)
        self.done = 0
        self.read = 0
        self.current: str | None = None
        self.error: BaseException | None = None
        self._files = files
        self._cache = PageCache()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._spans = self._cut(weights)
        self._threads = [
            threading.Thread(target=self._run, name=f"modelhub-read-{number}", daemon=True)
            for number in range(min(THREADS, -(-self.limit // PIECE_BYTES)))
        ]

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop reading; waits until each thread has finished its piece of 8 MiB."""
        self._stop.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    def wait(self, cancel: Cancel) -> None:
        """Wait until everything is in memory; raises Cancelled, or ``corrupt`` for a file that has shrunk."""
        for thread in self._threads:
            while thread.is_alive():
                thread.join(0.05)
                cancel.check()
        if self.error is not None:
            raise self.error

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                with self._lock:
                    span = next(self._spans, None)
                if span is None:
                    return
                self._read_span(span)
        except BaseException as error:
            self.error = error
            self._stop.set()

    def _read_span(self, span: _Span) -> None:
        name = span.weight.name
        with opened(self._files, name) as (descriptor, _), Window(descriptor, span.weight.size) as window:
            for offset, length, cached in span.pieces:
                if self._stop.is_set():
                    return
                if not cached and not window.populate(offset, length):
                    self._read(descriptor, name, offset, length)
                with self._lock:
                    self.done += length
                    self.read += 0 if cached else length
                    self.current = name

    def _read(self, descriptor: int, name: str, offset: int, length: int) -> None:
        buffer, position = memoryview(bytearray(length)), 0
        while position < length:
            count = os.preadv(descriptor, [buffer[position:]], offset + position)
            if count == 0:
                raise self._files.corrupt(name, "it shrank while it was being read")
            position += count

    def _cut(self, weights: Sequence[WeightFile]) -> Iterator[_Span]:
        """The spans of all files, up to the limit."""
        left = self.limit
        for weight in weights:
            size = min(weight.size, left)
            left -= size
            offsets = range(0, size, PIECE_BYTES)
            with opened(self._files, weight.name) as (descriptor, _):
                pieces = [(offset, min(PIECE_BYTES, size - offset)) for offset in offsets]
                # Queried before the file is read: later, the kernel would also count pages that it has only
                # started to read ahead.
                known = [(*piece, self._cache.is_cached(descriptor, *piece)) for piece in pieces]
            for first in range(0, len(known), SPAN_PIECES):
                yield _Span(weight, tuple(known[first : first + SPAN_PIECES]))
