"""Maps the tensors of a weight file into memory, without reading any of them."""

from __future__ import annotations

import mmap

import torch

from modelhub.loader.files.headers import Tensor
from modelhub.loader.files.opening import Files, WeightFile, opened
from modelhub.loader.reading.populate import map_file

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
        window = map_file(descriptor, weight.size)
    return {tensor.name: _tensor(window, tensor, begin) for tensor, begin, _ in weight.placed()}


def _tensor(window: mmap.mmap, tensor: Tensor, begin: int) -> torch.Tensor:
    dtype = DTYPES[tensor.dtype]
    if not tensor.count:
        return torch.empty(tensor.shape, dtype=dtype)
    if begin % dtype.itemsize:  # the format allows it, and processors that do not are rare
        data = bytearray(window[begin : begin + tensor.size])
        return torch.frombuffer(data, dtype=dtype).view(tensor.shape)
    return torch.frombuffer(window, dtype=dtype, count=tensor.count, offset=begin).view(tensor.shape)
