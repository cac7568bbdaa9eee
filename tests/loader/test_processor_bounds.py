"""Every processor of transformers is within the bounds, with its defaults."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import transformers
from transformers.models.auto.feature_extraction_auto import FEATURE_EXTRACTOR_MAPPING_NAMES
from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING_NAMES
from transformers.models.auto.video_processing_auto import VIDEO_PROCESSOR_MAPPING_NAMES

from modelhub.errors import ModelhubError
from modelhub.loader.files.named import check_names
from modelhub.loader.files.opening import Files
from modelhub.loader.processor_bounds import check_parts, check_settings

FILES = Files("org/name", Path("none"))


def _class_names() -> set[str]:
    mappings = (IMAGE_PROCESSOR_MAPPING_NAMES, FEATURE_EXTRACTOR_MAPPING_NAMES, VIDEO_PROCESSOR_MAPPING_NAMES)
    found: set[str] = set()
    for value in (value for mapping in mappings for value in mapping.values()):
        names = value.values() if isinstance(value, dict) else value if isinstance(value, tuple) else (value,)
        found |= {name for name in names if name}
    return found


def _defaults() -> dict[str, Any]:
    made = {}
    for name in sorted(_class_names()):
        try:
            made[name] = getattr(transformers, name)()
        except (ImportError, TypeError):  # it needs a package, or arguments
            continue
    return made


def test_every_default_processor_is_within_the_bounds() -> None:
    refused, processors = [], _defaults()
    for name, processor in processors.items():
        settings = json.loads(processor.to_json_string())
        try:
            check_parts("org/name", [processor])
            check_settings(FILES, "preprocessor_config.json", settings)
            check_names(FILES, "preprocessor_config.json", settings)
        except ModelhubError as error:
            refused.append(f"{name}: {error.message}")
    assert refused == []
    assert len(processors) > 200


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("CLIPImageProcessorPil", {"size": {"shortest_edge": 2800}}),
        ("DonutImageProcessorPil", {"size": {"height": 2560, "width": 1920}}),
        ("Qwen2VLImageProcessorPil", {"size": {"shortest_edge": 2**18, "longest_edge": 2**25}}),
        ("WhisperFeatureExtractor", {"feature_size": 128, "chunk_length": 60}),
        ("Wav2Vec2FeatureExtractor", {"sampling_rate": 192_000}),
    ],
)
def test_what_published_processors_have(name: str, settings: dict[str, Any]) -> None:
    check_settings(FILES, "preprocessor_config.json", settings)
    check_parts("org/name", [getattr(transformers, name)(**settings)])


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("CLIPImageProcessorPil", {"size": {"shortest_edge": 2900}}),
        ("CLIPImageProcessorPil", {"size": {"shortest_edge": 2**18, "longest_edge": 2**25}}),
        ("ViTImageProcessorPil", {"size": {"height": 4000, "width": 3000}}),
        ("Qwen2VLImageProcessorPil", {"size": {"shortest_edge": 2**24, "longest_edge": 2**25}}),
        ("ConvNextImageProcessorPil", {"crop_pct": 0.001}),
        ("WhisperFeatureExtractor", {"hop_length": 1}),
        ("Wav2Vec2FeatureExtractor", {"sampling_rate": 3 * 10**8}),
        ("ASTFeatureExtractor", {"max_length": 10**7}),
    ],
)
def test_what_makes_too_much_of_a_small_input(name: str, settings: dict[str, Any]) -> None:
    with pytest.raises(ModelhubError) as caught:
        check_parts("org/name", [getattr(transformers, name)(**settings)])
    assert caught.value.code == "bad_tokenizer"
