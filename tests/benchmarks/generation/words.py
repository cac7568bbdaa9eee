"""A tokenizer of 128,000 words: what a model with random weights writes has the same tokens again.

So it is with real models, and the next turn of a conversation, whose prompt has the answer, needs it.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

from tokenizers.pre_tokenizers import ByteLevel

from tests.benchmarks.load.tokens import SIZE, VOCABULARY

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_SPACE = "Ġ"  # as ByteLevel writes it


def words() -> list[str]:
    """Words, each of which is one token with the space before it."""
    chance = random.Random(0)
    found: dict[str, None] = {}
    while len(found) < SIZE - 256:
        found["".join(chance.choices(_LETTERS, k=chance.randint(4, 9)))] = None
    return list(found)


def write(folder: Path) -> None:
    """Write tokenizer.json, its settings, and a chat template."""
    names = [*sorted(ByteLevel.alphabet()), *(_SPACE + word for word in words())]
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    added = [{"id": n, "content": f"<|reserved_{n - SIZE}|>", **flags} for n in range(SIZE, VOCABULARY)]
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    none = ("dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix")
    switches = {"fuse_unk": False, "byte_fallback": False, "ignore_merges": True}
    vocabulary = {name: number for number, name in enumerate(names)}
    tokenizer = {
        "version": "1.0",
        **dict.fromkeys(("truncation", "padding", "normalizer", "post_processor")),
        "added_tokens": added,
        "pre_tokenizer": level,
        "decoder": level,
        "model": {"type": "BPE", **dict.fromkeys(none), **switches, "vocab": vocabulary, "merges": []},
    }
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 131072}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False))
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "chat_template.jinja").write_text(_TEMPLATE)


_TEMPLATE = (
    "{% for message in messages %}{{ message.role }}:{{ message.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)
