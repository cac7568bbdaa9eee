"""The weight files of a model: which they are, and what their headers say."""

from __future__ import annotations

import os

from modelhub import formats
from modelhub.errors import ModelhubError
from modelhub.loader.files.headers import MAX_TENSORS, BadHeader, read_header
from modelhub.loader.files.opening import (
    CONFIG,
    INDEX,
    MAX_INDEX_BYTES,
    WEIGHTS,
    Files,
    WeightFile,
    is_pointer,
    opened,
    read_json,
    real_path,
)


def weight_names(files: Files, names: frozenset[str]) -> tuple[str, ...]:
    """The names of the model's safetensors files: the only one, or those in the index.

    Raises ``missing_weights``, ``gguf`` or ``adapter`` if there are none, ``refused`` if the index names
    anything but plain files of the folder, ``corrupt`` if it cannot be read.
    """
    if WEIGHTS in names:
        return (WEIGHTS,)
    if INDEX in names:
        return shard_names(files)
    error = formats.cannot_load(files.model_id, {*names, CONFIG})
    assert error is not None  # noqa: S101 - there are no weights
    raise error


def shard_names(files: Files) -> tuple[str, ...]:
    """The files that the index names, each once; raises as ``weight_names``."""
    weight_map = read_json(files, INDEX, MAX_INDEX_BYTES).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise files.corrupt(INDEX, "it has no weight_map")
    if len(weight_map) > MAX_TENSORS:
        raise files.refuse(INDEX, f"it has {len(weight_map)} tensors, more than {MAX_TENSORS}")
    shards = set(weight_map.values()) if all(isinstance(v, str) for v in weight_map.values()) else {""}
    for shard in shards:
        plain = shard.endswith(".safetensors") and shard.isprintable() and not shard.startswith(".")
        if not plain or "/" in shard or "\\" in shard or len(shard) > 255:
            raise files.refuse(INDEX, "it names weights outside the model's folder")
    return tuple(sorted(shards))


def read_weight_files(files: Files, names: tuple[str, ...]) -> tuple[WeightFile, ...]:
    """Inspect each weight file.

    Raises ``missing_shard``, ``missing_weights``, ``lfs_pointer``, ``refused`` or ``corrupt``.
    """
    weights = tuple(_read_weight_file(files, name) for name in names)
    total = sum(len(weight.tensors) for weight in weights)
    if total > MAX_TENSORS:
        raise files.refuse(names[0], f"the files have {total} tensors, more than {MAX_TENSORS}")
    if total == 0:
        raise ModelhubError("missing_weights", id=files.model_id, why="the files contain no tensors.")
    return weights


def _read_weight_file(files: Files, name: str) -> WeightFile:
    try:
        with opened(files, name) as (descriptor, size):
            if is_pointer(descriptor, size):
                raise files.pointer(name)
            tensors = read_header(lambda offset, count: os.pread(descriptor, count, offset), size)
    except FileNotFoundError:
        raise files.missing_shard(name) from None
    except BadHeader as error:
        raise (files.refuse if error.hostile else files.corrupt)(name, str(error)) from None
    return WeightFile(name, real_path(files, name), size, tensors)
