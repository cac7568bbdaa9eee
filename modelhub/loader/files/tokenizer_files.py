"""Checks what a tokenizer is built from before a library parses it: how much there is, and what it does.

The tables of tokenizer.json are counted and not parsed, which would take longer than all else of a load.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import Any

from modelhub.loader.files.opening import MAX_TOKENIZER_BYTES, Files, read_small
from modelhub.loader.files.text_steps import BadSteps, check_steps

TOKENIZER = "tokenizer.json"
MAX_ENTRIES = 1_000_000  # XLM-V has 901,629, the most of all
MAX_MERGES = 2 * MAX_ENTRIES
MAX_ADDED = 2**17
_LINES = {"vocab.txt": MAX_ENTRIES, "merges.txt": MAX_MERGES}
_KEYS = {"vocab.json": MAX_ENTRIES, "added_tokens.json": MAX_ADDED}
_LISTS = ("added_tokens_decoder", "additional_special_tokens", "extra_special_tokens", "never_split")
_MADE_UP = ("extra_ids", "num_madeup_words", "offset")  # how many tokens a tokenizer adds itself
_MAX_MADE_UP = 10_000
_MODEL_KEYS = frozenset((
    "type", "vocab", "merges", "unk_token", "unk_id", "byte_fallback", "dropout", "fuse_unk", "ignore_merges",
    "continuing_subword_prefix", "end_of_word_suffix", "max_input_chars_per_word",
))  # fmt: skip
_MODEL = re.compile(rb'"model"\s*:\s*\{')
_KEY_AFTER_OBJECT = re.compile(rb'\}\s*,\s*"((?:[^"\\]|\\.)*)"\s*:')
_PAIRS = re.compile(rb'"vocab"\s*:\s*\[')  # [["a", -1.5], ...]
_MIN_ENTRY_BYTES = 10
_MAX_DOUBTS = 10_000


def check_tokenizer(files: Files, names: frozenset[str], settings: dict[str, Any]) -> None:
    """Raise ``refused`` for a tokenizer that costs far more than that of any model.

    ``settings`` are those of tokenizer_config.json.
    """
    for name, limit in _LINES.items():
        _check_count(files, names, name, b"\n", limit)
    for name, limit in _KEYS.items():
        _check_count(files, names, name, b":", limit)
    for key in _LISTS:
        value = settings.get(key)
        if isinstance(value, list | dict) and len(value) > MAX_ADDED:
            raise files.refuse("tokenizer_config.json", f"it adds {len(value)} tokens, more than {MAX_ADDED}")
    for key in _MADE_UP:
        value = settings.get(key)
        if isinstance(value, int | float) and not abs(value) <= _MAX_MADE_UP:
            raise files.refuse("tokenizer_config.json", f"its {key} is more than {_MAX_MADE_UP}")
    if TOKENIZER in names:
        _check_json(files)


def _check_count(files: Files, names: frozenset[str], name: str, mark: bytes, limit: int) -> None:
    if name in names:
        count = read_small(files, name, MAX_TOKENIZER_BYTES).count(mark)
        if count > limit:
            raise files.refuse(name, f"it has about {count} entries, more than {limit}")


def _check_json(files: Files) -> None:
    text = read_small(files, TOKENIZER, MAX_TOKENIZER_BYTES)
    try:
        parts, model_at = read_parts(text)
        added = parts.get("added_tokens")
        if isinstance(added, list) and len(added) > MAX_ADDED:
            raise BadSteps(f"it adds {len(added)} tokens, more than {MAX_ADDED}")
        if _count_entries(text, model_at, parts.get("model")) > MAX_ENTRIES:
            raise BadSteps(f"its vocabulary has more than {MAX_ENTRIES} entries")
        check_steps(parts)
    except BadSteps as error:
        raise files.refuse(TOKENIZER, str(error)) from None
    except RecursionError:
        raise files.refuse(TOKENIZER, "it is nested too deeply") from None
    except ValueError:
        return  # not valid JSON: the library says where


def _count_entries(text: bytes, model_at: int | None, model: Any) -> int:
    """How large the vocabulary is: exactly where it was parsed, else by its commas and colons."""
    if model_at is None:
        vocabulary = model.get("vocab") if isinstance(model, dict) else None
        return len(vocabulary) if isinstance(vocabulary, dict | list) else 0
    if len(text) - model_at < MAX_ENTRIES * _MIN_ENTRY_BYTES:
        return 0
    if _PAIRS.search(text, model_at) is not None:
        return text.count(b",", model_at) // 2
    return max(text.count(b":", model_at), text.count(b",", model_at) - MAX_MERGES)


def read_parts(text: bytes) -> tuple[dict[str, Any], int | None]:
    """The outermost values of tokenizer.json; of its model only where it begins, if it comes last.

    Raises ValueError where the text is not valid JSON, and BadSteps where it is too long to be parsed.
    """
    model = _MODEL.search(text)
    if model is not None and _is_last(text, model.end()):
        head = text.count(b":", 0, model.start())
        if head > 8 * MAX_ADDED:
            raise BadSteps(f"it has {head} settings before its model")
        with suppress(ValueError):
            # What stands before must be a whole object but for its end: then the key is an outermost one.
            return json.loads(text[: model.start()] + b'"": 0}'), model.start()
    if text.count(b":") > MAX_ENTRIES + 8 * MAX_ADDED or text.count(b",") > MAX_ENTRIES + MAX_MERGES:
        raise BadSteps(f"it has more than {MAX_ENTRIES} entries")
    parts = json.loads(text)
    return parts if isinstance(parts, dict) else {}, None


def _is_last(text: bytes, position: int) -> bool:
    """Whether no outermost key follows the model: a key after the end of an object is one of the model's.

    A token may look like that: then what follows is no key, or in doubt all of the text is parsed.
    """
    for count, match in enumerate(_KEY_AFTER_OBJECT.finditer(text, position)):
        if count > _MAX_DOUBTS or match[1].decode(errors="replace") not in _MODEL_KEYS:
            return False
    return True
