"""Folders with links, pipes, devices and code, and weights and indexes that are not what they claim."""

from __future__ import annotations

import json
import os
import pickle
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.support.hostile.case import LOADS, Case, Change, Outside, later, numbered, replaced, write

_WEIGHTS = "model.safetensors"
_INDEX = "model.safetensors.index.json"
_NAMES = (
    "config.json", _WEIGHTS, "tokenizer.json", "tokenizer_config.json", "generation_config.json", "vocab.txt",
    "merges.txt", "added_tokens.json", "special_tokens_map.json", "preprocessor_config.json", "chat_template.jinja",
    "tokenizer.model", "extra.bin",
)  # fmt: skip


class _Evil:
    def __reduce__(self) -> Any:
        return (os._exit, (13,))


def cases() -> Iterator[Case]:
    """All of this family."""
    yield from numbered("link", "tiny/llama", "refused", [(name, _placed(name, _link)) for name in _NAMES])
    yield from numbered(
        "link-to-pipe", "tiny/llama", "refused", [(name, _placed(name, _link_to_pipe)) for name in _NAMES[:5]]
    )
    yield from numbered("pipe", "tiny/llama", "refused", [(name, _placed(name, _pipe)) for name in _NAMES])
    yield from numbered(
        "socket", "tiny/llama", "refused", [(name, _placed(name, _socket)) for name in _NAMES[:4]]
    )
    yield from numbered("folder-for", "tiny/llama", "missing_weights refused loads", [
        (name, _placed(name, lambda path, _: path.mkdir())) for name in ("config.json", _WEIGHTS, "tokenizer.json")
    ])  # fmt: skip
    yield from numbered("folder", "tiny/llama", "refused", [
        ("template-pipe", _placed("additional_chat_templates/x.jinja", _pipe)),
        ("template-link", _placed("additional_chat_templates/x.jinja", _link)),
        ("tokenizer-pipe", _placed("qformer_tokenizer/tokenizer_config.json", _pipe)),
        ("tokenizer-link", _placed("qformer_tokenizer/tokenizer.json", _link)),
        ("tokenizer-vocab", replaced("decoder_tokenizer/tokenizer_config.json", '{"vocab": "/etc/passwd"}')),
        ("many", _many_entries),
    ])  # fmt: skip
    yield from numbered(
        "header",
        "tiny/llama",
        "refused corrupt_own missing_weights incomplete_weights",
        list(_headers()),
        is_bomb=True,
    )
    yield from numbered("index", "tiny/llama", "refused corrupt_own missing_shard", list(_indexes()))
    yield from numbered("code", "tiny/llama", LOADS, [
        ("modeling", replaced("modeling_evil.py", "raise SystemExit(13)")),
        ("package", replaced("llama/__init__.py", "raise SystemExit(13)")),
        ("torch", replaced("torch.py", "raise SystemExit(13)")),
        ("sitecustomize", replaced("sitecustomize.py", "raise SystemExit(13)")),
        ("pickle-beside", replaced("pytorch_model.bin", pickle.dumps(_Evil()))),
        ("arguments-beside", replaced("training_args.bin", pickle.dumps(_Evil()))),
        ("speakers-beside", replaced("spk_dict.pt", pickle.dumps(_Evil()))),
        ("requirements", replaced("requirements.txt", "evil==1.0")),
    ])  # fmt: skip
    yield from numbered("pickle", "tiny/llama", "missing_weights refused", [
        (name, _instead(name)) for name in ("pytorch_model.bin", "model.pt", "pytorch_model.bin.index.json", "x.ckpt")
    ])  # fmt: skip


def _placed(name: str, place: Callable[[Path, Outside], object]) -> Change:
    def change(folder: Path, outside: Outside) -> None:
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.unlink(missing_ok=True)
        place(path, outside)

    return change


def _link(path: Path, outside: Outside) -> None:
    path.symlink_to(outside.file)


def _link_to_pipe(path: Path, outside: Outside) -> None:
    path.symlink_to(outside.pipe)


def _pipe(path: Path, outside: Outside) -> None:
    os.mkfifo(path)


def _socket(path: Path, outside: Outside) -> None:
    here = os.open(path.parent, os.O_RDONLY)  # the whole path may be too long for the name of a socket
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(f"/proc/self/fd/{here}/{path.name}")
    finally:
        os.close(here)


def _many_entries(folder: Path, outside: Outside) -> None:
    for number in range(10_001):
        os.link(folder / "config.json", folder / f"x{number}")


def _instead(name: str) -> Change:
    def change(folder: Path, outside: Outside) -> None:
        (folder / _WEIGHTS).unlink()
        write(folder, name, pickle.dumps(_Evil()))

    return change


def _header(header: Any, data: int = 0, length: int | None = None) -> Change:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    content = struct.pack("<Q", len(text) if length is None else length) + text + bytes(data)
    return replaced(_WEIGHTS, content)


def _tensor(dtype: Any = "U8", shape: Any = (1,), offsets: Any = (0, 1)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def _headers() -> Iterator[tuple[str, Change]]:
    tensor = _tensor()
    yield "empty", replaced(_WEIGHTS, b"")
    yield "short", replaced(_WEIGHTS, b"\1\0\0")
    yield "zeros", replaced(_WEIGHTS, bytes(1000))
    yield "length", _header(b"{}", length=2**63)
    yield "length-beyond", _header(b"{}", length=1000)
    yield "length-many", _header(b" " * 9_000_000)
    yield "not-json", _header(b"{x")
    yield "list", _header([])
    yield "deep", _header(b'{"a":' * 100_000)
    yield "bytes", _header(b"\xff\xfe\xfd")
    yield "twice", _header(b'{"a": %s, "a": %s}' % ((json.dumps(tensor).encode(),) * 2), 1)
    yield "name-long", _header({"x" * 1000: tensor}, 1)
    yield "name-path", _header({"../../etc/passwd\n": tensor}, 1)
    yield "name-none", _header({"": tensor}, 1)
    yield "overlap", _header({"a": tensor, "b": tensor}, 1)
    yield "gap", _header({"a": tensor, "b": _tensor(offsets=(5, 6))}, 6)
    yield "beyond", _header({"a": _tensor(shape=(100,), offsets=(0, 100))}, 1)
    yield "backwards", _header({"a": _tensor(offsets=(1, 0))}, 1)
    yield "negative", _header({"a": _tensor(offsets=(-1, 0))}, 1)
    yield "shape-negative", _header({"a": _tensor(shape=(-1, -1))}, 1)
    yield "shape-huge", _header({"a": _tensor(shape=(2**62, 2**62))}, 1)
    yield "shape-zero", _header({"a": _tensor(shape=(0, 2**52), offsets=(0, 0))})
    yield "rank", _header({"a": _tensor(shape=(1,) * 100)}, 1)
    yield "dtype", _header({"a": _tensor(dtype="Q128")}, 1)
    yield "dtype-number", _header({"a": _tensor(dtype=7)}, 1)
    yield "floats", _header({"a": _tensor(shape=(1.0,), offsets=(0.0, 1.0))}, 1)
    yield "keys", _header({"a": {**tensor, "code": "x"}}, 1)
    yield (
        "many",
        later(lambda: _header({f"t{n}": _tensor(shape=(0,), offsets=(0, 0)) for n in range(100_001)})),
    )
    yield "none", _header({"__metadata__": {"format": "pt"}})
    yield "others", _header({"a": tensor}, 2)


def _indexes() -> Iterator[tuple[str, Change]]:
    for name, shard in {
        "up": "../x.safetensors", "root": "/etc/passwd", "device": "/dev/zero", "folder": "a/b.safetensors",
        "dots": "..", "none": "", "hidden": ".x.safetensors", "pickle": "evil.bin", "line": "a\n.safetensors",
        "long": "x" * 300 + ".safetensors", "number": 7, "null": None, "list": ["x"], "missing": "y.safetensors",
        "backslash": "a\\b.safetensors", "url": "https://x/y.safetensors",
    }.items():  # fmt: skip
        yield name, _index({"metadata": {}, "weight_map": {"lm_head.weight": shard}})
    yield "empty", _index({})
    yield "no-names", _index({"weight_map": {}})
    yield "not-a-table", _index({"weight_map": []})
    yield "many", later(lambda: _index({"weight_map": {f"t{n}": "x.safetensors" for n in range(100_001)}}))
    yield "large", later(lambda: _index({"weight_map": {"a": "x" * 16_000_001}}))


def _index(content: Any) -> Change:
    def change(folder: Path, outside: Outside) -> None:
        (folder / _WEIGHTS).rename(folder / "shard.safetensors")
        write(folder, _INDEX, json.dumps(content))

    return change
