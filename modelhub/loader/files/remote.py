"""A model on the Hugging Face hub: its files are listed, and fetched into the cache."""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from huggingface_hub import HfApi, constants, hf_hub_download, hf_hub_url
from huggingface_hub.errors import RemoteEntryNotFoundError

from modelhub import formats, units
from modelhub.checkpoints import Checkpoint, checkpoint
from modelhub.errors import ModelhubError
from modelhub.loader import background
from modelhub.loader.explain import explain_hub
from modelhub.loader.files import cache
from modelhub.loader.files.inspection import CONFIG, INDEX, MAX_CONFIG_BYTES, WEIGHTS, Files
from modelhub.loader.files.listing import Entry, Listing, list_files
from modelhub.loader.files.transfer import Transfer, WrongChecksum, bytes_on_disk, fetch
from modelhub.loader.files.weight_files import weight_names
from modelhub.model_ids import ModelId

FILES_AT_ONCE = 4
SMALL_FILES_AT_ONCE = 8
_PREVIEW_TIMEOUT_S = 5


class RequiredFiles(NamedTuple):
    """What a load needs of a repository, and by file name how many bytes of it are on disk already."""

    small: list[Entry]
    weights: list[Entry]
    bytes_on_disk: dict[str, int]


class HubRepository:
    """The origin of a model on the hub; ``revision`` is the commit, None until the hub has named it."""

    kind = "hub"
    complete = False

    def __init__(self, model_id: ModelId, name: str) -> None:
        self.revision: str | None = None
        self._id = model_id
        self._name = name
        self._listing = Listing("", {})

    def fetch_config(self) -> Generator[Checkpoint, None, Files]:
        """Request the list of files, and fetch config.json.

        Raises ``unknown_model``, ``gated``, ``no_config``, ``missing_weights``, ``gguf`` and the like,
        ``hub_unreachable`` or ``hub_error``.
        """
        yield checkpoint(1, detail="requesting the list of files from the hub")
        yield from background.run(lambda _: self._list_and_fetch_config())
        return cache.files_of(self._id, self._name, self._listing.commit)

    def fetch_processor(self) -> Generator[Checkpoint, None, Files]:
        """Fetch the small files: tokenizer, processor, generation settings, index of the weights."""
        files = cache.files_of(self._id, self._name, self._listing.commit)
        entries = self._listing.small_entries()
        missing = [entry for entry in entries if not (files.folder / entry.name).exists()]
        total = sum(entry.size for entry in missing)
        done = [0]

        def work(cancel: background.Cancel) -> None:
            def download(entry: Entry) -> None:
                cancel.check()
                self._download(entry.name)
                done.append(entry.size)

            with ThreadPoolExecutor(SMALL_FILES_AT_ONCE, "modelhub-fetch") as pool:
                list(pool.map(download, missing))

        if missing:
            detail = f"fetching {len(missing)} files from the hub"
            yield from background.run(work, lambda: checkpoint(2, sum(done), total, "bytes", detail))
        return files

    def fetch_weights(self) -> Generator[Checkpoint, None, Files]:
        """Fetch the weight files that are missing, several at once; yields the bytes on disk of all of them.

        Raises ``missing_shard``, ``disk_full``, ``corrupt`` for a wrong checksum, and as ``fetch_config``.
        """
        files = cache.files_of(self._id, self._name, self._listing.commit)
        names = weight_names(files, frozenset(self._listing.entries))
        transfers = [self._transfer(files, name) for name in names]
        on_disk = {transfer.name: bytes_on_disk(transfer) for transfer in transfers}
        missing = [transfer for transfer in transfers if not (files.folder / transfer.name).exists()]
        total = sum(transfer.size for transfer in transfers)
        self._check_disk(total - sum(on_disk.values()))

        def work(cancel: background.Cancel) -> None:
            self._fetch_all(missing, cancel, on_disk)

        def describe() -> Checkpoint:
            return checkpoint(3, sum(on_disk.values()), total, "bytes", _detail(transfers, on_disk))

        if missing:
            yield from background.run(work, describe)
        return files

    def close(self) -> None:
        """Nothing to remove: the next load resumes what was fetched."""

    def required_files(self) -> RequiredFiles:
        """What a load would need; requests the list of files only. Raises as the three methods above."""
        try:
            self._listing = list_files(self._id.repo, self._id.revision, _PREVIEW_TIMEOUT_S)
            if self._listing.gated:
                HfApi(endpoint=constants.ENDPOINT).auth_check(self._id.repo)
        except Exception as error:
            raise self._explained(error) from error
        self.revision = self._listing.commit
        self._check_listing()
        files = cache.files_of(self._id, self._name, self._listing.commit)
        weights = [self._listing.entries[name] for name in self._expected_weights(files)]
        small = self._listing.small_entries()
        on_disk = {entry.name: entry.size for entry in small if (files.folder / entry.name).exists()}
        on_disk |= {entry.name: bytes_on_disk(self._transfer(files, entry.name)) for entry in weights}
        return RequiredFiles(small, weights, on_disk)

    def _expected_weights(self, files: Files) -> list[str]:
        """The names of the weight files; without the index on disk, those that look like shards."""
        names = frozenset(self._listing.entries)
        if WEIGHTS in names or INDEX not in names or (files.folder / INDEX).exists():
            return [name for name in weight_names(files, names) if name in names]
        return self._listing.shard_names()

    def _list_and_fetch_config(self) -> None:
        try:
            self._listing = list_files(self._id.repo, self._id.revision)
            self._check_listing()
            config = self._listing.entries[CONFIG]
            if config.size > MAX_CONFIG_BYTES:
                why = f"it has {config.size} bytes, more than {MAX_CONFIG_BYTES}"
                raise ModelhubError("refused", id=self._name, file=CONFIG, why=why)
            path = self._download(CONFIG, self._id.revision or constants.DEFAULT_REVISION)
            # The branch may have moved between the two requests.
            if path.parent.name != self._listing.commit:
                self._listing = list_files(self._id.repo, path.parent.name)
        except Exception as error:
            raise self._explained(error) from error
        self.revision = self._listing.commit

    def _check_listing(self) -> None:
        """Raise what the names of the files say before any of them is fetched."""
        error = formats.cannot_load(self._name, self._listing.entries)
        if error is not None:
            raise error

    def _download(self, name: str, revision: str | None = None) -> Path:
        """Fetch a file, or find it in the cache, and link it into the snapshot; returns the link's path."""
        revision = revision or self._listing.commit
        folder = str(cache.cache_folder())
        try:
            path = hf_hub_download(
                self._id.repo, name, revision=revision, cache_dir=folder, endpoint=constants.ENDPOINT
            )
        except RemoteEntryNotFoundError:
            raise self._missing(name) from None
        except Exception as error:
            raise self._explained(error) from error
        return Path(path)

    def _transfer(self, files: Files, name: str) -> Transfer:
        entry = self._listing.entries.get(name)
        if entry is None:
            raise self._missing(name)
        url = hf_hub_url(self._id.repo, name, revision=self._listing.commit, endpoint=constants.ENDPOINT)
        blob = cache.repo_folder(self._id.repo) / "blobs" / entry.etag
        return Transfer(name, url, blob, entry.size, entry.sha256)

    def _fetch_all(
        self, missing: Sequence[Transfer], cancel: background.Cancel, on_disk: dict[str, int]
    ) -> None:
        def fetch_one(transfer: Transfer) -> None:
            try:
                fetch(transfer, cancel, lambda count: on_disk.__setitem__(transfer.name, count))
                cancel.check()
                self._download(transfer.name)  # finds the blob, and links it into the snapshot
            except WrongChecksum as error:
                why = "its checksum is not the one that the hub announced"
                raise ModelhubError("corrupt", id=self._name, file=transfer.name, why=why) from error
            except Exception as error:
                cancel.set()
                raise self._explained(error) from error

        with ThreadPoolExecutor(FILES_AT_ONCE, "modelhub-fetch") as pool:
            futures = [pool.submit(fetch_one, transfer) for transfer in missing]
        errors = [error for future in futures if (error := future.exception()) is not None]
        # The first failure cancelled the other files: raise it, and not their Cancelled.
        for error in sorted(errors, key=lambda error: isinstance(error, background.Cancelled)):
            raise error

    def _check_disk(self, needed: int) -> None:
        folder = cache.cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
        if needed > free:
            raise ModelhubError("disk_full", id=self._name, needed=units.size(needed), free=units.size(free))

    def _missing(self, name: str) -> ModelhubError:
        todo = "Its repository on the hub lacks the file: look for another revision of the model."
        return ModelhubError("missing_shard", id=self._name, file=name, todo=todo)

    def _explained(self, error: Exception) -> Exception:
        explained = explain_hub(error, self._name)
        if explained is not None and explained.code == "hub_unreachable":
            # What is in the cache may show that the network is not what is missing.
            explained = self._cannot_load_cached() or explained
        return explained or error

    def _cannot_load_cached(self) -> ModelhubError | None:
        commit = cache.find_commit(self._id)
        try:
            names = os.listdir(cache.files_of(self._id, self._name, commit or "none").folder)
        except OSError:
            return None
        return formats.cannot_load(self._name, names, may_be_partial=True)


def _detail(transfers: Sequence[Transfer], on_disk: dict[str, int]) -> str:
    incomplete = [transfer.name for transfer in transfers if on_disk[transfer.name] < transfer.size]
    if not incomplete:
        return "verifying the files"
    return incomplete[0] if len(incomplete) == 1 else f"{incomplete[0]} and {len(incomplete) - 1} more"
