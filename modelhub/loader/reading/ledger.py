"""Which pieces of the weights are in memory: the process that reads shares it with the one that loads."""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Sequence

from modelhub.loader.reading.pieces import Piece

_CURRENT_BYTES = 8  # the number of the piece that was read last, plus one
_MISSING, _READ, _CACHED = 0, 1, 2  # what the byte of a piece says


class Ledger:
    """One byte for each piece: not in memory, read, or in memory before. One process writes, others look.

    ``descriptor`` is that of the shared memory; another process opens it with ``Ledger(pieces, descriptor)``.
    It must be closed, and still has its counts then.
    """

    def __init__(self, pieces: Sequence[Piece], descriptor: int | None = None) -> None:
        self._pieces = pieces
        size = _CURRENT_BYTES + len(pieces)
        self.descriptor = _shared_memory(size) if descriptor is None else descriptor
        try:
            self._map = mmap.mmap(self.descriptor, size)
        except (OSError, ValueError):
            os.close(self.descriptor)
            raise
        self._final: bytes | None = None

    def mark(self, number: int, cached: bool) -> None:
        """Note that a piece is in memory."""
        self._map[_CURRENT_BYTES + number] = _CACHED if cached else _READ
        self._map[:_CURRENT_BYTES] = (number + 1).to_bytes(_CURRENT_BYTES, "little")

    def has(self, number: int) -> bool:
        """Whether a piece is in memory."""
        if self._final is not None:
            return self._final[_CURRENT_BYTES + number] != _MISSING
        return self._map[_CURRENT_BYTES + number] != _MISSING

    def is_full(self) -> bool:
        """Whether every piece is."""
        return bytes([_MISSING]) not in self._bytes()[_CURRENT_BYTES:]

    def counts(self) -> tuple[int, int]:
        """The bytes that are in memory, and those of them that had to be read."""
        done = read = 0
        for piece, mark in zip(self._pieces, self._bytes()[_CURRENT_BYTES:], strict=True):
            if mark != _MISSING:
                done += piece.length
            if mark == _READ:
                read += piece.length
        return done, read

    def current(self) -> Piece | None:
        """The piece that was noted last."""
        number = int.from_bytes(self._bytes()[:_CURRENT_BYTES], "little")
        return self._pieces[number - 1] if 0 < number <= len(self._pieces) else None

    def close(self) -> None:
        """Unmap the table and close the descriptor. Safe to call again."""
        if self._final is None:
            self._final = self._bytes()
            self._map.close()
            os.close(self.descriptor)

    def _bytes(self) -> bytes:
        return self._map[:] if self._final is None else self._final


def _shared_memory(size: int) -> int:
    """The descriptor of ``size`` bytes of memory that no path names."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("modelhub-ledger", os.MFD_CLOEXEC)
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.truncate(descriptor, size)
    return descriptor
