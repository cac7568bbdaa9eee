"""Why a model of the user's own folder cannot be loaded, found with small reads before any load."""

from __future__ import annotations

import json
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from modelhub import formats
from modelhub.core.pauses import Pauses
from modelhub.errors import ModelhubError

SMALL_BYTES = 10**6
_INDEX_BYTES = 4 * 10**6
_POINTED_TO = (formats.CONFIG, formats.WEIGHTS, "tokenizer.json", "tokenizer.model")
# The methods of quantization of transformers that need a package of their own, which is not a dependency.
_PACKAGES = {"bitsandbytes": "bitsandbytes"}


def find(
    model_id: str, folder: Path, files: dict[str, os.stat_result], pause: Pauses
) -> ModelhubError | None:
    """The error that a load would end with, as far as it can be known; None if there may be none.

    ``files`` are the regular files of the folder by name.
    """
    error = formats.cannot_load(model_id, files)
    if error is not None and error.code == "adapter":
        base = read_json(folder / formats.ADAPTER, SMALL_BYTES, pause).get("base_model_name_or_path")
        return formats.adapter(model_id, base)
    return error or _pointer(model_id, folder, files, pause) or _missing(model_id, folder, files, pause)


def _pointer(
    model_id: str, folder: Path, files: dict[str, os.stat_result], pause: Pauses
) -> ModelhubError | None:
    ends = () if formats.WEIGHTS in files else (".safetensors",)
    small = [name for name, status in files.items() if status.st_size <= formats.MAX_POINTER_BYTES]
    for name in sorted(name for name in small if name in _POINTED_TO or name.endswith(ends)):
        if formats.is_pointer(_read(folder / name, formats.MAX_POINTER_BYTES, pause)):
            return ModelhubError("lfs_pointer", id=model_id, file=name)
    return None


def _missing(
    model_id: str, folder: Path, files: dict[str, os.stat_result], pause: Pauses
) -> ModelhubError | None:
    """A weight file or a package that is missing."""
    if formats.WEIGHTS not in files:
        weight_map = read_json(folder / formats.INDEX, _INDEX_BYTES, pause).get("weight_map")
        shards = weight_map.values() if isinstance(weight_map, dict) else ()
        for name in sorted({name for name in shards if isinstance(name, str)}):
            if name not in files and "/" not in name:
                todo = "Copy the file into the model's folder."
                return ModelhubError("missing_shard", id=model_id, file=name, todo=todo)
    settings = read_json(folder / formats.CONFIG, SMALL_BYTES, pause).get("quantization_config")
    method = settings.get("quant_method") if isinstance(settings, dict) else None
    package = _PACKAGES.get(method) if isinstance(method, str) else None
    if package is not None and find_spec(package) is None:
        todo = f"Run 'pip install {package}' and restart, or choose a model that is not quantized."
        return ModelhubError("needs_package", id=model_id, package=package, todo=todo)
    return None


def read_json(path: Path, limit: int, pause: Pauses) -> dict[str, Any]:
    """The JSON object in a file; empty for anything else, which the load itself explains."""
    try:
        value = json.loads(_read(path, limit, pause))
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def read_text(path: Path, limit: int, pause: Pauses) -> str:
    """The text in a file; empty where there is none that can be read."""
    return _read(path, limit, pause).decode("utf-8", "replace")


def _read(path: Path, limit: int, pause: Pauses) -> bytes:
    """At most ``limit`` bytes of a regular file; nothing where it cannot be read."""
    pause()
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            return file.read(limit)
    except OSError:
        return b""
