"""Maps weight files into memory, without reading any of them, and their tensors out of that."""

from __future__ import annotations

import mmap
import threading
from collections.abc import Sequence

import torch

from modelhub.loader.background import Cancel
from modelhub.loader.files.headers import Tensor
from modelhub.loader.files.inspection import Files, WeightFile, opened
from modelhub.loader.reading.pagecache import PageCache
from modelhub.loader.reading.populate import map_file, populate

DTYPES = {
    "F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32, "F64": torch.float64,
    "BOOL": torch.bool, "U8": torch.uint8, "I8": torch.int8, "I16": torch.int16, "I32": torch.int32,
    "I64": torch.int64,
}  # fmt: skip
_AT_ONCE = 64 * 2**20


class Maps:
    """The weight files of a model, each mapped when it is first asked for.

    Whoever writes to a tensor gets a copy of its page.
    """

    def __init__(self, files: Files) -> None:
        self._files = files
        self._windows: dict[str, mmap.mmap] = {}
        self._lock = threading.Lock()

    def tensors(self, weight: WeightFile) -> dict[str, torch.Tensor]:
        """The tensors of a file by name; their pages come from the page cache when they are first used.

        ``safetensors.torch.load_file`` touches every tensor, which reads them in the order of the file.
        Raises RuntimeError for a file that has shrunk, and KeyError for a dtype that is not in ``DTYPES``.
        """
        window = self._window(weight)
        return {tensor.name: _tensor(window, tensor, begin) for tensor, begin, _ in weight.placed()}

    def enter_pages(self, weights: Sequence[WeightFile], cancel: Cancel) -> None:
        """Enter the pages of files that are in the page cache into the page table of this process.

        A first forward pass over 2 GB takes 20 ms less then, and a core is idle while the model is built.
        Raises Cancelled.
        """
        cache = PageCache()
        for weight in weights:
            with opened(self._files, weight.name) as (descriptor, _):
                is_cached = cache.is_cached(descriptor, 0, weight.size)
            for offset in range(0, weight.size if is_cached else 0, _AT_ONCE):
                cancel.check()
                populate(self._window(weight), offset, min(_AT_ONCE, weight.size - offset))

    def _window(self, weight: WeightFile) -> mmap.mmap:
        with self._lock:
            if weight.name not in self._windows:
                with opened(self._files, weight.name) as (descriptor, size):
                    if size < weight.size:
                        raise RuntimeError(f"{weight.name} has shrunk")
                    self._windows[weight.name] = map_file(descriptor, weight.size)
            return self._windows[weight.name]


def _tensor(window: mmap.mmap, tensor: Tensor, begin: int) -> torch.Tensor:
    dtype = DTYPES[tensor.dtype]
    if not tensor.count:
        return torch.empty(tensor.shape, dtype=dtype)
    if begin % dtype.itemsize:  # the format allows it, and processors that do not are rare
        data = bytearray(window[begin : begin + tensor.size])
        return torch.frombuffer(data, dtype=dtype).view(tensor.shape)
    return torch.frombuffer(window, dtype=dtype, count=tensor.count, offset=begin).view(tensor.shape)
