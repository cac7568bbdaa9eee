"""Has from_pretrained take tensors from our own mapping, each as soon as its bytes are in memory.

With its own reader it copies every tensor that it stacks, casts or splits, and several at once: a mixture of
experts of 0.6 GB took 0.8 GB while it was converted.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from safetensors import safe_open
from transformers import modeling_utils

from modelhub.loader.files.headers import Tensor
from modelhub.loader.files.opening import Files, WeightFile
from modelhub.loader.mapping import DTYPES, map_tensors

# With it, transformers converts one tensor after the other, and copies none ahead.
_ONE_BY_ONE = "HF_DEACTIVATE_ASYNC_LOAD"


class _Slice:
    """A tensor of a file, as ``get_slice`` of safetensors returns it."""

    def __init__(self, described: Tensor, tensor: torch.Tensor, wait: Callable[[list[str]], None]) -> None:
        self._described = described
        self._tensor = tensor
        self._wait = wait

    def __getitem__(self, index: Any) -> torch.Tensor:
        self._wait([self._described.name])
        return self._tensor[index]

    def get_shape(self) -> list[int]:
        """Its shape."""
        return list(self._described.shape)

    def get_dtype(self) -> str:
        """Its dtype, as the header has it."""
        return self._described.dtype


class _File:
    """A weight file, as ``safe_open`` of safetensors returns it."""

    def __init__(self, files: Files, weight: WeightFile, wait: Callable[[list[str]], None]) -> None:
        self._path = weight.path
        tensors = map_tensors(files, weight)
        self._slices = {one.name: _Slice(one, tensors[one.name], wait) for one in weight.tensors}

    def keys(self) -> list[str]:
        """The names of its tensors."""
        return list(self._slices)

    def get_slice(self, name: str) -> _Slice:
        """A tensor that is not looked at yet."""
        return self._slices[name]

    def get_tensor(self, name: str) -> torch.Tensor:
        """A tensor."""
        return self._slices[name][...]

    def metadata(self) -> dict[str, str]:
        """What the header says beside its tensors."""
        with safe_open(self._path, framework="pt") as file:
            return dict(file.metadata() or {})

    def __enter__(self) -> _File:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to close: the tensors keep the mapping."""


@contextmanager
def mapped_files(
    files: Files, weights: Sequence[WeightFile], wait: Callable[[list[str]], None]
) -> Iterator[None]:
    """A context in which from_pretrained reads ``weights`` through our mapping.

    ``wait`` is called with the name of a tensor before it is used. A file with a dtype that is not in
    ``mapping.DTYPES`` is left to safetensors.
    """
    ours = {os.path.realpath(w.path): w for w in weights if all(t.dtype in DTYPES for t in w.tensors)}

    def opened(path: str | os.PathLike[str], *arguments: Any, **keywords: Any) -> Any:
        weight = ours.get(os.path.realpath(path))
        if weight is None:
            return safe_open(path, *arguments, **keywords)
        return _File(files, weight, wait)

    before = os.environ.get(_ONE_BY_ONE)
    os.environ[_ONE_BY_ONE] = "1"
    modeling_utils.safe_open = opened
    try:
        yield
    finally:
        modeling_utils.safe_open = safe_open
        if before is None:
            del os.environ[_ONE_BY_ONE]
        else:
            os.environ[_ONE_BY_ONE] = before
