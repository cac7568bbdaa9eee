"""Tiny chat models: one that writes words that tests can expect, one with random weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from tests.support.models import BYTE_TOKENS, SEED, byte_tokenizer, save

WORDS = (
    "One", " day", " there", " was", " a", " model", " that", " wrote", " these", " words,", " one by one,",
    " and", " then", " it", " stopped.",
)  # fmt: skip
STORY = "".join(WORDS)
TEMPLATE = (
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
_ROLES = ("<|system|>", "<|user|>", "<|assistant|>")


def chat_tokenizer(words: Sequence[str] = WORDS) -> Any:
    """The byte tokenizer, with a token for each of ``words`` and a chat template."""
    tokenizer = byte_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": list(_ROLES)})
    tokenizer.add_tokens(list(words))
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def make_story(folder: Path, is_endless: bool = False, layers: int = 2, words: Sequence[str] = WORDS) -> Path:
    """A chat model in float32 whose likeliest answer is ``words``, again and again where it ``is_endless``.

    Each of them must be another one. Its layers add nothing: the next word follows from the last one alone.
    """
    tokenizer = chat_tokenizer(words)
    model = LlamaForCausalLM(_config(tokenizer, layers))
    save(folder, model, tokenizer)
    ids = tokenizer.convert_tokens_to_ids(list(words))
    following = [*ids[1:], ids[0] if is_endless else tokenizer.eos_token_id]
    with torch.no_grad():
        # One direction is for all that is no word: after that comes the first word.
        vectors = torch.randn(len(tokenizer), model.config.hidden_size)
        vectors[:, 0] = 20.0
        vectors[ids, 0] = 0.0
        vectors = torch.nn.functional.normalize(vectors)
        model.get_input_embeddings().weight.copy_(vectors)
        model.lm_head.weight.zero_()
        model.lm_head.weight[ids[0], 0] = 2.0
        model.lm_head.weight[following] += 2 * vectors[ids]
        for name, parameter in model.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                parameter.zero_()
            elif "norm" in name:
                parameter.fill_(1)
    model.save_pretrained(folder)
    return folder


def make_random_chat(folder: Path, dtype: torch.dtype = torch.float32) -> Path:
    """A chat model with random weights: what it writes is the work of all of them."""
    tokenizer = chat_tokenizer()
    torch.manual_seed(SEED)
    return save(folder, LlamaForCausalLM(_config(tokenizer, 2)).to(dtype), tokenizer)


def _config(tokenizer: Any, layers: int) -> LlamaConfig:
    return LlamaConfig(
        hidden_size=128,
        intermediate_size=128,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=8192,
        **{**BYTE_TOKENS, "vocab_size": len(tokenizer)},
    )
