"""What the names of the files in a folder say about loading it."""

from __future__ import annotations

import pytest

from modelhub import formats


@pytest.mark.parametrize(
    ("names", "whole", "partial"),
    [
        ("config.json model.safetensors", None, None),
        ("config.json model.safetensors.index.json", None, None),
        ("config.json model.safetensors adapter_config.json", None, None),
        ("config.json model.safetensors x.gguf", None, None),
        ("adapter_config.json adapter_model.safetensors", "adapter", "adapter"),
        ("model_index.json", "diffusers", "diffusers"),
        ("x-Q4_K_M.gguf", "gguf", "gguf"),
        ("config.json x-00001-of-00002.gguf", "gguf", "gguf"),
        ("model.safetensors", "no_config", None),
        ("tokenizer.json", "no_config", None),
        ("config.json", "missing_weights", None),
        ("config.json training_args.bin", "missing_weights", None),
        ("config.json pytorch_model.bin", "missing_weights", "missing_weights"),
        ("config.json consolidated.safetensors", "missing_weights", None),
    ],
)
def test_names_rule_a_load_out(names: str, whole: str | None, partial: str | None) -> None:
    for may_be_partial, code in ((False, whole), (True, partial)):
        error = formats.cannot_load("org/name", names.split(), may_be_partial)
        assert (error and error.code) == code


def test_an_adapter_names_its_base_model() -> None:
    assert "Load its base model, org/base;" in formats.adapter("a", "org/base").hint
    assert "Load its base model;" in formats.adapter("a", "/home/someone/base").hint
    assert "merge_and_unload" in formats.adapter("a").hint


def test_a_folder_of_a_model_is_told_apart_from_that_of_an_organization() -> None:
    assert formats.looks_like_model(["README.md", "x.gguf"])
    assert not formats.looks_like_model(["README.md", "name"])
