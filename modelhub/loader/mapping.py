"""Maps the tensors of a weight file into memory, without reading any of them."""

from __future__ import annotations

import contextlib
import mmap

import torch

from modelhub.loader.files.headers import Tensor
from modelhub.loader.files.opening import Files, WeightFile, opened

DTYPES = {
    "F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32, "F64": torch.float64,
    "BOOL": torch.bool, "U8": torch.uint8, "I8": torch.int8, "I16": torch.int16, "I32": torch.int32,
    "I64": torch.int64,
}  # fmt: skip


def map_tensors(files: Files, weight: WeightFile) -> dict[str, torch.Tensor]:
    """The tensors of the file by name; their pages come from the page cache when they are first used.

    ``safetensors.torch.load_file`` touches every tensor, which reads them in the order of the file. Whoever
    writes to a tensor gets a copy of its page. Raises ``corrupt`` for a file that has shrunk, and KeyError
    for a dtype that is not in ``DTYPES``.
    """
    with opened(files, weight.name) as (descriptor, size):
        if size < weight.size:
            raise files.corrupt(weight.name, "it shrank while it was being read")
        window = _map_file(descriptor, weight.size)
    return {tensor.name: _tensor(window, tensor, begin) for tensor, begin, _ in weight.placed()}


def _map_file(descriptor: int, size: int) -> mmap.mmap:
    """A private mapping of the first ``size`` bytes of a file, with huge pages where the system has them.

    Raises OSError or ValueError, for a file that is shorter among others.
    """
    private = {"flags": mmap.MAP_PRIVATE, "prot": mmap.PROT_READ | mmap.PROT_WRITE}
    window = mmap.mmap(descriptor, size, **private)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # a kernel without huge pages
            window.madvise(mmap.MADV_HUGEPAGE)
    return window


def _tensor(window: mmap.mmap, tensor: Tensor, begin: int) -> torch.Tensor:
    dtype = DTYPES[tensor.dtype]
    if not tensor.count:
        return torch.empty(tensor.shape, dtype=dtype)
    if begin % dtype.itemsize:  # the format allows it, and processors that do not are rare
        data = bytearray(window[begin : begin + tensor.size])
        return torch.frombuffer(data, dtype=dtype).view(tensor.shape)
    return torch.frombuffer(window, dtype=dtype, count=tensor.count, offset=begin).view(tensor.shape)
