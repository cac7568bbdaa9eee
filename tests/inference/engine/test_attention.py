"""Attention in blocks is that of torch, but for the rounding of bfloat16."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import LlamaConfig, LlamaForCausalLM

from modelhub.inference.engine import attention
from modelhub.inference.engine.packed_model import PackedModel
from tests.inference.engine.conftest import SIZES, prompt, with_words


@pytest.mark.parametrize(("tokens", "before"), [(64, 0), (128, 0), (300, 0), (129, 70)])
def test_blocks_see_what_the_mask_of_torch_shows(tokens: int, before: int) -> None:
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(1, 6, tokens, 16, generator=generator)
    keys, values = (torch.randn(1, 2, before + tokens, 16, generator=generator) for _ in range(2))
    sees = torch.ones(tokens, before + tokens, dtype=torch.bool).tril(before)
    expected = scaled_dot_product_attention(query, keys, values, attn_mask=sees, enable_gqa=True)
    output = attention._in_blocks(query[0] / 4, keys[0], values[0])
    assert torch.allclose(output, expected.transpose(1, 2), atol=1e-5)


def test_a_long_prompt_in_bfloat16_gives_the_logits_of_the_model() -> None:
    model = with_words(LlamaForCausalLM(LlamaConfig(**SIZES)).to(torch.bfloat16)).model
    ids = prompt(400)
    with torch.inference_mode():
        expected = model(torch.tensor([ids])).logits[0, -1].float()
        packed = PackedModel(model, lambda: None)
        cache = packed.new_cache()
        packed.run([(cache, ids[:200])], [])
        logits = packed.run([(cache, ids[200:])], [0])[0].float()
    assert torch.nn.functional.cosine_similarity(logits, expected, dim=0) > 0.999
