"""The layers of a model: found, counted, and waiting for their own tensors."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

from modelhub.loader.layers import LayerCount, layers_of, waiting

SIZE = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2, "num_key_value_heads": 2}
TOKENS = {"vocab_size": 20, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
IDS = torch.tensor([[3]])


def llama(layers: int = 3, **more: Any) -> Any:
    config = LlamaConfig(num_hidden_layers=layers, **SIZE, **TOKENS, **more)
    return LlamaForCausalLM(config).eval()


def t5() -> Any:
    config = T5Config(vocab_size=20, d_model=16, d_kv=8, d_ff=16, num_layers=2, num_decoder_layers=3,
        num_heads=2, decoder_start_token_id=0)  # fmt: skip
    return T5ForConditionalGeneration(config).eval()


def mixtral() -> Any:
    config = MixtralConfig(num_hidden_layers=2, num_local_experts=4, **SIZE, **TOKENS)
    return MixtralForCausalLM(config).eval()


def run(model: Any) -> None:
    more = {"decoder_input_ids": IDS} if model.config.is_encoder_decoder else {}
    with torch.inference_mode():
        model(input_ids=IDS, **more)


@pytest.mark.parametrize(("make", "count"), [(llama, 3), (t5, 2 + 3), (mixtral, 2)])
def test_all_layers_are_found_and_each_counts_once(make: Any, count: int) -> None:
    model = make()
    layers = LayerCount(model)
    assert (layers.done, layers.total) == (0, count)
    seen: list[int] = []
    for layer in layers_of(model):
        layer.register_forward_pre_hook(lambda *_: seen.append(layers.done))
    with layers.counting():
        run(model)
        assert (layers.done, layers.total) == (count, count)
        run(model)
    assert layers.done == count, "a layer that runs twice counts once"
    assert seen[:count] == list(range(count)), "counted when it has run, not before"


def test_nothing_is_counted_after_the_context() -> None:
    model = llama()
    layers = LayerCount(model)
    with layers.counting():
        pass
    run(model)
    assert layers.done == 0


def test_lists_within_layers_are_no_layers_of_their_own() -> None:
    class Expert(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.experts = torch.nn.ModuleList(torch.nn.Linear(2, 2) for _ in range(4))

    model = torch.nn.Module()
    model.layers = torch.nn.ModuleList(Expert() for _ in range(2))
    model.layers_too = torch.nn.ModuleList([torch.nn.Linear(2, 2), torch.nn.Dropout()])
    assert layers_of(model) == [*model.layers, model.layers_too[0]]


def test_a_model_without_lists_has_no_layers() -> None:
    assert LayerCount(torch.nn.Linear(2, 2)).total == 0


def test_each_module_waits_once_for_its_own_tensors_before_it_runs() -> None:
    model = llama(layers=1)
    waits: list[str] = []
    ran: list[str] = []
    model.model.layers[0].register_forward_hook(lambda *_: ran.extend(waits if not ran else []))
    with waiting(model, waits.extend):
        run(model)
        run(model)
    assert len(waits) == len(set(waits)), "the first time only"
    assert set(dict(model.named_parameters())) <= set(waits)
    assert waits[0] == "model.embed_tokens.weight"
    assert "model.layers.0.mlp.down_proj.weight" in ran
    assert not {"model.norm.weight", "lm_head.weight"} & set(ran)
    assert waits.index("model.norm.weight") < waits.index("lm_head.weight")


def test_a_tied_tensor_waits_for_the_one_that_the_file_has() -> None:
    model = llama(layers=1, tie_word_embeddings=True)
    waits: list[list[str]] = []
    with waiting(model, waits.append):
        run(model)
    assert waits[-1][:2] == ["lm_head.weight", "model.embed_tokens.weight"]


def test_after_the_context_nothing_waits() -> None:
    model = llama(layers=1)
    waits: list[str] = []
    with waiting(model, waits.extend):
        pass
    run(model)
    assert waits == []


def test_what_a_wait_raises_ends_the_forward_pass() -> None:
    model = llama(layers=1)

    def wait(names: list[str]) -> None:
        if "model.norm.weight" in names:
            raise OSError("the disk is gone")

    with waiting(model, wait), pytest.raises(OSError, match="the disk is gone"):
        run(model)
