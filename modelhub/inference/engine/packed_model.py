"""A model that is fed the next tokens of several answers at once, packed into one row."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from modelhub.inference.engine import attention
from modelhub.inference.engine.packed_cache import Packing, RowCache, packed_cache

_NEEDED = {"input_ids", "position_ids", "attention_mask", "past_key_values", "use_cache", "logits_to_keep"}
# Up to here, linear layers of bfloat16 are faster without oneDNN: measured, see docs/benchmarks.md.
_FEW_TOKENS = 2
# A pass that reads so many bytes of weights, once for each token, is too short to be shared by threads.
_SMALL_BYTES = 128 * 2**20


def can_pack(model: Any, implementation: str) -> bool:
    """Whether a model can be fed so: attention in all of its layers, over what came before or the last of it.

    Others keep states of their own kind: state spaces, encoders, biases by position.
    """
    text = model.config.get_text_config(decoder=True)
    if getattr(model.config, "is_encoder_decoder", False) or implementation != "sdpa":
        return False
    if not getattr(type(model), "_supports_attention_backend", False):
        return False
    if getattr(text, "alibi", False) or not getattr(text, "is_decoder", True):
        return False
    if getattr(text, "attention_chunk_size", None) or not getattr(text, "is_causal", True):
        return False
    taken = inspect.signature(type(model).forward).parameters
    return taken.keys() >= _NEEDED and windows_of(model) is not None


def windows_of(model: Any) -> list[int | None] | None:
    """Of each layer, how many of the last tokens it sees; None: all. None for a model with other layers."""
    layers = DynamicCache(config=model.config).layers
    windows: list[int | None] = []
    for layer in layers:
        if type(layer) is DynamicSlidingWindowLayer:
            windows.append(int(layer.sliding_window))
        elif type(layer) is DynamicLayer:
            windows.append(None)
        else:
            return None
    return windows or None


class PackedModel:
    """Runs passes; ``check`` is called in each layer of one and may raise to abandon it."""

    def __init__(self, model: Any, check: Callable[[], None]) -> None:
        attention.register()
        model.set_attn_implementation(attention.NAME)
        self._model = model
        self._device = model.device
        self._packing = Packing(check)
        windows = windows_of(model) or []
        self._layers = len(windows)
        self._cache = packed_cache(self._packing, windows)
        # One that has four dimensions is taken as it is; the attention does not look at it.
        self._mask = torch.ones((1, 1, 1, 1), dtype=torch.bool, device=self._device)
        self._is_slow_with_onednn = self._device.type == "cpu" and model.dtype == torch.bfloat16
        self._bytes = sum(parameter.nbytes for parameter in model.parameters())

    def new_cache(self) -> RowCache:
        """An empty cache for one row."""
        return RowCache(self._layers)

    def run(self, rows: Sequence[tuple[RowCache, list[int]]], wanted: Sequence[int]) -> torch.Tensor:
        """Feed tokens to each row; returns the logits behind the rows with the indices ``wanted``."""
        fed: list[int] = []
        positions: list[int] = []
        ends: list[int] = []
        for cache, ids in rows:
            fed += ids
            positions += range(len(cache.ids), len(cache.ids) + len(ids))
            ends.append(len(fed) - 1)
        keep = [ends[index] for index in wanted] or [0]
        self._packing.begin([(cache, len(ids)) for cache, ids in rows])
        with self._quickly(len(fed)):
            output = self._model(
                input_ids=self._tensor([fed]),
                position_ids=self._tensor([positions]),
                attention_mask=self._mask,
                past_key_values=self._cache,
                use_cache=True,
                logits_to_keep=0 if len(keep) == len(fed) else self._tensor(keep),
            )
        for cache, ids in rows:
            cache.ids += ids
        logits: torch.Tensor = output.logits[0]
        return logits

    def _tensor(self, numbers: list[Any]) -> torch.Tensor:
        return torch.tensor(numbers, device=self._device)

    @contextmanager
    def _quickly(self, tokens: int) -> Iterator[None]:
        """Few tokens: without oneDNN, and through a small model in one thread."""
        threads = torch.get_num_threads()
        is_small = self._bytes * tokens <= _SMALL_BYTES and threads > 1 and self._device.type == "cpu"
        set_flags: Any = torch.backends.mkldnn.set_flags
        before = set_flags(False) if self._is_slow_with_onednn and tokens <= _FEW_TOKENS else None
        if is_small:
            torch.set_num_threads(1)
        try:
            yield
        finally:
            if before is not None:
                set_flags(before[0])
            if is_small:
                torch.set_num_threads(threads)
