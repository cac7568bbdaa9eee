"""Checks a model's folder before transformers opens anything in it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from modelhub import formats
from modelhub.errors import ModelhubError
from modelhub.loader.files.counts import check_counts
from modelhub.loader.files.named import AUDIO_TOKENIZER, check_backbones, check_names
from modelhub.loader.files.opening import (
    CONFIG,
    MAX_CONFIG_BYTES,
    MAX_INDEX_BYTES,
    MAX_TOKENIZER_BYTES,
    MAX_TOKENS_BYTES,
    Files,
    is_pointer,
    opened,
    read_json,
)

GENERATION = "generation_config.json"
SETTINGS = frozenset((
    CONFIG, GENERATION, "preprocessor_config.json", "processor_config.json",
    "speaker_embeddings_path.json", "special_tokens_map.json", "tokenizer_config.json",
    "video_preprocessor_config.json",
))  # fmt: skip
_LISTS_OF_TOKENS = ("special_tokens_map.json", "tokenizer_config.json")
_PART = "tokenizer"  # the folder of a second one, such as qformer_tokenizer
TEMPLATES = "additional_chat_templates"
MAX_ENTRIES = 10_000


@contextmanager
def still_there(files: Files) -> Iterator[None]:
    """Whatever fails inside: raise ``files_gone`` if the model's files are there no more."""
    try:
        yield
    except ModelhubError:
        raise
    except Exception as error:
        if (gone := files.gone((CONFIG,))) is not None:
            raise gone from error
        raise


def check_folder(files: Files) -> frozenset[str]:
    """Check every file that transformers might open by its name; returns their names.

    Raises ``no_config`` or what the other files say without a config.json, ``lfs_pointer``, and ``refused``
    for an entry that is neither a regular file nor a folder, for a file that exceeds its size limit, and for
    a setting that names a file elsewhere.
    """
    names = _entries(files, ".")
    if CONFIG not in names:
        raise formats.cannot_load(files.model_id, names) or ModelhubError("no_config", id=files.model_id)
    for below in subfolders(files):
        for name in sorted(_entries(files, below)):
            if name.rpartition("/")[2] in SETTINGS:
                check_names(files, name, read_settings(files, name))
    if AUDIO_TOKENIZER in names:
        raise files.refuse(AUDIO_TOKENIZER, "it names another model, which is not fetched")
    for name in sorted(names & SETTINGS):
        if name == CONFIG:
            check_config(files, read_json(files, name))
        else:
            check_names(files, name, read_settings(files, name))
    return names


def subfolders(files: Files) -> list[str]:
    """The names of the folders in the model's folder that transformers looks into, in order."""
    with os.scandir(files.folder) as entries:
        folders = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    return sorted(name for name in folders if name == TEMPLATES or name.endswith(_PART))


def check_config(files: Files, settings: dict[str, Any]) -> None:
    """Check a configuration before transformers reads it.

    Raises ``bad_config`` for counts that no model has, ``refused`` if it names another repository.
    """
    check_counts(files, settings)
    check_backbones(files, CONFIG, settings)


def read_settings(files: Files, name: str) -> dict[str, Any]:
    """One of the files of settings, within the size that it may have; raises as ``read_json``."""
    return read_json(files, name, int(_size_limit(name.rpartition("/")[2])))


def _entries(files: Files, below: str) -> frozenset[str]:
    names: set[str] = set()
    with os.scandir(files.folder / below) as entries:
        for count, entry in enumerate(entries):
            name = entry.name if below == "." else f"{below}/{entry.name}"
            if count >= MAX_ENTRIES:
                raise files.refuse(name, f"its folder has more than {MAX_ENTRIES} entries")
            if entry.name.startswith(".") or entry.is_dir(follow_symlinks=False):
                continue
            try:
                with opened(files, name) as (descriptor, size):
                    _check_file(files, name, descriptor, size)
            except FileNotFoundError:
                continue  # a link of the cache whose target was deleted
            names.add(name)
    return frozenset(names)


def _check_file(files: Files, name: str, descriptor: int, size: int) -> None:
    limit = _size_limit(name.rpartition("/")[2])
    if size > limit:
        raise files.refuse(name, f"it has {size} bytes, more than {limit}")
    # Of weights only those that the load reads are looked at, later.
    if limit < float("inf") and is_pointer(descriptor, size):
        raise files.pointer(name)


def _size_limit(name: str) -> float:
    if name in _LISTS_OF_TOKENS:
        return MAX_TOKENS_BYTES
    if name in SETTINGS:
        return MAX_CONFIG_BYTES
    if name.endswith(".index.json"):
        return MAX_INDEX_BYTES
    if name.endswith((".json", ".txt", ".model", ".jinja")):
        return MAX_TOKENIZER_BYTES
    return float("inf")
