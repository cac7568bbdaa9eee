"""A tokenizer of the size of Llama 3's: 128,000 tokens and 256 special ones, with merges, at random."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from tokenizers.pre_tokenizers import ByteLevel

SIZE = 128_000
VOCABULARY = SIZE + 256
_LONGEST = 12  # letters of a token
_PARENTS = 4_000  # tokens that others begin with


def write(folder: Path) -> None:
    """Write tokenizer.json and its settings."""
    (folder / "tokenizer.json").write_text(json.dumps(_tokenizer(), ensure_ascii=False))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 131072}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def _tokenizer() -> dict[str, Any]:
    vocabulary, merges = _merges()
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    added = [{"id": n, "content": f"<|reserved_{n - SIZE}|>", **flags} for n in range(SIZE, VOCABULARY)]
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    none = ("dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix")
    switches = {"fuse_unk": False, "byte_fallback": False, "ignore_merges": True}
    model = {"type": "BPE", **dict.fromkeys(none), **switches, "vocab": vocabulary, "merges": merges}
    return {
        "version": "1.0",
        **dict.fromkeys(("truncation", "padding", "normalizer", "post_processor")),
        "added_tokens": added,
        "pre_tokenizer": level,
        "decoder": level,
        "model": model,
    }


def _merges() -> tuple[dict[str, int], list[list[str]]]:
    chance = random.Random(0)
    names = sorted(ByteLevel.alphabet())
    letters = list(names)
    vocabulary = {letter: number for number, letter in enumerate(letters)}
    merges: list[list[str]] = []
    while len(vocabulary) < SIZE:
        first, second = chance.choice(names[:_PARENTS]), chance.choice(letters)
        if first + second not in vocabulary and len(first + second) < _LONGEST:
            vocabulary[first + second] = len(vocabulary)
            names.append(first + second)
            merges.append([first, second])
    return vocabulary, merges
