"""Tokenizers are measured without being parsed; what published ones look like passes."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from modelhub.errors import ModelhubError
from modelhub.loader.files.opening import Files
from modelhub.loader.files.text_steps import BadSteps, check_steps
from modelhub.loader.files.tokenizer_files import check_tokenizer, read_parts

BPE = {
    "type": "BPE",
    "vocab": {"a": 0, '},"': 1, '},"type":': 2, "\\": 3},
    "merges": ["a a"],
    "unk_token": None,
}
PARTS = {"version": "1.0", "added_tokens": [], "normalizer": {"type": "NFC"}, "decoder": None}


def _parts(text: str) -> tuple[dict[str, Any], int | None]:
    return read_parts(text.encode())


@pytest.mark.parametrize("indent", [None, 2])
def test_the_model_is_not_parsed_where_it_comes_last(indent: int | None) -> None:
    text = json.dumps(PARTS | {"model": {**BPE, "vocab": {"a": 0, '},"': 1}}}, indent=indent)
    found, model_at = _parts(text)
    assert {key: found[key] for key in PARTS} == PARTS
    assert "model" not in found
    assert model_at == text.index('"model"')


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"model": BPE} | PARTS),
        json.dumps(PARTS | {"model": BPE, "normalizer2": {}}).replace("normalizer2", "normaliz\\u0065r"),
        json.dumps({"a": {"model": BPE}, "model": BPE, "decoder": {}}),
        json.dumps({"a": '"model": {', "model": BPE, "decoder": None}),
        '{"model": 5, "normalizer": {"type": "x"}}',
        '{"m\\u006fdel": {"type": "BPE"}, "normalizer": {"type": "x"}}',
        '{"model": {"a": 1}, "normalizer": 1, "model": {"b": 2}, "normalizer": {"type": "x"}}',
    ],
)
def test_in_doubt_all_of_it_is_parsed(text: str) -> None:
    assert _parts(text) == (json.loads(text), None)


def _tokenizer(folder: Path, entries: int, pairs: bool = False) -> None:
    """A tokenizer.json with so many entries in its vocabulary, written without making them of objects."""
    if pairs:
        table = "[" + ",".join(f'["w{number}",-1.5]' for number in range(entries)) + "]"
    else:
        table = "{" + ",".join(f'"w{number}":{number}' for number in range(entries)) + "}"
    kind = "Unigram" if pairs else "WordLevel"
    (folder / "tokenizer.json").write_text(f'{{"version":"1.0","model":{{"type":"{kind}","vocab":{table}}}}}')


@pytest.mark.parametrize("pairs", [False, True])
def test_the_largest_vocabulary_passes_and_one_far_larger_does_not(tmp_path: Path, pairs: bool) -> None:
    files, names = Files("org/name", tmp_path), frozenset({"tokenizer.json"})
    _tokenizer(tmp_path, 901_629, pairs)  # that of XLM-V
    check_tokenizer(files, names, {})
    _tokenizer(tmp_path, 1_100_000, pairs)
    with pytest.raises(ModelhubError, match="more than 1000000 entries") as caught:
        check_tokenizer(files, names, {})
    assert caught.value.code == "refused"


def _replace(pattern: str, content: str, kind: str = "String") -> dict[str, Any]:
    return {"type": "Replace", "pattern": {kind: pattern}, "content": content}


def _charsmap(table: bytes) -> dict[str, Any]:
    return {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(table).decode()}


T5_MAP = (8).to_bytes(4, "little") + bytes(8) + "ﷺ".encode() + b"\0"
FRACTIONS = {"½": " 1/2", "¼": " 1/4", "¾": " 3/4", "…": "..."}
LIGATURES = {"ﬁ": "fi", "ﬂ": "fl", "œ": "oe", "æ": "ae", "ß": "ss", "ĳ": "ij"}
PUBLISHED: dict[str, list[dict[str, Any]]] = {
    "llama": [{"type": "Prepend", "prepend": "▁"}, _replace(" ", "▁")],
    "albert": [_replace("``", '"'), _replace("''", '"'), {"type": "NFKD"}, {"type": "StripAccents"}],
    "t5": [_charsmap(T5_MAP), _replace(" {2,}", "▁", "Regex")],
    "fractions": [_replace(sign, text) for sign, text in FRACTIONS.items()],
    "ligatures": [_replace(sign, text) for sign, text in LIGATURES.items()],
    "punctuation": [_replace(sign, f" {sign} ") for sign in ".,;:!?"],
}
NO_STEPS = [None, 5, "x", [], [1], {"type": 5}, {"normalizers": 5}, {"normalizers": [None, 5, [{}]]}]


@pytest.mark.parametrize("name", PUBLISHED)
def test_what_published_tokenizers_do_to_a_text(name: str) -> None:
    check_steps({"normalizer": {"type": "Sequence", "normalizers": PUBLISHED[name]}})
    check_steps({"decoder": {"type": "Sequence", "decoders": PUBLISHED[name]}})


@pytest.mark.parametrize(
    "steps",
    [
        [_replace("a", "aa")] * 7,
        [_replace("a", "bb"), _replace("b", "cc")] * 1 + [_replace("c", "d" * 20)],
        [_replace("", "x" * 65, "Regex")],
        [_charsmap((8).to_bytes(4, "little") + bytes(8) + b"x" * 257 + b"\0")],
    ],
)
def test_what_makes_a_text_far_longer(steps: list[dict[str, Any]]) -> None:
    with pytest.raises(BadSteps):
        check_steps({"normalizer": {"type": "Sequence", "normalizers": steps}})


@pytest.mark.parametrize("value", NO_STEPS)
def test_what_is_no_step_at_all_is_left_to_the_library(value: Any) -> None:
    parts = ("normalizer", "decoder", "pre_tokenizer", "post_processor", "padding", "added_tokens")
    check_steps(dict.fromkeys(parts, value))
