"""The parser of safetensors headers."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from modelhub.loader.files.headers import BadHeader, Tensor, read_header


def _read(header: Any, data: int) -> tuple[Tensor, ...]:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    file = io.BytesIO(len(text).to_bytes(8, "little") + text + bytes(data))

    def read(offset: int, count: int) -> bytes:
        file.seek(offset)
        return file.read(count)

    return read_header(read, len(file.getvalue()))


def _entry(begin: int, end: int, dtype: str = "U8", shape: Any = None) -> dict[str, Any]:
    return {"dtype": dtype, "shape": [end - begin] if shape is None else shape, "data_offsets": [begin, end]}


def test_a_file_that_safetensors_wrote(tmp_path: Path) -> None:
    tensors = {"a.b": torch.zeros(2, 3, dtype=torch.bfloat16), "c": torch.zeros(5), "empty": torch.zeros(0)}
    save_file(tensors, tmp_path / "x", {"format": "pt"})
    content = (tmp_path / "x").read_bytes()
    found = read_header(lambda offset, count: content[offset : offset + count], len(content))
    assert {(t.name, t.dtype, t.shape, t.size, t.count) for t in found} == {
        ("a.b", "BF16", (2, 3), 12, 6),
        ("c", "F32", (5,), 20, 5),
        ("empty", "F32", (0,), 0, 0),
    }


def test_scalars_and_half_bytes() -> None:
    (scalar, packed) = _read({"s": _entry(0, 8, "F64", []), "p": _entry(8, 12, "F4", [8])}, 12)
    assert (scalar.count, packed.count, packed.size) == (1, 8, 4)


@pytest.mark.parametrize(
    ("header", "data", "hostile"),
    [
        (b"", 0, False),
        (b"{", 0, False),
        (b"[]", 0, False),
        (b"\xff\xfe", 0, False),
        ({"a": _entry(0, 4)}, 3, False),
        ({"a": _entry(0, 4)}, 5, False),
        ({"a": _entry(1, 4)}, 4, False),
        ({"a": _entry(0, 4), "b": _entry(2, 6)}, 6, False),
        ({"a": _entry(0, 4), "b": _entry(5, 6)}, 6, False),
        ({"a": _entry(0, 4), "b": _entry(0, 4)}, 4, False),
        ({"a": _entry(4, 0, shape=[4])}, 4, False),
        ({"a": _entry(0, 4, "F32", [2])}, 4, False),
        ({"a": _entry(0, 4, "X32")}, 4, False),
        ({"a": _entry(0, 4, shape=[-2, -2])}, 4, False),
        ({"a": _entry(0, 4, shape=[4.0])}, 4, False),
        ({"a": _entry(0, 4, shape=[True, 4])}, 4, False),
        ({"a": _entry(0, 4, shape=[2**62, 2**62])}, 4, False),
        ({"a": {"dtype": "U8", "shape": [4]}}, 4, False),
        ({"a": {"dtype": ["U8"], "shape": [4], "data_offsets": [0, 4]}}, 4, False),
        ({"a": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4, 4]}}, 4, False),
        ({"a": 7}, 0, False),
        (b'{"a": {"dtype": "U8", "shape": [0], "data_offsets": [0, 0], "dtype": "U8"}}', 0, True),
        (b'{"a": ' + b"[" * 200_000, 0, True),
        ({"": _entry(0, 4)}, 4, True),
        ({"a\n": _entry(0, 4)}, 4, True),
        ({"n" * 513: _entry(0, 4)}, 4, True),
        ({"a": _entry(0, 1, shape=[1] * 9)}, 1, True),
    ],
)
def test_headers_that_are_refused(header: Any, data: int, hostile: bool) -> None:
    with pytest.raises(BadHeader) as caught:
        _read(header, data)
    assert caught.value.hostile is hostile
