"""Step 2: loads the tokenizer, processor, image processor or feature extractor that the model has."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any, NamedTuple

from transformers import AutoFeatureExtractor, AutoImageProcessor, AutoProcessor, AutoTokenizer
from transformers.models.auto.feature_extraction_auto import FEATURE_EXTRACTOR_MAPPING_NAMES
from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING_NAMES
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING_NAMES
from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING_NAMES

from modelhub.errors import ModelhubError
from modelhub.loader import processor_bounds
from modelhub.loader.explain import explain_package, one_line
from modelhub.loader.files.inspection import read_settings, subfolders
from modelhub.loader.files.named import is_class
from modelhub.loader.files.opening import CONFIG, Files, read_json
from modelhub.loader.files.tokenizer_files import check_tokenizer
from modelhub.loader.panics import panics_as_errors
from modelhub.loader.tokenizer_json import added_tokens_only
from modelhub.loader.without_hub import without_hub
from modelhub.loader.without_torchvision import (
    NOTE,
    NoVideoProcessor,
    class_without_video,
    image_class,
    load_without_video,
)

_TOKENIZER_CONFIG = "tokenizer_config.json"
_PREPROCESSORS = ("preprocessor_config.json", "processor_config.json")
_VIDEO = "video_preprocessor_config.json"
_TOKENIZERS = frozenset((
    "tokenizer_config.json", "tokenizer.json", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model",
    "vocab.txt", "vocab.json",
))  # fmt: skip
_PAIRS = ("vision-encoder-decoder",)
_BASES = {
    "tokenizer": {"PreTrainedTokenizerBase"},
    "image_processor": {"ImageProcessingMixin"},
    "feature_extractor": {"FeatureExtractionMixin"},
    "processor": {"ProcessorMixin"},
}


class Pair(NamedTuple):
    """What a model has instead of a processor, where transformers has no class that holds both."""

    image_processor: Any
    tokenizer: Any


def load_processor(files: Files, names: frozenset[str], config: Any) -> Any | None:
    """The object that converts text, images or audio into the model's inputs; None if the model has none.

    Raises ``bad_tokenizer``, ``needs_package`` if it needs a package that is not installed, ``files_gone``.
    """
    loader = choose_loader(files, names, config)
    if loader is None:
        return None
    _check_settings(files, names, config)
    try:
        with added_tokens_only(), without_hub(), panics_as_errors():
            processor = _load(loader, files, names, config)
            _check_parts(files, processor)
            return processor
    except ModelhubError:
        raise
    except Exception as error:
        why = one_line(error, files.folder)
        bad = ModelhubError("bad_tokenizer", id=files.model_id, why=why)
        raise explain_package(error, files.model_id) or files.gone(names) or bad from error


def _check_settings(files: Files, names: frozenset[str], config: Any) -> None:
    """Raise ``refused`` for files from which a tokenizer or processor could be made at a great cost only."""
    for name in (*_PREPROCESSORS, _VIDEO):
        if name in names:
            processor_bounds.check_settings(files, name, read_json(files, name))
    named = getattr(config, "tokenizer_class", None)
    if isinstance(named, str) and not is_class("tokenizer_class", named):
        raise files.refuse(CONFIG, "its tokenizer_class is not the name of such a class")
    check_tokenizer(files, names, _tokenizer_settings(files, names))
    for below in subfolders(files):
        part = replace(files, folder=files.folder / below)
        inside = frozenset(os.listdir(part.folder))
        check_tokenizer(part, inside, _tokenizer_settings(part, inside))


def _tokenizer_settings(files: Files, names: frozenset[str]) -> dict[str, Any]:
    return read_settings(files, _TOKENIZER_CONFIG) if _TOKENIZER_CONFIG in names else {}


def _check_parts(files: Files, processor: Any) -> None:
    """Raise ``bad_tokenizer`` where the first inputs would be too large."""
    names = ("image_processor", "feature_extractor", "audio_processor", "video_processor")
    parts = [part for name in names if (part := getattr(processor, name, None)) is not None]
    if not isinstance(processor, Pair) and not hasattr(processor, "convert_tokens_to_ids"):
        parts.append(processor)
    processor_bounds.check_parts(files.model_id, parts)


def _load(loader: Any, files: Files, names: frozenset[str], config: Any) -> Any:
    if loader is AutoProcessor:
        found = class_without_video(_settings(files, names), config)
        if found is not None:
            return load_without_video(found, files.folder, config)
    options = {"config": config, "trust_remote_code": False, "local_files_only": True}
    if loader is not AutoImageProcessor:
        return loader.from_pretrained(files.folder, **options)
    if (own := image_class(_settings(files, names))) is not None:
        return own.from_pretrained(files.folder, local_files_only=True)
    images = loader.from_pretrained(files.folder, **options)
    if config.model_type in _PAIRS and names & _TOKENIZERS:
        return Pair(images, AutoTokenizer.from_pretrained(files.folder, **options))
    return images


def left_out(processor: Any) -> str:
    """A sentence about the parts that a processor lacks here, or nothing."""
    return NOTE if isinstance(getattr(processor, "video_processor", None), NoVideoProcessor) else ""


def _settings(files: Files, names: frozenset[str]) -> dict[str, Any]:
    """The settings of the processor, of all files that may hold some."""
    settings: dict[str, Any] = {}
    for name in _PREPROCESSORS:
        if name in names:
            settings |= read_json(files, name)
    return settings


def choose_loader(files: Files, names: frozenset[str], config: Any) -> Any | None:
    """The Auto class of transformers for the model's files, or None."""
    model_type = config.model_type
    has_tokenizer = bool(names & _TOKENIZERS)
    if not names.isdisjoint(_PREPROCESSORS):
        settings = _settings(files, names)
        if has_tokenizer and ("processor_class" in settings or model_type in PROCESSOR_MAPPING_NAMES):
            return AutoProcessor
        if "image_processor_type" in settings or model_type in IMAGE_PROCESSOR_MAPPING_NAMES:
            return AutoImageProcessor
        if "feature_extractor_type" in settings or model_type in FEATURE_EXTRACTOR_MAPPING_NAMES:
            return AutoFeatureExtractor
    if has_tokenizer and (model_type in TOKENIZER_MAPPING_NAMES or "tokenizer.json" in names):
        return AutoTokenizer
    return None


def processor_part(processor: Any, name: str) -> Any | None:
    """The tokenizer, image_processor or feature_extractor of what ``load_processor`` returned, or None."""
    if isinstance(processor, Pair):
        return getattr(processor, name, None)
    bases = {base.__name__ for base in type(processor).__mro__}
    if bases & _BASES[name]:
        return processor
    return getattr(processor, name, None) if bases & _BASES["processor"] else None


def has_chat_template(processor: Any) -> bool:
    """Whether what ``load_processor`` returned turns the messages of a chat into one text."""
    holders = (processor, processor_part(processor, "tokenizer"))
    return any(getattr(holder, "chat_template", None) for holder in holders)
