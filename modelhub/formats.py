"""Which folders of files can be loaded, judged by the names of the files and a few of their bytes."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from modelhub.errors import ModelhubError
from modelhub.model_ids import parse_model_id

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
ADAPTER = "adapter_config.json"
PIPELINE = "model_index.json"
_SHARD = re.compile(r"model-\d{5}-of-\d{5}\.safetensors")
MAX_POINTER_BYTES = 1024
_POINTER = b"version https://git-lfs.github.com/spec/"
_OTHER_WEIGHTS = (".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".onnx", ".gguf")
_ALL_WEIGHTS = (".safetensors", *_OTHER_WEIGHTS)


def shards(names: Iterable[str]) -> list[str]:
    """Those of the names that look like the weight files that an index lists."""
    return sorted(filter(_SHARD.fullmatch, names))


def cannot_load(model_id: str, names: Collection[str], may_be_partial: bool = False) -> ModelhubError | None:
    """The error of a load of a folder with files of these names; None where they do not rule it out.

    With ``may_be_partial`` a file that is missing rules nothing out, since a load fetches it; what another
    format left behind does. The codes: ``adapter``, ``diffusers``, ``gguf``, ``no_config``,
    ``missing_weights``.
    """
    has_weights = WEIGHTS in names or INDEX in names
    if CONFIG in names and has_weights:
        return None
    if ADAPTER in names:
        return adapter(model_id)
    if PIPELINE in names:
        return ModelhubError("diffusers", id=model_id)
    if not has_weights and any(name.endswith(".gguf") for name in names):
        return ModelhubError("gguf", id=model_id)
    ends = _OTHER_WEIGHTS if may_be_partial else _ALL_WEIGHTS
    others = sorted(name for name in names if name.endswith(ends) and name != "training_args.bin")
    if may_be_partial and (has_weights or not others):
        return None
    if CONFIG not in names and not may_be_partial:
        return ModelhubError("no_config", id=model_id)
    why = f"it has only {others[0]}." if others else f"it has no {WEIGHTS}."
    return ModelhubError("missing_weights", id=model_id, why=why)


def adapter(model_id: str, base: object = None) -> ModelhubError:
    """The error of a load of an adapter; ``base`` is the model that its adapter_config.json names."""
    try:
        todo = f"Load its base model, {'@'.join(filter(None, parse_model_id(base)))}"
    except ModelhubError:  # none, or a folder on the machine on which it was trained
        todo = "Load its base model"
    return ModelhubError("adapter", id=model_id, todo=todo)


def looks_like_model(names: Collection[str]) -> bool:
    """Whether a folder is that of a model, loadable or not, rather than that of an organization."""
    return any(name in (CONFIG, ADAPTER, PIPELINE) or name.endswith(_ALL_WEIGHTS) for name in names)


def is_pointer(head: bytes) -> bool:
    """Whether a file that begins with ``head`` is the pointer that Git LFS leaves for a file not fetched.

    Source: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md
    """
    return head.startswith(_POINTER)
