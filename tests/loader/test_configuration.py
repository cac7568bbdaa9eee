"""Which configurations are plausible; models that read images and text, whose settings look unusual."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
import transformers
from huggingface_hub.errors import StrictDataclassError
from transformers import CONFIG_MAPPING, AutoConfig, DetrForObjectDetection, LlamaConfig, SwinConfig

from modelhub.errors import ModelhubError
from modelhub.loader.configuration import check_plausible, read_config
from modelhub.loader.files.inspection import check_config
from modelhub.loader.files.opening import Files
from modelhub.loader.without_hub import without_hub
from tests.support import vision_language
from tests.support.hub_server import HubServer
from tests.support.loads import run, spec_for

FILES = Files("org/name", Path("none"))


def test_every_default_configuration_of_transformers_is_plausible() -> None:
    refused, checked = [], 0
    for model_type in CONFIG_MAPPING:
        try:
            with without_hub():
                config: Any = CONFIG_MAPPING[model_type]()
        except (ValueError, StrictDataclassError):  # nougat and gemma4_assistant need arguments
            continue
        checked += 1
        try:
            check_config(FILES, config.to_dict())
            check_plausible(FILES, config, ())
        except ModelhubError as error:
            refused.append(f"{model_type}: {error.message}")
    assert refused == []
    assert checked > 795


@pytest.mark.parametrize(
    ("settings", "is_refused"),
    [
        ({"num_hidden_layers": 10_001}, True),
        ({"num_hidden_layers": -10_001}, True),
        ({"num_hidden_layers": float("nan")}, True),
        ({"text_config": {"deep": [{"n_layer": 1e9}]}}, True),
        ({"depths": [5000, 5001]}, True),
        ({"num_labels": 100_001}, True),
        ({"architectures": ["A"] * 65}, True),
        ({"vision_feature_layer": -1, "vision_feature_layers": [-2, -5, -8]}, False),
        ({"num_labels": 21_841, "vocab_size": 901_629, "max_position_embeddings": 10_485_760}, False),
        ({"num_attention_heads_per_layer": [64] * 200, "moe_layers": list(range(100))}, False),
        ({"architectures": None}, False),
    ],
)
def test_what_a_configuration_counts(settings: dict[str, Any], is_refused: bool) -> None:
    if not is_refused:
        check_config(FILES, settings)
        return
    with pytest.raises(ModelhubError) as caught:
        check_config(FILES, settings)
    assert caught.value.code == "bad_config"


def test_a_message_of_transformers_has_no_path(tmp_path: Path) -> None:
    settings = {"model_type": "llama", "hidden_size": "/etc/passwd of somebody"}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    with pytest.raises(ModelhubError) as caught:
        read_config(Files("org/name", tmp_path))
    assert caught.value.code == "bad_config"
    assert "/" not in caught.value.message.replace("org/name", "")


def test_a_backbone_of_timm_is_not_looked_for_on_the_hub(
    tmp_path: Path, hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"model_type": "detr", "backbone": "resnet50", "use_timm_backbone": False}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    monkeypatch.setattr(transformers.utils.hub.hf_api(), "endpoint", hub.url)
    with pytest.raises(ImportError, match="timm"):
        DetrForObjectDetection(read_config(Files("org/name", tmp_path)))
    assert hub.requests == []
    AutoConfig.from_pretrained(tmp_path)
    assert len(hub.requests) > 0, "transformers alone asks"


def test_no_file_is_made_on_a_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    LlamaConfig(hidden_size=96).save_pretrained(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    assert read_config(Files("org/name", tmp_path)).hidden_size == 96


@pytest.mark.parametrize(
    "config",
    [
        LlamaConfig(num_hidden_layers=100_000),
        LlamaConfig(num_hidden_layers=257),
        LlamaConfig(num_hidden_layers=-1),
        SwinConfig(depths=[100_000, 2]),
        SwinConfig(depths=[250] * 1000),
    ],
)
def test_more_layers_than_the_files_could_fill(config: Any) -> None:
    with pytest.raises(ModelhubError) as caught:
        check_plausible(FILES, config, ())
    assert caught.value.code == "bad_config"


@pytest.mark.parametrize("family", sorted(vision_language.FAMILIES))
def test_each_family_of_models_for_images_and_text_loads(tmp_path: Path, family: str) -> None:
    vision_language.make(family, tmp_path / "tiny" / family)
    _, loaded = run(spec_for(f"tiny/{family}", tmp_path))
    assert loaded.model.config.model_type == family
    assert loaded.facts["task"] == "image-text-to-text"
