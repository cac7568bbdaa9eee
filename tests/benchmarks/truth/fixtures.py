"""More models that are loaded: several architectures and sizes, of random weights."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

from tests.benchmarks.load.fixtures import (
    Fixture,
    llama,
    specs_of,
    write,
    write_experts,
    write_small,
    write_tokens,
)
from tests.support.models import BYTE_TOKENS

_WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "hello", "world", "a", "model", "."]
_BF16 = torch.bfloat16


def _gpt2(folder: Path) -> None:
    config = GPT2Config(n_embd=768, n_layer=8, n_head=12, n_positions=1024, **BYTE_TOKENS)
    _write(folder, config, GPT2LMHeadModel, _BF16)


def _neox(folder: Path) -> None:
    sizes = {
        "hidden_size": 1536,
        "intermediate_size": 6144,
        "num_hidden_layers": 18,
        "num_attention_heads": 12,
    }
    _write(folder, GPTNeoXConfig(**sizes, **BYTE_TOKENS), GPTNeoXForCausalLM, _BF16, shards=2)


def _bert(folder: Path) -> None:
    config = BertConfig(vocab_size=len(_WORDS), num_hidden_layers=12, architectures=["BertForMaskedLM"])
    config.dtype = torch.float32
    write(folder, config, specs_of(BertForMaskedLM, config), torch.float32)
    BertTokenizer(vocab={word: number for number, word in enumerate(_WORDS)}).save_pretrained(folder)


def _t5(folder: Path) -> None:
    config = T5Config(
        vocab_size=259,
        d_model=768,
        d_ff=2048,
        d_kv=64,
        num_layers=12,
        num_heads=12,
        decoder_start_token_id=258,
        eos_token_id=257,
        pad_token_id=258,
    )
    _write(folder, config, T5ForConditionalGeneration, _BF16)


def _llama(dtype: torch.dtype, shards: int, hidden: int, layers: int, folder: Path) -> None:
    config = llama(
        hidden_size=hidden,
        intermediate_size=hidden * 11 // 4,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 64,
    )
    write_small(folder, config, LlamaForCausalLM, dtype, shards)


def _write(folder: Path, config: Any, model_class: Any, dtype: torch.dtype, shards: int = 1) -> None:
    config.architectures, config.dtype = [model_class.__name__], dtype
    write_small(folder, config, model_class, dtype, shards)


def _tokens(folder: Path) -> None:
    write_tokens(
        folder, hidden_size=768, intermediate_size=2048, num_hidden_layers=16, num_attention_heads=12
    )


_experts = partial(
    write_experts, hidden_size=512, num_attention_heads=8, moe_intermediate_size=512, num_hidden_layers=12
)

GPT2 = Fixture("truth/gpt2", "GPT-2, 0.1 GB", _gpt2)
LLAMA = Fixture("truth/llama", "Llama, 0.3 GB", partial(_llama, _BF16, 1, 1024, 12))
BERT = Fixture("truth/bert", "BERT in float32, 0.3 GB", _bert)
T5 = Fixture("truth/t5", "T5, 0.3 GB", _t5)
TOKENS_SMALL = Fixture("truth/tokens-128k", "128,000 tokens, 0.4 GB", _tokens)
NEOX = Fixture("truth/neox", "GPT-NeoX, 1 GB", _neox)
LLAMA_4GB = Fixture("truth/llama-4gb", "Llama, 4 GB", partial(_llama, _BF16, 8, 2560, 24))
FLOAT32_SMALL = Fixture("truth/float32", "float32, 0.2 GB", partial(_llama, torch.float32, 1, 768, 8))
EXPERTS_SMALL = Fixture("truth/experts", "mixture of experts, 0.3 GB", _experts)
