"""Fetches several files of a repository at once into the cache, and says how far they are."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from huggingface_hub.errors import RemoteEntryNotFoundError

from modelhub import units
from modelhub.errors import ModelhubError
from modelhub.loader import background
from modelhub.loader.explain import DISK_FULL, NOT_ALLOWED, explain_hub
from modelhub.loader.files import cache
from modelhub.loader.files.opening import Files
from modelhub.loader.files.transfer import Transfer, WrongChecksum, WrongSize, bytes_on_disk, fetch


class Downloads:
    """The files of a model to fetch into its snapshot ``files``; those that are there already count as well.

    ``said`` is what the first of them waits for, None where all move on.
    """

    def __init__(self, files: Files, transfers: Sequence[Transfer]) -> None:
        self._files = files
        self._transfers = transfers
        self._on_disk = {transfer.name: bytes_on_disk(transfer) for transfer in transfers}
        self._said: dict[str, str] = {}
        self.size = sum(transfer.size for transfer in transfers)
        self.missing = [one for one in transfers if not (files.folder / one.name).exists()]

    @property
    def done(self) -> int:
        """The bytes of all files that are on disk."""
        return sum(self._on_disk.values())

    @property
    def said(self) -> str | None:
        """What one of the files waits for, None where all of them move on."""
        return next(iter(list(self._said.values())), None)

    @property
    def current(self) -> str:
        """The files that are not complete yet, in a few words; empty when all are."""
        left = [one.name for one in self._transfers if self._on_disk[one.name] < one.size]
        return left[0] if len(left) == 1 else f"{left[0]} and {len(left) - 1} more" if left else ""

    def fetch_all(self, cancel: background.Cancel, at_once: int) -> None:
        """Fetch what is missing, so many files at once.

        Raises ``missing_shard``, ``corrupt``, ``gated``, ``hub_error``, ``hub_unreachable``,
        ``rate_limited``, ``disk_full`` and ``cache_read_only``.
        """

        def fetch_one(transfer: Transfer) -> None:
            try:
                cancel.check()
                self._fetch(transfer, cancel)
            except Exception as error:
                cancel.set()
                raise explain_download(
                    error, self._files.model_id, transfer.name, self.size - self.done
                ) from error

        with ThreadPoolExecutor(at_once, "modelhub-fetch") as pool:
            futures = [pool.submit(fetch_one, transfer) for transfer in self.missing]
        errors = [error for future in futures if (error := future.exception()) is not None]
        # The first failure cancelled the other files: raise it, and not their Cancelled.
        for error in sorted(errors, key=lambda error: isinstance(error, background.Cancelled)):
            raise error

    def check_disk(self) -> None:
        """Raise ``disk_full`` if the disk has too little space for what is missing."""
        needed, free = self.size - self.done, free_bytes()
        if needed > free:
            raise _disk_full(self._files.model_id, needed, free)

    def _fetch(self, transfer: Transfer, cancel: background.Cancel) -> None:
        def report(count: int) -> None:
            self._on_disk[transfer.name] = count

        def say(text: str | None) -> None:
            if text is None:
                self._said.pop(transfer.name, None)
            else:
                self._said[transfer.name] = text

        fetch(transfer, cancel, report, say)
        cache.link(transfer.blob, self._files.folder / transfer.name)


def free_bytes() -> int:
    """What is free on the disk of the cache; its folder is made where it is not there."""
    folder = cache.cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    return shutil.disk_usage(folder).free


def explain_download(error: Exception, model_id: str, name: str, needed: int) -> Exception:
    """The error to show for a file that was not fetched; ``needed`` is how many bytes are still missing."""
    if isinstance(error, RemoteEntryNotFoundError):
        return missing(model_id, name)
    if isinstance(error, WrongChecksum):
        why = "its checksum is not the one that the hub announced, and was not when it was fetched once more"
        return ModelhubError("corrupt", id=model_id, file=name, why=why)
    if isinstance(error, WrongSize):
        return ModelhubError("hub_error", id=model_id, why=str(error))
    if isinstance(error, OSError) and error.errno in DISK_FULL:
        return _disk_full(model_id, needed, free_bytes())
    if isinstance(error, OSError) and error.errno in NOT_ALLOWED:
        why = "it is read-only" if error.errno == errno.EROFS else "the system denies it to the server's user"
        return ModelhubError("cache_read_only", id=model_id, why=why)
    return explain_hub(error, model_id) or error


def missing(model_id: str, name: str) -> ModelhubError:
    """The error for a file that the repository on the hub lacks."""
    todo = "Its repository on the hub lacks the file: look for another revision of the model."
    return ModelhubError("missing_shard", id=model_id, file=name, todo=todo)


def _disk_full(model_id: str, needed: int, free: int) -> ModelhubError:
    return ModelhubError("disk_full", id=model_id, needed=units.size(needed), free=units.size(free))
