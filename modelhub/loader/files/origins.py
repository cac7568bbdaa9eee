"""Where a model's files come from, as the three first steps see it."""

from __future__ import annotations

from collections.abc import Generator
from typing import Protocol

from modelhub.checkpoints import Checkpoint
from modelhub.loader.files.inspection import Files


class Origin(Protocol):
    """A place that a model's files come from: ``kind`` is folder, cache, hub or demo.

    The first three methods are called once each, in this order, within steps 1, 2 and 3. Each yields
    checkpoints while it works, and returns the files with what it promises in place: config.json; what the
    tokenizer or processor is made of; the weights.
    """

    kind: str
    revision: str | None
    complete: bool  # whether the weights are here before anything is brought

    def bring_config(self) -> Generator[Checkpoint, None, Files]: ...

    def bring_processor(self) -> Generator[Checkpoint, None, Files]: ...

    def bring_weights(self) -> Generator[Checkpoint, None, Files]: ...

    def close(self) -> None:
        """Called once, however the load ends: nothing half-made may stay behind."""


class Here:
    """A folder that has everything already."""

    complete = True

    def __init__(self, kind: str, files: Files, revision: str | None = None) -> None:
        self.kind = kind
        self.revision = revision
        self.files = files

    def bring_config(self) -> Generator[Checkpoint, None, Files]:
        yield from ()
        return self.files

    def bring_processor(self) -> Generator[Checkpoint, None, Files]:
        yield from ()
        return self.files

    def bring_weights(self) -> Generator[Checkpoint, None, Files]:
        yield from ()
        return self.files

    def close(self) -> None:
        """Nothing to put away."""
