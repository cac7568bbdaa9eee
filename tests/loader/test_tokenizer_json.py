"""A large tokenizer.json is parsed once; what comes out of it is what transformers makes of it alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tokenizers
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast, tokenization_utils_base

from modelhub.loader import tokenizer_json
from modelhub.loader.tokenizer_json import added_tokens_only, find_added_tokens

SPECIAL = [{"id": 3, "content": "<|a|>", "special": True}]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer of 60,000 words and two added tokens, without a list of them in its configuration."""
    path = tmp_path_factory.mktemp("tokenizer")
    words = {f"word{number:06}": number for number in range(60_000)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="word000000"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens([tokenizers.AddedToken("<|a|>", special=True)])
    tokenizer.add_tokens(["two words"])
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(path)
    settings = {"tokenizer_class": "PreTrainedTokenizerFast"}
    (path / "tokenizer_config.json").write_text(json.dumps(settings))
    assert (path / "tokenizer.json").stat().st_size > tokenizer_json._MIN_CHARACTERS
    return path


def test_the_tokenizer_is_the_same(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[object] = []

    def find(text: str) -> list[object] | None:
        found.append(find_added_tokens(text))
        return find_added_tokens(text)

    monkeypatch.setattr(tokenizer_json, "find_added_tokens", find)
    with added_tokens_only():
        ours = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    theirs = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    assert len(found) == 1, "the large file was not parsed as a whole"
    assert ours.added_tokens_decoder == theirs.added_tokens_decoder
    assert ours.all_special_tokens == theirs.all_special_tokens
    text = "word000007 <|a|> two words word059999"
    assert ours(text)["input_ids"] == theirs(text)["input_ids"]
    assert len(ours) == len(theirs) == 60_002


def test_transformers_has_its_parser_back(folder: Path) -> None:
    with pytest.raises(KeyError), added_tokens_only():
        raise KeyError
    assert tokenization_utils_base.json is json


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (json.dumps({"version": "1.0", "added_tokens": SPECIAL, "model": {}}), SPECIAL),
        (json.dumps({"added_tokens": []}), []),
        (json.dumps({"model": {"added_tokens": SPECIAL}, "added_tokens": []}), None),
        (json.dumps({"version": '"added_tokens": [1]', "added_tokens": SPECIAL}), SPECIAL),
        (json.dumps({"added_tokens": {"a": 1}}), None),
        ('{"added_tokens": [1, ', None),
        (json.dumps({"version": "1.0"}), None),
        ("", None),
    ],
)
def test_only_an_outermost_list_is_found(text: str, found: list[object] | None) -> None:
    assert find_added_tokens(text) == found
