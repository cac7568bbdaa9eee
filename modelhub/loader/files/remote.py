"""A model on the Hugging Face hub: its files are listed, and fetched into the cache."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable
from typing import NamedTuple

from huggingface_hub import HfApi, constants, hf_hub_url

from modelhub import formats
from modelhub.checkpoints import Checkpoint, checkpoint
from modelhub.errors import ModelhubError
from modelhub.loader import background
from modelhub.loader.explain import explain_hub
from modelhub.loader.files import cache
from modelhub.loader.files.downloads import Downloads, explain_download, missing
from modelhub.loader.files.listing import Entry, Listing, list_files
from modelhub.loader.files.opening import CONFIG, INDEX, MAX_CONFIG_BYTES, WEIGHTS, Files
from modelhub.loader.files.patience import BadAnswer, Patience, Say
from modelhub.loader.files.sizes import Sizes, of_counts
from modelhub.loader.files.transfer import Transfer, bytes_on_disk
from modelhub.loader.files.weight_files import weight_names
from modelhub.model_ids import ModelId

FILES_AT_ONCE = 4
SMALL_FILES_AT_ONCE = 8
_PREVIEW_TIMEOUT_S = 5


class RequiredFiles(NamedTuple):
    """What a load needs of a repository, and by file name how many bytes of it are on disk already.

    ``sizes`` are those of the weights, None where the hub does not say how many numbers they have.
    """

    small: list[Entry]
    weights: list[Entry]
    bytes_on_disk: dict[str, int]
    sizes: Sizes | None


class HubRepository:
    """The origin of a model on the hub; ``revision`` is the commit, None until the hub has named it."""

    kind = "hub"
    complete = False

    def __init__(self, model_id: ModelId, name: str) -> None:
        self.revision: str | None = None
        self._id = model_id
        self._name = name
        self._listing = Listing("", {})
        self.folders = cache.folders_of(model_id)

    def fetch_config(self) -> Generator[Checkpoint, None, Files]:
        """Request the list of files, and fetch config.json.

        Raises ``unknown_model``, ``gated``, ``no_config``, ``missing_weights``, ``gguf`` and the like,
        ``hub_unreachable``, ``hub_error``, ``rate_limited``, and as ``fetch_weights``.
        """
        said: list[str | None] = ["requesting the list of files from the hub"]
        yield checkpoint(1, detail=said[0])
        yield from background.run(
            lambda cancel: self._list(cancel, said.append), lambda: checkpoint(1, detail=said[-1] or said[0])
        )
        self.revision = self._listing.commit
        files = self._files()
        downloads = self._downloads([CONFIG])
        yield from background.run(
            lambda cancel: downloads.fetch_all(cancel, 1),
            lambda: checkpoint(1, detail=downloads.said or said[0]),
        )
        self._keep_commit()
        return files

    def fetch_processor(self) -> Generator[Checkpoint, None, Files]:
        """Fetch the small files: tokenizer, processor, generation settings, index of the weights."""
        downloads = self._downloads([entry.name for entry in self._listing.small_entries()])
        count = len(downloads.missing)
        total = sum(transfer.size for transfer in downloads.missing)
        here = downloads.size - total
        detail = f"fetching {count} files from the hub"
        if count:
            yield from background.run(
                lambda cancel: downloads.fetch_all(cancel, SMALL_FILES_AT_ONCE),
                lambda: checkpoint(2, downloads.done - here, total, "bytes", downloads.said or detail),
            )
        return self._files()

    def fetch_weights(self) -> Generator[Checkpoint, None, Files]:
        """Fetch the weight files that are missing, several at once; yields the bytes on disk of all of them.

        Raises ``missing_shard``, ``disk_full``, ``cache_read_only``, ``corrupt`` for a wrong checksum, and as
        ``fetch_config``.
        """
        files = self._files()
        downloads = self._downloads(weight_names(files, frozenset(self._listing.entries)))
        downloads.check_disk()

        def describe() -> Checkpoint:
            detail = downloads.said or downloads.current or "verifying the files"
            return checkpoint(3, downloads.done, downloads.size, "bytes", detail)

        if downloads.missing:
            yield from background.run(lambda cancel: downloads.fetch_all(cancel, FILES_AT_ONCE), describe)
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
        files = self._files()
        weights = [self._listing.entries[name] for name in self._expected_weights(files)]
        small = self._listing.small_entries()
        on_disk = {entry.name: entry.size for entry in small if (files.folder / entry.name).exists()}
        on_disk |= {entry.name: bytes_on_disk(self._transfer(entry.name)) for entry in weights}
        counts = self._listing.counts
        return RequiredFiles(small, weights, on_disk, of_counts(counts) if counts else None)

    def _expected_weights(self, files: Files) -> list[str]:
        """The names of the weight files; without the index on disk, those that look like shards."""
        names = frozenset(self._listing.entries)
        if WEIGHTS in names or INDEX not in names or (files.folder / INDEX).exists():
            return [name for name in weight_names(files, names) if name in names]
        return formats.shards(names)

    def _list(self, cancel: background.Cancel, say: Say) -> None:
        """Request the list of files, and raise what their names say before any of them is fetched."""
        patience = Patience(cancel, say, is_reached=False)
        try:
            self._listing = patience.ask(lambda: list_files(self._id.repo, self._id.revision))
        except background.Cancelled:
            raise
        except Exception as error:
            raise self._explained(error) from error
        self._check_listing()
        config = self._listing.entries[CONFIG]
        if config.size > MAX_CONFIG_BYTES:
            why = f"it has {config.size} bytes, more than {MAX_CONFIG_BYTES}"
            raise ModelhubError("refused", id=self._name, file=CONFIG, why=why)

    def _check_listing(self) -> None:
        """Raise what the names of the files say before any of them is fetched."""
        error = formats.cannot_load(self._name, self._listing.entries)
        if error is not None:
            raise error

    def _files(self) -> Files:
        return cache.files_of(self._id, self._name, self._listing.commit)

    def _downloads(self, names: Iterable[str]) -> Downloads:
        return Downloads(self._files(), [self._transfer(name) for name in names])

    def _transfer(self, name: str) -> Transfer:
        entry = self._listing.entries.get(name)
        if entry is None:
            raise missing(self._name, name)
        url = hf_hub_url(self._id.repo, name, revision=self._listing.commit, endpoint=constants.ENDPOINT)
        blob = cache.repo_folder(self._id.repo) / "blobs" / entry.etag
        return Transfer(name, url, blob, entry.size)

    def _keep_commit(self) -> None:
        try:
            cache.keep_commit(self._id, self._listing.commit)
        except OSError as error:
            raise explain_download(error, self._name, CONFIG, 0) from error

    def _explained(self, error: Exception) -> Exception:
        if isinstance(error, BadAnswer):
            return ModelhubError(
                "hub_error", id=self._name, why="it sends something else than a list of files"
            )
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
