"""Tokens to text: the pieces are the text of all tokens, and no character comes in parts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers import models as tokenizer_models
from transformers import BertTokenizer, PreTrainedTokenizerFast

from modelhub.inference.chat.text_stream import TextStream
from modelhub.inference.chat.vocabulary import Vocabulary
from tests.support.models import byte_tokenizer


def sentence_piece() -> Any:
    """A tokenizer as Llama 2 has it: a mark for spaces, and bytes for what it does not know."""
    pieces = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), "\u2581", *"abcdefghij"]
    vocabulary = {piece: number for number, piece in enumerate([*pieces, "\u2581a", "bc", "\u2581d"])}
    merges = [("\u2581", "a"), ("b", "c"), ("\u2581", "d")]
    tokenizer = Tokenizer(
        tokenizer_models.BPE(vocabulary, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]
    )
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


def metaspace() -> Any:
    """A tokenizer of letters with spaces before words."""
    letters = {letter: number for number, letter in enumerate(["<unk>", "\u2581", *"abcdefghij\u00e4\u20ac"])}
    tokenizer = Tokenizer(tokenizer_models.BPE(letters, [], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


def word_pieces() -> Any:
    words = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *"abcdefghij",
        *(f"##{one}" for one in "abcdefghij"),
    ]
    return BertTokenizer(vocab={word: number for number, word in enumerate(words)})


TOKENIZERS = {
    "bytes": byte_tokenizer(),
    "sentence-piece": sentence_piece(),
    "metaspace": metaspace(),
    "word-pieces": word_pieces(),
}
VOCABULARIES = {name: Vocabulary(tokenizer) for name, tokenizer in TOKENIZERS.items()}


def pieces(name: str, tokens: list[int], before: list[int] | None = None) -> list[str]:
    stream = TextStream(VOCABULARIES[name].decode, before or [])
    return [*(stream.add(token) for token in tokens), stream.end()]


@pytest.mark.parametrize("name", TOKENIZERS)
@settings(max_examples=60, deadline=None)
@given(text=st.text("abcdefghij \u00e4\u20ac\U0001f600", max_size=60))
def test_the_pieces_are_the_text(name: str, text: str) -> None:
    tokens = TOKENIZERS[name](text, add_special_tokens=False)["input_ids"]
    assert "".join(pieces(name, tokens)) == VOCABULARIES[name].decode(tokens)


@pytest.mark.parametrize("name", ["bytes", "sentence-piece"])
@settings(max_examples=60, deadline=None)
@given(text=st.text("a\u00e4\u20ac\U0001f600", min_size=1, max_size=40))
def test_no_piece_has_a_part_of_a_character(name: str, text: str) -> None:
    tokens = TOKENIZERS[name](text, add_special_tokens=False)["input_ids"]
    found = pieces(name, tokens)
    assert all(character in "a \u00e4\u20ac\U0001f600" for piece in found for character in piece)
    assert found[-1] == ""


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from([0xE2, 0x82, 0xAC, 0xF0, 0x9F, 0x98, 0x80, 0x41, 0xFF, 0xC3]), max_size=80))
def test_bytes_that_are_no_text_are_said_as_the_tokenizer_does(data: list[int]) -> None:
    vocabulary = VOCABULARIES["bytes"]
    number = {vocabulary.bytes_of(token): token for token in range(256)}
    tokens = [number[bytes((byte,))] for byte in data]
    assert "".join(pieces("bytes", tokens)) == bytes(data).decode(errors="replace")


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 268), max_size=80))
def test_bytes_that_are_no_text_are_not_held_back_for_ever(tokens: list[int]) -> None:
    found = pieces("sentence-piece", tokens)
    assert len(found[-1]) <= 16, "not much is held back for long"


@pytest.mark.parametrize("name", ["sentence-piece", "metaspace"])
def test_a_text_goes_on_with_the_space_before_its_next_word(name: str) -> None:
    before, both = (
        TOKENIZERS[name](text, add_special_tokens=False)["input_ids"] for text in ("a bc", "a bc a")
    )
    assert both[: len(before)] == before
    assert "".join(pieces(name, both[len(before) :], before)) == " a"
    assert "".join(pieces(name, both[len(before) :])) == "a"


def test_a_long_text_takes_as_long_for_its_last_token_as_for_its_first() -> None:
    lengths = []

    def decode(tokens: list[int]) -> str:
        lengths.append(len(tokens))
        return VOCABULARIES["bytes"].decode(tokens)

    stream = TextStream(decode)
    for token in TOKENIZERS["bytes"]("a" * 5_000, add_special_tokens=False)["input_ids"]:
        stream.add(token)
    assert max(lengths) <= 16
