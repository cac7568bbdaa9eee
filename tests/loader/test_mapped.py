"""assemble_mapped gives what from_pretrained gives, bit for bit, or None where it cannot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from modelhub.checkpoints import LoadSpec
from modelhub.loader import configuration, mapped, strategy
from modelhub.loader.background import Cancel
from modelhub.loader.files import inspection, source, weight_files
from modelhub.loader.forward import build_inputs
from modelhub.loader.reading.reader import Reader
from tests.support import models

TEXT = {
    "vocab_size": 99,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
}
GPT2 = {"vocab_size": 99, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
T5 = {"vocab_size": 99, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4}
BART = {
    "vocab_size": 99,
    "d_model": 32,
    **{f"{part}_{name}": value for part in ("encoder", "decoder") for name, value in
       {"layers": 1, "attention_heads": 2, "ffn_dim": 48}.items()},
}  # fmt: skip
TOKENS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
HEADS = {"head_dim": 8, "num_key_value_heads": 2}
ARCHITECTURES: dict[str, tuple[dict[str, Any], str]] = {
    "LlamaForCausalLM": (TEXT | HEADS | TOKENS, "bfloat16"),
    "MistralForCausalLM": (TEXT | HEADS | TOKENS, "bfloat16"),
    "Qwen2ForCausalLM": (TEXT | TOKENS | {"num_key_value_heads": 2, "tie_word_embeddings": True}, "bfloat16"),
    "Qwen3ForCausalLM": (TEXT | HEADS | TOKENS, "float16"),
    "GemmaForCausalLM": (TEXT | HEADS | TOKENS, "bfloat16"),
    "Gemma2ForCausalLM": (TEXT | HEADS | TOKENS, "float32"),
    "Phi3ForCausalLM": (TEXT | TOKENS, "bfloat16"),
    "GPT2LMHeadModel": (GPT2 | {"bos_token_id": 1, "eos_token_id": 2}, "float32"),
    "OPTForCausalLM": (TEXT | TOKENS | {"ffn_dim": 48, "word_embed_proj_dim": 32}, "float16"),
    "BertForMaskedLM": (TEXT, "float32"),
    "RobertaForSequenceClassification": (TEXT | TOKENS, "float32"),
    "DistilBertModel": (
        {"vocab_size": 99, "dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48},
        "float32",
    ),
    "T5ForConditionalGeneration": (T5 | {"decoder_start_token_id": 0}, "float32"),
    "BartForConditionalGeneration": (BART | TOKENS | {"decoder_start_token_id": 2}, "float32"),
}


def _make(folder: Path, name: str) -> Path:
    values, dtype = ARCHITECTURES[name]
    model_class = getattr(transformers, name)
    torch.manual_seed(11)
    model = model_class(model_class.config_class(**values)).to(getattr(torch, dtype)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.3)
    model.save_pretrained(folder / "org" / name)
    return folder / "org" / name


def _plan(folder: Path, name: str, **more: Any) -> tuple[Any, Any, Any]:
    spec = LoadSpec(f"org/{name}", str(folder), str(folder / "demo"), device="cpu", **more)
    origin = source.find(spec)
    generator = origin.fetch_config()
    with pytest.raises(StopIteration) as stop:
        next(generator)
    files = stop.value.value
    names = weight_files.weight_names(files, inspection.check_folder(files))
    weights = weight_files.read_weight_files(files, names)
    reader = Reader(files, weights)
    reader.start()
    reader.join()
    return strategy.make_plan(spec, files, configuration.read_config(files), weights), files, reader


def _assemble(plan: Any, files: Any, reading: Reader) -> Any:
    def wait(names: list[str]) -> None:
        reading.wait_for_tensors(names, Cancel())

    return mapped.assemble_mapped(plan, files, reading.weights, wait, Cancel())


# In the dtype of the files, and converted.
CASES = [*((name, "auto") for name in ARCHITECTURES), *((name, "float32") for name in ("LlamaForCausalLM",
    "Qwen2ForCausalLM", "OPTForCausalLM")), ("BertForMaskedLM", "bfloat16"), ("GPT2LMHeadModel", "float16"),
    ("T5ForConditionalGeneration", "bfloat16")]  # fmt: skip


@pytest.mark.parametrize(("name", "dtype"), CASES)
def test_the_model_is_that_of_from_pretrained_bit_for_bit(tmp_path: Path, name: str, dtype: str) -> None:
    path = _make(tmp_path, name)
    plan, files, reading = _plan(tmp_path, name, dtype=dtype)
    short = _assemble(plan, files, reading)
    assert short is not None
    long = getattr(transformers, name).from_pretrained(
        path, dtype=plan.dtype, attn_implementation=plan.attention
    )
    for kind in ("named_parameters", "named_buffers"):
        ours, theirs = dict(getattr(short, kind)()), dict(getattr(long, kind)())
        assert list(ours) == list(theirs)
        for key, tensor in ours.items():
            assert tensor.dtype == theirs[key].dtype, key
            assert torch.equal(tensor, theirs[key]), key
            assert not tensor.is_meta
    assert short.config.to_dict() == long.config.to_dict()
    assert (short.training, short.name_or_path) == (long.training, long.name_or_path)
    if long.can_generate():
        assert short.generation_config.to_dict() == long.generation_config.to_dict()
    inputs = build_inputs(long, None)
    with torch.inference_mode():
        ours, theirs = short(**inputs), long(**inputs)
    assert torch.equal(ours[0], theirs[0])


def test_only_what_may_need_it_is_initialised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _make(tmp_path, "LlamaForCausalLM")
    initialised: set[str] = set()
    monkeypatch.setattr(
        transformers.LlamaPreTrainedModel,
        "_init_weights",
        lambda model, module: initialised.add(type(module).__name__),
    )
    assert _assemble(*_plan(tmp_path, "LlamaForCausalLM")) is not None
    assert "LlamaRotaryEmbedding" in initialised, "its buffer is in no file"
    assert not {"Linear", "Embedding", "LlamaRMSNorm"} & initialised


def test_tied_weights_are_one_tensor(tmp_path: Path) -> None:
    _make(tmp_path, "Qwen2ForCausalLM")
    model = _assemble(*_plan(tmp_path, "Qwen2ForCausalLM"))
    assert model is not None
    assert model.lm_head.weight is model.model.embed_tokens.weight


def _drop(tensors: dict[str, torch.Tensor]) -> None:
    del tensors["model.norm.weight"]


def _add(tensors: dict[str, torch.Tensor]) -> None:
    tensors["something.else"] = torch.zeros(3)


def _round(tensors: dict[str, torch.Tensor]) -> None:
    tensors["model.norm.weight"] = tensors["model.norm.weight"].to(torch.int32)


def _reshape(tensors: dict[str, torch.Tensor]) -> None:
    tensors["model.norm.weight"] = tensors["model.norm.weight"].reshape(4, 8).clone()


@pytest.mark.parametrize("change", [_drop, _add, _round, _reshape])
def test_tensors_that_do_not_match_are_left_to_from_pretrained(tmp_path: Path, change: Any) -> None:
    path = _make(tmp_path, "LlamaForCausalLM")
    tensors = load_file(path / "model.safetensors")
    tensors = {name: tensor.clone() for name, tensor in tensors.items()}
    change(tensors)
    save_file(tensors, path / "model.safetensors", metadata={"format": "pt"})
    assert _assemble(*_plan(tmp_path, "LlamaForCausalLM")) is None


def test_a_quantised_model_is_left_to_from_pretrained(tmp_path: Path) -> None:
    _make(tmp_path, "LlamaForCausalLM")
    plan, files, reading = _plan(tmp_path, "LlamaForCausalLM")
    plan.config.quantization_config = {"quant_method": "fp8"}
    assert _assemble(plan, files, reading) is None


def test_a_model_with_a_conversion_is_left_to_from_pretrained(tmp_path: Path) -> None:
    models.make_vit(tmp_path / "org" / "vit")
    assert _assemble(*_plan(tmp_path, "vit")) is None
