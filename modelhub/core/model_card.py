"""What a model's own files say of it, read without loading it: architecture, sizes, chat template."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from modelhub import formats
from modelhub.core.obstacles import SMALL_BYTES, read_json, read_text
from modelhub.core.pauses import Pauses

_TOKENIZER = "tokenizer_config.json"
_TEMPLATE = "chat_template.jinja"
_OLD_TEMPLATE = "chat_template.json"
_WITH_TEMPLATE = (_TOKENIZER, _TEMPLATE, _OLD_TEMPLATE)
_TOKENIZER_BYTES = 4 * SMALL_BYTES
_LENGTHS = ("max_position_embeddings", "n_positions", "max_sequence_length", "seq_length")
_GENERATES = ("ForCausalLM", "LMHeadModel")
_SPEAKS_OF_IMAGES = "ForConditionalGeneration"
_PLAIN = "Model"
_MOST_CARDS, _MOST_TEMPLATES = 5_000, 100  # that are kept; a template takes some kilobytes


class ModelCard(NamedTuple):
    """What the configuration of a model says; what it does not is empty or None.

    ``task`` is one of ``modelhub.tasks`` as far as the name of the architecture tells for certain, which is
    known of few: the snapshot of a loaded model has the task of any.
    """

    model_type: str = ""
    architecture: str = ""
    task: str | None = None
    context_length: int | None = None  # tokens
    embedding_length: int | None = None  # numbers
    layers: int | None = None
    heads: int | None = None
    modified_at: float = 0.0  # Unix seconds


_Signature = tuple[tuple[str, int, int], ...]
_cards: dict[Path, tuple[_Signature, ModelCard]] = {}
_templates: dict[Path, tuple[_Signature, str]] = {}


def read_card(folder: Path | None) -> ModelCard:
    """The card of the model whose files are in ``folder``; an empty one where it has none."""
    if folder is None or not (signature := _signature(folder, (formats.CONFIG,))):
        return ModelCard()
    known = _cards.get(folder)
    if known is None or known[0] != signature:
        _forget_oldest(_cards, _MOST_CARDS)
        known = _cards[folder] = (signature, _read(folder, signature[0][1] / 1e9))
    return known[1]


def read_template(folder: Path | None) -> str:
    """The chat template of the model whose files are in ``folder``, a program in Jinja; empty without one."""
    if folder is None or not (signature := _signature(folder, _WITH_TEMPLATE)):
        return ""
    known = _templates.get(folder)
    if known is None or known[0] != signature:
        _forget_oldest(_templates, _MOST_TEMPLATES)
        known = _templates[folder] = (signature, _find_template(folder, Pauses()))
    return known[1]


def _forget_oldest(kept: dict[Path, Any], most: int) -> None:
    while len(kept) >= most:
        kept.pop(next(iter(kept)), None)


def _signature(folder: Path, names: Iterable[str]) -> _Signature:
    """What changes with the files of these names: those that there are, when and how large."""
    found = []
    for name in names:
        try:
            status = os.stat(folder / name)
        except OSError:
            continue
        found.append((name, status.st_mtime_ns, status.st_size))
    return tuple(found)


def _read(folder: Path, modified_at: float) -> ModelCard:
    config = read_json(folder / formats.CONFIG, SMALL_BYTES, Pauses())
    text = config.get("text_config")
    both = {**config, **text} if isinstance(text, dict) else config
    architecture = _first_text(config.get("architectures"))
    return ModelCard(
        model_type=_text(config.get("model_type")),
        architecture=architecture,
        task=_task(architecture, config),
        context_length=next((size for name in _LENGTHS if (size := _whole(both.get(name)))), None),
        embedding_length=_whole(both.get("hidden_size") or both.get("n_embd") or both.get("d_model")),
        layers=_whole(both.get("num_hidden_layers") or both.get("n_layer") or both.get("num_layers")),
        heads=_whole(both.get("num_attention_heads") or both.get("n_head") or both.get("num_heads")),
        modified_at=modified_at,
    )


def _task(architecture: str, config: Mapping[str, Any]) -> str | None:
    has_vision = isinstance(config.get("vision_config"), dict)
    if architecture.endswith(_GENERATES):
        return "text-generation"
    if architecture.endswith(_SPEAKS_OF_IMAGES) and has_vision:
        return "image-text-to-text"
    is_encoder = not (has_vision or config.get("is_encoder_decoder") or "audio_config" in config)
    hears = "num_mel_bins" in config or "conv_dim" in config
    reads_text = _whole(config.get("vocab_size")) is not None and not hears
    return "feature-extraction" if architecture.endswith(_PLAIN) and is_encoder and reads_text else None


def _find_template(folder: Path, pause: Pauses) -> str:
    """The chat template, wherever transformers would look for it; the default one of several."""
    if text := read_text(folder / _TEMPLATE, SMALL_BYTES, pause):
        return text
    for name, limit in ((_TOKENIZER, _TOKENIZER_BYTES), (_OLD_TEMPLATE, SMALL_BYTES)):
        found = read_json(folder / name, limit, pause).get("chat_template")
        if isinstance(found, list):
            named = {one.get("name"): one.get("template") for one in found if isinstance(one, dict)}
            found = named.get("default")
        if isinstance(found, str) and found:
            return found
    return ""


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _first_text(value: object) -> str:
    return _text(value[0]) if isinstance(value, list) and value else ""


def _whole(value: object) -> int | None:
    """A whole number of a configuration, if it is one that can be meant."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**53 else None
