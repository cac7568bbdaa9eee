"""Which configurations are plausible; models that read images and text, whose settings look unusual."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from transformers import CONFIG_MAPPING, LlamaConfig, SwinConfig

from modelhub.errors import ModelhubError
from modelhub.loader import configuration
from modelhub.loader.configuration import check_plausible, read_config
from modelhub.loader.files.opening import Files
from tests.support import vision_language
from tests.support.loads import run, spec_for

FILES = Files("org/name", Path("none"))


def test_every_default_configuration_of_transformers_is_plausible() -> None:
    refused, checked = [], 0
    for model_type in CONFIG_MAPPING:
        try:
            config: Any = CONFIG_MAPPING[model_type]()
        except Exception:  # noqa: S112 - a configuration that needs arguments has no default
            continue
        checked += 1
        try:
            check_plausible(FILES, config, ())
        except ModelhubError as error:
            refused.append(f"{model_type}: {error.message}")
    assert refused == []
    assert checked > 500


def test_no_file_is_made_on_a_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    LlamaConfig(hidden_size=96).save_pretrained(tmp_path)
    memory = tmp_path / "memory"
    memory.mkdir()
    monkeypatch.setattr(configuration, "_IN_MEMORY", str(memory))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    assert read_config(Files("org/name", tmp_path)).hidden_size == 96
    assert list(memory.iterdir()) == [], "what was made is gone"


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
