"""What the weights of a model take in memory, by the dtype they are loaded in: counted without torch."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from modelhub.formats import WEIGHTS, shards
from modelhub.loader.files.headers import DTYPE_BITS, FLOATS, BadHeader, Tensor, read_header

DTYPES = {"F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64"}
_ITEM_BYTES = {"float16": 2, "bfloat16": 2, "half": 2, "float64": 8, "double": 8}


class Sizes(NamedTuple):
    """The weights of a model: how many numbers of each floating-point dtype of the format they have.

    ``other_bytes`` is what is not converted. ``configured`` is the dtype that config.json names, if any.
    """

    floats: tuple[tuple[str, int], ...]
    other_bytes: int
    configured: str | None = None

    def dtype(self, requested: str) -> str:
        """The dtype of a load: the requested one, else that of the configuration, else that of most bytes."""
        if requested != "auto":
            return requested
        if self.configured is not None:
            return self.configured
        bits = {name: count * DTYPE_BITS[name] for name, count in self.floats}
        return DTYPES[max(DTYPES, key=lambda name: (bits.get(name, 0), name == "F32"))]

    def need_bytes(self, requested: str) -> int:
        """The memory that a load takes, as it is admitted: with all floats converted to its dtype."""
        return sum(count for _, count in self.floats) * item_bytes(self.dtype(requested)) + self.other_bytes


def count(tensors: Iterable[Tensor], configured: str | None = None) -> Sizes:
    """The sizes of these tensors."""
    floats: dict[str, int] = {}
    other_bytes = 0
    for tensor in tensors:
        if tensor.dtype in FLOATS:
            floats[tensor.dtype] = floats.get(tensor.dtype, 0) + tensor.count
        else:
            other_bytes += tensor.size
    return Sizes(tuple(sorted(floats.items())), other_bytes, configured)


def of_counts(counts: Mapping[str, int]) -> Sizes:
    """The sizes where the hub says how many numbers of each dtype a model has."""
    floats = tuple(sorted((name, number) for name, number in counts.items() if name in FLOATS))
    others = sum(
        number * DTYPE_BITS.get(name, 8) // 8 for name, number in counts.items() if name not in FLOATS
    )
    return Sizes(floats, others)


def item_bytes(dtype: str) -> int:
    """The bytes of one number of a floating-point dtype of torch; an unknown one is loaded as float32."""
    name = dtype.removeprefix("torch.")
    return 1 if name.startswith("float8") else _ITEM_BYTES.get(name, 4)


def configured_dtype(settings: Mapping[str, Any]) -> str | None:
    """The dtype that a configuration names."""
    named = settings.get("dtype") or settings.get("torch_dtype")
    return named if isinstance(named, str) else None


def weights_among(names: Iterable[str]) -> list[str]:
    """The weight files of a load among these files, as far as their names tell without the index."""
    found = sorted(name for name in names if name.endswith(".safetensors"))
    if WEIGHTS in found:
        return [WEIGHTS]
    return shards(found) or found


def read_tensors(path: Path, limit: int) -> tuple[Tensor, ...] | None:
    """The tensors of a weight file; None where its header is damaged or longer than ``limit`` bytes.

    Raises OSError.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)

    def read(offset: int, size: int) -> bytes:
        if size > limit:
            raise BadHeader(f"its header has {size} bytes, more than {limit}")
        return os.pread(descriptor, size, offset)

    try:
        return read_header(read, os.fstat(descriptor).st_size)
    except BadHeader:
        return None
    finally:
        os.close(descriptor)
