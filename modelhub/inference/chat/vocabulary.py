"""What is known of a tokenizer's tokens: their texts and bytes, and which of them are no text."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from functools import cached_property, lru_cache
from typing import Any

_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_SPACE = "\u2581"  # as SentencePiece writes it


class Vocabulary:
    """The tokens of one tokenizer, fast or slow."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self._backend = getattr(tokenizer, "backend_tokenizer", None)

    @cached_property
    def added(self) -> dict[int, str]:
        """The tokens beside those that text is cut into, by number: special ones and others."""
        return {number: str(token) for number, token in self.tokenizer.added_tokens_decoder.items()}

    @cached_property
    def special(self) -> frozenset[int]:
        """The numbers of the tokens that are no text."""
        marked = self.tokenizer.added_tokens_decoder.items()
        return frozenset(self.tokenizer.all_special_ids) | {number for number, one in marked if one.special}

    def has(self, text: str) -> bool:
        """Whether ``text`` is one of the added tokens."""
        return text in self.added.values()

    def silent(self, ends: Collection[int], marks: Collection[str]) -> frozenset[int]:
        """The tokens that are no part of an answer: special ones and ``ends``, but for those of ``marks``."""
        return frozenset(number for number in self.special.union(ends) if self.added.get(number) not in marks)

    def decode(self, tokens: list[int]) -> str:
        """The text of tokens, special ones too."""
        if self._backend is not None:
            return str(self._backend.decode(tokens, skip_special_tokens=False))
        return str(self.tokenizer.decode(tokens, skip_special_tokens=False))

    def bytes_of(self, token: int) -> bytes:
        """The bytes of one token, which need not be whole characters."""
        if token in self.added:
            return self.added[token].encode()
        piece = self.tokenizer.convert_ids_to_tokens(token)
        if not isinstance(piece, str):
            return b""  # the model has more numbers than the tokenizer
        if self._is_bytes and all(letter in _BYTE_OF_LETTER for letter in piece):
            return bytes(_BYTE_OF_LETTER[letter] for letter in piece)
        if (byte := _BYTE.fullmatch(piece)) is not None:
            return bytes((int(byte[1], 16),))
        if _SPACE in piece:
            return piece.replace(_SPACE, " ").encode()
        return piece.removeprefix("##").encode() if self._is_word_pieces else piece.encode()

    @cached_property
    def _decoder(self) -> str:
        decoder = getattr(self._backend, "decoder", None)
        if decoder is None:
            return ""
        return json.dumps(json.loads(decoder.__getstate__()))

    @cached_property
    def _is_bytes(self) -> bool:
        # The slow tokenizers of that kind (GPT-2's) have a table of bytes.
        return '"ByteLevel"' in self._decoder or hasattr(self.tokenizer, "byte_decoder")

    @cached_property
    def _is_word_pieces(self) -> bool:
        return '"WordPiece"' in self._decoder


@lru_cache(maxsize=4)
def vocabulary_of(tokenizer: Any) -> Vocabulary:
    """The vocabulary of a tokenizer, made once: it may have 65,536 added tokens."""
    return Vocabulary(tokenizer)


def _letters() -> dict[str, int]:
    """The byte that each letter of a byte-level vocabulary stands for, as GPT-2 has defined it."""
    shown = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return {chr(byte): byte for byte in shown} | {chr(256 + n): byte for n, byte in enumerate(hidden)}


_BYTE_OF_LETTER = _letters()
