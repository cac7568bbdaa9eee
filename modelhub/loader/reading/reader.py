"""Reads weight files into the page cache in several threads, and notes every piece that is in memory."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import NamedTuple

from modelhub.loader.background import Cancelled
from modelhub.loader.files.opening import Files, WeightFile, opened
from modelhub.loader.reading.pieces import Piece
from modelhub.loader.reading.populate import Window
from modelhub.loader.reading.reading import Reading
from modelhub.page_cache import PageCache

THREADS = 8


class _Source(NamedTuple):
    """A weight file that is open, and which of its pieces were in memory before anything was read."""

    name: str
    descriptor: int
    window: Window
    cached: frozenset[int]  # by their offsets


class Reader(Reading):
    """Reads in threads of this process; ``start`` starts them."""

    def __init__(
        self,
        files: Files,
        weights: Sequence[WeightFile],
        limit: int | None = None,
        descriptor: int | None = None,
    ) -> None:
        super().__init__(files, weights, limit, descriptor)
        self.error: BaseException | None = None
        self._cache = PageCache()
        self._numbers: Iterator[int] = iter(range(len(self.cut.pieces)))
        self._sources: dict[int, _Source] = {}
        self._open = ExitStack()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, name=f"modelhub-read-{number}", daemon=True)
            for number in range(min(THREADS, len(self.cut.pieces)))
        ]

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def check(self) -> None:
        """Raise what a thread has met; Cancelled after ``stop``."""
        if self.error is not None:
            raise self.error
        if self._stop.is_set():
            raise Cancelled

    @property
    def is_running(self) -> bool:
        """Whether a thread still reads."""
        return any(thread.is_alive() for thread in self._threads)

    def join(self) -> None:
        """Wait until the threads have ended."""
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    def stop(self) -> None:
        """Stop reading; waits until each thread has finished its piece."""
        self._stop.set()
        self.join()
        with self._lock:
            self._open.close()
            self.ledger.close()

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                with self._lock:
                    number = next(self._numbers, None)
                if number is None:
                    return
                if not self.ledger.has(number):
                    self._bring(number, self.cut.pieces[number])
        except BaseException as error:
            self.error = error
            self._stop.set()

    def _bring(self, number: int, piece: Piece) -> None:
        source = self._source(piece.file)
        cached = piece.offset in source.cached
        if not cached and not source.window.populate(piece.offset, piece.length):
            self._read(source, piece.offset, piece.length)
        self.ledger.mark(number, cached)

    def _source(self, file: int) -> _Source:
        with self._lock:
            if file not in self._sources:
                weight = self.weights[file]
                descriptor, _ = self._open.enter_context(opened(self.files, weight.name))
                window = self._open.enter_context(Window(descriptor, weight.size))
                # Queried before the file is read: later, the kernel would also count pages that it has only
                # started to read ahead.
                cached = self._cached(file, descriptor)
                self._sources[file] = _Source(weight.name, descriptor, window, cached)
            return self._sources[file]

    def _cached(self, file: int, descriptor: int) -> frozenset[int]:
        """The offsets of the pieces of a file that are in memory."""
        pieces = [piece for piece in self.cut.pieces if piece.file == file]
        if not self._cache.cached_pages(descriptor, 0, self.weights[file].size):
            return frozenset()
        return frozenset(
            piece.offset for piece in pieces if self._cache.is_cached(descriptor, piece.offset, piece.length)
        )

    def _read(self, source: _Source, offset: int, length: int) -> None:
        buffer, position = memoryview(bytearray(length)), 0
        while position < length:
            count = os.preadv(source.descriptor, [buffer[position:]], offset + position)
            if count == 0:
                raise self.files.corrupt(source.name, "it shrank while it was being read")
            position += count
