"""The list of files of a repository on the Hugging Face hub, and which of them a load may fetch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from json import JSONDecodeError

from huggingface_hub import HfApi, constants

from modelhub.loader.files.opening import INDEX, MAX_INDEX_BYTES, MAX_TOKENIZER_BYTES
from modelhub.loader.files.patience import BadAnswer
from modelhub.loader.files.pooling import POOLING

MAX_SMALL_FILES = 100
_TIMEOUT_S = 10
_SMALL = (".json", ".txt", ".model", ".jinja", ".tiktoken", ".spm", ".bpe")


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a repository, its size in bytes.

    ``etag`` is the name of its blob in the cache: the SHA-256 of a large file, the git blob id of any other.
    """

    name: str
    size: int
    etag: str


@dataclass(frozen=True, slots=True)
class Listing:
    """The files of a repository at one commit, by name; ``gated``: whether access needs permission.

    ``counts`` is how many numbers of each dtype the weights have, empty where the hub does not say.
    """

    commit: str
    entries: dict[str, Entry]
    gated: bool = False
    counts: Mapping[str, int] = field(default_factory=dict)

    def small_entries(self) -> list[Entry]:
        """The files beside the weights: settings, tokenizer, templates, the index of the weights."""
        entries = [
            entry
            for entry in self.entries.values()
            if entry.name.endswith(_SMALL) and (entry.name == INDEX or not entry.name.endswith(".index.json"))
            if entry.size <= (MAX_INDEX_BYTES if entry.name == INDEX else MAX_TOKENIZER_BYTES)
        ]
        return entries[:MAX_SMALL_FILES]


def list_files(repo: str, revision: str | None, timeout_s: float = _TIMEOUT_S) -> Listing:
    """Request the list of files from the hub.

    Files in subfolders, hidden files and files without a size are left out: a load never reads them, but for
    one that says how embeddings are made.
    Raises BadAnswer for what is no list, and errors of huggingface_hub and httpx2.
    """
    api = HfApi(endpoint=constants.ENDPOINT)
    try:
        info = api.model_info(repo, revision=revision, files_metadata=True, timeout=timeout_s)
    except JSONDecodeError:
        raise BadAnswer from None
    entries = {}
    for sibling in info.siblings or ():
        name, size = sibling.rfilename, sibling.size
        etag = sibling.lfs.sha256 if sibling.lfs is not None else sibling.blob_id
        is_read = POOLING.fullmatch(name) is not None or ("/" not in name and not name.startswith("."))
        if is_read and size is not None and etag and etag.isalnum():
            entries[name] = Entry(name, size, etag)
    counts = info.safetensors.parameters if info.safetensors is not None else {}
    return Listing(info.sha or "", entries, bool(info.gated), counts)
