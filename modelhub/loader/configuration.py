"""Reads config.json into a configuration of transformers, without the settings that make a load unsafe."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transformers import AutoConfig

from modelhub.errors import ModelhubError
from modelhub.loader.explain import one_line
from modelhub.loader.files.counts import layer_counts
from modelhub.loader.files.inspection import check_config
from modelhub.loader.files.opening import CONFIG, Files, WeightFile, read_json
from modelhub.loader.without_hub import without_hub

# Settings that name code, kernels, adapters or files: a model must not choose these.
_SCRUBBED = frozenset((
    "auto_map", "attn_implementation", "experts_implementation", "configuration_files", "custom_pipelines",
    "distributed_config", "fusion_config", "kernel_config", "name_or_path", "transformers_weights",
    "use_kernels", "transformers_version",
))  # fmt: skip
_ALWAYS_PLAUSIBLE_LAYERS = 256


def read_config(files: Files) -> Any:
    """The model's configuration (a PreTrainedConfig).

    Raises ``bad_config`` if transformers refuses it, ``unsupported`` for a model type that it does not know,
    ``refused`` if it names another repository.
    """
    settings = _scrub(read_json(files, CONFIG))
    model_type = settings.get("model_type")
    if not isinstance(model_type, str):
        raise ModelhubError("bad_config", id=files.model_id, why="it has no model_type.")
    check_config(files, settings)
    with _kept_as_file(json.dumps(settings)) as path, without_hub():
        try:
            config = AutoConfig.from_pretrained(path, trust_remote_code=False, local_files_only=True)
        except Exception as error:
            if "does not recognize this architecture" in str(error):
                raise ModelhubError("unsupported", id=files.model_id, architecture=model_type) from error
            why = one_line(error, Path(path))
            raise ModelhubError("bad_config", id=files.model_id, why=why) from error
    config.name_or_path = files.model_id
    return config


@contextmanager
def _kept_as_file(text: str) -> Iterator[str]:
    """The path of a file with ``text``; where the system can, in memory, where a confined process may write.

    To delete a file on a disk that is being read takes 20 to 60 ms where the disk is told of every deletion
    (``mount -o discard``).
    """
    if not hasattr(os, "memfd_create"):
        with tempfile.NamedTemporaryFile("w", prefix="modelhub-", suffix=CONFIG) as file:
            file.write(text)
            file.flush()
            yield file.name
        return
    with os.fdopen(os.memfd_create(CONFIG, os.MFD_CLOEXEC), "w") as file:
        file.write(text)
        file.flush()
        yield f"/proc/self/fd/{file.fileno()}"


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
    for key, number in layer_counts(config.to_dict()):
        if not 0 <= number <= limit:
            why = f"{key} is {number}, but the files contain {tensors} tensors."
            raise ModelhubError("bad_config", id=files.model_id, why=why)
