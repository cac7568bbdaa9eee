"""A forward pass of one token without oneDNN, which then reads the weights at half the speed of the memory.

Linear layers of bfloat16 with one row, on two cores with AVX-512 BF16: 14 GB/s with oneDNN, 29 GB/s without.
With 128 rows it is the other way round, so oneDNN is switched off only while one token is fed. The logits
then differ in their last bits: docs/benchmarks.md has the error of both.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

_SMALL_BYTES = 256 * 2**20
_OTHER_INPUTS = ("pixel", "image", "video", "input_features", "input_values", "inputs_embeds")


def feed_one_token_quickly(model: Any) -> None:
    """Wrap ``model.forward``. Only for a decoder of bfloat16 on the CPU; any other model stays as it is.

    An encoder would run without oneDNN too, over all of its input.
    """
    is_decoder = not getattr(model.config, "is_encoder_decoder", False)
    if model.device.type != "cpu" or model.dtype != torch.bfloat16 or not is_decoder:
        return
    forward = model.forward

    @functools.wraps(forward)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if not _is_one_token(*args, **kwargs):
            return forward(*args, **kwargs)
        set_flags: Any = torch.backends.mkldnn.set_flags
        before = set_flags(False)
        try:
            return forward(*args, **kwargs)
        finally:
            set_flags(before[0])

    model.forward = wrapped


@contextmanager
def in_one_thread_if_small(model: Any, inputs: dict[str, Any]) -> Iterator[None]:
    """A context in which one token through a small model runs in one thread.

    Its pieces of work are too short to share: with two threads, 0.1 GB takes 16 ms instead of 13 ms, and 33
    ms where the server sends events meanwhile.
    """
    threads = torch.get_num_threads()
    size = sum(parameter.nbytes for parameter in model.parameters())
    if threads == 1 or size > _SMALL_BYTES or not _is_one_token(**inputs):
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _is_one_token(input_ids: Any = None, *_: Any, **others: Any) -> bool:
    """Whether one token is fed, and nothing else that has rows of its own."""
    more = (name for name, value in others.items() if value is not None and name.startswith(_OTHER_INPUTS))
    return isinstance(input_ids, torch.Tensor) and input_ids.numel() == 1 and next(more, None) is None
