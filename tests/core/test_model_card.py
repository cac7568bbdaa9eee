"""What a model's own files say of it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from modelhub.core.model_card import ModelCard, read_card, read_template

TEMPLATE = "{{ messages }}"
LLAMA = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "max_position_embeddings": 4096}


def write(folder: Path, **files: Any) -> Path:
    """Write files, named without their ends: JSON, or text as it is."""
    folder.mkdir(exist_ok=True)
    for name, value in files.items():
        path = folder / (f"{name}.jinja" if isinstance(value, str) else f"{name}.json")
        path.write_text(value if isinstance(value, str) else json.dumps(value))
    return folder


def test_the_numbers_of_a_configuration(tmp_path: Path) -> None:
    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    card = read_card(write(tmp_path, config={**LLAMA, **sizes}))
    assert (card.model_type, card.architecture, card.task) == ("llama", "LlamaForCausalLM", "text-generation")
    assert (card.context_length, card.embedding_length, card.layers, card.heads) == (4096, 64, 2, 4)
    assert card.modified_at == pytest.approx((tmp_path / "config.json").stat().st_mtime)
    assert read_template(tmp_path) == ""


def test_those_of_the_part_that_reads_text_count(tmp_path: Path) -> None:
    config = {
        "architectures": ["LlavaForConditionalGeneration"],
        "text_config": {"n_positions": 512},
        "vision_config": {},
    }
    card = read_card(write(tmp_path, config=config))
    assert (card.task, card.context_length) == ("image-text-to-text", 512)


@pytest.mark.parametrize(
    "files",
    [
        {"chat_template": TEMPLATE, "tokenizer_config": {"chat_template": "another"}},
        {"tokenizer_config": {"chat_template": TEMPLATE}},
        {
            "tokenizer_config": {
                "chat_template": [
                    {"name": "tool_use", "template": "another"},
                    {"name": "default", "template": TEMPLATE},
                ]
            }
        },
        {"chat_template": {"chat_template": TEMPLATE}},
    ],
)
def test_the_chat_template_is_found_where_transformers_looks(tmp_path: Path, files: dict[str, Any]) -> None:
    assert read_template(write(tmp_path, config=LLAMA, **files)) == TEMPLATE


@pytest.mark.parametrize(
    ("config", "task"),
    [
        ({"architectures": ["GPT2LMHeadModel"]}, "text-generation"),
        ({"architectures": ["BertModel"], "vocab_size": 100}, "feature-extraction"),
        ({"architectures": ["Wav2Vec2Model"], "vocab_size": 32, "conv_dim": [1]}, None),
        ({"architectures": ["WhisperForConditionalGeneration"], "num_mel_bins": 80}, None),
        ({"architectures": ["T5Model"], "vocab_size": 100, "is_encoder_decoder": True}, None),
        ({"architectures": ["BertForMaskedLM"], "vocab_size": 100}, None),
        ({"architectures": [3]}, None),
        ({}, None),
    ],
)
def test_the_task_is_said_only_where_the_name_is_enough(
    tmp_path: Path, config: dict[str, Any], task: str | None
) -> None:
    assert read_card(write(tmp_path, config=config)).task == task


@pytest.mark.parametrize(
    "config", [[], "{", {"model_type": 3, "max_position_embeddings": True, "hidden_size": -1, "n_layer": "x"}]
)
def test_what_cannot_be_used_is_left_out(tmp_path: Path, config: Any) -> None:
    write(tmp_path)
    (tmp_path / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    assert read_card(tmp_path)._replace(modified_at=0.0) == ModelCard()


def test_a_folder_that_is_not_there_has_an_empty_card(tmp_path: Path) -> None:
    assert read_card(tmp_path / "none") == read_card(None) == ModelCard()
    assert read_template(tmp_path / "none") == read_template(None) == ""


def test_files_that_change_are_read_again(tmp_path: Path) -> None:
    first = read_card(write(tmp_path, config=LLAMA, chat_template="old"))
    assert read_card(tmp_path) is first
    assert read_template(tmp_path) == "old"
    write(tmp_path, config={**LLAMA, "max_position_embeddings": 8192}, chat_template="a new one")
    assert read_template(tmp_path) == "a new one"
    os.utime(tmp_path / "config.json", (1, 1))  # the clock of files may not have moved on
    assert read_card(tmp_path).context_length == 8192


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "config.json")
    assert read_card(tmp_path).model_type == ""
