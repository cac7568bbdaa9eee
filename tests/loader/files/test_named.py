"""What settings may name, and what they may not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from modelhub.errors import ModelhubError
from modelhub.loader.files.named import check_backbones, check_names, is_class
from modelhub.loader.files.opening import Files


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """A folder with a vocabulary, beside a file that is not the model's."""
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "vocab.txt").write_text("a")
    return Files("org/name", tmp_path / "model")


def _refused(files: Files, settings: dict[str, Any]) -> str:
    with pytest.raises(ModelhubError) as caught:
        check_names(files, "tokenizer_config.json", settings)
    assert caught.value.code == "refused"
    return caught.value.message


@pytest.mark.parametrize(
    "settings",
    [
        {"name_or_path": "/etc/passwd", "special_tokens_map_file": "/etc/passwd", "tokenizer_file": None},
        {"bos_token": "/", "eos_token": {"content": "/usr", "lstrip": False}, "pad_token": "//"},
        {"chat_template": "{% for m in messages %}\n/etc/passwd\n{% endfor %}"},
        {"tokenizer_class": "LlamaTokenizerFast", "processor_class": "Wav2Vec2ProcessorWithLM"},
        {"tokenizer_class": None, "vocab_file": None, "vocab": {"a": 0}, "merges": []},
        {"added_tokens_decoder": {"0": {"content": "/etc/passwd"}}},
        {"sp_model_kwargs": {"enable_sampling": True, "alpha": 0.1, "out_type": "int"}},
        {"mecab_kwargs": {"mecab_dic": "unidic_lite"}},
        {"image_processor_type": "CLIPFeatureExtractor", "feature_extractor_type": "WhisperFeatureExtractor"},
        {"vocab_file": "vocab.txt", "fast_tokenizer_files": ["tokenizer.4.0.json"], "audio_tokenizer": None},
        {"weights_dir": "/home/somebody/else/who/trained/it", "anything": "x" * 100_000},
    ],
)
def test_what_published_models_say(files: Files, settings: dict[str, Any]) -> None:
    check_names(files, "tokenizer_config.json", settings)


def test_a_file_outside_is_refused_under_any_name(files: Files) -> None:
    outside = str(files.folder.parent / "secret")
    for key in ("vocab_file", "font", "weights_path", "cache_dir", "whatever"):
        message = _refused(files, {"a": [{"b": {key: outside}}]})
        assert f"its {key} names a file outside" in message
        assert "secret" not in message


def test_a_file_inside_may_be_named_by_its_whole_path(files: Files) -> None:
    check_names(files, "tokenizer_config.json", {"vocab_file": str(files.folder / "vocab.txt")})


@pytest.mark.parametrize(
    "value", ["AutoModel", "AutoTokenizer", "Trainer", "pipeline", "os.Tokenizer", "../Tokenizer"]
)
def test_only_tokenizers_are_tokenizers(files: Files, value: str) -> None:
    assert not is_class("tokenizer_class", value)
    _refused(files, {"tokenizer_class": value})


@pytest.mark.parametrize(
    ("settings", "is_refused"),
    [
        ({"backbone": "evil/repo"}, True),
        ({"text": {"deep": [{"backbone": "evil/repo", "backbone_config": None}]}}, True),
        ({"backbone": "hf-hub:evil/repo", "backbone_config": {}}, True),
        ({"architecture": "local-dir:/tmp"}, True),
        ({"backbone": "resnet50", "use_timm_backbone": True}, False),
        ({"backbone": "microsoft/resnet-50", "backbone_config": {"model_type": "resnet"}}, False),
        ({"backbone": None}, False),
        ({"architecture": "resnet18.a1_in1k"}, False),
    ],
)
def test_a_backbone_of_another_repository(files: Files, settings: dict[str, Any], is_refused: bool) -> None:
    if not is_refused:
        check_backbones(files, "config.json", settings)
        return
    with pytest.raises(ModelhubError) as caught:
        check_backbones(files, "config.json", settings)
    assert caught.value.code == "refused"
