"""The Hugging Face cache on this machine: where a model lies in it, asked without any network."""

from __future__ import annotations

import os
import re
from pathlib import Path

from huggingface_hub import constants

from modelhub.errors import ModelhubError
from modelhub.loader.files.inspection import CONFIG, INDEX, WEIGHTS, Files, shard_names
from modelhub.model_ids import ModelId

_COMMIT = re.compile(r"[0-9a-f]{40}")


def cache_folder() -> Path:
    """The cache of huggingface_hub, by its settings."""
    return Path(os.path.realpath(constants.HF_HUB_CACHE))


def repo_folder(repo: str) -> Path:
    """The folder of one model in the cache, there or not."""
    return cache_folder() / f"models--{repo.replace('/', '--')}"


def files_of(model_id: ModelId, name: str, commit: str) -> Files:
    """The snapshot of ``commit``; its links may lead to the repo's own files and the cache's shared ones."""
    folder = repo_folder(model_id.repo)
    return Files(name, folder / "snapshots" / commit, (folder, cache_folder() / "blobs"))


def find_commit(model_id: ModelId) -> str | None:
    """The commit that the revision (default main) stood for when it was fetched, or None."""
    revision = model_id.revision or constants.DEFAULT_REVISION
    if _COMMIT.fullmatch(revision):
        return revision
    try:
        commit = (repo_folder(model_id.repo) / "refs" / revision).read_text()[:41].strip()
    except (OSError, UnicodeDecodeError):
        return None
    return commit if _COMMIT.fullmatch(commit) else None


def find_complete(model_id: ModelId, name: str) -> tuple[Files, str] | None:
    """The files and commit of a model that needs nothing fetched: configuration and all weights are here."""
    commit = find_commit(model_id)
    if commit is None:
        return None
    files = files_of(model_id, name, commit)
    return (files, commit) if is_complete(files) else None


def is_complete(files: Files) -> bool:
    """Whether config.json and every weight file that the index names (or the only one) are here."""
    if not (files.folder / CONFIG).is_file():
        return False
    if (files.folder / WEIGHTS).is_file():
        return True
    if not (files.folder / INDEX).is_file():
        return False
    try:
        return all((files.folder / shard).is_file() for shard in shard_names(files))
    except (ModelhubError, OSError):
        return False
