"""What the settings of a model may name: nothing that lies outside its folder, and no other repository."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modelhub.loader.files.opening import Files

AUDIO_TOKENIZER = "audio_tokenizer_config.json"
# Where transformers looks up a class, what its name must end with: never a model, a trainer or a pipeline.
_CLASSES = {
    "processor_class": ("Processor", "ProcessorWithLM"),
    "image_processor_type": ("Processor", "ProcessorFast", "ProcessorPil", "FeatureExtractor"),
    "feature_extractor_type": ("FeatureExtractor", "Processor"),
    "video_processor_type": ("Processor",),
    "tokenizer_class": ("Tokenizer", "TokenizerFast", "Backend"),
}
# What transformers or a library behind it opens as a path, or fetches.
_OPENED = ("_file", "_files", "_spm", "_path", "_paths", "_dir", "_proto", "_option")
_ALWAYS_OPENED = frozenset(("vocab", "merges", "class_info_file", "gguf_file"))
_OPTIONS = frozenset(("sp_model_kwargs", "mecab_kwargs", "sudachi_kwargs", "jumanpp_kwargs"))
# Where it is known that nothing opens them: they say on which machine the model was made.
_INERT = frozenset((
    "name_or_path", "_name_or_path", "special_tokens_map_file", "tokenizer_file", "base_model_name_or_path",
))  # fmt: skip
_TOKENS = "added_tokens_decoder"
_BACKBONES = (
    "backbone",
    "architecture",
)  # names of timm, which takes "hf-hub:owner/name" and "local-dir:path"


def check_names(files: Files, name: str, settings: dict[str, Any]) -> None:
    """Raise ``refused`` for a setting of a tokenizer or processor that names a file or model elsewhere."""
    inside = os.path.realpath(files.folder)
    for key, value, parents in _strings(settings):
        why = _wrong_name(key, value, parents, inside)
        if why is not None:
            raise files.refuse(name, f"its {key} {why}")
    for table in _tables(settings):
        if table.get("init_inputs"):
            raise files.refuse(name, "its init_inputs may name any file")
        if table.get("audio_tokenizer") is not None and not _is_plain(table["audio_tokenizer"]):
            raise files.refuse(name, "its audio_tokenizer is another model, which is not fetched")


def is_class(key: str, value: str) -> bool:
    """Whether ``value`` may be the class that ``key`` asks for: transformers would take any that it has."""
    return value.isidentifier() and value.endswith(_CLASSES[key]) and not value.startswith("Auto")


def _is_plain(value: Any) -> bool:
    return isinstance(value, bool | int | float)


def _wrong_name(key: str, value: str, parents: tuple[str, ...], inside: str) -> str | None:
    if key in _CLASSES:
        return None if is_class(key, value) else "is not the name of such a class"
    if key in _INERT:
        return None
    if key in _ALWAYS_OPENED:
        return "names a file, and may name any"
    if not _OPTIONS.isdisjoint(parents) and ("/" in value or "\\" in value or key.endswith(_OPENED)):
        return "names a file, and may name any"
    is_opened = key.endswith(_OPENED) or key == "font"
    if is_opened and ".." in Path(value).parts:
        return "names a file outside the model's folder"
    if (is_opened or _is_absolute(value)) and _is_outside(value, inside):
        return "names a file outside the model's folder"
    return None


def _is_absolute(value: str) -> bool:
    """Whether it looks like a path from the root; a token may be a slash, or a word after one."""
    return value.startswith(("/", "~")) and len(Path(value[:4096]).parts) > 2 and "\n" not in value


def _is_outside(value: str, inside: str) -> bool:
    try:
        path = os.path.expanduser(value)
        return os.path.lexists(path) and not os.path.realpath(path).startswith(inside + os.sep)
    except (OSError, ValueError):
        return False  # too long, or a zero byte: nothing can open it


def check_backbones(files: Files, name: str, settings: dict[str, Any]) -> None:
    """Raise ``refused`` for a backbone that would be fetched, or read from elsewhere, to build the model."""
    for table in _tables(settings):
        for key in _BACKBONES:
            value = table.get(key)
            is_used = not isinstance(table.get("backbone_config"), dict)
            if isinstance(value, str) and (":" in value or ("/" in value and is_used)):
                raise files.refuse(name, f"its {key} is in another repository, which is not fetched")


def _tables(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for key, child in value.items():
            if key != _TOKENS and isinstance(child, dict | list):
                yield from _tables(child)
    elif isinstance(value, list):
        for child in value:
            yield from _tables(child)


def _strings(
    value: Any, key: str = "", parents: tuple[str, ...] = ()
) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Every string with the key that it stands under, and the keys above that."""
    if isinstance(value, str):
        yield key, value, parents
    elif isinstance(value, dict):
        for inner, child in value.items():
            if inner == _TOKENS:  # up to 65,536 tables of what a token is
                continue
            yield from _strings(child, inner, (*parents, key))
    elif isinstance(value, list):
        for child in value:
            yield from _strings(child, key, parents)
