"""Tokenizers that make gigabytes of a letter, are far larger than any, or make their library panic."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.hostile.case import (
    LOADS,
    Case,
    Change,
    Outside,
    changed,
    later,
    numbered,
    replaced,
    settings,
    write,
)

_FILE = "tokenizer.json"
_CONFIG = "tokenizer_config.json"


def _parts(**parts: Any) -> Change:
    """Other parts of tokenizer.json."""

    def change(folder: Path, outside: Outside) -> None:
        write(folder, _FILE, json.dumps(settings(folder, _FILE) | parts))

    return change


def _reordered(**parts: Any) -> Change:
    """Other parts of tokenizer.json, behind its model, where a reader in a hurry would not look."""

    def change(folder: Path, outside: Outside) -> None:
        all_parts = settings(folder, _FILE)
        model = {"model": all_parts.pop("model")}
        kept = {key: value for key, value in all_parts.items() if key not in parts}
        write(folder, _FILE, json.dumps(kept | model | parts))

    return change


def _hidden(**parts: Any) -> Change:
    """The same with the names of the parts in escapes."""

    def change(folder: Path, outside: Outside) -> None:
        _reordered(**parts)(folder, outside)
        text = (folder / _FILE).read_text()
        for name in parts:
            text = text.replace(f'"{name}"', '"' + "".join(f"\\u{ord(letter):04x}" for letter in name) + '"')
        write(folder, _FILE, text)

    return change


def _sequence(steps: list[Any]) -> dict[str, Any]:
    return {"type": "Sequence", "normalizers": steps}


def _replace(pattern: str, content: str, kind: str = "String") -> dict[str, Any]:
    return {"type": "Replace", "pattern": {kind: pattern}, "content": content}


def _charsmap(table: bytes) -> dict[str, Any]:
    return {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(table).decode()}


def _spliced(model_first: bool = False, **parts: str) -> Change:
    """Other parts of tokenizer.json, as text: to have them made of objects would take seconds."""

    def change(folder: Path, outside: Outside) -> None:
        before = settings(folder, _FILE)
        texts = {key: json.dumps(value) for key, value in before.items()} | parts
        keys = sorted(texts, key=lambda key: (key == "model") is not model_first)
        write(folder, _FILE, "{" + ",".join(f'"{key}":{texts[key]}' for key in keys) + "}")

    return change


_FLAGS = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
_TOKEN = {"id": 256, "content": "<s>", **_FLAGS}


def _added(count: int) -> str:
    return "[" + ",".join([json.dumps(_TOKEN)] * count) + "]"


def _table(count: int) -> str:
    return "{" + ",".join(f'"{number}":{number}' for number in range(count)) + "}"


def _pieces(count: int) -> str:
    pieces = ",".join([json.dumps({"SpecialToken": {"id": "<s>", "type_id": 0}})] * count)
    return f'{{"type": "TemplateProcessing", "single": [{pieces}], "pair": [], "special_tokens": {{}}}}'


def _template(pieces: int, ids: int) -> dict[str, Any]:
    token = {"SpecialToken": {"id": "<s>", "type_id": 0}}
    return {
        "type": "TemplateProcessing",
        "single": [token] * pieces + [{"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [256] * ids, "tokens": ["<s>"] * ids}},
    }


def _unigram(entries: int) -> str:
    table = ",".join(['["a",0]'] * entries)
    return f'{{"type": "Unigram", "unk_id": 0, "vocab": [{table}], "byte_fallback": false}}'


def _words(entries: int) -> str:
    return f'{{"type": "WordLevel", "unk_token": "0", "vocab": {_table(entries)}}}'


_DOUBLING = [_replace("a", "aa")] * 34
_CHAIN = [_replace("a", "b" * 30), _replace("b", "c" * 30), _replace("c", "d" * 30)]


def cases() -> Iterator[Case]:
    """All of this family."""
    grows = [
        ("doubling", _sequence(_DOUBLING)),
        ("chain", _sequence(_CHAIN)),
        ("nested", _sequence([_sequence(_DOUBLING[:20]), _sequence(_DOUBLING[:20])])),
        ("expression", _sequence([_replace(".", "xx", "Regex")] * 34)),
        ("empty-match", _sequence([_replace("", "xx", "Regex")] * 34)),
        ("long-content", _replace("a", "a" * 10_000_000)),
        ("prepend", {"type": "Prepend", "prepend": "a" * 10_000_000}),
        ("many", _sequence([_replace(str(n), "") for n in range(10_000)])),
        ("charsmap-long", _charsmap((4).to_bytes(4, "little") + bytes(4) + b"x" * 200_000 + b"\0")),
        ("charsmap-short", _charsmap(b"ab")),
        ("charsmap-size", _charsmap((2**31).to_bytes(4, "little") + b"abcd")),
        ("charsmap-odd", _charsmap((3).to_bytes(4, "little") + b"abcd")),
        ("charsmap-text", {"type": "Precompiled", "precompiled_charsmap": "%%%"}),
    ]
    yield from numbered(
        "normalizer", "tiny/llama", "refused", [(n, _parts(normalizer=step)) for n, step in grows]
    )
    yield from numbered("normalizer-last", "tiny/llama", "refused", [
        (n, _reordered(normalizer=step)) for n, step in grows[:4]
    ])  # fmt: skip
    yield from numbered("normalizer-hidden", "tiny/llama", "refused", [
        (n, _hidden(normalizer=step)) for n, step in grows[:4]
    ])  # fmt: skip
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    yield from numbered("steps", "tiny/llama", "refused", [
        ("pre-tokenizers", _parts(pre_tokenizer={"type": "Sequence", "pretokenizers": [byte_level] * 10_000})),
        ("expression", _parts(pre_tokenizer={
            "type": "Split", "pattern": {"Regex": "(a|" * 20_000}, "behavior": "Isolated", "invert": False})),
        ("processors", _parts(post_processor={"type": "Sequence", "processors": [_template(1, 1)] * 1000})),
        ("template-ids", later(lambda: _parts(post_processor=_template(1, 1_000_000)))),
        ("template-both", _parts(post_processor=_template(2000, 2000))),
        ("decoders", _parts(decoder={"type": "Sequence", "decoders": [_replace("a", "aa")] * 34})),
        ("padding", _parts(padding={"strategy": {"Fixed": 10**9}, "direction": "Right", "pad_to_multiple_of": None,
                                    "pad_id": 258, "pad_type_id": 0, "pad_token": "<pad>"})),
        ("padding-multiple", _parts(padding={"strategy": "BatchLongest", "direction": "Right", "pad_id": 258,
                                             "pad_to_multiple_of": 10**9, "pad_type_id": 0, "pad_token": "<pad>"})),
    ])  # fmt: skip
    yield from numbered("size", "tiny/llama", "refused", [
        ("unigram", later(lambda: _spliced(model=_unigram(2_500_000)))),
        ("unigram-least", later(lambda: _spliced(model=_unigram(1_300_000)))),
        ("words", later(lambda: _spliced(model=_words(1_200_000)))),
        ("added", later(lambda: _spliced(added_tokens=_added(300_000)))),
        ("added-long", later(lambda: _parts(added_tokens=[_TOKEN | {"content": "x" * 10_000_000}]))),
        ("template", later(lambda: _spliced(post_processor=_pieces(1_000_000)))),
        ("model-first", later(lambda: _spliced(True, added_tokens=_added(300_000)))),
        ("added-tokens-file", later(lambda: replaced("added_tokens.json", _table(300_000)))),
        ("vocabulary-file", later(lambda: replaced("vocab.txt", "a\n" * 3_000_000))),
        ("vocabulary-table", later(lambda: replaced("vocab.json", _table(1_200_000)))),
        ("merges-file", later(lambda: replaced("merges.txt", "a b\n" * 3_000_000))),
        ("decoder-of-added", later(lambda: replaced(_CONFIG, f'{{"added_tokens_decoder": {_table(300_000)}}}'))),
        ("special", later(lambda: replaced(_CONFIG, f'{{"extra_special_tokens": [{"0," * 300_000}0]}}'))),
        ("large", later(lambda: replaced(_FILE, b'{"model": "' + b"x" * 64_000_001))),
    ], is_bomb=True)  # fmt: skip
    yield from numbered("made-up", "tiny/t5", "refused", [
        ("extra-ids", changed(_CONFIG, tokenizer_class="ByT5Tokenizer", extra_ids=10**9)),
        ("madeup-words", changed(_CONFIG, tokenizer_class="M2M100Tokenizer", num_madeup_words=10**9)),
        ("offset", changed(_CONFIG, tokenizer_class="PegasusTokenizer", offset=10**9)),
    ])  # fmt: skip
    yield from numbered("tokenizer-json", "tiny/llama", "bad_tokenizer", [
        ("empty", replaced(_FILE, "")),
        ("cut", replaced(_FILE, '{"version": "1.0", "model": {"type": "BPE", "vo')),
        ("list", replaced(_FILE, "[]")),
        ("no-model", replaced(_FILE, '{"version": "1.0"}')),
        ("bad-model", _parts(model={"type": "Nonsense"})),
        ("bad-merges", _parts(model={"type": "BPE", "vocab": {"a": 0}, "merges": ["x y"]})),
        ("bad-expression", _parts(pre_tokenizer={
            "type": "Split", "pattern": {"Regex": "(((("}, "behavior": "Isolated", "invert": False})),
        ("bad-template", _parts(post_processor={"type": "TemplateProcessing", "single": [{"x": 1}], "pair": [],
                                                "special_tokens": {}})),
        ("bytes", replaced(_FILE, b"\xff\xfe")),
    ])  # fmt: skip
    yield from numbered("tokenizer-deep", "tiny/llama", "refused bad_tokenizer", [
        ("normalizers", replaced(_FILE, '{"normalizer":' + '{"normalizers":[' * 100_000 + "]}" * 100_000 + "}")),
        ("lists", replaced(_FILE, "[" * 1_000_000)),
    ])  # fmt: skip
    yield from numbered("tokenizer", "tiny/llama", f"{LOADS} bad_tokenizer forward_failed", [
        ("empty-vocabulary", _parts(model={"type": "BPE", "vocab": {}, "merges": []})),
        ("unknown-id", _parts(model={"type": "Unigram", "unk_id": 7, "vocab": [["a", -1.0]]})),
        ("no-unknown", _parts(model={"type": "Unigram", "unk_id": None, "vocab": [["b", -1.0]]})),
        ("charsmap-empty", _parts(normalizer=_charsmap(b""))),
        ("charsmap-zeros", _parts(normalizer=_charsmap((1024).to_bytes(4, "little") + bytes(1024) + b"a\0"))),
        ("charsmap-ones", _parts(normalizer=_charsmap((1024).to_bytes(4, "little") + b"\xff" * 1024 + b"a\0"))),
        ("charsmap-far", _parts(normalizer=_charsmap((1024).to_bytes(4, "little") + b"\x00\xfc\xff\x7f" * 256))),
        ("ids-beyond", _parts(model={"type": "WordLevel", "unk_token": "a", "vocab": {"a": 4_000_000_000}})),
        ("negative-ids", _parts(model={"type": "WordLevel", "unk_token": "a", "vocab": {"a": -1}})),
        ("catastrophic", _parts(pre_tokenizer={
            "type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False})),
        ("stride", _parts(truncation={"max_length": 1, "stride": 10**9, "strategy": "LongestFirst",
                                      "direction": "Right"})),
    ])  # fmt: skip
    yield from numbered("template", "tiny/llama", LOADS, [
        ("endless", replaced("chat_template.jinja", "{% for i in range(10**9) %}x{% endfor %}")),
        ("code", replaced("chat_template.jinja", "{{ ''.__class__.__mro__[1].__subclasses__() }}")),
        ("include", replaced("chat_template.jinja", "{% include '/etc/passwd' %}")),
        ("in-settings", changed(_CONFIG, chat_template="{{ self.__init__.__globals__ }}")),
    ])  # fmt: skip
