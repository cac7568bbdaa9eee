"""Reads config.json into a configuration of transformers, without the settings that make a load unsafe."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from transformers import AutoConfig

from modelhub.errors import ModelhubError
from modelhub.loader.files.opening import CONFIG, Files, WeightFile, read_json

# Settings that name code, kernels, adapters or files: a model must not choose these.
_SCRUBBED = frozenset((
    "auto_map", "attn_implementation", "experts_implementation", "configuration_files", "custom_pipelines",
    "distributed_config", "fusion_config", "kernel_config", "name_or_path", "transformers_weights",
    "use_kernels", "transformers_version",
))  # fmt: skip
_LAYERS = frozenset(("layers", "depth", "depths", "block", "blocks"))
_NOT_LAYERS = frozenset(("size", "sizes", "length", "norm", "index", "idx", "ids", "id", "dim", "scale"))
_NUMBERS = frozenset(("num", "numb", "n"))
_LIST_OF_COUNTS = frozenset((*_NUMBERS, "depth", "depths", "repeats", "per"))
_ALWAYS_PLAUSIBLE_LAYERS = 256
_IN_MEMORY = "/dev/shm"  # noqa: S108 - tempfile makes a folder in it that nobody else can guess or open


def read_config(files: Files) -> Any:
    """The model's configuration (a PreTrainedConfig).

    Raises ``bad_config`` if transformers refuses it, ``unsupported`` for a model type that it does not know.
    """
    settings = _scrub(read_json(files, CONFIG))
    model_type = settings.get("model_type")
    if not isinstance(model_type, str):
        raise ModelhubError("bad_config", id=files.model_id, why="it has no model_type.")
    architectures = settings.get("architectures") or []
    if not isinstance(architectures, list) or not all(isinstance(name, str) for name in architectures):
        raise ModelhubError("bad_config", id=files.model_id, why="its architectures are not a list of names.")
    with _scratch_folder() as folder:
        Path(folder, CONFIG).write_text(json.dumps(settings))
        try:
            config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        except Exception as error:
            if "does not recognize this architecture" in str(error):
                raise ModelhubError("unsupported", id=files.model_id, architecture=model_type) from error
            why = f"{type(error).__name__}: {str(error).replace(folder, '')}"
            raise ModelhubError("bad_config", id=files.model_id, why=why) from error
    config.name_or_path = files.model_id
    return config


def _scratch_folder() -> tempfile.TemporaryDirectory[str]:
    """A folder that is deleted at the end of its context; in memory where the system has a place.

    To delete a file on a disk that is being read takes 20 to 60 ms where the disk is told of every deletion
    (``mount -o discard``).
    """
    in_memory = os.path.isdir(_IN_MEMORY) and os.access(_IN_MEMORY, os.W_OK | os.X_OK)
    return tempfile.TemporaryDirectory(prefix="modelhub-", dir=_IN_MEMORY if in_memory else None)


def _scrub(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {k: v for k, v in value.items() if not k.startswith("_") and k not in _SCRUBBED}
        return {key: _scrub(item) for key, item in kept.items()}
    if isinstance(value, list):
        return [_scrub(item) for item in value]
    return value


def check_plausible(files: Files, config: Any, weights: Sequence[WeightFile]) -> None:
    """Raise ``bad_config`` if the configuration has more layers than the files could fill.

    Building 100,000 layers would take minutes before their tensors could be compared with the files.
    """
    tensors = sum(len(weight.tensors) for weight in weights)
    limit = max(tensors, _ALWAYS_PLAUSIBLE_LAYERS)
    for key, number in _layer_counts(config.to_dict()):
        if not 0 <= number <= limit:
            why = f"{key} is {number}, but the files contain {tensors} tensors."
            raise ModelhubError("bad_config", id=files.model_id, why=why)


def _layer_counts(settings: dict[str, Any]) -> Iterator[tuple[str, int]]:
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from _layer_counts(value)
        elif _is_count(parts := set(str(key).split("_"))):
            if type(value) is int:
                yield key, value
            elif isinstance(value, list) and _lists_counts(parts) and all(type(n) is int for n in value):
                yield key, sum(value)


def _is_count(parts: set[str]) -> bool:
    """Whether a setting says how many layers there are: vision_feature_layer (-2) says which one is used."""
    is_single = "layer" in parts and bool(parts & _NUMBERS)
    return (is_single or bool(parts & _LAYERS)) and not parts & _NOT_LAYERS


def _lists_counts(parts: set[str]) -> bool:
    """Whether a list adds up to layers: moe_layers has their places, num_heads_per_layer what each has."""
    return bool(parts & _LIST_OF_COUNTS) and "heads" not in parts
