"""Reads weights that are here already while the steps before theirs are still at work."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from modelhub import memory
from modelhub.errors import ModelhubError
from modelhub.loader.files.inspection import Files, WeightFile, check_folder, read_weight_files, weight_names
from modelhub.loader.reading.reader import Reader

log = logging.getLogger(__name__)


class ReadAhead:
    """A context: the reading that was begun in it ends with it. ``begin`` may be left out.

    Nothing is begun for a model that is larger than the memory that is free: admission has yet to decide.
    """

    def __init__(self) -> None:
        self._reader: Reader | None = None
        self.weights: tuple[WeightFile, ...] = ()  # inspected already; empty where nothing was begun

    def begin(self, files: Files) -> None:
        """Begin to read the weights of ``files``; what is wrong with them is for a later step to say."""
        try:
            weights = read_weight_files(files, weight_names(files, check_folder(files)))
        except ModelhubError as error:
            log.debug("Nothing is read ahead: %s", error)
            return
        if sum(weight.size for weight in weights) < memory.free_bytes():
            self.reader(files, weights)

    def reader(self, files: Files, weights: Sequence[WeightFile]) -> Reader:
        """The reader of ``weights``, begun now if it was not before."""
        if self._reader is None or self.weights != tuple(weights):
            self.close()
            self.weights = tuple(weights)
            self._reader = Reader(files, weights, limit=memory.free_bytes())
            self._reader.start()
        return self._reader

    def close(self) -> None:
        """End the reading."""
        if self._reader is not None:
            self._reader.stop()

    def __enter__(self) -> ReadAhead:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
