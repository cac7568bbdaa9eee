"""The interface of a place that a model's files come from, and the origin that needs no fetching."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Protocol

from modelhub.checkpoints import Checkpoint
from modelhub.loader.files.opening import Files


class Origin(Protocol):
    """A place that a model's files come from.

    A load calls the three ``fetch_`` methods once each, in this order, within steps 1, 2 and 3. Each yields
    checkpoints while it works. When it returns the files, those that its name promises are on disk.
    """

    @property
    def kind(self) -> str:
        """folder, cache, hub or demo."""

    @property
    def revision(self) -> str | None:
        """The commit of the hub that it is, once that is known."""

    @property
    def folders(self) -> tuple[Path, ...]:
        """Those that have all of its files, now or once they are fetched."""

    @property
    def complete(self) -> bool:
        """Whether the weights are on disk before anything is fetched."""

    def fetch_config(self) -> Generator[Checkpoint, None, Files]:
        """Fetch config.json."""

    def fetch_processor(self) -> Generator[Checkpoint, None, Files]:
        """Fetch the files that the tokenizer or processor is built from."""

    def fetch_weights(self) -> Generator[Checkpoint, None, Files]:
        """Fetch the weights."""

    def close(self) -> None:
        """Called once, however the load ends: remove whatever is incomplete and cannot be resumed."""


class LocalFiles:
    """An origin whose files are all on disk: a folder, a demo that was made before, or the cache."""

    complete = True

    def __init__(self, kind: str, files: Files, revision: str | None = None) -> None:
        self.kind = kind
        self.revision = revision
        self.files = files
        self.folders = (files.folder, *files.roots)

    def fetch_config(self) -> Generator[Checkpoint, None, Files]:
        yield from ()
        return self.files

    def fetch_processor(self) -> Generator[Checkpoint, None, Files]:
        yield from ()
        return self.files

    def fetch_weights(self) -> Generator[Checkpoint, None, Files]:
        yield from ()
        return self.files

    def close(self) -> None:
        """Nothing to remove."""
