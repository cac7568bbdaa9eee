"""Checks the steps by which a tokenizer changes a text: a few of them may make gigabytes out of a letter."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from typing import Any

MAX_STEPS = 64
MAX_PATTERN = 16_384  # characters: a regular expression that lists the letters of many scripts
MAX_TEXT = 1024
MAX_GROWTH = 64
MAX_CHARSMAP_BYTES = 2 * 10**6
MAX_PIECE_BYTES = 256  # what one letter becomes: at most 33 bytes in NFKC
MAX_TEMPLATE = 64
MAX_PADDING = 2**20
_PARTS = ("normalizer", "pre_tokenizer", "post_processor", "decoder")
_LISTS = ("normalizers", "pretokenizers", "processors", "decoders")


class BadSteps(Exception):
    """A step that no tokenizer needs."""


def check_steps(parts: dict[str, Any]) -> None:
    """Check the outermost values of tokenizer.json but its model. Raises BadSteps.

    What is not as the tokenizers library wants it is left to the library to refuse.
    """
    for name in _PARTS:
        steps = list(_flat(parts.get(name)))
        if len(steps) > MAX_STEPS:
            raise BadSteps(f"its {name} has more than {MAX_STEPS} steps")
        for step in steps:
            _check_step(name, step)
        if name in ("normalizer", "decoder"):
            _check_growth(name, steps)
    _check_padding(parts.get("padding"))
    added = parts.get("added_tokens")
    for token in added if isinstance(added, list) else ():
        content = token.get("content") if isinstance(token, dict) else None
        if isinstance(content, str) and len(content) > MAX_TEXT:
            raise BadSteps(f"an added token has more than {MAX_TEXT} characters")


def _flat(step: Any) -> Iterator[dict[str, Any]]:
    """The steps in their order, those of sequences in place of them."""
    if not isinstance(step, dict):
        return
    inner = [child for key in _LISTS if isinstance(step.get(key), list) for child in step[key]]
    if len(inner) > MAX_STEPS:
        raise BadSteps(f"it has a sequence of more than {MAX_STEPS} steps")
    for child in inner:
        yield from _flat(child)
    if not inner:
        yield step


def _check_step(part: str, step: dict[str, Any]) -> None:
    charsmap = step.get("precompiled_charsmap")
    if charsmap is not None:
        _check_charsmap(charsmap)
    for key in ("single", "pair"):
        if isinstance(step.get(key), list) and len(step[key]) > MAX_TEMPLATE:
            raise BadSteps(f"a template of its {part} has more than {MAX_TEMPLATE} parts")
    for text, limit in _texts(step):
        if len(text) > limit:
            raise BadSteps(f"a text of its {part} has more than {limit} characters")
    tokens = step.get("special_tokens")
    for token in tokens.values() if isinstance(tokens, dict) else ():
        ids = token.get("ids") if isinstance(token, dict) else None
        if isinstance(ids, list) and len(ids) > MAX_TEMPLATE:
            raise BadSteps(f"a token of its {part} stands for more than {MAX_TEMPLATE}")


def _texts(value: Any, limit: int = MAX_TEXT) -> Iterator[tuple[str, int]]:
    if isinstance(value, str):
        yield value, limit
    elif isinstance(value, dict):
        for key, child in value.items():
            if key != "precompiled_charsmap":
                yield from _texts(child, MAX_PATTERN if key in ("Regex", "String") else limit)
    elif isinstance(value, list):
        for child in value:
            yield from _texts(child, limit)


def _check_growth(part: str, steps: list[dict[str, Any]]) -> None:
    """How many times as long a text may become: what one step writes may be what the next one replaces."""
    growths: list[tuple[str, float]] = []  # what each step writes, and how long it makes a text at most
    for step in steps:
        pattern, content = _replaced(step)
        if content is None:
            continue
        before = max((growth for text, growth in growths if _may_meet(pattern, text)), default=1.0)
        growth = before * max(1.0, len(content) / max(1, len(pattern or "")))
        if growth > MAX_GROWTH:
            raise BadSteps(f"its {part} makes a text more than {MAX_GROWTH} times as long")
        growths.append((content, growth))


def _replaced(step: dict[str, Any]) -> tuple[str | None, str | None]:
    """What a step replaces (None: an expression, which may match anything), and by what (None: nothing)."""
    content, pattern = step.get("content"), step.get("pattern")
    if step.get("type") == "Prepend":
        return None, None  # once for a text, and of a checked length
    if not isinstance(content, str) or pattern is None:
        return None, None
    text = pattern.get("String") if isinstance(pattern, dict) else pattern
    return (text if isinstance(text, str) and text else None), content


def _may_meet(pattern: str | None, text: str) -> bool:
    return bool(text) and (pattern is None or not set(pattern).isdisjoint(text))


def _check_charsmap(charsmap: Any) -> None:
    """A table of SentencePiece: the size of its index, the index, what letters become, each ended by 0."""
    if not isinstance(charsmap, str):
        return
    if len(charsmap) > 4 * MAX_CHARSMAP_BYTES // 3:
        raise BadSteps(f"its table of letters has more than {MAX_CHARSMAP_BYTES} bytes")
    try:
        table = base64.b64decode(charsmap, validate=True)
    except (binascii.Error, ValueError):
        raise BadSteps("its table of letters is damaged") from None
    if not table:
        return
    size = int.from_bytes(table[:4], "little")
    pieces = table[4 + size :]
    if len(table) < 4 or size % 4 or 4 + size > len(table):
        raise BadSteps("its table of letters is damaged")
    if max(map(len, pieces.split(b"\0"))) > MAX_PIECE_BYTES:
        raise BadSteps(f"its table makes more than {MAX_PIECE_BYTES} bytes of a letter")


def _check_padding(padding: Any) -> None:
    if not isinstance(padding, dict):
        return
    strategy = padding.get("strategy")
    length = strategy.get("Fixed") if isinstance(strategy, dict) else None
    for number in (length, padding.get("pad_to_multiple_of")):
        if isinstance(number, int | float) and number > MAX_PADDING:
            raise BadSteps(f"it pads texts to more than {MAX_PADDING} tokens")
