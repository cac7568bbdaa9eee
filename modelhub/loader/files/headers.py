"""Parses the header of a safetensors file within limits, and checks everything that it claims."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

MAX_HEADER_BYTES = 8 * 10**6
MAX_TENSORS = 100_000
MAX_NAME = 512
MAX_RANK = 8
LENGTH_BYTES = 8

# Bits per element: the dtypes of the safetensors format.
DTYPE_BITS: dict[str, int] = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "I16": 16, "U16": 16, "F16": 16, "BF16": 16,
    "I32": 32, "U32": 32, "F32": 32, "I64": 64, "U64": 64, "F64": 64, "C64": 64,
}  # fmt: skip
FLOATS = frozenset(("F16", "BF16", "F32", "F64"))


class BadHeader(Exception):
    """A header that is damaged (``hostile`` False) or exceeds a limit (``hostile`` True)."""

    def __init__(self, why: str, hostile: bool = False) -> None:
        self.hostile = hostile
        super().__init__(why)


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor as the header describes it; ``dtype`` is a name of the format, ``size`` is in bytes."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    size: int

    @property
    def count(self) -> int:
        """How many elements it has."""
        return math.prod(self.shape)


def read_header(read: Callable[[int, int], bytes], file_size: int) -> tuple[Tensor, ...]:
    """The tensors of the file that ``read(offset, count)`` reads, in the order of their bytes.

    Raises BadHeader if the file is truncated, the ranges of tensors overlap, leave gaps or exceed the file,
    a size does not fit its shape and dtype, or a limit is exceeded. The format:
    https://github.com/huggingface/safetensors#format
    """
    if file_size < LENGTH_BYTES:
        raise BadHeader("it is too short to be a safetensors file")
    length = int.from_bytes(read(0, LENGTH_BYTES), "little")
    if length > MAX_HEADER_BYTES:
        raise BadHeader(f"its header claims {length} bytes, more than {MAX_HEADER_BYTES}", hostile=True)
    if LENGTH_BYTES + length > file_size:
        raise BadHeader("it ends inside its header")
    entries = _parse(read(LENGTH_BYTES, length))
    if len(entries) > MAX_TENSORS:
        raise BadHeader(f"it has {len(entries)} tensors, more than {MAX_TENSORS}", hostile=True)
    return _check_ranges(entries, file_size - LENGTH_BYTES - length)


def _parse(text: bytes) -> dict[str, Any]:
    try:
        entries = json.loads(text, object_pairs_hook=_no_duplicates)
    except RecursionError:
        raise BadHeader("its header is nested too deeply", hostile=True) from None
    except ValueError:
        raise BadHeader("its header is not valid JSON") from None
    if not isinstance(entries, dict):
        raise BadHeader("its header is not a JSON object")
    entries.pop("__metadata__", None)
    return entries


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise BadHeader("its header has the same key twice", hostile=True)
    return table


def _check_ranges(entries: dict[str, Any], data_size: int) -> tuple[Tensor, ...]:
    placed = sorted((_check_entry(name, entry) for name, entry in entries.items()), key=lambda item: item[0])
    position = 0
    for (begin, end), _ in placed:
        if begin != position:
            raise BadHeader("the ranges of its tensors overlap or leave gaps")
        position = end
    if position != data_size:
        raise BadHeader(f"its tensors need {position} bytes of data, it has {data_size}")
    return tuple(tensor for _, tensor in placed)


def _check_entry(name: str, entry: Any) -> tuple[tuple[int, int], Tensor]:
    if not name or len(name) > MAX_NAME or not name.isprintable():
        raise BadHeader("the name of a tensor is too long or not printable", hostile=True)
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise BadHeader(f"the entry of {name} does not describe a tensor")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPE_BITS:
        raise BadHeader(f"{name} has an unknown dtype")
    if not _are_counts(shape) or not _are_counts(offsets) or len(offsets) != 2:
        raise BadHeader(f"the shape or the offsets of {name} are not numbers")
    if len(shape) > MAX_RANK:
        raise BadHeader(f"{name} has {len(shape)} dimensions, more than {MAX_RANK}", hostile=True)
    begin, end = offsets
    if end < begin or (end - begin) * 8 != math.prod(shape) * DTYPE_BITS[dtype]:
        raise BadHeader(f"the size of {name} does not fit its shape and dtype")
    return (begin, end), Tensor(name, dtype, tuple(shape), end - begin)


def _are_counts(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is int and 0 <= value < 2**53 for value in values)
