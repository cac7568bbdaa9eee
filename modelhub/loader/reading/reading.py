"""A reading of weight files that is under way: what is in memory already, and waiting for more."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from modelhub.loader.background import Cancel
from modelhub.loader.files.opening import Files, WeightFile
from modelhub.loader.reading.ledger import Ledger
from modelhub.loader.reading.pieces import Cut

PIECE_BYTES = 4 * 2**20
_POLL_S = 0.0005


class Reading:
    """Weight files and the ledger of their pieces; who reads is up to the subclasses.

    ``size`` is the sum of the file sizes in bytes, headers included. At most ``limit`` bytes are read: more
    than the free memory would only evict what was read first. ``descriptor`` is that of the ledger of
    another process.
    """

    def __init__(
        self,
        files: Files,
        weights: Sequence[WeightFile],
        limit: int | None = None,
        descriptor: int | None = None,
    ) -> None:
        self.files = files
        self.weights = tuple(weights)
        self.size = sum(weight.size for weight in weights)
        self.limit = self.size if limit is None else min(limit, self.size)
        self.cut = Cut(weights, self.limit, PIECE_BYTES)
        self.ledger = Ledger(self.cut.pieces, descriptor)

    @property
    def done(self) -> int:
        """The bytes that are in memory."""
        return self.ledger.counts()[0]

    @property
    def read(self) -> int:
        """Of these, the bytes that had to be read."""
        return self.ledger.counts()[1]

    @property
    def current(self) -> str | None:
        """The name of the file read last."""
        piece = self.ledger.current()
        return None if piece is None else self.weights[piece.file].name

    def is_complete(self) -> bool:
        """Whether everything up to the limit is in memory."""
        return self.ledger.is_full()

    def wait_for(self, pieces: Iterable[int], cancel: Cancel) -> None:
        """Wait until these pieces are in memory.

        Raises Cancelled, ``corrupt`` for a file that has shrunk, and OSError.
        """
        for number in pieces:
            while not self.ledger.has(number):
                self.check()
                cancel.wait(_POLL_S)

    def wait_for_tensors(self, names: Iterable[str], cancel: Cancel) -> None:
        """Wait until the bytes of these tensors are in memory; raises as ``wait_for``."""
        cancel.check()
        self.wait_for(self.cut.holding(names), cancel)

    def wait(self, cancel: Cancel) -> None:
        """Wait until everything up to the limit is in memory; raises as ``wait_for``."""
        self.wait_for(range(len(self.cut.pieces)), cancel)

    def check(self) -> None:
        """Raise what ended the reading early."""
        raise NotImplementedError

    def stop(self) -> None:
        """Stop reading, and let go of the ledger."""
        raise NotImplementedError
