"""The Hugging Face hub: what a model's repository has, and its files fetched into the cache."""

from __future__ import annotations

import re
import shutil
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from huggingface_hub import HfApi, constants, hf_hub_download, hf_hub_url
from huggingface_hub.errors import RemoteEntryNotFoundError

from modelhub import units
from modelhub.checkpoints import Checkpoint, checkpoint
from modelhub.errors import ModelhubError
from modelhub.loader import background
from modelhub.loader.explain import explain_hub
from modelhub.loader.files import cache
from modelhub.loader.files.inspection import (
    CONFIG,
    INDEX,
    MAX_CONFIG_BYTES,
    MAX_INDEX_BYTES,
    MAX_TOKENIZER_BYTES,
    WEIGHTS,
    Files,
    weight_names,
)
from modelhub.loader.files.transfer import Transfer, WrongChecksum, bytes_here, fetch
from modelhub.model_ids import ModelId

FILES_AT_ONCE = 4
SMALL_FILES_AT_ONCE = 8
MAX_SMALL_FILES = 100
_TIMEOUT_S = 10
_SURVEY_TIMEOUT_S = 5
_SHARD = re.compile(r"model-\d{5}-of-\d{5}\.safetensors")
_SMALL = (".json", ".txt", ".model", ".jinja", ".tiktoken", ".spm", ".bpe")


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a repository; ``etag`` names its blob in the cache, ``sha256`` only large files have."""

    name: str
    size: int
    etag: str
    sha256: str | None


@dataclass(frozen=True, slots=True)
class Listing:
    """What a repository has at one commit; ``gated``: whether it is opened to some only."""

    commit: str
    entries: dict[str, Entry]
    gated: bool = False


class Survey(NamedTuple):
    """What a load would need of a repository; ``here`` has the bytes that are on disk already, by name."""

    small: list[Entry]
    weights: list[Entry]
    here: dict[str, int]


class Remote:
    """A model on the hub; ``revision`` is the commit once the hub has said it."""

    kind = "hub"
    complete = False

    def __init__(self, model_id: ModelId, name: str) -> None:
        self.revision: str | None = None
        self._id = model_id
        self._name = name
        self._listing = Listing("", {})

    def bring_config(self) -> Generator[Checkpoint, None, Files]:
        """Ask what the repository has, and fetch config.json.

        Raises ``unknown_model``, ``gated``, ``no_config``, ``hub_unreachable`` or ``hub_error``.
        """
        yield checkpoint(1, detail="asking the hub")
        yield from background.run(lambda _: self._find())
        return cache.files_of(self._id, self._name, self._listing.commit)

    def bring_processor(self) -> Generator[Checkpoint, None, Files]:
        """Fetch the small files: tokenizer, processor, generation settings, index of the weights."""
        files = cache.files_of(self._id, self._name, self._listing.commit)
        wanted = [entry for entry in self._small_entries() if not (files.folder / entry.name).exists()]
        total = sum(entry.size for entry in wanted)
        done = [0]

        def work(cancel: background.Cancel) -> None:
            def bring(entry: Entry) -> None:
                cancel.check()
                self._download(entry.name)
                done.append(entry.size)

            with ThreadPoolExecutor(SMALL_FILES_AT_ONCE, "modelhub-fetch") as pool:
                list(pool.map(bring, wanted))

        if wanted:
            detail = f"{len(wanted)} files from the hub"
            yield from background.run(work, lambda: checkpoint(2, sum(done), total, "bytes", detail))
        return files

    def bring_weights(self) -> Generator[Checkpoint, None, Files]:
        """Fetch the weight files that are not here, several at once, with the bytes of all of them.

        Raises ``missing_weights``, ``disk_full``, ``corrupt`` for a wrong checksum, and as ``bring_config``.
        """
        files = cache.files_of(self._id, self._name, self._listing.commit)
        names = weight_names(files, frozenset(self._listing.entries))
        transfers = [self._transfer(files, name) for name in names]
        here = {transfer.name: bytes_here(transfer) for transfer in transfers}
        wanted = [transfer for transfer in transfers if not (files.folder / transfer.name).exists()]
        total = sum(transfer.size for transfer in transfers)
        self._check_disk(total - sum(here.values()))

        def work(cancel: background.Cancel) -> None:
            self._fetch_all(wanted, cancel, here)

        def describe() -> Checkpoint:
            return checkpoint(3, sum(here.values()), total, "bytes", _detail(transfers, here))

        if wanted:
            yield from background.run(work, describe)
        return files

    def close(self) -> None:
        """Nothing to put away: what was fetched is kept for the next time."""

    def survey(self) -> Survey:
        """What a load would need; asks the hub for its list of files only. Raises as the three above."""
        try:
            self._listing = self._list(self._id.revision, _SURVEY_TIMEOUT_S)
            if self._listing.gated:
                HfApi(endpoint=constants.ENDPOINT).auth_check(self._id.repo)
        except Exception as error:
            raise self._explained(error) from error
        self.revision = self._listing.commit
        if CONFIG not in self._listing.entries:
            raise ModelhubError("no_config", id=self._name)
        files = cache.files_of(self._id, self._name, self._listing.commit)
        weights = [self._listing.entries[name] for name in self._expected_weights(files)]
        small = self._small_entries()
        here = {entry.name: entry.size for entry in small if (files.folder / entry.name).exists()}
        here |= {entry.name: bytes_here(self._transfer(files, entry.name)) for entry in weights}
        return Survey(small, weights, here)

    def _expected_weights(self, files: Files) -> list[str]:
        """The weight files; before the index is here, those that are called as the parts of a whole are."""
        names = frozenset(self._listing.entries)
        if WEIGHTS in names or INDEX not in names or (files.folder / INDEX).exists():
            return [name for name in weight_names(files, names) if name in names]
        return sorted(filter(_SHARD.fullmatch, names))

    def _find(self) -> None:
        try:
            self._listing = self._list(self._id.revision)
            config = self._listing.entries.get(CONFIG)
            if config is None:
                raise ModelhubError("no_config", id=self._name)
            if config.size > MAX_CONFIG_BYTES:
                why = f"it has {config.size} bytes, more than {MAX_CONFIG_BYTES}"
                raise ModelhubError("refused", id=self._name, file=CONFIG, why=why)
            path = self._download(CONFIG, self._id.revision or constants.DEFAULT_REVISION)
            if path.parent.name != self._listing.commit:  # the branch moved between the two questions
                self._listing = self._list(path.parent.name)
        except Exception as error:
            raise self._explained(error) from error
        self.revision = self._listing.commit

    def _list(self, revision: str | None, timeout_s: float = _TIMEOUT_S) -> Listing:
        api = HfApi(endpoint=constants.ENDPOINT)
        info = api.model_info(self._id.repo, revision=revision, files_metadata=True, timeout=timeout_s)
        entries = {}
        for sibling in info.siblings or ():
            name, size = sibling.rfilename, sibling.size
            sha256 = sibling.lfs.sha256 if sibling.lfs is not None else None
            etag = sha256 or sibling.blob_id
            if "/" not in name and not name.startswith(".") and size is not None and etag and etag.isalnum():
                entries[name] = Entry(name, size, etag, sha256)
        return Listing(info.sha or "", entries, bool(info.gated))

    def _small_entries(self) -> list[Entry]:
        entries = [
            entry
            for entry in self._listing.entries.values()
            if entry.name.endswith(_SMALL) and (entry.name == INDEX or not entry.name.endswith(".index.json"))
            if entry.size <= (MAX_INDEX_BYTES if entry.name == INDEX else MAX_TOKENIZER_BYTES)
        ]
        return entries[:MAX_SMALL_FILES]

    def _download(self, name: str, revision: str | None = None) -> Path:
        revision = revision or self._listing.commit
        folder = str(cache.cache_folder())
        try:
            path = hf_hub_download(
                self._id.repo, name, revision=revision, cache_dir=folder, endpoint=constants.ENDPOINT
            )
        except RemoteEntryNotFoundError:
            why = f"{name} is named, but not there."
            raise ModelhubError("missing_weights", id=self._name, why=why) from None
        except Exception as error:
            raise self._explained(error) from error
        return Path(path)

    def _transfer(self, files: Files, name: str) -> Transfer:
        entry = self._listing.entries.get(name)
        if entry is None:
            raise ModelhubError("missing_weights", id=self._name, why=f"{name} is not in the repository.")
        url = hf_hub_url(self._id.repo, name, revision=self._listing.commit, endpoint=constants.ENDPOINT)
        blob = cache.repo_folder(self._id.repo) / "blobs" / entry.etag
        return Transfer(name, url, blob, entry.size, entry.sha256)

    def _fetch_all(self, wanted: Sequence[Transfer], cancel: background.Cancel, here: dict[str, int]) -> None:
        def bring(transfer: Transfer) -> None:
            try:
                fetch(transfer, cancel, lambda count: here.__setitem__(transfer.name, count))
                cancel.check()
                self._download(transfer.name)  # finds the blob, and links it into the snapshot
            except WrongChecksum as error:
                why = "what the hub sent does not have the checksum that it should"
                raise ModelhubError("corrupt", id=self._name, file=transfer.name, why=why) from error
            except Exception as error:
                cancel.set()
                raise self._explained(error) from error

        with ThreadPoolExecutor(FILES_AT_ONCE, "modelhub-fetch") as pool:
            ended = [pool.submit(bring, transfer) for transfer in wanted]
        errors = [error for future in ended if (error := future.exception()) is not None]
        for error in sorted(errors, key=lambda error: isinstance(error, background.Cancelled)):
            raise error  # the first failure cancelled the other files: it is the one to tell

    def _check_disk(self, needed: int) -> None:
        folder = cache.cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
        if needed > free:
            raise ModelhubError("disk_full", id=self._name, needed=units.size(needed), free=units.size(free))

    def _explained(self, error: Exception) -> Exception:
        return explain_hub(error, self._name) or error


def _detail(transfers: Sequence[Transfer], here: dict[str, int]) -> str:
    coming = [transfer.name for transfer in transfers if here[transfer.name] < transfer.size]
    if not coming:
        return "checking the files"
    return coming[0] if len(coming) == 1 else f"{coming[0]} and {len(coming) - 1} more"
