"""The chat models that are asked: random weights in bfloat16, and a tokenizer of 128,000 words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.benchmarks.generation import words
from tests.benchmarks.load.fixtures import Fixture, write_tokens


def _chat(**fields: Any) -> Any:
    def write(folder: Path) -> None:
        write_tokens(folder, **fields)
        words.write(folder)

    return write


# The shapes of Qwen2.5 0.5B and of SmolLM2 135M, but for their vocabularies.
LARGE = Fixture(
    "bench/words-1gb",
    "1 GB",
    _chat(
        hidden_size=896,
        intermediate_size=4864,
        num_hidden_layers=24,
        num_attention_heads=14,
        num_key_value_heads=2,
    ),
)
SMALL = Fixture(
    "bench/words-0.4gb",
    "0.4 GB",
    _chat(
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
    ),
)
