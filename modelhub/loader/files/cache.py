"""Finds models in the Hugging Face cache on this machine, without any network."""

from __future__ import annotations

import errno
import os
import re
import secrets
from pathlib import Path

from huggingface_hub import constants

from modelhub.errors import ModelhubError
from modelhub.loader.files.opening import CONFIG, INDEX, WEIGHTS, Files
from modelhub.loader.files.weight_files import shard_names
from modelhub.model_ids import ModelId

_NO_LINKS = (errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP)  # what a file system without links says
_COMMIT = re.compile(r"[0-9a-f]{40}")


def cache_folder() -> Path:
    """The cache folder that huggingface_hub is configured to use."""
    return Path(os.path.realpath(constants.HF_HUB_CACHE))


def repo_folder(repo: str) -> Path:
    """The folder of one model in the cache; it may not exist."""
    return cache_folder() / f"models--{repo.replace('/', '--')}"


def files_of(model_id: ModelId, name: str, commit: str) -> Files:
    """The snapshot of ``commit``. Its links may lead to the repository's own or the cache's shared blobs."""
    snapshot = repo_folder(model_id.repo) / "snapshots" / commit
    return Files(name, snapshot, folders_of(model_id))


def folders_of(model_id: ModelId) -> tuple[Path, ...]:
    """Where the files of a model are: the repository's own folder, and the blobs that all may share."""
    return repo_folder(model_id.repo), cache_folder() / "blobs"


def find_commit(model_id: ModelId) -> str | None:
    """The commit that the revision (default: main) had when it was fetched last, or None."""
    revision = model_id.revision or constants.DEFAULT_REVISION
    if _COMMIT.fullmatch(revision):
        return revision
    try:
        commit = (repo_folder(model_id.repo) / "refs" / revision).read_text()[:41].strip()
    except (OSError, UnicodeDecodeError):
        return None
    return commit if _COMMIT.fullmatch(commit) else None


def find_complete(model_id: ModelId, name: str) -> tuple[Files, str] | None:
    """The files and commit of a model whose configuration and weights are all in the cache, or None."""
    commit = find_commit(model_id)
    if commit is None:
        return None
    files = files_of(model_id, name, commit)
    return (files, commit) if is_complete(files) else None


def is_complete(files: Files) -> bool:
    """Whether config.json and all weight files are there: the only one, or each that the index names."""
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


def link(blob: Path, path: Path) -> None:
    """Put a complete blob into a snapshot, as huggingface_hub does: a relative link, or the file itself.

    At once, so that nobody sees a part of it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        new.symlink_to(os.path.relpath(blob, path.parent))
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        new = blob
    os.replace(new, path)


def keep_commit(model_id: ModelId, commit: str) -> None:
    """Note which commit the revision (default: main) has, for loads without a network."""
    revision = model_id.revision or constants.DEFAULT_REVISION
    path = repo_folder(model_id.repo) / "refs" / revision
    if revision == commit or find_commit(model_id) == commit:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
    new.write_text(commit)
    os.replace(new, path)
