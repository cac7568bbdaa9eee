"""Hostile and damaged folders are refused before transformers opens anything in them."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modelhub.errors import ModelhubError
from tests.support import models
from tests.support.loads import failure, run, spec_for

CopyOf = Callable[[str], Path]
Refused = Callable[[], ModelhubError]


@pytest.fixture
def llama(copy_of: CopyOf) -> Path:
    """A tiny Llama for a test to damage."""
    return copy_of("tiny/llama")


@pytest.fixture
def refused(llama: Path, tmp_path: Path) -> Refused:
    """Loads the damaged model, which must fail within 15 seconds, and returns the failure."""

    def check() -> ModelhubError:
        started = time.monotonic()
        error = failure(spec_for("tiny/llama", tmp_path / "models"))
        assert time.monotonic() - started < 15
        return error

    return check


def _write_header(path: Path, header: Any, data: int = 0, length: int | None = None) -> None:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    with path.open("wb") as file:
        file.write((len(text) if length is None else length).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + data)


def _make_index(folder: Path, shard: Any) -> None:
    (folder / "model.safetensors").rename(folder / "shard.safetensors")
    index = {"metadata": {}, "weight_map": {"lm_head.weight": shard}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


@pytest.mark.parametrize(
    "shard",
    [
        "../x.safetensors",
        "/etc/passwd",
        "/etc/x.safetensors",
        "a/b.safetensors",
        "..",
        "",
        ".hidden.safetensors",
        "a\\b.safetensors",
        "evil.bin",
        "a\n.safetensors",
        "x" * 300 + ".safetensors",
        7,
        None,
        ["shard.safetensors"],
    ],
)
def test_an_index_that_names_anything_but_files_of_the_folder(
    llama: Path, refused: Refused, shard: Any
) -> None:
    _make_index(llama, shard)
    assert refused().code == "refused"


def test_an_index_that_names_a_missing_file(llama: Path, refused: Refused) -> None:
    _make_index(llama, "other.safetensors")
    error = refused()
    assert error.code == "missing_shard"
    assert "other.safetensors" in error.message
    assert "Copy the file" in error.hint


@pytest.mark.parametrize("text", ["{}", '{"weight_map": {}}', "[]", "{", ""])
def test_a_damaged_index(llama: Path, refused: Refused, text: str) -> None:
    _make_index(llama, "shard.safetensors")
    (llama / "model.safetensors.index.json").write_text(text)
    assert refused().code == "corrupt_own"


def test_an_index_beyond_its_limit(llama: Path, refused: Refused) -> None:
    _make_index(llama, "shard.safetensors")
    os.truncate(llama / "model.safetensors.index.json", 16_000_001)
    assert refused().code == "refused"


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json", "vocab.txt"])
def test_a_link_is_refused(llama: Path, refused: Refused, tmp_path: Path, name: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    path = llama / name
    if path.exists():
        path.rename(elsewhere)
    else:
        elsewhere.write_text("secret")
    path.symlink_to(elsewhere)
    error = refused()
    assert error.code == "refused"
    assert name in error.message


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json", "tokenizer.model"])
def test_a_pipe_is_refused_without_waiting(llama: Path, refused: Refused, name: str) -> None:
    (llama / name).unlink(missing_ok=True)
    os.mkfifo(llama / name)
    assert refused().code == "refused"


def test_a_folder_in_place_of_the_weights(llama: Path, refused: Refused) -> None:
    (llama / "model.safetensors").unlink()
    (llama / "model.safetensors").mkdir()
    assert refused().code == "missing_weights"


def test_weights_of_another_format_only(llama: Path, refused: Refused) -> None:
    (llama / "model.safetensors").rename(llama / "pytorch_model.bin")
    error = refused()
    assert error.code == "missing_weights"
    assert "pytorch_model.bin" in error.message


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("config.json", 1_000_001),
        ("tokenizer_config.json", 16_000_001),
        ("processor_config.json", 1_000_001),
        ("tokenizer.json", 64_000_001),
    ],
)
def test_files_beyond_their_limits(llama: Path, refused: Refused, name: str, size: int) -> None:
    (llama / name).touch()
    os.truncate(llama / name, size)
    assert refused().code == "refused"


@pytest.mark.parametrize("depth", [66, 100_000])
@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_deep_json(llama: Path, refused: Refused, name: str, depth: int) -> None:
    (llama / name).write_text('{"a": ' * depth + "1" + "}" * depth)
    assert refused().code == "refused"


@pytest.mark.parametrize("text", ["", "{", "nonsense", "[1]", "\udcff"])
def test_a_damaged_config(llama: Path, refused: Refused, text: str) -> None:
    (llama / "config.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert refused().code == "corrupt_own"


@pytest.mark.parametrize(
    "key", ["num_hidden_layers", "n_layer", "encoder_layers", "num_blocks", "decoder_num_layers"]
)
def test_more_layers_than_the_files_can_have(llama: Path, refused: Refused, key: str) -> None:
    settings = json.loads((llama / "config.json").read_text()) | {key: 100_000}
    (llama / "config.json").write_text(json.dumps(settings))
    error = refused()
    assert error.code == "bad_config"
    assert "100000" in error.message


@pytest.mark.parametrize(
    "changes", [{"hidden_size": 2**20}, {"intermediate_size": 2**40}, {"vocab_size": 2**33}]
)
def test_a_model_far_larger_than_its_files(llama: Path, refused: Refused, changes: dict[str, int]) -> None:
    settings = json.loads((llama / "config.json").read_text()) | changes
    (llama / "config.json").write_text(json.dumps(settings))
    assert refused().code == "bad_config"


@pytest.mark.parametrize(
    "changes",
    [
        {"hidden_size": "many"},
        {"num_attention_heads": 0},
        {"rope_parameters": 5},
        {"model_type": None},
        {"model_type": ["llama"]},
        {"num_hidden_layers": -3},
        {"architectures": 5},
    ],
)
def test_settings_that_are_not_valid(llama: Path, refused: Refused, changes: dict[str, Any]) -> None:
    settings = json.loads((llama / "config.json").read_text()) | changes
    (llama / "config.json").write_text(json.dumps(settings))
    assert refused().code == "bad_config"


def test_settings_that_name_code_or_files_are_ignored(llama: Path, tmp_path: Path) -> None:
    evil = {
        "attn_implementation": "evil/kernel",
        "_attn_implementation": "evil/kernel",
        "_attn_implementation_internal": "evil/kernel",
        "transformers_weights": "../../evil.safetensors",
        "auto_map": {"AutoConfig": "evil--code.Config", "AutoModelForCausalLM": "evil--code.Model"},
        "fusion_config": {"patch_embeddings": True},
        "_commit_hash": "x",
    }
    settings = json.loads((llama / "config.json").read_text()) | evil
    (llama / "config.json").write_text(json.dumps(settings))
    _, model = run(spec_for("tiny/llama", tmp_path / "models"))
    assert model.model.config._attn_implementation == "sdpa"
    assert not hasattr(model.model.config, "auto_map")


@pytest.mark.parametrize("value", ["/etc/passwd", "../../secret", "/dev/zero"])
def test_a_tokenizer_must_not_name_a_file_outside_the_folder(
    llama: Path, refused: Refused, tmp_path: Path, value: str
) -> None:
    (tmp_path / "models" / "secret").write_text("secret")
    settings = json.loads((llama / "tokenizer_config.json").read_text()) | {"vocab_file": value}
    (llama / "tokenizer_config.json").write_text(json.dumps(settings))
    assert refused().code == "refused"


@pytest.mark.parametrize("cut", [0, 5, 100, 5000, -1])
def test_a_truncated_file(llama: Path, refused: Refused, cut: int) -> None:
    path = llama / "model.safetensors"
    os.truncate(path, cut if cut >= 0 else path.stat().st_size + cut)
    error = refused()
    assert error.code == "corrupt_own"
    assert "model.safetensors" in error.message
    assert "Replace the file" in error.hint


def test_a_header_beyond_its_limit_is_not_read(llama: Path, refused: Refused) -> None:
    _write_header(llama / "model.safetensors", b"", data=90_000_000, length=80_000_000)
    assert refused().code == "refused"


def test_too_many_tensors(llama: Path, refused: Refused) -> None:
    tensor = {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]}
    _write_header(llama / "model.safetensors", {f"t{number}": tensor for number in range(100_001)})
    assert refused().code == "refused"


def test_a_model_without_a_config(llama: Path, tmp_path: Path) -> None:
    (llama / "config.json").unlink()
    assert failure(spec_for("tiny/llama", tmp_path / "models")).code == "no_config"


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_pointer_of_git_lfs(llama: Path, refused: Refused, name: str) -> None:
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 123456\n"
    (llama / name).write_text(pointer)
    error = refused()
    assert error.code == "lfs_pointer"
    assert name in error.message
    assert "git lfs pull" in error.hint


@pytest.mark.parametrize(
    ("names", "code"),
    [
        (["adapter_config.json", "adapter_model.safetensors"], "adapter"),
        (["model-Q4_K_M.gguf"], "gguf"),
        (["model_index.json"], "diffusers"),
        (["model.safetensors"], "no_config"),
        (["pytorch_model.bin", "config.json"], "missing_weights"),
        (["model.gguf", "config.json"], "gguf"),
        (["README.md"], "hub_unreachable"),
    ],
)
def test_a_folder_of_another_kind(tmp_path: Path, names: list[str], code: str) -> None:
    folder = tmp_path / "models" / "org" / "other"
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).write_text('{"model_type": "llama"}')
    assert failure(spec_for("org/other", tmp_path / "models")).code == code


def test_a_models_own_folder_may_be_a_link(tmp_path: Path) -> None:
    models.make_bert(tmp_path / "other-disk" / "bert")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "bert").symlink_to(tmp_path / "other-disk" / "bert")
    _, model = run(spec_for("bert", tmp_path / "models"))
    assert model.facts["source"] == "folder"
