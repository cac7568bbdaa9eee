"""Reads weights that are on disk already during the steps before step 5."""

from __future__ import annotations

import logging
import socket
from collections.abc import Sequence

from modelhub import memory
from modelhub.errors import ModelhubError
from modelhub.loader.files.inspection import check_folder
from modelhub.loader.files.opening import Files, WeightFile
from modelhub.loader.files.weight_files import read_weight_files, weight_names
from modelhub.loader.reading import shared
from modelhub.loader.reading.reader import Reader
from modelhub.loader.reading.reading import Reading

log = logging.getLogger(__name__)


class ReadAhead:
    """A context manager that stops reading at its end; calling ``start`` is optional.

    A model larger than the free memory is not read ahead: admission may still refuse it.
    """

    def __init__(self, link: socket.socket | None = None) -> None:
        self._link = link  # to a process that may be reading already
        self._reading: Reading | None = None
        self.weights: tuple[WeightFile, ...] = ()  # inspected already; empty if nothing is read ahead

    def start(self, files: Files, weights: tuple[WeightFile, ...] | None = None) -> None:
        """Start to read the weights of ``files``; if they cannot be used, a later step raises the error.

        ``weights`` are those files where they were inspected already.
        """
        try:
            weights = weights or read_weight_files(files, weight_names(files, check_folder(files)))
        except ModelhubError as error:
            log.debug("Nothing is read ahead: %s", error)
            return
        if self._link is None and sum(weight.size for weight in weights) < memory.free_bytes():
            self.reading(files, weights)
        self.weights = weights

    def reading(self, files: Files, weights: Sequence[WeightFile]) -> Reading:
        """The reading of ``weights``; starts it if neither ``start`` nor another process did."""
        if self._link is not None:
            self._reading, self._link = shared.accept(files, weights, self._link), None
            self.weights = tuple(weights)
        if self._reading is None or self.weights != tuple(weights):
            self.close()
            self.weights = tuple(weights)
            reader = Reader(files, weights, limit=memory.free_bytes())
            reader.start()
            self._reading = reader
        return self._reading

    def close(self) -> None:
        """Stop reading."""
        if self._link is not None:
            self._link.close()
        if self._reading is not None:
            self._reading.stop()

    def __enter__(self) -> ReadAhead:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
